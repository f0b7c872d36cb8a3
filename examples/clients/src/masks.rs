//! What clients send is a mask over frozen random weights (FedPM: Isik et al. 2023, arXiv 2209.15328).

use anyhow::Result;
use burn::module::Module;
use burn::tensor::Device;
use burn_dp::mask::{BetaShares, CentralNoise, MaskKind, MaskSet, MaskShares, SuperMaskConfig};
use burn_dp::privacy::NoiseMultiplier;
use burn_dp::seed::Seed;

use crate::args::Args;
use crate::client::Client;
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
    let (mut shares, mut beta) = (half.clone(), BetaShares::new(1.0)?);
    let mut outcome = Outcome::new(combination.name(), noise.is_some());
    for round in 0..args.rounds {
        let mut masks = Vec::new();
        for index in 0..args.clients {
            let client = Client { args, clients, index, round };
            let mask = train(&client, &config, config.with_shares(model.clone(), &shares)?)?;
            outcome.bits += 8 * mask.to_bytes()?.len() as u64;
            masks.push(mask);
        }
        let mean = match noise {
            Some(noise) => private_mean(args, &masks, &half, noise, round)?,
            None => MaskShares::mean(&masks.into_iter().map(|m| (m, 1.0)).collect::<Vec<_>>())?,
        };
        shares = match combination {
            Combination::Mean => mean,
            Combination::Majority => MaskShares::from(&mean.majority())
                .map(|kept| if kept > 0.5 { TRUST } else { 1.0 - TRUST }),
            Combination::Bayesian => {
                // Under privacy it never forgets: over many rounds the noise averages out.
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
fn train(client: &Client, config: &SuperMaskConfig, model: Classifier) -> Result<MaskSet> {
    let steps = client.args.local_steps;
    // Each draw has a number of its own: one for each step, and one for the mask that is sent.
    let first = client.round * (steps + 1);
    let draw = |model, step| Ok(config.refresh(model, client.seed(), first + step)?);
    let model = client.train(model, LEARNING_RATE, draw)?;
    Ok(MaskSet::of(config, &draw(model, steps)?)?)
}

/// The share of clients that keep a weight, with noise.
fn private_mean(
    args: &Args,
    masks: &[MaskSet],
    half: &MaskShares,
    noise: NoiseMultiplier,
    round: u64,
) -> Result<MaskShares> {
    // Seen from one half, all masks are equally far away, so that nothing is clipped.
    let scores = half.layers().iter().map(|layer| layer.shares().len()).sum::<usize>();
    let noise = CentralNoise::new((scores as f64).sqrt() / 2.0, args.clients as f64, noise)?;
    let seed = Seed::reproducible(args.seed);
    Ok(MaskShares::private_mean(masks, half, &noise, &seed, round)?.0)
}
