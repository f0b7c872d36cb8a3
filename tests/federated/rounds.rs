//! Rounds that differ: schedules of noise, tiers of clients, replies that come late.

use burn_dp::error::Error;
use burn_dp::federated::{
    AdaptiveNoise, Client, ClientId, FederatedPlan, FederatedPlanBuilder, Inbox, Late, RunId,
    Schedule, Server, ServerStep, Tier, Training, simulate,
};
use burn_dp::privacy::{
    Adjacency, Clipping, Delta, DpEvent, Ledger, NoiseMultiplier, PrivacyPlan, SamplingRate,
};
use burn_dp::seed::SeedSource;

use super::{CLIENTS, SEED, client, everybody, flat, manifest, start, trained};

const DELTA: f64 = 1e-5;

fn delta() -> Delta {
    Delta::new(DELTA).expect("a delta")
}

fn targeted(epsilon: f64, rate: f64, clients: usize, rounds: u64) -> PrivacyPlan {
    PrivacyPlan::builder()
        .sampling_rate(rate)
        .expected_batch_size(rate * clients as f64)
        .steps(rounds)
        .clipping(flat(1.0))
        .target(epsilon, DELTA)
        .build()
        .expect("a plan")
}

fn noised(noise_multiplier: f64, rounds: u64) -> PrivacyPlan {
    PrivacyPlan::builder()
        .sampling_rate(1.0)
        .expected_batch_size(CLIENTS as f64)
        .steps(rounds)
        .clipping(flat(1.0))
        .noise_multiplier(noise_multiplier)
        .build()
        .expect("a plan")
}

fn builder(privacy: PrivacyPlan, clients: usize) -> FederatedPlanBuilder {
    let population = (0..clients).map(client).collect();
    FederatedPlan::builder(RunId::new("run").expect("a name"), manifest(), population, privacy)
        .deadline(60)
}

fn gaussian(noise_multiplier: f64) -> DpEvent {
    DpEvent::gaussian(NoiseMultiplier::new(noise_multiplier).expect("a multiplier"))
}

fn epsilon_of(ledger: &Ledger) -> f64 {
    ledger.epsilon(delta(), Adjacency::AddRemove).expect("a bound").value()
}

/// A public schedule is heterogeneous composition: the target is met, by events that are those of the noise that was drawn.
#[test]
fn a_public_schedule_meets_the_target_with_the_noise_that_it_draws() {
    let rounds = 12;
    let factors: Vec<f64> = (0..rounds).map(|t| 1.4 - 0.06 * f64::from(t)).collect();
    let plan = builder(targeted(3.0, 0.5, 40, 12), 40).schedule(Schedule::Public(factors.clone()));
    let plan = plan.build().expect("a plan");
    let epsilon = plan.epsilon(delta()).expect("a bound").value();
    assert!((2.95..=3.0).contains(&epsilon), "{epsilon}");

    let still =
        |_: &ClientId, training: &Training| Ok::<_, Error>(training.request.weights.clone());
    let mut moved = vec![0.0_f32; 16];
    let mut squares = Vec::new();
    let ended = simulate(plan, moved.clone(), SeedSource::OperatingSystem, still, |round| {
        let step = round.weights.iter().zip(&moved).map(|(now, then)| f64::from(now - then));
        squares.push(step.map(|x| (x * 20.0).powi(2)).sum::<f64>());
        moved = round.weights.to_vec();
    });
    let ledger = ended.expect("a run").ledger;
    assert!((epsilon_of(&ledger) - epsilon).abs() < 1e-9);
    let multipliers: Vec<f64> = ledger
        .entries()
        .iter()
        .map(|(event, _)| match event {
            DpEvent::PoissonSampled { event, .. } => match **event {
                DpEvent::Gaussian { noise_multiplier } => noise_multiplier.value(),
                _ => f64::NAN,
            },
            _ => f64::NAN,
        })
        .collect();
    assert_eq!(multipliers.len(), factors.len());
    for (multiplier, factor) in multipliers.iter().zip(&factors) {
        assert!((multiplier / multipliers[0] * factors[0] / factor - 1.0).abs() < 1e-9);
    }
    // All rounds together: 16 numbers each, of which each squared over its variance is 1 on average.
    let of = |(squares, multiplier): (&f64, &f64)| squares / (16.0 * multiplier * multiplier);
    let ratio = squares.iter().zip(&multipliers).map(of).sum::<f64>() / f64::from(rounds);
    assert!((0.5..1.6).contains(&ratio), "{ratio}");
}

