//! Nodes that protect themselves: what a policy grants, what a budget pays for, and that no server changes that.

use burn_dp::error::{Error, FederatedError};
use burn_dp::federated::{
    Answer, Client, ClientId, DataSetId, FederatedPlan, NodePolicy, Proposal, RunId, Server,
    Trained, Training, Unit, Weighting, simulate_nodes,
};
use burn_dp::privacy::{Adjacency, Delta, DpEvent, Ledger, PrivacyPlan, Progress, Steps};
use burn_dp::seed::SeedSource;

use super::{CLIENTS, SEED, client, everybody, flat, manifest};

const ROUNDS: u64 = 5;
const LOCAL_STEPS: u64 = 4;

fn proposal(rate: f64, noise_multiplier: f64) -> Proposal {
    let plan = PrivacyPlan::builder()
        .sampling_rate(rate)
        .expected_batch_size(1.0)
        .steps(ROUNDS * LOCAL_STEPS)
        .clipping(flat(1.0))
        .noise_multiplier(noise_multiplier)
        .build()
        .expect("a plan");
    Proposal::new(plan, ROUNDS).expect("rounds that divide the steps")
}

fn local(noise_multiplier: f64, rounds: u64) -> Proposal {
    let plan = PrivacyPlan::builder()
        .sampling_rate(1.0)
        .expected_batch_size(1.0)
        .steps(rounds)
        .clipping(flat(0.5))
        .adjacency(Adjacency::ReplaceOne)
        .noise_multiplier(noise_multiplier)
        .build()
        .expect("a plan");
    Proposal::new(plan, rounds).expect("a step a round")
}

fn plan(run: &str, unit: Unit) -> FederatedPlan {
    let population = (0..CLIENTS).map(client).collect();
    let run = RunId::new(run).expect("a name");
    FederatedPlan::builder(run, manifest(), population, unit).build().expect("a plan")
}

fn policy(epsilon: f64, more: &str) -> NodePolicy {
    let text =
        format!("data_set = \"ward\"\nrecords = 500\nepsilon = {epsilon}\ndelta = 1e-5\n{more}");
    NodePolicy::from_toml(&text).expect("a policy")
}

/// Training that takes all steps of its plan, as an optimizer's ledger would say.
fn trained(training: &Training) -> Result<Trained, Error> {
    let moved = training.request.weights.iter().map(|weight| weight + 0.25).collect();
    let trained = Trained::new(moved);
    let Some(plan) = &training.privacy else { return Ok(trained) };
    let ledger = plan.events(Progress { selected: false, steps: plan.steps() })?;
    Ok(trained.with_ledger(ledger))
}

/// The requests of all rounds of a run, as a server would send them that nobody answers.
fn requests(plan: &FederatedPlan) -> Vec<Vec<u8>> {
    let weights = vec![0.0; plan.terms().manifest().len()];
    let mut server = Server::start(plan.clone(), weights, SEED).expect("a server");
    let mut now = 0;
    let mut all = Vec::new();
    while all.len() < plan.terms().rounds() as usize {
        let step = server.step(everybody(), now).expect("a round");
        all.push(step.send.into_iter().next().expect("everybody is asked").1);
        now += plan.deadline();
    }
    all
}

fn is_spent(answer: &Answer) -> bool {
    matches!(answer.refused, Some(Error::Federated(FederatedError::BudgetSpent { .. })))
}

#[test]
fn a_node_grants_the_stricter_of_proposal_and_policy() {
    for (rate, noise, more, expected) in [
        (0.1, 1.0, "", (0.1, 1.0)),
        (0.1, 1.0, "largest_sampling_rate = 0.02\nsmallest_noise_multiplier = 0.5", (0.02, 1.0)),
        (0.1, 1.0, "largest_sampling_rate = 0.5\nsmallest_noise_multiplier = 2.0", (0.1, 2.0)),
    ] {
        let plan = plan("run", Unit::Record(proposal(rate, noise)));
        let mut known = Client::new().with_policy(policy(50.0, more));
        let mut granted = None;
        let answer = known
            .answer(&requests(&plan)[0], |training| {
                granted = training.privacy.clone();
                trained(training)
            })
            .expect("an answer");
        assert!(answer.refused.is_none());
        let granted = granted.expect("a plan");
        assert_eq!((granted.sampling_rate().value(), granted.noise_multiplier().value()), expected);
        assert_eq!((granted.steps().value(), granted.divisor()), (LOCAL_STEPS, expected.0 * 500.0));
        let spent = known.ledger(&DataSetId::new("ward").expect("a name")).expect("a ledger");
        assert_eq!(
            *spent,
            granted.events(Progress { selected: false, steps: granted.steps() }).expect("few")
        );
    }
}

