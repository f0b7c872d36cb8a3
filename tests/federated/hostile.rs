//! What a hostile client or server can write: it is refused by name, adds nothing, and nobody honest notices.
//!
//! Messages are honest ones with some bytes replaced, under a right checksum.

use burn_dp::error::{Error, FederatedError};
use burn_dp::federated::{Client, Encoding, FederatedPlan, Manifest, RunId, ServerStep, Training};

use super::strangers::resealed;
use super::{CLIENTS, answer, client, everybody, flat, manifest, plan, privacy, start, trained};

/// The place of the hostile client among the others.
const HOSTILE: usize = 2;

/// The update of every client here, number by number: no two alike.
fn update(index: usize) -> f32 {
    0.25 + index as f32 / 64.0
}

fn honest(request: &[u8]) -> Vec<u8> {
    let train = |training: &Training<'_>| {
        let request = training.request;
        let moved = |(index, weight): (usize, &f32)| weight + update(index);
        Ok::<Vec<f32>, Error>(request.weights.iter().enumerate().map(moved).collect())
    };
    Client::new().answer(request, train).expect("an answer").reply
}

/// First rounds under one encoding, whose honest clients all send the same bytes.
struct Rounds {
    encoding: Encoding,
    honest: Vec<u8>,
}

impl Rounds {
    fn under(encoding: Encoding) -> Self {
        Self { encoding, honest: honest(&request(plan(flat(1.0), 0.5, encoding))) }
    }

    /// The weights after a round in which the hostile client sent this, or failed, and what the server says of it.
    fn with(&self, hostile: Option<Vec<u8>>) -> (Vec<f32>, ServerStep) {
        let mut server = start(plan(flat(1.0), 0.5, self.encoding));
        let _ = server.step(everybody(), 0).expect("a round");
        let mut inbox = everybody();
        for index in (0..CLIENTS).filter(|index| *index != HOSTILE) {
            inbox.replies.push((client(index), self.honest.clone()));
        }
        match hostile {
            Some(bytes) => inbox.replies.push((client(HOSTILE), bytes)),
            None => inbox.failed.push(client(HOSTILE)),
        }
        let step = server.step(inbox, 1).expect("a release");
        assert_eq!(step.closed, 1);
        (server.weights().to_vec(), step)
    }

    fn refuse_as_silence(&self, name: &str, bytes: Vec<u8>, expected: Expected) {
        let (weights, step) = self.with(Some(bytes));
        let [(who, Error::Federated(error))] = &step.refused[..] else {
            panic!("{name}: {:?}", step.refused)
        };
        assert_eq!(*who, client(HOSTILE));
        assert!(expected(error), "{name}: {error:?}");
        assert_eq!(weights, self.with(None).0, "{name}");
    }
}

fn request(plan: FederatedPlan) -> Vec<u8> {
    start(plan).step(everybody(), 0).expect("a round").send[HOSTILE].1.clone()
}

/// The one place where `from` is becomes `to`.
fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let places: Vec<usize> =
        (24..=bytes.len() - from.len()).filter(|place| bytes[*place..].starts_with(from)).collect();
    let [place] = places[..] else { panic!("{from:?} is at {places:?}") };
    resealed([&bytes[..place], to, &bytes[place + from.len()..]].concat())
}

fn with_number(bytes: &[u8], from: f32, to: f32) -> Vec<u8> {
    replaced(bytes, &from.to_le_bytes(), &to.to_le_bytes())
}

type Expected = fn(&FederatedError) -> bool;

const UNREADABLE: Expected = |error| matches!(error, FederatedError::Unreadable { .. });
const NOT_FINITE: Expected = |error| matches!(error, FederatedError::NotFinite);
const WRONG_LENGTH: Expected = |error| matches!(error, FederatedError::WrongLength { .. });
const ANOTHER_VERSION: Expected = |error| matches!(error, FederatedError::Version { .. });

#[test]
fn an_honest_reply_is_taken() {
    for encoding in [Encoding::Dense, Encoding::TopK { keep: 3 }, Encoding::Quantized { bits: 4 }] {
        let rounds = Rounds::under(encoding);
        let (weights, step) = rounds.with(Some(rounds.honest.clone()));
        assert!(step.refused.is_empty(), "{:?}", step.refused);
        assert_ne!(weights, rounds.with(None).0);
    }
}

#[test]
fn numbers_that_are_none_count_as_silence() {
    let dense = Rounds::under(Encoding::Dense);
    let top = Rounds::under(Encoding::TopK { keep: 3 });
    let few = Rounds::under(Encoding::Quantized { bits: 4 });
    let scale = |number: f32| [&[0xca], &number.to_be_bytes()[..]].concat();
    for number in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for place in [0, 7, 15] {
            let spoiled = with_number(&dense.honest, update(place), number);
            dense.refuse_as_silence("a number", spoiled, NOT_FINITE);
        }
        let spoiled = with_number(&top.honest, update(15), number);
        top.refuse_as_silence("a number of the largest", spoiled, NOT_FINITE);
        let spoiled = replaced(&few.honest, &scale(update(15)), &scale(number));
        few.refuse_as_silence("a scale", spoiled, NOT_FINITE);
    }
}