/// An adaptive schedule sees releases only, ends when the filter refuses, and promises its budget, also after a restart.
#[test]
fn an_adaptive_schedule_spends_its_budget_and_no_more() {
    let rule = AdaptiveNoise { first: 1.2, decay: 0.8, least: 0.2, signal: 0.5 };
    let plan = builder(targeted(4.0, 0.5, 40, 60), 40).schedule(Schedule::Adaptive(rule));
    let plan = plan.build().expect("a plan");
    assert_eq!(plan.epsilon(delta()).expect("the budget").value(), 4.0);
    let still =
        |_: &ClientId, training: &Training| Ok::<_, Error>(training.request.weights.clone());
    let ended = simulate(plan.clone(), vec![0.0; 16], SEED, still, |_| ()).expect("a run");
    let rounds = ended.ledger.steps().value();
    // Nothing but noise is released, so noise goes down and the budget is spent early.
    assert!((2..60).contains(&rounds), "{rounds}");
    assert!(epsilon_of(&ended.ledger) <= 4.0);
    let last = ended.ledger.entries().last().expect("a round").0.clone();
    assert_ne!(last, ended.ledger.entries()[0].0);

    // The same in lives of one step each.
    let mut state: Option<Vec<u8>> = None;
    loop {
        let mut server = match &state {
            None => Server::start(plan.clone(), vec![0.0; 16], SEED).expect("a server"),
            Some(state) => Server::resume(plan.clone(), state, SEED).expect("its own"),
        };
        let all = Inbox { online: (0..40).map(client).collect(), ..Inbox::default() };
        let step = server.step(all, 0).expect("a round");
        if step.done {
            assert_eq!(server.ledger().expect("a ledger"), ended.ledger);
            break;
        }
        let mut inbox = Inbox::default();
        for (to, request) in &step.send {
            let answer = Client::new().answer(request, |training| still(to, training));
            inbox.replies.push((to.clone(), answer.expect("an answer").reply));
        }
        state = server.step(inbox, 1).expect("a release").state;
    }
}

