//! What clients send is a change of weights: DP-FedAvg (McMahan et al. 2018, arXiv 1710.06963).

use anyhow::Result;
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::{Device, Tensor, TensorData};
use burn_dp::mechanism::{Domain, Seed, add_gaussian};
use burn_dp::privacy::NoiseMultiplier;
use chacha20::ChaCha20Rng;
use rand::SeedableRng;

use crate::Args;
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
    let seed = Seed::reproducible(args.seed);
    let mut outcome = Outcome::new("weights (FedAvg)", noise.is_some());
    for round in 0..args.rounds {
        let before = Flat::of(&model);
        let mut sum = vec![0.0; before.len()];
        for client in 0..args.clients {
            let after = Flat::of(&train(args, clients, model.clone(), client, round));
            let change: Vec<f32> = after.iter().zip(&before).map(|(a, b)| a - b).collect();
            let scale = if noise.is_some() { clip(&change) } else { 1.0 };
            sum.iter_mut().zip(&change).for_each(|(sum, change)| *sum += scale * change);
            outcome.bits += 32 * change.len() as u64;
        }
        if let Some(noise) = noise {
            let std = noise.value() * CLIPPING_NORM;
            add_gaussian(&mut sum, &seed, Domain::GradientNoise, round, 0, std)?;
        }
        let change = sum.iter().map(|sum| sum / args.clients as f32);
        let values: Vec<f32> =
            before.iter().zip(change).map(|(before, change)| before + change).collect();
        model = model.map(&mut Unflatten { values, place: 0 });
        let tested = model.valid();
        outcome.accuracies.push(clients.accuracy(|features| tested.forward(features)));
    }
    Ok(outcome)
}

/// A little less than 1 / max(1, norm / C), for rounding.
fn clip(change: &[f32]) -> f32 {
    let norm = change.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
    (((CLIPPING_NORM / norm).min(1.0)) * (1.0 - 1e-6)) as f32
}

fn train(
    args: &Args,
    clients: &Clients,
    mut model: Classifier,
    client: usize,
    round: u64,
) -> Classifier {
    let device = Device::flex().autodiff();
    let mut rng = ChaCha20Rng::seed_from_u64(args.seed * 1_000_003 + client as u64);
    rng.set_stream(round);
    let mut optimizer = AdamConfig::new().init();
    for _ in 0..args.local_steps {
        let loss = model.loss(clients.batch(client, &mut rng, &device));
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        model = optimizer.step(LEARNING_RATE, model, gradients);
    }
    model
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
