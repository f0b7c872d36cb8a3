//! A server or client that is killed anywhere goes on, pays each round once, and never releases two results of one round.

use std::collections::BTreeMap;

use burn_dp::federated::{Client, ClientId, Encoding, Server};

use super::{CLIENTS, ROUNDS, SEED, client, everybody, flat, plan, trained};

/// The disks of all, and what an observer has seen: the weights of each round that were sent.
#[derive(Default)]
struct World {
    server: Option<Vec<u8>>,
    clients: BTreeMap<ClientId, Vec<u8>>,
    seen: BTreeMap<u64, Vec<f32>>,
}

/// One life of the server's process, which ends before its `lives`-th durable write, before it sends after the write, or after
/// sending; `None` where the run is over.
fn life(world: &mut World, kill_at: usize, point: u8) -> Option<()> {
    let plan = || plan(flat(1.0), 0.7, Encoding::Dense);
    let mut server = match &world.server {
        Some(state) => Server::resume(plan(), state, SEED).expect("a state"),
        None => Server::start(plan(), vec![0.0; 16], SEED).expect("weights"),
    };
    let mut inbox = everybody();
    let mut writes = 0;
    loop {
        let step = server.step(std::mem::take(&mut inbox), 0).expect("a step");
        if let Some(state) = step.state {
            if writes == kill_at && point == 0 {
                return Some(());
            }
            world.server = Some(state);
            if writes == kill_at && point == 1 {
                return Some(());
            }
            writes += 1;
        }
        if step.done {
            return None;
        }
        for (to, request) in step.send {
            let told = burn_dp::federated::Request::from_bytes(&request).expect("a request");
            let before = world.seen.insert(told.round, told.weights.clone());
            assert!(before.is_none_or(|before| before == told.weights), "two releases of a round");
            let known = world.clients.get(&to).map(|state| Client::resume(state).expect("a state"));
            let mut known = known.unwrap_or_default();
            let answer =
                known.answer(&request, |training| trained(&to, training)).expect("an answer");
            if let Some(state) = answer.state {
                world.clients.insert(to.clone(), state);
            }
            inbox.replies.push((to, answer.reply));
        }
        if writes == kill_at + 1 && point == 2 {
            return Some(());
        }
        inbox.online = everybody().online;
    }
}

#[test]
fn a_run_that_is_killed_at_any_point_ends_as_if_it_had_not_been() {
    let mut whole = World::default();
    assert!(life(&mut whole, usize::MAX - 1, 0).is_none());
    let end = |world: &World| {
        let state = world.server.as_ref().expect("a state");
        let plan = plan(flat(1.0), 0.7, Encoding::Dense);
        Server::resume(plan, state, SEED).expect("a state")
    };
    let expected = end(&whole);
    for kill_at in 0..=ROUNDS as usize {
        for point in 0..3 {
            let mut world = World::default();
            let _ = life(&mut world, kill_at, point);
            while life(&mut world, usize::MAX - 1, 0).is_some() {}
            let server = end(&world);
            assert_eq!(server.weights(), expected.weights(), "killed at {kill_at}, point {point}");
            assert_eq!(server.ledger().ok(), expected.ledger().ok());
            assert_eq!(server.ledger().expect("a ledger").steps().value(), ROUNDS);
            let run = server.plan().terms().run().clone();
            for index in 0..CLIENTS {
                let known = Client::resume(&world.clients[&client(index)]).expect("a state");
                assert_eq!(known.answered(&run), ROUNDS, "each round once");
            }
        }
    }
}

#[test]
fn a_server_killed_in_each_of_its_lives_still_ends() {
    let mut world = World::default();
    let mut lives = 0;
    for point in [1, 2].into_iter().cycle() {
        lives += 1;
        if life(&mut world, 0, point).is_none() {
            break;
        }
        assert!(lives < 100, "it makes progress");
    }
    assert!(lives > ROUNDS as usize);
}
