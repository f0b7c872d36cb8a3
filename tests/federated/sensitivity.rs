//! T1: one client more or less moves the sum of a round by at most the plan's sensitivity.

use burn_dp::federated::{
    Client, ClientId, Encoding, FederatedPlan, Manifest, Reply, RunId, Training,
};
use burn_dp::privacy::Clipping;
use proptest::prelude::*;

use super::{CLIENTS, answer, client, everybody, flat, plan, start};

/// What clients make of these updates in the first round; nothing, where theirs cannot be sent.
fn replies(plan: FederatedPlan, updates: Vec<Vec<f32>>) -> Vec<Option<Vec<u8>>> {
    let opened = start(plan).step(everybody(), 0).expect("a round");
    let reply = |((_, request), update): (&(ClientId, Vec<u8>), Vec<f32>)| {
        let answer = Client::new().answer(request, |_| Ok::<_, burn_dp::Error>(update));
        answer.ok().map(|answer| answer.reply)
    };
    opened.send.iter().zip(updates).map(reply).collect()
}

/// The noiseless mean of the first round.
fn mean(plan: FederatedPlan, replies: &[Option<Vec<u8>>]) -> Vec<f32> {
    let mut server = start(plan);
    let opened = server.step(everybody(), 0).expect("a round");
    let mut inbox = everybody();
    for ((to, _), reply) in opened.send.into_iter().zip(replies) {
        match reply {
            Some(bytes) => inbox.replies.push((to, bytes.clone())),
            None => inbox.failed.push(to),
        }
    }
    assert_eq!(server.step(inbox, 1).expect("a release").closed, 1);
    server.weights().to_vec()
}

fn distance(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum::<f64>().sqrt()
}

fn clippings() -> Vec<Clipping> {
    let groups = vec![("head.weight", 0.5), ("head.bias", 0.25)];
    vec![
        flat(0.7),
        Clipping::automatic(0.7, 0.01).expect("valid"),
        Clipping::per_group(groups).expect("valid"),
        Clipping::adaptive(0.7, 0.5, 0.2, 1.0).expect("valid"),
    ]
}

const ENCODINGS: [Encoding; 4] = [
    Encoding::Dense,
    Encoding::RandomK { keep: 5 },
    Encoding::TopK { keep: 5 },
    Encoding::Quantized { bits: 2 },
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn one_client_moves_the_sum_by_at_most_the_sensitivity(
        updates in prop::collection::vec(prop::collection::vec(-2.0_f32..2.0, 16), CLIENTS),
        scale in -3.0..30.0_f32, rule in 0..4_usize, encoding in prop::sample::select(&ENCODINGS[..]),
    ) {
        let clipping = &clippings()[rule];
        let plan = plan(clipping.clone(), 0.0, encoding);
        let mut updates = updates;
        // The last one as loud as it likes.
        updates.iter_mut().last().expect("a client").iter_mut().for_each(|x| *x *= 10_f32.powf(scale));
        // Encodings may draw, so both worlds get the same bytes.
        let with = replies(plan.clone(), updates);
        let mut without = with.clone();
        *without.last_mut().expect("a client") = None;
        let bound = plan.sensitivity(&clipping.initial_state()).expect("the server adds noise");
        let moved = distance(&mean(plan.clone(), &with), &mean(plan, &without));
        // What is released is in single precision, in both worlds.
        let rounding = 4.0 * f64::from(f32::EPSILON) * CLIENTS as f64 * bound;
        prop_assert!(moved * CLIENTS as f64 <= bound + rounding, "{} and {bound}", moved * CLIENTS as f64);
    }
}

#[test]
fn an_unusable_reply_counts_as_one_that_never_came() {
    let sound = |server: &mut burn_dp::federated::Server| {
        let opened = server.step(everybody(), 0).expect("a round");
        let mut inbox = everybody();
        for (to, request) in &opened.send {
            inbox.replies.push((to.clone(), answer(to, request)));
        }
        inbox
    };
    let released = |spoil: &dyn Fn(&mut Vec<u8>)| {
        let mut server = start(plan(flat(1.0), 0.5, Encoding::Dense));
        let mut inbox = sound(&mut server);
        spoil(&mut inbox.replies[2].1);
        let step = server.step(inbox, 1).expect("a release");
        (server.weights().to_vec(), step.refused.len())
    };
    let absent = {
        let mut server = start(plan(flat(1.0), 0.5, Encoding::Dense));
        let mut inbox = sound(&mut server);
        inbox.failed.push(inbox.replies.remove(2).0);
        let _ = server.step(inbox, 1).expect("a release");
        server.weights().to_vec()
    };
    let other_run = {
        let mut server = start(plan(flat(2.0), 0.5, Encoding::Dense));
        let opened = server.step(everybody(), 0).expect("a round");
        answer(&client(2), &opened.send[2].1)
    };
    type Spoil<'s> = &'s dyn Fn(&mut Vec<u8>);
    let spoils: [Spoil<'_>; 6] = [
        &|bytes| bytes.truncate(bytes.len() / 2),
        &|bytes| bytes.clear(),
        &|bytes| bytes[40] ^= 1,
        &|bytes| *bytes = vec![0; 1 << 24],
        &|bytes| bytes.push(0),
        &|bytes| bytes.clone_from(&other_run),
    ];
    for (index, spoil) in spoils.iter().enumerate() {
        let (weights, refused) = released(spoil);
        assert_eq!(refused, 1, "spoil {index}");
        assert_eq!(weights, absent, "spoil {index}");
    }
    assert!(Reply::from_bytes(&other_run).is_ok());
    assert_ne!(released(&|_| ()).0, absent);
}

/// Noise goes on once, and the divisor is the expected cohort, whoever answers.
#[test]
fn noise_has_its_size_and_the_divisor_is_public_whoever_answers() {
    let (many, z, norm) = (40_000, 0.8, 2.0);
    for answering in [0, CLIENTS] {
        let manifest = Manifest::new(vec![("w".into(), vec![many])], [0; 32]).expect("one");
        let (run, clients) = (RunId::new("r").expect("a name"), (0..CLIENTS).map(client).collect());
        let privacy = super::privacy(flat(norm), z, CLIENTS);
        let plan = FederatedPlan::builder(run, manifest, clients, privacy).build().expect("a plan");
        let mut server = start(plan);
        let opened = server.step(everybody(), 0).expect("a round");
        let mut inbox = everybody();
        for (index, (to, request)) in opened.send.into_iter().enumerate() {
            if index < answering {
                // All of it in the first number, and far too long.
                let train = |_: &Training<'_>| {
                    let first = std::iter::once(100.0);
                    let rest = std::iter::repeat_n(0.0, many - 1);
                    Ok::<Vec<f32>, burn_dp::Error>(first.chain(rest).collect())
                };
                let answer = Client::new().answer(&request, train).expect("an answer");
                inbox.replies.push((to, answer.reply));
            } else {
                inbox.failed.push(to);
            }
        }
        assert_eq!(server.step(inbox, 1).expect("a release").closed, 1);
        let std = z * norm / CLIENTS as f64;
        let noise = &server.weights()[1..];
        let squares: f64 = noise.iter().map(|x| f64::from(*x).powi(2)).sum();
        let found = (squares / noise.len() as f64).sqrt();
        // Four standard deviations of the estimate are 0.014.
        assert!((found / std - 1.0).abs() < 0.014, "{found} and {std}");
        let sum = answering as f64 * norm / CLIENTS as f64;
        assert!((f64::from(server.weights()[0]) - sum).abs() < 5.0 * std);
    }
}
