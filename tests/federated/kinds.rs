//! Masks, predictions, and clients that count by their examples, through the same round.

use burn_dp::error::{Error, FederatedError};
use burn_dp::federated::{
    Client, ClientId, Encoding, FederatedPlan, FederatedPlanBuilder, Inbox, Kind, Manifest,
    MaskAggregation, RunId, Trained, Training, Weighting, simulate,
};
use burn_dp::privacy::Clipping;
use burn_dp::seed::SeedSource;
use proptest::prelude::*;

use super::{CLIENTS, SEED, client, everybody, flat, privacy, start};

const INPUTS: usize = 5;
const CLASSES: usize = 3;

fn bits() -> Manifest {
    let tensors = vec![("a".into(), vec![40]), ("b".into(), vec![3, 8])];
    Manifest::new(tensors, [0; 32]).expect("two masks")
}

fn predictions() -> Manifest {
    Manifest::new(vec![("p".into(), vec![INPUTS, CLASSES])], [0; 32]).expect("a matrix")
}

fn builder(kind: Kind, manifest: Manifest, noise: f64, norm: f64) -> FederatedPlanBuilder {
    let population = (0..CLIENTS).map(client).collect();
    let run = RunId::new("run").expect("a name");
    let privacy = privacy(flat(norm), noise, CLIENTS);
    FederatedPlan::builder(run, manifest, population, privacy).kind(kind)
}

/// Of a client, the same each time: a mask whose bits mostly agree with the others'.
fn mask(of: &ClientId, training: &Training<'_>) -> Result<Vec<f32>, Error> {
    let own = of.as_str().bytes().map(usize::from).sum::<usize>();
    let bit = |index: usize| {
        let agreed = index.is_multiple_of(2);
        f32::from(u8::from(agreed ^ (index + own).is_multiple_of(5)))
    };
    Ok((0..training.request.weights.len()).map(bit).collect())
}

fn share_of_clients(index: usize) -> f64 {
    let kept = (0..CLIENTS).filter(|n| {
        let own = client(*n).as_str().bytes().map(usize::from).sum::<usize>();
        index.is_multiple_of(2) ^ (index + own).is_multiple_of(5)
    });
    kept.count() as f64 / CLIENTS as f64
}

/// Without noise, masks arrive as their mean, majority and posterior.
#[test]
fn masks_arrive_under_every_aggregation_and_encoding() {
    let norm = Kind::Masks(MaskAggregation::Mean).contribution_norm(&bits()).expect("known");
    for aggregation in [
        MaskAggregation::Mean,
        MaskAggregation::Majority,
        MaskAggregation::Posterior { prior: 1.0 },
    ] {
        let kind = Kind::Masks(aggregation);
        let beginning = kind.start(&bits()).expect("halves");
        let mut ends = Vec::new();
        for encoding in [None, Some(Encoding::Dense), Some(Encoding::Quantized { bits: 1 })] {
            let mut plan = builder(kind, bits(), 0.0, norm);
            if let Some(encoding) = encoding {
                plan = plan.encoding(encoding);
            }
            let plan = plan.build().expect("a plan");
            let ended = simulate(plan, beginning.clone(), SEED, mask, |_| ()).expect("a run");
            ends.push((ended.weights, ended.bytes_up));
        }
        assert!(ends[0].0 == ends[1].0 && ends[0].0 == ends[2].0, "{aggregation:?}");
        assert!(ends[0].1 < ends[1].1, "bits are shorter than numbers");
        for (index, share) in ends[0].0.iter().enumerate() {
            let mean = share_of_clients(index);
            let (rounds, clients) = (super::ROUNDS as f64, CLIENTS as f64);
            let expected = match aggregation {
                MaskAggregation::Majority => f64::from(u8::from(mean >= 0.5)),
                MaskAggregation::Posterior { prior } => {
                    (prior + rounds * clients * mean) / (2.0 * prior + rounds * clients)
                }
                _ => mean,
            };
            assert!(
                (f64::from(*share) - expected).abs() < 1e-5,
                "{aggregation:?} {share} {expected}"
            );
        }
    }
}