/// In MessagePack `c4` and `c6` begin bytes, with a length of one byte and of four, and `93` a list of three.
#[test]
fn lengths_and_shapes_that_lie_count_as_silence() {
    let dense = Rounds::under(Encoding::Dense);
    let numbers: Vec<u8> = (0..16).flat_map(|index| update(index).to_le_bytes()).collect();
    let whole = [&[0xc4, 64], &numbers[..]].concat();
    let with = |update: &[&[u8]]| replaced(&dense.honest, &whole, &update.concat());
    for length in [0, 4, 60, 63] {
        let shorter = with(&[&[0xc4, length as u8], &numbers[..length]]);
        dense.refuse_as_silence("fewer numbers", shorter, WRONG_LENGTH);
    }
    let longer = with(&[&[0xc4, 68], &numbers, &[0; 4]]);
    dense.refuse_as_silence("more numbers", longer, WRONG_LENGTH);
    for length in [[0, 0, 0, 65], [0xff; 4], [0x40, 0, 0, 0]] {
        let lie = with(&[&[0xc6], &length, &numbers]);
        dense.refuse_as_silence("a length that lies", lie, UNREADABLE);
    }
    let other = replaced(&dense.honest, b"\xa5Dense", b"\xa7RandomK");
    dense.refuse_as_silence("another encoding", other, UNREADABLE);

    let top = Rounds::under(Encoding::TopK { keep: 3 });
    let with = |positions: &[u8]| replaced(&top.honest, &[0x93, 13, 14, 15], positions);
    // Of 2^32 - 1 positions, three are there.
    let lie = with(&[0xdd, 0xff, 0xff, 0xff, 0xff, 13, 14, 15]);
    top.refuse_as_silence("a list that lies", lie, UNREADABLE);
    for [a, b, c] in [[13, 14, 14], [15, 14, 13], [13, 14, 16], [13, 14, 127]] {
        let spoiled = with(&[0x93, a, b, c]);
        top.refuse_as_silence("positions that are none", spoiled, UNREADABLE);
    }
}

#[test]
fn headers_that_lie_and_truncated_replies_count_as_silence() {
    let dense = Rounds::under(Encoding::Dense);
    let header = |place: usize, with: &[u8]| {
        let mut bytes = dense.honest.clone();
        bytes[place..place + with.len()].copy_from_slice(with);
        bytes
    };
    dense.refuse_as_silence("magic", header(0, b"BDPFEDRQ"), UNREADABLE);
    dense.refuse_as_silence("version", header(8, &[9]), ANOTHER_VERSION);
    dense.refuse_as_silence("checksum", header(12, &[0; 4]), UNREADABLE);
    for length in [0, 1, u64::MAX, (dense.honest.len() - 23) as u64] {
        dense.refuse_as_silence("length", header(16, &length.to_le_bytes()), UNREADABLE);
    }
    for length in 0..dense.honest.len() {
        let truncated = dense.honest[..length].to_vec();
        dense.refuse_as_silence("truncated", truncated, UNREADABLE);
    }
}

/// Another run, plan, model or base; or the same run, and a round that has not come.
#[test]
fn replies_to_something_else_count_as_silence() {
    let other = |run: &str, manifest: Manifest, norm: f64| {
        let clients = (0..CLIENTS).map(client).collect();
        let (run, privacy) = (RunId::new(run).expect("a name"), privacy(flat(norm), 0.5, CLIENTS));
        let plan = FederatedPlan::builder(run, manifest, clients, privacy).deadline(60).build();
        honest(&request(plan.expect("a plan")))
    };
    let tensors = || manifest().tensors().to_vec();
    let base = Manifest::new(tensors(), [1; 32]).expect("a manifest");
    let mut transposed = tensors();
    transposed[0].1.reverse();
    let transposed = Manifest::new(transposed, *manifest().base()).expect("a manifest");

    let of_run: Expected = |error| matches!(error, FederatedError::OfAnother { of: "run", .. });
    let of_plan: Expected = |error| matches!(error, FederatedError::OfAnother { of: "plan", .. });
    let of_round: Expected = |error| matches!(error, FederatedError::OfAnother { of: "round", .. });
    let dense = Rounds::under(Encoding::Dense);
    dense.refuse_as_silence("another run", other("run-2", manifest(), 1.0), of_run);
    dense.refuse_as_silence("another plan", other("run-1", manifest(), 2.0), of_plan);
    dense.refuse_as_silence("another base", other("run-1", base, 1.0), of_plan);
    dense.refuse_as_silence("another shape", other("run-1", transposed, 1.0), of_plan);

    let mut ahead = start(plan(flat(1.0), 0.5, Encoding::Dense));
    let mut inbox = everybody();
    inbox.failed = (0..CLIENTS).map(client).collect();
    let _ = ahead.step(everybody(), 0).expect("a round");
    let second = ahead.step(inbox, 1).expect("the next round");
    dense.refuse_as_silence("a round ahead", honest(&second.send[HOSTILE].1), of_round);
}

