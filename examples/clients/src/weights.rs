//! What clients send is a change of weights: DP-FedAvg (McMahan et al. 2018, arXiv 1710.06963).

use anyhow::Result;
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::{Device, Tensor, TensorData};
use burn_dp::BoundedSum;
use burn_dp::privacy::{ClippingNorm, ExpectedBatchSize, Noise, NoiseMultiplier};
use burn_dp::seed::{Domain, Seed};
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
        let changes = (0..args.clients).map(|client| {
            let after = Flat::of(&train(args, clients, model.clone(), client, round));
            outcome.bits += 32 * after.len() as u64;
            after.iter().zip(&before).map(|(a, b)| f64::from(a - b)).collect::<Vec<f64>>()
        });
        let change = match noise {
            Some(multiplier) => {
                let mut sum = BoundedSum::new([before.len()], ClippingNorm::new(CLIPPING_NORM)?);
                changes.into_iter().try_for_each(|change| sum.add(change))?;
                let (noise, divisor) = (
                    Noise::Gaussian { multiplier },
                    ExpectedBatchSize::from_records(args.clients)?,
                );
                // The event of a round is accounted for by the caller, with all rounds.
                let (mean, _) = sum.release(noise, divisor, &seed, Domain::GradientNoise, round)?;
                mean.concat()
            }
            None => {
                let mut sum = vec![0.0; before.len()];
                for change in changes {
                    sum.iter_mut().zip(change).for_each(|(sum, change)| *sum += change);
                }
                sum.iter().map(|sum| sum / args.clients as f64).collect()
            }
        };
        let values: Vec<f32> =
            before.iter().zip(change).map(|(before, change)| before + change as f32).collect();
        model = model.map(&mut Unflatten { values, place: 0 });
        let tested = model.valid();
        outcome.accuracies.push(clients.accuracy(|features| tested.forward(features)));
    }
    Ok(outcome)
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
