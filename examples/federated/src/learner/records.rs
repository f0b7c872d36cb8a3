//! Training that is private for each record of a client: DP-SGD under the plan that the client's policy has granted.

use anyhow::Result;
use burn::module::Module;
use burn::optim::SgdConfig;
use burn::tensor::Tensor;
use burn_dp::DpOptimizer;
use burn_dp::batch::Batch;
use burn_dp::federated::{Trained, weights};
use burn_dp::per_example::Traced;
use burn_dp::privacy::PrivacyPlan;

use super::learning::Turn;

/// Records that go through the model at once.
const PHYSICAL: usize = 32;

/// Takes all steps of the plan on the turn's share.
pub(super) fn train_privately<M, X>(
    mut model: M,
    (turn, round): (&Turn<'_>, u64),
    plan: &PrivacyPlan,
    load: impl Fn(&[usize]) -> X,
    loss: fn(&M, X) -> Tensor<1>,
) -> Result<Trained>
where
    M: Module,
    X: Batch,
{
    let (engine, seed) = (Traced::new(loss), turn.secret(round)?);
    let mut optimizer = DpOptimizer::with_seed(plan.clone(), SgdConfig::new().init(), engine, seed);
    for _ in 0..plan.steps().value() {
        let sample = optimizer.sample(turn.share.len())?;
        let batch = sample.batches(PHYSICAL, |chunk| {
            let records: Vec<usize> = chunk.iter().map(|index| turn.share[*index]).collect();
            load(&records)
        })?;
        optimizer.step(turn.settings.learning_rate, &mut model, batch)?;
    }
    Ok(Trained::new(weights::read(&model)?).with_ledger(optimizer.ledger().clone()))
}