/// T5: a filter grants each round. Restarts, new runs, and servers that lie about rounds change nothing.
#[test]
fn a_spent_budget_refuses_whatever_a_server_says() {
    const BUDGET: f64 = 3.5;
    let first = plan("first", Unit::Record(proposal(0.1, 1.0)));
    let mut known = Client::new().with_policy(policy(BUDGET, ""));
    let mut state = None;
    let mut granted = 0;
    for request in requests(&first) {
        let answer = known.answer(&request, trained).expect("an answer");
        if is_spent(&answer) {
            assert!(answer.state.is_none(), "a refusal changes nothing");
            break;
        }
        (state, granted) = (answer.state, granted + 1);
    }
    assert!((1..ROUNDS).contains(&granted), "{granted} rounds");
    let ward = DataSetId::new("ward").expect("a name");
    let spent = known.ledger(&ward).expect("a ledger");
    assert_eq!(spent.steps().value(), granted * LOCAL_STEPS);
    let epsilon = spent.epsilon(Delta::new(1e-5).expect("a delta"), Adjacency::AddRemove);
    assert!(epsilon.expect("a bound").value() <= BUDGET);

    let told = known.budget().expect("words");
    assert!(told.starts_with(&format!("ward: {} releases, ", granted * LOCAL_STEPS)), "{told}");
    assert_eq!(Client::new().budget().expect("words"), "nothing was spent");

    // After a restart; in another run; in one that claims a single round; for everything that the node holds.
    let state = state.expect("a state");
    let restarted = || Client::resume(&state).expect("its own").with_policy(policy(BUDGET, ""));
    let one_round = Proposal::new(proposal(0.1, 1.0).plan().clone(), 1).expect("all steps in one");
    for unit in
        [Unit::Record(proposal(0.1, 1.0)), Unit::Record(one_round), Unit::Local(local(1.0, 3))]
    {
        let request = &requests(&plan("second", unit))[0];
        let answer = restarted().answer(request, trained).expect("an answer");
        assert!(is_spent(&answer) && answer.state.is_none());
    }
    // What costs next to nothing still fits.
    let cheap = plan("third", Unit::Record(proposal(0.001, 20.0)));
    assert!(
        restarted().answer(&requests(&cheap)[0], trained).expect("an answer").refused.is_none()
    );
    // Another data set has a budget of its own.
    let other = policy(BUDGET, "").data_set.as_str().replace("ward", "other");
    let mut other_set = policy(BUDGET, "");
    other_set.data_set = DataSetId::new(other).expect("a name");
    let mut known = Client::resume(&state).expect("its own").with_policy(other_set);
    assert!(
        known
            .answer(&requests(&plan("4", Unit::Record(proposal(0.1, 1.0))))[0], trained)
            .expect("an answer")
            .refused
            .is_none()
    );
}

/// How many records a node has is about each of them: what it counts by is the policy's public number.
#[test]
fn a_node_counts_by_a_public_number_of_records() {
    let moved = |cap: u64, claimed: u64| {
        let run = RunId::new("run").expect("a name");
        let unit = Unit::Record(proposal(0.1, 1.0));
        let plan = FederatedPlan::builder(run, manifest(), vec![client(0)], unit)
            .weighting(Weighting::Capped { cap })
            .build()
            .expect("a plan");
        let policies = |_: &ClientId| Some(policy(90.0, ""));
        let train = |_: &ClientId, training: &Training| Ok(trained(training)?.of_examples(claimed));
        let ended = simulate_nodes(plan, vec![0.0; 16], SEED, policies, train, |_| ());
        ended.expect("a run").weights[0]
    };
    let full = 0.25 * ROUNDS as f32;
    assert!((moved(1000, 1) - full / 2.0).abs() < 1e-6 && moved(1000, 1) == moved(1000, 999));
    assert!((moved(100, 1) - full).abs() < 1e-6);
}

