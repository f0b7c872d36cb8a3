//! Whatever a message or a state of federated training claims, reading it is a typed error; a round with such replies ends.

#![no_main]

use burn_dp::federated::{
    Client, ClientId, Encoding, FederatedPlan, Inbox, Kind, Late, Manifest, MaskAggregation,
    NodePolicy, Reply, Request, RunId, Server,
};
use burn_dp::privacy::{Clipping, PrivacyPlan};
use burn_dp::seed::SeedSource;
use libfuzzer_sys::fuzz_target;

const SEED: SeedSource = SeedSource::Reproducible(1);

fn plan(which: u8) -> FederatedPlan {
    let privacy = PrivacyPlan::builder()
        .sampling_rate(1.0)
        .expected_batch_size(1.0)
        .steps(2)
        .clipping(Clipping::flat(1.0))
        .noise_multiplier(0.0)
        .build()
        .expect("a plan");
    let manifest = Manifest::new(vec![("w".into(), vec![2, 2])], [0; 32]).expect("a manifest");
    let (run, client) = (RunId::new("r").expect("a name"), ClientId::new("c").expect("a name"));
    let plan = FederatedPlan::builder(run, manifest, vec![client], privacy);
    let plan = match which % 8 {
        0 => plan,
        1 => plan.encoding(Encoding::RandomK { keep: 2 }),
        2 => plan.encoding(Encoding::TopK { keep: 2 }),
        3 => plan.encoding(Encoding::Quantized { bits: 3 }),
        4 => plan.kind(Kind::Masks(MaskAggregation::Mean)),
        5 => plan.kind(Kind::Masks(MaskAggregation::Posterior { prior: 1.0 })),
        6 => plan.kind(Kind::Predictions),
        _ => plan.late(Late { rounds: 1, weight: 0.5, participations: 1 }),
    };
    plan.build().expect("a plan")
}

fn policy() -> NodePolicy {
    let text = "data_set = \"d\"\nrecords = 9\nepsilon = 1.0\ndelta = 1e-5\ntrust_server = true";
    NodePolicy::from_toml(text).expect("a policy")
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
    let which = first >> 2;
    let _ = NodePolicy::from_toml(&String::from_utf8_lossy(body));
    let bytes = if first & 128 == 0 { framed(*first, body) } else { body.to_vec() };
    if let Ok(request) = Request::from_bytes(&bytes) {
        assert_eq!(request.weights.len(), request.terms.manifest().len());
        for known in [Client::new(), Client::new().with_policy(policy())] {
            let _ = { known }.answer(&bytes, |training| {
                Ok::<_, String>(training.request.weights.clone())
            });
        }
    }
    let _ = Reply::from_bytes(&bytes);
    let _ = Client::resume(&bytes);
    let _ = Server::resume(plan(which), &bytes, SEED);
    let start = if which % 8 < 4 { 0.0 } else { 0.5 };
    let mut server = Server::start(plan(which), vec![start; 4], SEED).expect("a server");
    let client = ClientId::new("c").expect("a name");
    let online = || Inbox { online: [client.clone()].into(), ..Inbox::default() };
    let _ = server.step(online(), 0).expect("a round");
    let replies = vec![(client.clone(), bytes)];
    let _ = server.step(Inbox { replies, ..online() }, 3600).expect("a step");
    assert!(server.weights().iter().all(|weight| weight.abs() <= 2.0));
});
