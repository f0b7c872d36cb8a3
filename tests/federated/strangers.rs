//! Bytes of strangers are read or refused, and never more.

use burn_dp::federated::{Client, Encoding, Reply, Request, Server};
use proptest::prelude::*;

use super::{SEED, answer, everybody, flat, plan, start};

fn sound() -> [Vec<u8>; 4] {
    let mut server = start(plan(flat(1.0), 0.7, Encoding::TopK { keep: 3 }));
    let step = server.step(everybody(), 0).expect("a round");
    let (to, request) = step.send[0].clone();
    let reply = answer(&to, &request);
    let mut known = Client::new();
    let state = known.answer(&request, |training| super::trained(&to, training));
    [
        request,
        reply,
        step.state.expect("a state"),
        state.expect("an answer").state.expect("a state"),
    ]
}

fn read_all(bytes: &[u8]) {
    _ = Request::from_bytes(bytes);
    _ = Reply::from_bytes(bytes);
    _ = Client::resume(bytes);
    _ = Server::resume(plan(flat(1.0), 0.7, Encoding::TopK { keep: 3 }), bytes, SEED);
    let mut server = start(plan(flat(1.0), 0.7, Encoding::TopK { keep: 3 }));
    let opened = server.step(everybody(), 0).expect("a round");
    let mut inbox = everybody();
    inbox.replies = opened.send.iter().map(|(to, _)| (to.clone(), bytes.to_vec())).collect();
    assert_eq!(server.step(inbox, 1).expect("a release").closed, 1);
    assert!(server.weights().iter().all(|weight| weight.is_finite()));
}

/// With the length and checksum that its body has.
pub fn resealed(mut bytes: Vec<u8>) -> Vec<u8> {
    if bytes.len() >= 24 {
        let body = bytes.split_off(24);
        bytes[12..16].copy_from_slice(&crc32(&body).to_le_bytes());
        bytes[16..24].copy_from_slice(&(body.len() as u64).to_le_bytes());
        bytes.extend(body);
    }
    bytes
}

fn crc32(body: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
        })
    };
    !body.iter().fold(u32::MAX, step)
}

proptest! {
    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        read_all(&bytes);
    }

    #[test]
    fn spoiled_bytes_with_a_right_checksum(
        which in 0..4_usize,
        spoils in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = sound()[which].clone();
        for (place, value) in spoils {
            let place = place.index(bytes.len());
            bytes[place] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        read_all(&resealed(bytes));
    }
}

#[test]
fn a_checksum_made_here_is_that_of_the_files() {
    for bytes in sound() {
        assert_eq!(resealed(bytes.clone()), bytes);
    }
}