#[test]
fn what_was_spent_keeps_its_adjacency() {
    let plan = plan("run", Unit::Record(proposal(0.1, 1.0)));
    let requests = requests(&plan);
    let first = Client::new().with_policy(policy(50.0, "")).answer(&requests[0], trained);
    let state = first.expect("an answer").state.expect("a state");
    let other = policy(50.0, "adjacency = \"replace-one\"");
    let mut known = Client::resume(&state).expect("its own").with_policy(other);
    let answer = known.answer(&requests[1], trained).expect("an answer");
    assert!(matches!(answer.refused, Some(Error::Setting(_))), "{:?}", answer.refused);
}

#[test]
fn asked_again_a_node_repeats_its_reply_and_pays_once() {
    let plan = plan("run", Unit::Record(proposal(0.1, 1.0)));
    let request = &requests(&plan)[0];
    let mut known = Client::new().with_policy(policy(50.0, ""));
    let first = known.answer(request, trained).expect("an answer");
    let state = first.state.expect("a state");
    let mut resumed = Client::resume(&state).expect("its own").with_policy(policy(50.0, ""));
    let never = |_: &Training| -> Result<Trained, Error> { panic!("trained twice") };
    let again = resumed.answer(request, never).expect("the same");
    assert_eq!((again.reply, again.state), (first.reply, None));
    assert_eq!(resumed, known);
}

#[test]
fn training_that_was_not_as_granted_is_neither_sent_nor_paid_for() {
    let plan = plan("run", Unit::Record(proposal(0.1, 1.0)));
    let request = &requests(&plan)[0];
    type Ledgers<'l> = &'l dyn Fn(&PrivacyPlan) -> Option<Ledger>;
    let events = |plan: &PrivacyPlan, steps: u64| {
        let steps = Steps::new(steps).expect("a number");
        plan.events(Progress { selected: false, steps }).expect("few")
    };
    let wrong: [Ledgers<'_>; 3] = [&|_| None, &|plan| Some(events(plan, LOCAL_STEPS + 1)), &|_| {
        Some(events(proposal(0.1, 0.9).plan(), LOCAL_STEPS))
    }];
    for ledger in wrong {
        let mut known = Client::new().with_policy(policy(50.0, ""));
        let before = known.clone();
        let answer = known.answer(request, |training| {
            let mut trained = Trained::new(training.request.weights.clone());
            if let Some(ledger) = ledger(training.privacy.as_ref().expect("a plan")) {
                trained = trained.with_ledger(ledger);
            }
            Ok::<_, Error>(trained)
        });
        assert!(matches!(answer, Err(Error::Federated(FederatedError::NotAsGranted))));
        assert_eq!(known, before);
    }
    // Fewer steps are granted too; all of them are paid for.
    let mut known = Client::new().with_policy(policy(50.0, ""));
    let few = known.answer(request, |training| {
        let ledger = events(training.privacy.as_ref().expect("a plan"), 1);
        Ok::<_, Error>(Trained::new(training.request.weights.clone()).with_ledger(ledger))
    });
    assert!(few.expect("an answer").refused.is_none());
    let spent = known.ledger(&DataSetId::new("ward").expect("a name")).expect("a ledger");
    assert_eq!(spent.steps().value(), LOCAL_STEPS);
}

#[test]
fn a_node_answers_only_what_its_operator_allows() {
    let record = || plan("run", Unit::Record(proposal(0.1, 1.0)));
    let central = || super::plan(flat(1.0), 0.7, burn_dp::federated::Encoding::Dense);
    let refused = |plan: &FederatedPlan, policy: Option<NodePolicy>| {
        let mut known = policy.into_iter().fold(Client::new(), Client::with_policy);
        let answer = known.answer(&requests(plan)[0], trained).expect("an answer");
        assert_eq!(known.answered(plan.terms().run()), u64::from(answer.refused.is_none()));
        answer.refused
    };
    let is = |refused: Option<Error>, expected: &FederatedError| {
        let text = refused.map(|error| error.to_string());
        assert_eq!(text, Some(expected.to_string()));
    };
    is(refused(&record(), None), &FederatedError::NoPolicy);
    let others = || policy(9.0, "runs = [\"another\"]");
    is(refused(&record(), Some(others())), &FederatedError::RunNotAllowed { run: "run".into() });
    // A server cannot talk a node with a budget into sending what has no noise.
    is(refused(&central(), Some(policy(9.0, ""))), &FederatedError::ServerNotTrusted);
    assert!(refused(&central(), Some(policy(9.0, "trust_server = true"))).is_none());
    assert!(refused(&central(), None).is_none());
    // Nor one that has lost its policy.
    let mut known = Client::new().with_policy(policy(50.0, ""));
    let state = known.answer(&requests(&record())[0], trained).expect("an answer").state;
    let mut lost = Client::resume(&state.expect("a state")).expect("its own");
    let answer = lost.answer(&requests(&central())[0], trained).expect("an answer");
    is(answer.refused, &FederatedError::NoPolicy);
    assert!(refused(&record(), Some(policy(9.0, "runs = [\"run\", \"another\"]"))).is_none());
}

