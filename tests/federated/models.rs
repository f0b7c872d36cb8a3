//! A burn model's weights in a run.

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::Device;
use burn_dp::error::{Error, FederatedError};
use burn_dp::federated::{
    FederatedPlan, Kind, MaskAggregation, Request, RunId, masks, simulate, weights,
};
use burn_dp::mask::{MaskKind, SuperMaskConfig};

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
    let train = |_: &_, training: &burn_dp::federated::Training<'_>| {
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
