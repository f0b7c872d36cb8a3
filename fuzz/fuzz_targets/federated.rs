//! Whatever a message or a state of federated training claims, reading it is a typed error; a round with such replies ends.

#![no_main]

use burn_dp::federated::{
    Client, ClientId, Encoding, FederatedPlan, Inbox, Manifest, Reply, Request, RunId, Server,
};
use burn_dp::privacy::{Clipping, PrivacyPlan};
use burn_dp::seed::SeedSource;
use libfuzzer_sys::fuzz_target;

const SEED: SeedSource = SeedSource::Reproducible(1);

fn plan(encoding: Encoding) -> FederatedPlan {
    let privacy = PrivacyPlan::builder()
        .sampling_rate(1.0)
        .expected_batch_size(1.0)
        .steps(2)
        .clipping(Clipping::flat(1.0))
        .noise_multiplier(0.0)
        .build()
        .expect("a plan");
    let manifest = Manifest::new(vec![("w".into(), vec![4])], [0; 32]).expect("a manifest");
    let (run, client) = (RunId::new("r").expect("a name"), ClientId::new("c").expect("a name"));
    let plan = FederatedPlan::builder(run, manifest, vec![client], privacy);
    plan.encoding(encoding).build().expect("a plan")
}

/// Bytes as they are, or as a body under a right header.
fn framed(kind: u8, body: &[u8]) -> Vec<u8> {
    let magic: &[u8; 8] = match kind % 4 {
        0 => b"BDPFEDRQ",
        1 => b"BDPFEDRP",
        2 => b"BDPFEDSV",
        _ => b"BDPFEDCL",
    };
    let mut bytes = magic.to_vec();
    bytes.extend(1_u32.to_le_bytes());
    bytes.extend(crc32fast::hash(body).to_le_bytes());
    bytes.extend((body.len() as u64).to_le_bytes());
    bytes.extend(body);
    bytes
}

fuzz_target!(|bytes: &[u8]| {
    let Some((first, body)) = bytes.split_first() else { return };
    let encoding = match first >> 2 & 3 {
        0 => Encoding::Dense,
        1 => Encoding::RandomK { keep: 2 },
        2 => Encoding::TopK { keep: 2 },
        _ => Encoding::Quantized { bits: 3 },
    };
    let bytes = if first & 128 == 0 { framed(*first, body) } else { body.to_vec() };
    if let Ok(request) = Request::from_bytes(&bytes) {
        assert_eq!(request.weights.len(), request.terms.manifest().len());
        let _ = Client::new().answer(&bytes, |training| {
            Ok::<_, String>(training.request.weights.clone())
        });
    }
    let _ = Reply::from_bytes(&bytes);
    let _ = Client::resume(&bytes);
    let _ = Server::resume(plan(encoding), &bytes, SEED);
    let mut server = Server::start(plan(encoding), vec![0.0; 4], SEED).expect("a server");
    let client = ClientId::new("c").expect("a name");
    let online = || Inbox { online: [client.clone()].into(), ..Inbox::default() };
    let _ = server.step(online(), 0).expect("a round");
    let replies = vec![(client.clone(), bytes)];
    let _ = server.step(Inbox { replies, ..online() }, 1).expect("a step");
    assert!(server.weights().iter().all(|weight| weight.abs() <= 1.0));
});
