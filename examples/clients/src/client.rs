//! What a client does in a round.

use anyhow::Result;
use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::Device;
use chacha20::ChaCha20Rng;
use rand::SeedableRng;

use crate::args::Args;
use crate::data::Clients;
use crate::model::Classifier;

/// A client in a round.
pub struct Client<'a> {
    pub args: &'a Args,
    pub clients: &'a Clients,
    pub index: usize,
    pub round: u64,
}

impl Client<'_> {
    /// For the random choices that are this client's alone.
    pub fn seed(&self) -> u64 {
        self.args.seed * 1_000_003 + self.index as u64
    }

    /// The model after the client's local steps with Adam. `prepare` gets it before each, with the step's number in
    /// the round.
    pub fn train(
        &self,
        mut model: Classifier,
        learning_rate: f64,
        prepare: impl Fn(Classifier, u64) -> Result<Classifier>,
    ) -> Result<Classifier> {
        let device = Device::flex().autodiff();
        let mut rng = ChaCha20Rng::seed_from_u64(self.seed());
        rng.set_stream(self.round);
        let mut optimizer = AdamConfig::new().init();
        for step in 0..self.args.local_steps {
            model = prepare(model, step)?;
            let loss = model.loss(self.clients.batch(self.index, &mut rng, &device));
            let gradients = GradientsParams::from_grads(loss.backward(), &model);
            model = optimizer.step(learning_rate, model, gradients);
        }
        Ok(model)
    }
}
