//! What clients send is a mask over frozen random weights (FedPM: Isik et al. 2023, arXiv 2209.15328).

use anyhow::Result;
use burn::module::Module;
use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::Device;
use burn_dp::mask::{BetaShares, CentralNoise, MaskKind, MaskSet, MaskShares, SuperMaskConfig};
use burn_dp::privacy::NoiseMultiplier;
use burn_dp::seed::Seed;
use chacha20::ChaCha20Rng;
use rand::SeedableRng;

use crate::Args;
use crate::data::Clients;
use crate::model::Classifier;
use crate::outcome::Outcome;

/// How a server makes one mask of many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Combination {
    /// The share of clients that keep a weight.
    Mean,
    /// What at least half of them keep.
    Majority,
    /// The posterior of all rounds since the last reset.
    Bayesian,
}

/// Rounds after which the posterior forgets.
const MEMORY: u64 = 5;
/// Learning rate of scores, that of FedPM.
const LEARNING_RATE: f64 = 0.1;
/// How sure a client is of the majority's mask at first.
const TRUST: f64 = 0.8;

impl Combination {
    pub const ALL: [Self; 3] = [Self::Mean, Self::Majority, Self::Bayesian];

    fn name(self) -> &'static str {
        match self {
            Self::Mean => "masks, mean",
            Self::Majority => "masks, majority",
            Self::Bayesian => "masks, Bayesian",
        }
    }
}

pub fn run(
    args: &Args,
    clients: &Clients,
    combination: Combination,
    noise: Option<NoiseMultiplier>,
) -> Result<Outcome> {
    let device = Device::flex().autodiff();
    let config = SuperMaskConfig::new(MaskKind::Stochastic { keep: 0.5 })?;
    let model = config.apply(Classifier::new(clients, args.hidden, args.seed, &device).signs())?;
    let half = MaskShares::from(&MaskSet::of(&config, &model)?).map(|_| 0.5);
    let seed = Seed::reproducible(args.seed);
    let (mut shares, mut beta) = (half.clone(), BetaShares::new(1.0)?);
    let mut outcome = Outcome::new(combination.name(), noise.is_some());
    for round in 0..args.rounds {
        let mut masks = Vec::new();
        for client in 0..args.clients {
            let mask = train(
                args,
                clients,
                &config,
                config.with_shares(model.clone(), &shares)?,
                client,
                round,
            )?;
            outcome.bits += 8 * mask.to_bytes()?.len() as u64;
            masks.push(mask);
        }
        let mean = match noise {
            None => {
                MaskShares::mean(&masks.into_iter().map(|mask| (mask, 1.0)).collect::<Vec<_>>())?
            }
            Some(noise) => {
                // From one half all masks are equally far, so that nothing is clipped.
                let norm = (half.layers().iter().map(|l| l.shares().len()).sum::<usize>() as f64)
                    .sqrt()
                    / 2.0;
                let noise = CentralNoise::new(norm, args.clients as f64, noise)?;
                MaskShares::private_mean(&masks, &half, &noise, &seed, round)?.0
            }
        };
        shares = match combination {
            Combination::Mean => mean,
            Combination::Majority => MaskShares::from(&mean.majority())
                .map(|kept| if kept > 0.5 { TRUST } else { 1.0 - TRUST }),
            Combination::Bayesian => {
                // Noise is averaged away by remembering it all.
                if noise.is_none() && round % MEMORY == 0 {
                    beta.reset();
                }
                beta.update_with_mean(&mean, args.clients as f64)?;
                beta.mean().unwrap_or(mean)
            }
        };
        let tested = config.with_shares(model.clone(), &shares)?;
        let tested = config.refresh(tested, args.seed, round)?.materialize().valid();
        outcome.accuracies.push(clients.accuracy(|features| tested.forward(features)));
    }
    Ok(outcome)
}

/// A client's mask after its local steps: a draw from its probabilities.
fn train(
    args: &Args,
    clients: &Clients,
    config: &SuperMaskConfig,
    mut model: Classifier,
    client: usize,
    round: u64,
) -> Result<MaskSet> {
    let device = Device::flex().autodiff();
    let own = args.seed * 1_000_003 + client as u64;
    let mut rng = ChaCha20Rng::seed_from_u64(own);
    rng.set_stream(round);
    let mut optimizer = AdamConfig::new().init();
    let first = round * (args.local_steps + 1);
    for step in first..first + args.local_steps {
        model = config.refresh(model, own, step)?;
        let loss = model.loss(clients.batch(client, &mut rng, &device));
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        model = optimizer.step(LEARNING_RATE, model, gradients);
    }
    Ok(MaskSet::of(config, &config.refresh(model, own, first + args.local_steps)?)?)
}