/// Clients of a tier are asked at its rate, clipped to its norm, and pay for that.
#[test]
fn each_tier_pays_for_its_rate_and_norm() {
    let tiers = || {
        vec![
            Tier { clients: (0..3).map(client).collect(), sampling_rate: 1.0, clipping_norm: 1.0 },
            Tier { clients: (3..6).map(client).collect(), sampling_rate: 0.5, clipping_norm: 0.25 },
        ]
    };
    let privacy = |noise_multiplier: f64| {
        PrivacyPlan::builder()
            .sampling_rate(1.0)
            .expected_batch_size(4.5)
            .steps(40)
            .clipping(flat(1.0))
            .noise_multiplier(noise_multiplier)
            .build()
            .expect("a plan")
    };
    let plan = builder(privacy(2.0), 6).tiers(tiers()).build().expect("a plan");
    let mut asked = vec![0; 6];
    let mut server = start(plan);
    for round in 0..40 {
        for (to, _) in server.step(everybody(), 60 * round).expect("a round").send {
            asked[(0..6).find(|index| client(*index) == to).expect("one of them")] += 1;
        }
    }
    assert!(asked[..3].iter().all(|asked| *asked == 40));
    assert!(asked[3..].iter().all(|asked| (8..32).contains(asked)), "{asked:?}");
    let _ = server.step(everybody(), 60 * 40).expect("the end");
    let ledgers = server.ledgers().expect("two");
    let full = SamplingRate::new(1.0).expect("a rate");
    let half = SamplingRate::new(0.5).expect("a rate");
    let at = |rate, z| DpEvent::PoissonSampled { rate, event: Box::new(gaussian(z)) };
    assert_eq!(ledgers[0].entries(), [(at(full, 2.0), 40)]);
    let DpEvent::PoissonSampled { rate, event } = &ledgers[1].entries()[0].0 else { panic!() };
    let DpEvent::Gaussian { noise_multiplier } = **event else { panic!() };
    assert_eq!(*rate, half);
    assert!((noise_multiplier.value() - 8.0).abs() < 1e-9 && noise_multiplier.value() <= 8.0);
    let largest = server.epsilon(delta()).expect("a bound").value();
    assert_eq!(largest, epsilon_of(&ledgers[0]).max(epsilon_of(&ledgers[1])));

    // A loud client moves the mean by its tier's norm over the divisor.
    for (index, expected) in [(0, 1.0), (3, 0.25)] {
        let mut server = start(builder(privacy(0.0), 6).tiers(tiers()).build().expect("a plan"));
        let mut request = None;
        for round in 0..40 {
            let step = server.step(everybody(), 60 * round).expect("a round");
            if let Some((_, bytes)) = step.send.into_iter().find(|(to, _)| *to == client(index)) {
                request = Some(bytes);
                break;
            }
        }
        let loud = Client::new().answer(&request.expect("asked at last"), |training| {
            let more = training.request.weights.iter().map(|weight| weight + 100.0);
            Ok::<Vec<f32>, Error>(more.collect())
        });
        let replies = vec![(client(index), loud.expect("an answer").reply)];
        let before = server.weights().to_vec();
        let end = Inbox { replies, ..everybody() };
        assert_eq!(server.step(end, 60 * 41).expect("a release").closed, 1);
        let moved = server.weights().iter().zip(&before).map(|(a, b)| f64::from(a - b).powi(2));
        let moved = moved.sum::<f64>().sqrt() * 4.5;
        assert!((moved - expected).abs() < 1e-5 && moved <= expected * (1.0 + 1e-6), "{moved}");
    }
}

#[test]
fn tiers_are_calibrated_for_those_who_pay_most() {
    let tiers = vec![
        Tier { clients: (0..20).map(client).collect(), sampling_rate: 0.5, clipping_norm: 1.0 },
        Tier { clients: (20..40).map(client).collect(), sampling_rate: 0.1, clipping_norm: 0.5 },
    ];
    let privacy = PrivacyPlan::builder()
        .sampling_rate(0.3)
        .expected_batch_size(12.0)
        .steps(20)
        .clipping(flat(1.0))
        .target(2.0, DELTA)
        .build()
        .expect("a plan");
    let plan = builder(privacy, 40).tiers(tiers).build().expect("a plan");
    let epsilon = plan.epsilon(delta()).expect("a bound").value();
    assert!((1.95..=2.0).contains(&epsilon), "{epsilon}");
}

const LATE: Late = Late { rounds: 2, weight: 0.5, participations: 3 };

fn late_plan(noise_multiplier: f64, rounds: u64) -> FederatedPlan {
    builder(noised(noise_multiplier, rounds), CLIENTS).late(LATE).build().expect("a plan")
}

type Replies = Vec<(ClientId, Vec<u8>)>;

fn answers(step: &ServerStep) -> Replies {
    let answer = |(to, request): &(ClientId, Vec<u8>)| {
        let answer = Client::new().answer(request, |training| trained(to, training));
        (to.clone(), answer.expect("an answer").reply)
    };
    step.send.iter().map(answer).collect()
}

