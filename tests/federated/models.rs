//! A burn model's weights in a run.

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::Device;
use burn_dp::error::{Error, FederatedError};
use burn_dp::federated::{FederatedPlan, Request, RunId, weights};

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