/// Shares stay within 0 and 1, and predictions probabilities, whatever the noise.
#[test]
fn what_is_released_is_of_its_kind() {
    let masks = Kind::Masks(MaskAggregation::Posterior { prior: 1.0 });
    let plan = builder(masks, bits(), 30.0, 4.0).build().expect("a plan");
    let beginning = masks.start(&bits()).expect("halves");
    let os = SeedSource::OperatingSystem;
    let ended = simulate(plan, beginning, os, mask, |_| ()).expect("a run");
    assert!(ended.weights.iter().all(|share| (0.0..=1.0).contains(share)));

    let certain = |_: &ClientId, _: &Training<'_>| {
        let row = [0.0, 1.0, 0.0];
        Ok::<Vec<f32>, Error>(row.repeat(INPUTS))
    };
    let norm = Kind::Predictions.contribution_norm(&predictions()).expect("known");
    for noise in [0.0, 0.05, 5.0] {
        let plan = builder(Kind::Predictions, predictions(), noise, norm).build().expect("a plan");
        let beginning = Kind::Predictions.start(&predictions()).expect("uniform");
        let ended = simulate(plan, beginning, os, certain, |_| ()).expect("a run");
        for row in ended.weights.chunks(CLASSES) {
            assert!(row.iter().all(|p| *p >= 0.0) && (row.iter().sum::<f32>() - 1.0).abs() < 1e-5);
            if noise == 0.0 {
                assert!((row[1] - 1.0).abs() < 1e-5, "{row:?}");
            }
        }
    }
}

#[test]
fn what_is_not_of_the_kind_is_not_sent() {
    for (kind, manifest, wrong) in [
        (Kind::Masks(MaskAggregation::Mean), bits(), vec![0.5; 64]),
        (Kind::Masks(MaskAggregation::Mean), bits(), vec![f32::NAN; 64]),
        (Kind::Predictions, predictions(), vec![0.5; INPUTS * CLASSES]),
        (Kind::Predictions, predictions(), [2.0, -1.0, 0.0].repeat(INPUTS)),
    ] {
        let plan = builder(kind, manifest, 0.0, 1.0).build().expect("a plan");
        let request = start(plan).step(everybody(), 0).expect("a round").send.remove(0).1;
        let answer = Client::new().answer(&request, |_| Ok::<_, Error>(wrong.clone()));
        assert!(matches!(answer, Err(Error::Federated(FederatedError::NotOfKind { .. }))));
    }
    assert!(builder(Kind::Predictions, bits(), 0.0, 1.0).build().is_err());
    assert!(builder(Kind::Weights, bits(), 0.0, 1.0).encoding(Encoding::Bits).build().is_err());
    let prior = Kind::Masks(MaskAggregation::Posterior { prior: 0.5 });
    assert!(builder(prior, bits(), 0.0, 1.0).build().is_err());
}

/// A client counts by its examples up to the cap, and never more than one of many.
#[test]
fn clients_count_by_their_examples_up_to_the_cap() {
    let plan = |weighting: Weighting| {
        let manifest = Manifest::new(vec![("w".into(), vec![4])], [0; 32]).expect("one");
        builder(Kind::Weights, manifest, 0.0, 10.0).weighting(weighting)
    };
    assert!(plan(Weighting::Capped { cap: 0 }).build().is_err());
    let moved = |weighting: Weighting, examples: [u64; CLIENTS]| {
        let mut server = start(plan(weighting).build().expect("a plan"));
        let sent = server.step(everybody(), 0).expect("a round").send;
        let mut inbox = everybody();
        for ((to, request), examples) in sent.into_iter().zip(examples) {
            let answer = Client::new().answer(&request, |training| {
                let more = training.request.weights.iter().map(|weight| weight + 1.0);
                Ok::<_, Error>(Trained::new(more.collect()).of_examples(examples))
            });
            inbox.replies.push((to, answer.expect("an answer").reply));
        }
        let _ = server.step(inbox, 1).expect("a release");
        f64::from(server.weights()[0]) * CLIENTS as f64
    };
    let capped = Weighting::Capped { cap: 100 };
    let examples = [0, 25, 50, 100, 400, u64::MAX];
    assert!((moved(capped, examples) - 3.75).abs() < 1e-5);
    assert!((moved(Weighting::Uniform, examples) - 6.0).abs() < 1e-5);
    let request = start(plan(capped).build().expect("a plan")).step(everybody(), 0);
    let request = request.expect("a round").send.remove(0).1;
    let silent = Client::new().answer(&request, |_| Ok::<_, Error>(vec![0.0; 4]));
    assert!(matches!(silent, Err(Error::Federated(FederatedError::ExamplesMissing))));
}