/// A late reply counts less, once, and never in a round in which its client has answered in time.
#[test]
fn a_late_reply_joins_the_next_round_once_and_counts_less() {
    let moved = |replies: &dyn Fn(&[Replies], usize) -> Replies| {
        let mut server = start(late_plan(0.0, 4));
        let mut sent = Vec::new();
        let mut weights = vec![server.weights().to_vec()];
        let mut step = server.step(everybody(), 0).expect("a round");
        for round in 0..4_usize {
            sent.push(answers(&step));
            let inbox = Inbox { replies: replies(&sent, round), ..everybody() };
            let waits = server.step(inbox, 60 * round as u64 + 1).expect("a step");
            assert_eq!(waits.closed, 0, "only time ends a round");
            step = server.step(everybody(), 60 * (round as u64 + 1)).expect("a release");
            weights.push(server.weights().to_vec());
        }
        let norm = |round: usize| {
            let pairs = weights[round + 1].iter().zip(&weights[round]);
            pairs.map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>().sqrt() * CLIENTS as f64
        };
        (0..4).map(norm).collect::<Vec<f64>>()
    };
    let in_time = moved(&|sent, round| vec![sent[round][0].clone()]);
    // The fourth contribution is one too many.
    assert!(in_time[..3].iter().all(|norm| (0.9..=1.0).contains(norm)), "{in_time:?}");
    assert!(in_time[3] < 1e-6, "{in_time:?}");
    let one_late = moved(&|sent, round| if round == 1 { vec![sent[0][0].clone()] } else { vec![] });
    assert!(one_late[0] < 1e-6 && one_late[2] < 1e-6, "{one_late:?}");
    assert!((one_late[1] - LATE.weight * in_time[0]).abs() < 1e-5, "{one_late:?}");
    let both = moved(&|sent, round| match round {
        1 => vec![sent[0][0].clone(), sent[1][0].clone()],
        _ => vec![],
    });
    assert!((both[1] - in_time[1]).abs() < 1e-5 && both[2] < 1e-6, "{both:?}");
    let too_late = moved(&|sent, round| if round == 3 { vec![sent[0][0].clone()] } else { vec![] });
    assert!(too_late.iter().all(|norm| *norm < 1e-6), "{too_late:?}");
    let twice = moved(&|sent, round| match round {
        1 | 2 => vec![sent[0][0].clone()],
        _ => vec![],
    });
    assert!(twice[1] > 0.1 && twice[2] < 1e-6, "{twice:?}");
}

/// T1 with late replies: whatever one client sends, and whenever, each round's sum moves by at most the norm, in at most as many rounds
/// as it may contribute to.
#[test]
fn with_late_replies_one_client_moves_few_rounds_and_each_by_the_norm() {
    let rounds = 8_usize;
    for pattern in 0..40_u64 {
        let released = |with: bool| {
            let mut server = start(late_plan(0.0, rounds as u64));
            let mut sent: Vec<Vec<(ClientId, Vec<u8>)>> = Vec::new();
            let mut sums = Vec::new();
            let mut step = server.step(everybody(), 0).expect("a round");
            for round in 0..rounds {
                let before = server.weights().to_vec();
                sent.push(answers(&step));
                let mut inbox = everybody();
                for (index, honest) in sent[round].iter().enumerate().skip(1) {
                    // The others have habits of their own.
                    if !(pattern + index as u64 + round as u64).is_multiple_of(3) {
                        inbox.replies.push(honest.clone());
                    } else if round > 0 {
                        inbox.replies.push(sent[round - 1][index].clone());
                    }
                }
                if with {
                    for (earlier, replies) in sent.iter().enumerate() {
                        if (pattern >> ((earlier * 3 + round) % 16)) & 1 == 1 {
                            inbox.replies.push(replies[0].clone());
                        }
                    }
                }
                let _ = server.step(inbox, 60 * round as u64 + 1).expect("a step");
                step = server.step(everybody(), 60 * (round as u64 + 1)).expect("a release");
                let pairs = server.weights().iter().zip(&before);
                sums.push(
                    pairs.map(|(a, b)| f64::from(a - b) * CLIENTS as f64).collect::<Vec<_>>(),
                );
            }
            sums
        };
        let (with, without) = (released(true), released(false));
        let norm = |(a, b): (&Vec<f64>, &Vec<f64>)| {
            a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt()
        };
        let moved: Vec<f64> = with.iter().zip(&without).map(norm).collect();
        assert!(moved.iter().all(|moved| *moved <= 1.0 + 1e-4), "{pattern}: {moved:?}");
        let rounds_moved = moved.iter().filter(|moved| **moved > 1e-4).count() as u64;
        assert!(rounds_moved <= LATE.participations, "{pattern}: {moved:?}");
    }
}

