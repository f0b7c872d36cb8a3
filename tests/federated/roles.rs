//! Who is asked, when a round ends, what a client answers.

use burn_dp::error::{Error, FederatedError};
use burn_dp::federated::{
    Client, ClientId, Encoding, FederatedPlan, Inbox, RunId, Server, ServerOptimizer, simulate,
};
use burn_dp::privacy::{Adjacency, Clipping, Delta, PrivacyPlan};
use burn_dp::seed::SeedSource;

use super::{
    CLIENTS, ROUNDS, SEED, answer, client, everybody, flat, manifest, plan, start, trained,
};

fn another(result: Result<impl std::fmt::Debug, Error>, what: &str) {
    match result {
        Err(Error::Federated(FederatedError::OfAnother { of, .. })) => assert_eq!(of, what),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_round_ends_when_all_have_answered_or_failed_or_at_its_deadline_and_not_by_count() {
    let mut server = start(plan(flat(1.0), 0.7, Encoding::Dense));
    let opened = server.step(everybody(), 100).expect("a round");
    assert_eq!((opened.send.len(), opened.wait, opened.closed), (CLIENTS, 60, 0));
    let reply = |index: usize| (client(index), answer(&client(index), &opened.send[index].1));
    let all_but_one = (1..CLIENTS).map(reply).collect();
    let waiting = server.step(Inbox { replies: all_but_one, ..everybody() }, 159).expect("waits");
    assert_eq!((waiting.closed, waiting.send.len(), waiting.wait), (0, 0, 1));
    assert!(waiting.state.is_none(), "nothing has changed");
    let over = server.step(everybody(), 160).expect("a release");
    assert_eq!((over.closed, over.send.len(), server.round()), (1, CLIENTS, 1));
    let all_failed = Inbox { failed: (0..CLIENTS).map(client).collect(), ..everybody() };
    assert_eq!(server.step(all_failed, 161).expect("a release").closed, 1);
}

/// Otherwise a slow client, which keeps a round open, would decide whether another's second try counts.
#[test]
fn the_first_outcome_of_a_client_in_a_round_is_final() {
    let released = |again: bool| {
        let mut server = start(plan(flat(1.0), 0.7, Encoding::Dense));
        let opened = server.step(everybody(), 0).expect("a round");
        let reply = |index: usize| (client(index), answer(&client(index), &opened.send[index].1));
        let failed = Inbox { failed: vec![client(0)], ..everybody() };
        assert_eq!(server.step(failed, 1).expect("waits").closed, 0);
        if again {
            let late = Inbox { replies: vec![reply(0)], ..everybody() };
            assert_eq!(server.step(late, 2).expect("waits").closed, 0);
        }
        let rest = Inbox { replies: (1..CLIENTS).map(reply).collect(), ..everybody() };
        assert_eq!(server.step(rest, 3).expect("a release").closed, 1);
        server.weights().to_vec()
    };
    assert_eq!(released(false), released(true));
}

#[test]
fn who_was_not_sampled_is_not_heard_and_who_is_offline_is_asked_later() {
    let privacy = PrivacyPlan::builder()
        .sampling_rate(0.5)
        .expected_batch_size(50.0)
        .steps(3)
        .clipping(flat(1.0))
        .noise_multiplier(0.0)
        .build()
        .expect("a plan");
    let population = (0..100).map(client).collect();
    let run = RunId::new("run").expect("a name");
    let plan =
        FederatedPlan::builder(run, manifest(), population, privacy).build().expect("a plan");
    let mut server = start(plan);
    let nobody = server.step(Inbox::default(), 0).expect("a round");
    assert!(nobody.send.is_empty() && nobody.state.is_some());
    let all = Inbox { online: (0..100).map(client).collect(), ..Inbox::default() };
    let asked = server.step(all.clone(), 1).expect("the same round").send;
    assert!((25..75).contains(&asked.len()), "{}", asked.len());
    let (_, request) = &asked[0];
    let stranger = (0..100).map(client).find(|c| asked.iter().all(|(to, _)| to != c)).expect("one");
    let mut inbox = Inbox { replies: vec![(stranger.clone(), answer(&stranger, request))], ..all };
    inbox.failed = asked.iter().map(|(to, _)| to.clone()).collect();
    let step = server.step(inbox, 2).expect("a release");
    assert_eq!((step.closed, step.refused.len()), (1, 0));
    assert!(server.weights().iter().all(|weight| *weight == 0.0));
}

#[test]
fn a_client_repeats_its_reply_and_answers_no_other_plan_and_no_earlier_round() {
    let mut server = start(plan(flat(1.0), 0.7, Encoding::Quantized { bits: 3 }));
    let first = server.step(everybody(), 0).expect("a round").send[0].1.clone();
    let second = server.step(everybody(), 60).expect("a release").send[0].1.clone();
    let mut known = Client::new();
    let mut trainings = 0;
    let mut ask = |known: &mut Client, request: &[u8]| {
        known.answer(request, |training| {
            trainings += 1;
            trained(&client(0), training)
        })
    };
    let once = ask(&mut known, &first).expect("an answer");
    assert!(once.state.is_some());
    let mut resumed = Client::resume(&once.state.expect("a state")).expect("its own");
    assert_eq!(resumed, known);
    let again = ask(&mut resumed, &first).expect("the same");
    assert_eq!((again.reply, again.state), (once.reply, None));
    assert!(ask(&mut known, &second).is_ok());
    let behind = ask(&mut known, &first);
    let expected = FederatedError::RoundBehind { asked: 0, seen: 1 };
    assert_eq!(behind.expect_err("behind").to_string(), expected.to_string());
    let mut other = start(plan(flat(1.0), 0.1, Encoding::Dense));
    another(ask(&mut known, &other.step(everybody(), 0).expect("a round").send[0].1), "plan");
    assert_eq!(trainings, 2);

    let before = known.clone();
    let failed = known.answer(&first, |_| Err::<Vec<f32>, _>("no data today"));
    assert!(failed.is_err());
    let mut fresh = Client::new();
    let failed = fresh
        .answer(&first, |_| Err::<Vec<f32>, _>("no data today"))
        .expect_err("the training failed");
    assert!(failed.to_string().contains("no data today"), "{failed}");
    let nan = fresh.answer(&first, |training| {
        Ok::<_, burn_dp::Error>(vec![f32::NAN; training.request.weights.len()])
    });
    assert!(matches!(nan, Err(Error::Federated(FederatedError::NotFinite))));
    assert_eq!((fresh, known), (Client::new(), before));
}

#[test]
fn a_finished_run_costs_what_its_plan_says_and_asks_nobody() {
    let plan = plan(flat(1.0), 0.7, Encoding::Dense);
    let delta = Delta::new(1e-5).expect("valid");
    let promised = plan.epsilon(delta).expect("a bound");
    let mut rounds = Vec::new();
    let ended = simulate(plan.clone(), vec![0.0; 16], SEED, trained, |report| {
        rounds.push((report.round, report.asked));
        assert!(report.bytes_up > 0 && report.bytes_down > report.bytes_up);
    });
    let ended = ended.expect("a run");
    assert_eq!(ended.ledger.epsilon(delta, Adjacency::AddRemove).expect("a bound"), promised);
    assert_eq!(ended.ledger.steps().value(), ROUNDS);
    assert_eq!(rounds.len() as u64, ROUNDS);
    // The same by hand: the simulator is nothing but the roles.
    let mut server = start(plan);
    let mut step = server.step(everybody(), 0).expect("a round");
    while !step.done {
        let replies = step.send.iter().map(|(to, request)| (to.clone(), answer(to, request)));
        step =
            server.step(Inbox { replies: replies.collect(), ..everybody() }, 0).expect("a round");
    }
    assert_eq!(server.weights(), ended.weights);
    assert_eq!(server.epsilon(delta).expect("a bound"), promised);
    let after = server.step(everybody(), 1_000).expect("over");
    assert!(after.done && after.send.is_empty() && after.state.is_none());
}

#[test]
fn noise_is_fresh_where_the_seed_is_the_systems() {
    let run = || {
        let (plan, system) = (plan(flat(1.0), 0.7, Encoding::Dense), SeedSource::OperatingSystem);
        simulate(plan, vec![0.0; 16], system, trained, |_| ()).expect("a run").weights
    };
    assert_ne!(run(), run());
}

#[test]
fn an_adaptive_norm_follows_the_clients() {
    let clipping = Clipping::adaptive(64.0, 0.5, 0.5, 2.0).expect("valid");
    let plan = plan(clipping, 0.7, Encoding::Dense);
    let mut server = start(plan.clone());
    let mut state = None;
    let mut step = server.step(everybody(), 0).expect("a round");
    while !step.done {
        state = step.state.take().or(state);
        let replies = step.send.iter().map(|(to, request)| (to.clone(), answer(to, request)));
        step =
            server.step(Inbox { replies: replies.collect(), ..everybody() }, 0).expect("a round");
    }
    // All updates are shorter than 64, so the norm falls, and noise is scaled to what it is now.
    assert!(server.clipping().clipping_norm().value() < 40.0, "{:?}", server.clipping());
    let state = step.state.or(state).expect("a state");
    let resumed = Server::resume(plan, &state, SEED).expect("its own");
    assert_eq!((resumed.weights(), resumed.clipping()), (server.weights(), server.clipping()));
}

#[test]
fn plans_that_do_not_fit_are_refused() {
    let privacy = |rate: f64, batch: f64| {
        PrivacyPlan::builder()
            .sampling_rate(rate)
            .expected_batch_size(batch)
            .steps(ROUNDS)
            .clipping(flat(1.0))
            .noise_multiplier(1.0)
            .build()
            .expect("a plan")
    };
    let build = |population: Vec<usize>, privacy: PrivacyPlan| {
        let population = population.into_iter().map(client).collect();
        FederatedPlan::builder(RunId::new("r").expect("a name"), manifest(), population, privacy)
    };
    assert!(build(vec![0, 1, 2, 3], privacy(0.5, 2.0)).build().is_ok());
    for (population, rate, batch) in
        [(vec![0, 1, 2, 2], 0.5, 2.0), (vec![], 0.5, 2.0), (vec![0, 1, 2, 3], 0.5, 4.0)]
    {
        assert!(build(population, privacy(rate, batch)).build().is_err());
    }
    let names = ["a-1", "B-1", "b-1", "c"].map(|name| ClientId::new(name).expect("a name"));
    let run = RunId::new("r").expect("a name");
    let case = FederatedPlan::builder(run, manifest(), names.to_vec(), privacy(0.5, 2.0));
    assert!(case.build().is_err(), "on some disks these are one file");
    let fits = || build(vec![0, 1, 2, 3], privacy(0.5, 2.0));
    for encoding in [
        Encoding::TopK { keep: 0 },
        Encoding::RandomK { keep: 17 },
        Encoding::Quantized { bits: 0 },
        Encoding::Quantized { bits: 9 },
    ] {
        assert!(fits().encoding(encoding).build().is_err(), "{encoding:?}");
    }
    let (learning_rate, betas) = (0.1, [0.9, 1.0]);
    for optimizer in [
        ServerOptimizer::Average { learning_rate: f64::NAN },
        ServerOptimizer::Momentum { learning_rate, momentum: 1.0 },
        ServerOptimizer::Adam { learning_rate, betas, adaptivity: 1e-3 },
        ServerOptimizer::Yogi { learning_rate, betas: [0.9, 0.99], adaptivity: 0.0 },
    ] {
        assert!(fits().optimizer(optimizer).build().is_err(), "{optimizer:?}");
    }
    assert!(["", "a/b", "..", "a b", &"x".repeat(65)].iter().all(|n| RunId::new(*n).is_err()));
}
