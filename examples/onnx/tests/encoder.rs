//! The converted `encoder.onnx`: what it answers, its gradients, and one private step.

use anyhow::{Result, ensure};
use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::SgdConfig;
use burn::tensor::{Device, Tensor};
use burn_dp::DpOptimizer;
use burn_dp::per_example::{Traced, verify};
use burn_dp::privacy::{Clipping, Delta, PrivacyPlan};
use burn_dp::selection::ParamSelector;
use onnx_encoder::classifier::Classifier;
use onnx_encoder::sentences::{Sentences, integers};
use onnx_encoder::trained::Trained;
use onnx_encoder::{LENGTH, TOPICS};

/// What `reference/export.py` got from onnxruntime.
#[derive(serde::Deserialize)]
struct Expected {
    tokens: Vec<[i64; LENGTH]>,
    mask: Vec<[i64; LENGTH]>,
    pooled: Vec<Vec<f32>>,
}

#[test]
fn answers_are_those_of_onnxruntime() -> Result<()> {
    let expected: Expected = serde_json::from_str(include_str!("expected.json"))?;
    let device = Device::default();
    let shape = [expected.tokens.len(), LENGTH];
    let [tokens, mask] =
        [expected.tokens, expected.mask].map(|rows| integers(rows.concat(), shape, &device));
    let pooled = Classifier::new(TOPICS, &device).pooled((tokens, mask));
    let answers = values(&pooled);
    let expected = expected.pooled.concat();
    ensure!(answers.len() == expected.len(), "{} values", answers.len());
    let worst = answers.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    ensure!(worst < 1e-5, "the largest difference is {worst}");
    Ok(())
}

#[test]
fn engines_agree_on_every_layer_and_on_the_table_of_words() -> Result<()> {
    let device = Device::default().autodiff();
    let model = Classifier::new(TOPICS, &device);
    let rule = Trained::Full.rule()?.union(ParamSelector::regex(r"\.constant1$")?);
    let model = rule.select(&model)?.apply(model)?;
    let batch = Sentences::draw(4, 3).batch(&[0, 1, 2, 3], &device);
    let agreement = verify(&model, batch, Classifier::loss, 1e-3)?;
    ensure!(agreement.worst < 1e-3, "{agreement:?}");
    Ok(())
}

#[test]
fn a_private_step_moves_what_is_trained_and_nothing_else() -> Result<()> {
    let device = Device::default().autodiff();
    let records = Sentences::draw(40, 4);
    let model = Classifier::new(TOPICS, &device);
    for trained in [Trained::Head, Trained::Biases, Trained::Full] {
        let selection = trained.rule()?.select(&model)?;
        let mut stepped = selection.apply(model.clone())?;
        let before = weights(&stepped);
        let engine = Traced::new(Classifier::loss);
        let mut optimizer = DpOptimizer::new(plan(1)?, SgdConfig::new().init(), engine)?;
        let sample = optimizer.sample(records.len())?;
        let batch = sample.batches(16, |chosen| records.batch(chosen, &device))?;
        optimizer.step(0.1, &mut stepped, batch)?;

        let mut moved = 0;
        for (old, new) in before.iter().zip(&weights(&stepped)) {
            ensure!((old.values != new.values) == old.trained, "{trained:?}: {old:?}");
            moved += if old.trained { old.values.len() } else { 0 };
        }
        ensure!(moved == selection.trained(), "{trained:?}: {moved} of {}", selection.trained());
    }
    Ok(())
}

#[test]
fn epsilon_of_a_run_is_what_was_planned() -> Result<()> {
    let device = Device::default().autodiff();
    let (delta, plan) = (Delta::new(1e-5)?, plan(3)?);
    let planned = plan.epsilon(delta);
    ensure!(planned.value() <= 3.0 && planned.value() > 2.9, "planned: {planned}");
    let records = Sentences::draw(40, 5);
    let model = Classifier::new(TOPICS, &device);
    let mut model = Trained::Biases.rule()?.select(&model)?.apply(model)?;
    let mut optimizer =
        DpOptimizer::new(plan, SgdConfig::new().init(), Traced::new(Classifier::loss))?;
    while optimizer.steps_left().value() > 0 {
        let sample = optimizer.sample(records.len())?;
        let batch = sample.batches(16, |chosen| records.batch(chosen, &device))?;
        optimizer.step(0.1, &mut model, batch)?;
    }
    let spent = optimizer.epsilon(delta)?;
    ensure!(spent == planned, "spent {spent}, planned {planned}");
    Ok(())
}

fn plan(steps: u64) -> Result<PrivacyPlan> {
    let builder = PrivacyPlan::builder().target(3.0, Delta::new(1e-5)?).sampling_rate(0.5);
    let builder = builder.expected_batch_size(20.0).steps(steps);
    Ok(builder.clipping(Clipping::flat(1.0)).build()?)
}

/// One parameter of a model.
#[derive(Debug)]
struct Weight {
    trained: bool,
    values: Vec<f32>,
}

/// All parameters, in the model's order.
fn weights(model: &Classifier) -> Vec<Weight> {
    struct Weights(Vec<Weight>);
    impl ModuleVisitor for Weights {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let trained = param.is_require_grad();
            self.0.push(Weight { trained, values: values(&param.val()) });
        }
    }
    let mut weights = Weights(Vec::new());
    model.visit(&mut weights);
    weights.0
}

fn values<const D: usize>(tensor: &Tensor<D>) -> Vec<f32> {
    tensor.to_data().iter::<f32>().collect()
}