/// Its own reply to a round that is over, again: the server waits for another, and at the deadline it is as if none had come.
#[test]
fn a_replayed_reply_counts_as_silence() {
    let second_round = |replay: bool| {
        let mut server = start(plan(flat(1.0), 0.5, Encoding::Dense));
        let opened = server.step(everybody(), 0).expect("a round");
        let reply = |(to, request): &(_, Vec<u8>)| (Clone::clone(to), honest(request));
        let mut inbox = everybody();
        inbox.replies = opened.send.iter().map(reply).collect();
        let old = inbox.replies[HOSTILE].clone();
        let next = server.step(inbox, 1).expect("the next round");
        let mut inbox = everybody();
        inbox.replies = next.send.iter().map(reply).collect();
        inbox.replies.remove(HOSTILE);
        if replay {
            inbox.replies.insert(0, old);
        }
        assert_eq!(server.step(inbox, 2).expect("it waits").closed, 0);
        assert_eq!(server.step(everybody(), 61).expect("a release").closed, 1);
        server.weights().to_vec()
    };
    assert_eq!(second_round(true), second_round(false));
}

/// What is finite cannot be told from an honest update, so it counts: as much as a client may, and not a bit more.
#[test]
fn finite_numbers_of_any_size_are_clipped() {
    let dense = Rounds::under(Encoding::Dense);
    let silent = dense.with(None).0;
    let smallest = f32::from_bits(1);
    for number in [1e30, -1e30, f32::MAX, f32::MIN, 1e-30, smallest, -smallest, -0.0, 0.0] {
        let bytes = (0..16).fold(dense.honest.clone(), |bytes, place| {
            with_number(&bytes, update(place), if place == 3 { 2.0 * number } else { number })
        });
        // 2 * f32::MAX is infinite.
        if !(2.0 * number).is_finite() {
            dense.refuse_as_silence("an overflow", bytes, NOT_FINITE);
            continue;
        }
        let (weights, step) = dense.with(Some(bytes));
        assert!(step.refused.is_empty(), "{:?}", step.refused);
        let moved = weights.iter().zip(&silent).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>();
        // The norm is 1, and six clients share; weights are rounded to single precision.
        assert!(moved.sqrt() <= 1.0 / CLIENTS as f64 + 1e-6, "{number}: {}", moved.sqrt());
        if number.abs() >= 1e30 {
            assert!(moved.sqrt() >= 1.0 / CLIENTS as f64 - 1e-6, "{number}: {}", moved.sqrt());
        }
    }
}

/// A server that has gone over to somebody else gets no training out of a client, and the client goes on as before.
#[test]
fn a_hostile_request_trains_nobody() {
    let tensors = vec![("first".into(), vec![2]), ("other".into(), vec![2])];
    let of = |norm| {
        let manifest = Manifest::new(tensors.clone(), [7; 32]).expect("a manifest");
        let (run, clients) = (RunId::new("run-1").expect("a name"), (0..CLIENTS).map(client));
        let privacy = privacy(flat(norm), 0.5, CLIENTS);
        let plan = FederatedPlan::builder(run, manifest, clients.collect(), privacy).build();
        request(plan.expect("a plan"))
    };
    let sound = of(1.0);
    let zeros = [&[0xc4, 16], &[0; 16][..]].concat();
    let with = |first: f32| [&[0xc4, 16], &first.to_le_bytes()[..], &[0; 12]].concat();
    let hostile = [
        ("a path twice", replaced(&sound, b"other", b"first")),
        ("a number that is none", replaced(&sound, &zeros, &with(f32::NAN))),
        ("infinity", replaced(&sound, &zeros, &with(f32::INFINITY))),
        ("fewer weights", replaced(&sound, &zeros, &[&[0xc4, 12], &[0; 12][..]].concat())),
        ("a length that lies", replaced(&sound, &zeros, &[0xc6, 0xff, 0xff, 0xff, 0xff])),
        ("another plan of the run", of(2.0)),
        ("truncated", sound[..sound.len() / 2].to_vec()),
        ("a reply", Rounds::under(Encoding::Dense).honest),
    ];
    let mut known = Client::new();
    let first = known.answer(&sound, |training| trained(&client(0), training)).expect("an answer");
    let before = known.clone();
    for (name, bytes) in hostile {
        let train = |_: &Training<'_>| -> Result<Vec<f32>, Error> { panic!("{name}: it trained") };
        let refused = known.answer(&bytes, train);
        assert!(matches!(refused, Err(Error::Federated(_) | Error::Setting(_))), "{name}");
        assert_eq!(known, before, "{name}");
    }
    let train = |_: &Training<'_>| -> Result<Vec<f32>, Error> { panic!("it trained again") };
    assert_eq!(known.answer(&sound, train).expect("what it sent").reply, first.reply);
    assert_eq!(answer(&client(0), &sound).len(), first.reply.len());
}