/// T2: being asked rarely amplifies nothing at a client, which knows that it was asked.
#[test]
fn participation_makes_nothing_cheaper() {
    for (unit, rarely) in [
        (proposal(0.1, 1.0), Unit::Record as fn(Proposal) -> Unit),
        (local(1.0, ROUNDS), Unit::Local as fn(Proposal) -> Unit),
    ] {
        let cost = |proposal: Proposal| {
            let mut known = Client::new().with_policy(policy(80.0, ""));
            let population = vec![client(0)];
            let run = RunId::new("run").expect("a name");
            let plan = FederatedPlan::builder(run, manifest(), population, rarely(proposal));
            let plan = plan.build().expect("a plan");
            let weights = vec![0.0; 16];
            let mut now = 0;
            let mut server = Server::start(plan.clone(), weights, SEED).expect("a server");
            for _ in 0..ROUNDS {
                for (_, request) in server.step(everybody(), now).expect("a round").send {
                    let answer = known.answer(&request, trained).expect("an answer");
                    assert!(answer.refused.is_none());
                }
                now += plan.deadline();
            }
            let spent = known.ledger(&DataSetId::new("ward").expect("a name")).cloned();
            (known.answered(plan.terms().run()), spent.unwrap_or_default())
        };
        let (all, always) = cost(unit.clone());
        let (some, sometimes) = cost(unit.participation(0.5).expect("a rate"));
        assert!(all == ROUNDS && (1..ROUNDS).contains(&some), "{some}");
        assert_eq!(always.entries()[0].0, sometimes.entries()[0].0);
        assert_eq!(always.steps().value() / all, sometimes.steps().value() / some);
    }
}

/// T9: a record is at one client, and no other client's messages depend on it, so one client's budget is what it costs.
#[test]
fn a_record_moves_only_the_messages_of_its_client() {
    let messages = |record: f32| {
        let mut server =
            Server::start(plan("run", Unit::Record(proposal(0.1, 1.0))), vec![0.0; 16], SEED)
                .expect("a server");
        let requests = server.step(everybody(), 0).expect("a round").send;
        let reply = |(index, (_, request)): (usize, (_, Vec<u8>))| {
            let mut known = Client::new().with_policy(policy(9.0, ""));
            let answer = known.answer(&request, |training| {
                let ledger = training.privacy.as_ref().expect("a plan");
                let ledger = ledger.events(Progress { selected: false, steps: ledger.steps() })?;
                let own = if index == 2 { record } else { 1.0 };
                Ok::<_, Error>(Trained::new(vec![own; 16]).with_ledger(ledger))
            });
            answer.expect("an answer").reply
        };
        requests.into_iter().enumerate().map(reply).collect::<Vec<_>>()
    };
    let (with, without) = (messages(3.0), messages(-3.0));
    for (index, (with, without)) in with.iter().zip(&without).enumerate() {
        assert_eq!(with == without, index != 2, "client {index}");
    }
}

#[test]
fn a_server_takes_the_mean_of_those_who_answer() {
    let generous = |of: &ClientId| {
        // One of them has no budget at all, and one no policy.
        match of.as_str() {
            "hospital-1" => Some(policy(0.05, "")),
            "hospital-2" => None,
            _ => Some(policy(60.0, "")),
        }
    };
    let plan = plan("run", Unit::Record(proposal(0.1, 1.0)));
    let train = |_: &ClientId, training: &Training| trained(training);
    let ended = simulate_nodes(plan, vec![0.0; 16], SEED, generous, train, |_| ()).expect("a run");
    assert!(ended.weights.iter().all(|weight| (weight - 0.25 * ROUNDS as f32).abs() < 1e-6));
    assert_eq!(ended.ledger, Ledger::new());
    let ward = DataSetId::new("ward").expect("a name");
    let spent =
        |index: usize| ended.clients[&client(index)].ledger(&ward).map(|l| l.steps().value());
    assert_eq!((spent(0), spent(1), spent(2)), (Some(ROUNDS * LOCAL_STEPS), None, None));
}