#[test]
fn late_replies_cost_as_many_gaussian_releases_as_a_client_may_make() {
    let mut server = start(late_plan(1.3, 5));
    for round in 0..=5_u64 {
        let _ = server.step(everybody(), 60 * round).expect("a round");
        let spent = server.ledger().expect("a ledger");
        let expected = round.min(LATE.participations);
        assert_eq!(spent.steps().value(), expected);
        assert!(spent.entries().iter().all(|(event, _)| *event == gaussian(1.3)));
    }
    // With a target, noise is found for what rounds cost now, and sampling is worth nothing.
    let plan = builder(targeted(3.0, 0.5, 40, 12), 40).late(LATE).build().expect("a plan");
    let epsilon = plan.epsilon(delta()).expect("a bound").value();
    assert!((2.95..=3.0).contains(&epsilon), "{epsilon}");
    assert!(plan.statement(delta()).expect("words").contains("sampling counts for"));
}

/// Who owes a reply, and how often a client has contributed, survives.
#[test]
fn late_replies_survive_a_restart() {
    let mut server = start(late_plan(0.0, 6));
    let first = server.step(everybody(), 0).expect("a round");
    let owed = answers(&first);
    let state = server.step(everybody(), 60).expect("a release").state.expect("a state");
    let released = |mut server: Server| {
        let replies = vec![owed[2].clone()];
        let _ = server.step(Inbox { replies, ..everybody() }, 61).expect("a step");
        let _ = server.step(everybody(), 120).expect("a release");
        server.weights().to_vec()
    };
    let resumed = Server::resume(late_plan(0.0, 6), &state, SEED).expect("its own");
    let end = released(resumed);
    assert!(end.iter().any(|weight| *weight != 0.0));
    assert_eq!(end, released(server));
}

#[test]
fn rounds_that_do_not_fit_are_refused() {
    let fits = || builder(noised(1.0, 4), CLIENTS);
    for schedule in [
        Schedule::Public(vec![1.0; 3]),
        Schedule::Public(vec![1.0, 1.0, 0.0, 1.0]),
        // Without a target there is no budget.
        Schedule::Adaptive(AdaptiveNoise { first: 1.0, decay: 0.9, least: 0.1, signal: 0.1 }),
    ] {
        assert!(fits().schedule(schedule).build().is_err());
    }
    for late in [
        Late { rounds: 0, ..LATE },
        Late { weight: 0.0, ..LATE },
        Late { weight: 1.1, ..LATE },
        Late { weight: f64::NAN, ..LATE },
        Late { participations: 0, ..LATE },
    ] {
        assert!(fits().late(late).build().is_err(), "{late:?}");
    }
    let tier = |clients: std::ops::Range<usize>, norm: f64| Tier {
        clients: clients.map(client).collect(),
        sampling_rate: 1.0,
        clipping_norm: norm,
    };
    assert!(fits().tiers(vec![tier(0..3, 1.0), tier(3..6, 0.5)]).build().is_ok());
    for tiers in [
        vec![tier(0..5, 1.0)],
        vec![tier(0..4, 1.0), tier(3..6, 1.0)],
        vec![tier(0..7, 1.0)],
        vec![tier(0..3, 1.0), tier(3..6, 1.5)],
        vec![tier(0..3, 1.0), tier(3..6, 0.0)],
    ] {
        assert!(fits().tiers(tiers).build().is_err());
    }
    let adaptive = Clipping::adaptive(0.7, 0.5, 0.2, 1.0).expect("valid");
    let privacy = super::privacy(adaptive, 0.8, CLIENTS);
    let schedule = Schedule::Public(vec![1.0; super::ROUNDS as usize]);
    assert!(builder(privacy.clone(), CLIENTS).schedule(schedule).build().is_err());
    assert!(builder(privacy.clone(), CLIENTS).tiers(vec![tier(0..6, 0.5)]).build().is_err());
    // The count that adapts the norm sees silent clients in every round, however rarely they may contribute.
    assert!(builder(privacy, CLIENTS).late(LATE).build().is_err());
    assert!(builder(noised(1.0, 1_000_001), CLIENTS).build().is_err());
    assert!(fits().tiers(vec![tier(0..3, 1.0), tier(3..6, 5e-324)]).build().is_err());
}
