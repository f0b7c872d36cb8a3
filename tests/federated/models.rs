//! A burn model's weights in a run.

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::optim::SgdConfig;
use burn::tensor::{Device, Tensor};
use burn_dp::DpOptimizer;
use burn_dp::error::{Error, FederatedError};
use burn_dp::federated::{
    DataSetId, FederatedPlan, Kind, MaskAggregation, NodePolicy, Proposal, Request, RunId, Trained,
    Training, Unit, masks, simulate, simulate_nodes, weights,
};
use burn_dp::mask::{MaskKind, SuperMaskConfig};
use burn_dp::per_example::Traced;
use burn_dp::privacy::{DpEvent, PrivacyPlan};

use super::{CLIENTS, client, everybody, flat, privacy, start};

#[derive(Module, Debug)]
struct Net {
    frozen: Linear,
    head: Linear,
}

fn net() -> Net {
    let device = Device::default().autodiff();
    let linear = || LinearConfig::new(3, 2).init(&device);
    Net { frozen: linear().freeze(), head: linear() }
}

#[test]
fn weights_are_what_is_trained_and_go_back_to_where_they_were() {
    let model = net();
    let read = weights::read(&model).expect("a model");
    assert_eq!(read.len(), 3 * 2 + 2);
    let doubled: Vec<f32> = read.iter().map(|x| 2.0 * x).collect();
    let written = weights::write(model.clone(), &doubled).expect("the same length");
    assert_eq!(weights::read(&written).expect("a model"), doubled);
    let frozen = |of: &Net| of.frozen.weight.val().into_data();
    assert_eq!(frozen(&written), frozen(&model));
    assert!(written.head.weight.is_require_grad() && !written.frozen.weight.is_require_grad());
    assert!(weights::write(model, &doubled[1..]).is_err());
}

#[test]
fn nobody_trains_on_top_of_another_model() {
    let model = net();
    let manifest = weights::manifest(&model).expect("a model");
    let (run, clients) = (RunId::new("run").expect("a name"), (0..CLIENTS).map(client).collect());
    let plan = FederatedPlan::builder(run, manifest, clients, privacy(flat(1.0), 1.0, CLIENTS));
    let mut server = start(plan.build().expect("a plan"));
    let request = server.step(everybody(), 0).expect("a round").send.remove(0).1;
    let request = Request::from_bytes(&request).expect("a request");
    assert!(weights::of_request(model, &request).is_ok());
    let refused = weights::of_request(net(), &request);
    let another = FederatedError::OfAnother { what: "request", of: "model" };
    assert!(matches!(&refused, Err(Error::Federated(e)) if e.to_string() == another.to_string()));
}

/// A model's masks begin from a request's shares, and travel as bits.
#[test]
fn masks_begin_from_shares_and_travel_as_bits() {
    let config = SuperMaskConfig::new(MaskKind::Stochastic { keep: 0.5 }).expect("a config");
    let device = Device::default().autodiff();
    let plain: Linear = LinearConfig::new(3, 2).init(&device);
    let masked = config.apply(plain.clone()).expect("masks");
    let manifest = masks::manifest(&config, &masked).expect("a manifest");
    let kind = Kind::Masks(MaskAggregation::Mean);
    let (run, clients) = (RunId::new("run").expect("a name"), (0..CLIENTS).map(client).collect());
    let norm = kind.contribution_norm(&manifest).expect("known");
    let plan =
        FederatedPlan::builder(run, manifest.clone(), clients, privacy(flat(norm), 0.0, CLIENTS));
    let plan = plan.kind(kind).build().expect("a plan");
    // All keep the first half of the scores and drop the second, up to chance.
    let length = manifest.len();
    let wanted: Vec<f32> =
        (0..length).map(|index| f32::from(u8::from(index < length / 2))).collect();
    let train = |_: &_, training: &Training<'_>| {
        let begun = masks::of_request(&config, masked.clone(), training.request)?;
        let sampled = masks::bits(&config, &begun)?;
        assert!(sampled.iter().all(|bit| *bit == 0.0 || *bit == 1.0));
        assert_eq!(sampled.len(), length);
        Ok::<_, Error>(wanted.clone())
    };
    let beginning = kind.start(&manifest).expect("halves");
    let ended = simulate(plan, beginning, super::SEED, train, |_| ()).expect("a run");
    assert_eq!(ended.weights, wanted);
    let end = masks::shares(&config, &masked, &ended.weights).expect("shares").majority();
    assert_eq!(end.kept_weights(), length / 2);
    let applied = end.apply(plain.clone()).expect("the same model");
    let kept = applied.weight.val().into_data();
    assert_eq!(kept.iter::<f32>().filter(|weight| *weight != 0.0).count(), length / 2);

    let other: Linear = LinearConfig::new(3, 2).init(&device);
    let other = config.apply(other).expect("masks");
    assert_ne!(masks::manifest(&config, &other).expect("a manifest"), manifest);
    assert!(masks::shares(&config, &masked, &[0.5]).is_err());
}

/// Record-level privacy end to end: each node trains with the optimizer under what its policy grants.
#[test]
fn a_node_trains_with_the_optimizer_under_the_plan_that_was_granted() {
    let device = Device::default().autodiff();
    let model: Linear = LinearConfig::new(3, 2).init(&device);
    let proposed = PrivacyPlan::builder()
        .sampling_rate(0.5)
        .expected_batch_size(1.0)
        .steps(6)
        .clipping(flat(1.0))
        .noise_multiplier(0.8)
        .build()
        .expect("a plan");
    let unit = Unit::Record(Proposal::new(proposed, 2).expect("three steps a round"));
    let manifest = weights::manifest(&model).expect("a model");
    let (run, clients) = (RunId::new("run").expect("a name"), (0..2).map(client).collect());
    let plan = FederatedPlan::builder(run, manifest, clients, unit).build().expect("a plan");
    let policy = "data_set = \"ward\"\nrecords = 8\nepsilon = 90.0\ndelta = 1e-5\n\
                  largest_sampling_rate = 0.25\n";
    let policy = NodePolicy::from_toml(policy).expect("a policy");
    let train = |_: &_, training: &Training<'_>| {
        let mut local = weights::of_request(model.clone(), training.request)?;
        let granted = training.privacy.expect("record level").clone();
        let engine = Traced::new(|model: &Linear, (x, y): (Tensor<2>, Tensor<2>)| {
            (model.forward(x) - y).powi_scalar(2).mean()
        });
        let mut optimizer = DpOptimizer::new(granted, SgdConfig::new().init(), engine)?;
        while optimizer.steps_left().value() > 0 {
            let sample = optimizer.sample(8)?;
            let batch = sample.batches(8, |records| {
                let ones = |width| Tensor::<2>::ones([records.len(), width], &device);
                (ones(3), ones(2))
            })?;
            optimizer.step(0.1, &mut local, batch)?;
        }
        let trained = Trained::new(weights::read(&local)?);
        Ok(trained.with_ledger(optimizer.ledger().clone()))
    };
    let nodes = |_: &_| Some(policy.clone());
    let begun = weights::read(&model).expect("a model");
    let ended = simulate_nodes(plan, begun.clone(), super::SEED, nodes, train, |_| ());
    let ended = ended.expect("a run");
    assert_ne!(ended.weights, begun);
    let ward = DataSetId::new("ward").expect("a name");
    for known in ended.clients.values() {
        let [(DpEvent::PoissonSampled { rate, .. }, 6)] =
            known.ledger(&ward).expect("a ledger").entries()
        else {
            panic!("{known:?}")
        };
        assert_eq!(rate.value(), 0.25);
    }
}