/// Local privacy: noise is on before anything leaves, its size is z times the norm, and one contribution moves it by two norms.
#[test]
fn local_noise_has_its_size_and_its_price() {
    let (many, z, norm) = (30_000, 1.5, 0.5);
    let manifest =
        burn_dp::federated::Manifest::new(vec![("w".into(), vec![many])], [0; 32]).expect("one");
    let run = RunId::new("run").expect("a name");
    let plan = FederatedPlan::builder(run, manifest, vec![client(0)], Unit::Local(local(z, 1)));
    let train = |_: &ClientId, _: &Training| {
        let first = std::iter::once(100.0);
        Ok::<Vec<f32>, Error>(first.chain(std::iter::repeat_n(0.0, many - 1)).collect())
    };
    let os = SeedSource::OperatingSystem;
    let policies = |_: &ClientId| Some(policy(60.0, ""));
    let ended =
        simulate_nodes(plan.build().expect("a plan"), vec![0.0; many], os, policies, train, |_| ())
            .expect("a run");
    let squares: f64 = ended.weights[1..].iter().map(|x| f64::from(*x).powi(2)).sum();
    let found = (squares / (many - 1) as f64).sqrt();
    // Five standard deviations of the estimate are 0.02.
    assert!((found / (z * norm) - 1.0).abs() < 0.02, "{found}");
    assert!((f64::from(ended.weights[0]) - norm).abs() < 6.0 * z * norm);
    let ward = DataSetId::new("ward").expect("a name");
    let spent = ended.clients[&client(0)].ledger(&ward).expect("a ledger");
    // Under add/remove of a record the whole contribution may change: twice the norm, so half the multiplier.
    let [(DpEvent::Gaussian { noise_multiplier }, 1)] = spent.entries() else {
        panic!("{spent:?}")
    };
    assert!((noise_multiplier.value() / (z / 2.0) - 1.0).abs() < 1e-9);
    assert!(noise_multiplier.value() <= z / 2.0);
}

#[test]
fn proposals_that_do_not_fit_are_refused() {
    let steps = |steps: u64| {
        PrivacyPlan::builder()
            .sampling_rate(0.5)
            .expected_batch_size(1.0)
            .steps(steps)
            .clipping(flat(1.0))
            .noise_multiplier(1.0)
            .build()
            .expect("a plan")
    };
    assert!(Proposal::new(steps(10), 5).is_ok());
    assert!(Proposal::new(steps(10), 0).is_err() && Proposal::new(steps(10), 3).is_err());
    // Local: sampled, or for add/remove.
    let build = |unit: Unit| {
        let run = RunId::new("run").expect("a name");
        FederatedPlan::builder(run, manifest(), vec![client(0)], unit).build()
    };
    assert!(build(Unit::Local(Proposal::new(steps(5), 5).expect("a proposal"))).is_err());
    assert!(build(Unit::Local(local(1.0, 3))).is_ok());
    for wrong in
        ["", "epsilon = 1.0", "data_set = \"a b\"\nrecords = 1\nepsilon = 1.0\ndelta = 1e-5"]
    {
        assert!(NodePolicy::from_toml(wrong).is_err());
    }
    let sound = "data_set = \"a\"\nrecords = 10\nepsilon = 1.0\ndelta = 1e-5\n";
    assert!(NodePolicy::from_toml(sound).is_ok());
    for more in
        ["unknown = 1", "epsilon = 2.0", "adjacency = \"other\"", "largest_sampling_rate = 2.0"]
    {
        assert!(NodePolicy::from_toml(&format!("{sound}{more}")).is_err(), "{more}");
    }
    let replace = NodePolicy::from_toml(&format!("{sound}adjacency = \"replace-one\""));
    assert_eq!(Adjacency::from(replace.expect("a policy").adjacency), Adjacency::ReplaceOne);
}
