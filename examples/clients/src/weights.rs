//! What clients send is a change of weights: DP-FedAvg (McMahan et al. 2018, arXiv 1710.06963).

use anyhow::Result;
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor, TensorData};
use burn_dp::BoundedSum;
use burn_dp::privacy::{ClippingNorm, ExpectedBatchSize, Noise, NoiseMultiplier};
use burn_dp::seed::{Domain, Seed};

use crate::args::Args;
use crate::client::Client;
use crate::data::Clients;
use crate::model::Classifier;
use crate::outcome::Outcome;

/// Learning rate of a client's Adam.
const LEARNING_RATE: f64 = 1e-3;
/// L2 norm to which a client's change is clipped, where there is privacy.
const CLIPPING_NORM: f64 = 1.0;

pub fn run(args: &Args, clients: &Clients, noise: Option<NoiseMultiplier>) -> Result<Outcome> {
    let device = Device::flex().autodiff();
    let mut model = Classifier::new(clients, args.hidden, args.seed, &device);
    let mut outcome = Outcome::new("weights (FedAvg)", noise.is_some());
    for round in 0..args.rounds {
        let before = Flat::of(&model);
        let mut changes = Vec::new();
        for index in 0..args.clients {
            let client = Client { args, clients, index, round };
            let trained = client.train(model.clone(), LEARNING_RATE, |model, _| Ok(model))?;
            let after = Flat::of(&trained);
            outcome.bits += 32 * after.len() as u64;
            changes.push(after.iter().zip(&before).map(|(a, b)| f64::from(a - b)).collect());
        }
        let change = match noise {
            Some(multiplier) => private_mean(args, changes, before.len(), multiplier, round)?,
            None => mean(changes, before.len()),
        };
        let values: Vec<f32> =
            before.iter().zip(change).map(|(before, change)| before + change as f32).collect();
        model = model.map(&mut Unflatten { values, place: 0 });
        let tested = model.valid();
        outcome.accuracies.push(clients.accuracy(|features| tested.forward(features)));
    }
    Ok(outcome)
}

/// The mean of clipped changes, with noise. The caller accounts for its event, with those of all rounds.
fn private_mean(
    args: &Args,
    changes: Vec<Vec<f64>>,
    length: usize,
    multiplier: NoiseMultiplier,
    round: u64,
) -> Result<Vec<f64>> {
    let mut sum = BoundedSum::new([length], ClippingNorm::new(CLIPPING_NORM)?);
    changes.into_iter().try_for_each(|change| sum.add(change))?;
    let noise = Noise::Gaussian { multiplier };
    let divisor = ExpectedBatchSize::from_records(args.clients)?;
    let seed = Seed::reproducible(args.seed);
    let (mean, _) = sum.release(noise, divisor, &seed, Domain::GradientNoise, round)?;
    Ok(mean.concat())
}

fn mean(changes: Vec<Vec<f64>>, length: usize) -> Vec<f64> {
    let (mut sum, count) = (vec![0.0; length], changes.len() as f64);
    for change in changes {
        sum.iter_mut().zip(change).for_each(|(sum, change)| *sum += change);
    }
    sum.iter().map(|sum| sum / count).collect()
}

/// All weights in a row.
struct Flat(Vec<f32>);

impl Flat {
    fn of(model: &Classifier) -> Vec<f32> {
        let mut flat = Self(Vec::new());
        model.visit(&mut flat);
        flat.0
    }
}

impl ModuleVisitor for Flat {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0.extend(param.val().into_data().iter::<f32>());
    }
}

struct Unflatten {
    values: Vec<f32>,
    place: usize,
}

impl ModuleMapper for Unflatten {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|old| {
            let shape = old.shape();
            let end = self.place + shape.num_elements();
            let values = self.values[self.place..end].to_vec();
            self.place = end;
            Tensor::from_data(TensorData::new(values, shape), &old.device()).require_grad()
        })
    }
}