/// Evil contributions of every kind, as decoded numbers that an honest client would never send.
fn forged(kind: Kind, manifest: &Manifest, noise: f64, numbers: Vec<f32>) -> Vec<f32> {
    let weights = |kind| builder(kind, manifest.clone(), noise, 1.0).encoding(Encoding::Dense);
    let mut server = start(weights(kind).build().expect("a plan"));
    let sent = server.step(everybody(), 0).expect("a round").send;
    let request = burn_dp::federated::Request::from_bytes(&sent[0].1).expect("a request");
    // Under the plan of weights anything can be sent; its body is put under the other plan's header.
    let mut inbox = Inbox { failed: (1..CLIENTS).map(client).collect(), ..everybody() };
    let answer = Client::new().answer(&reworded(&request), |training| {
        let moved = training.request.weights.iter().zip(&numbers).map(|(w, x)| w + x);
        Ok::<Vec<f32>, Error>(moved.collect())
    });
    inbox.replies.push((client(0), answer.expect("an answer").reply));
    assert_eq!(server.step(inbox, 1).expect("a release").closed, 1);
    server.weights().to_vec()
}

/// The same request, with weights as the kind: what a client of its own making could answer.
fn reworded(request: &burn_dp::federated::Request) -> Vec<u8> {
    let mut value: serde_json::Value = serde_json::to_value(&request.terms).expect("terms");
    value["kind"] = serde_json::json!("Weights");
    let terms = serde_json::from_value(value).expect("terms");
    burn_dp::federated::Request { terms, ..request.clone() }.to_bytes().expect("bytes")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// T1 for masks and predictions, also where what is sent is neither.
    #[test]
    fn one_client_moves_every_kind_by_at_most_the_norm(
        numbers in prop::collection::vec(-3.0_f32..3.0, 64), scale in 0.0..30.0_f32,
    ) {
        let loud: Vec<f32> = numbers.iter().map(|x| x * 10_f32.powf(scale)).collect();
        let mean = Kind::Masks(MaskAggregation::Mean);
        let shares = forged(mean, &bits(), 0.0, loud.clone());
        let moved = shares.iter().map(|share| f64::from(share - 0.5).powi(2)).sum::<f64>().sqrt();
        prop_assert!(moved * CLIENTS as f64 <= 1.0 + 1e-4, "{}", moved * CLIENTS as f64);
        let rows = forged(Kind::Predictions, &predictions(), 0.0, loud[..INPUTS * CLASSES].to_vec());
        let uniform = 1.0 / CLASSES as f32;
        let moved = rows.iter().map(|p| f64::from(p - uniform).powi(2)).sum::<f64>().sqrt();
        // The projection onto the simplex shortens only.
        prop_assert!(moved * CLIENTS as f64 <= 1.0 + 1e-4, "{}", moved * CLIENTS as f64);
    }
}

/// A mask model's bits and shares, through the crate's own masks.
#[test]
fn clipping_below_the_norm_shrinks_masks_toward_one_half() {
    let kind = Kind::Masks(MaskAggregation::Mean);
    let norm = kind.contribution_norm(&bits()).expect("known");
    let beginning = kind.start(&bits()).expect("halves");
    let agreed = |_: &ClientId, _: &Training<'_>| Ok::<Vec<f32>, Error>(vec![1.0; 64]);
    let end = |norm: f64| {
        let plan = builder(kind, bits(), 0.0, norm).build().expect("a plan");
        simulate(plan, beginning.clone(), SEED, agreed, |_| ()).expect("a run").weights[0]
    };
    assert!((end(norm) - 1.0).abs() < 1e-5 && (end(norm / 2.0) - 0.75).abs() < 1e-5);
    assert!(matches!(flat(1.0), Clipping::Flat { .. }));
}
