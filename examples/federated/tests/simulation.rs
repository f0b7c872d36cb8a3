//! Whole simulations with a network that trains in milliseconds.

use std::fs;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};
use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Tensor, TensorData};
use burn_dp::selection::ParamSelector;
use clap::Parser;
use federated::learner::of_task;
use federated::{Output, Settings, run};
use finetune::run::task::{Classifier, Defaults, Part, Task};
use finetune::run::{Method, Targets};
use serde_json::Value;

/// Numbers of a record.
const WIDTH: usize = 6;

#[derive(Module, Debug)]
struct Net {
    trunk: Linear,
    head: Linear,
}

impl Classifier<Tensor<2>> for Net {
    fn features(&self, inputs: Tensor<2>) -> Tensor<2> {
        self.trunk.forward(inputs).tanh()
    }

    fn classify(&self, features: Tensor<2>) -> Tensor<2> {
        self.head.forward(features)
    }
}

/// Two classes of records that a plane tells apart.
struct Toy {
    targets: Targets,
}

impl Task for Toy {
    type Inputs = Tensor<2>;
    type Model = Net;

    fn name(&self) -> &'static str {
        "toy"
    }

    fn data(&self) -> String {
        "made-up records".into()
    }

    fn classes(&self) -> Vec<String> {
        vec!["even".into(), "odd".into()]
    }

    fn trunk(&self) -> String {
        "net".into()
    }

    /// The same weights each time, as a pretrained model has.
    fn model(&self, device: &Device) -> Result<Net> {
        device.seed(1);
        let linear = |from, to| LinearConfig::new(from, to).init(device);
        Ok(Net { trunk: linear(WIDTH, 16), head: linear(16, 2) })
    }

    fn targets(&self, _: Part) -> &Targets {
        &self.targets
    }

    fn inputs(&self, _: Part, records: &[usize], device: &Device) -> Tensor<2> {
        let value = |record: usize, i: usize| {
            let noise = ((record * 31 + i * 17) % 13) as f32 / 13.0 - 0.5;
            let slope = if record.is_multiple_of(2) { 0.7 } else { -0.7 };
            noise + slope * (i as f32 - 2.5)
        };
        let values: Vec<f32> =
            records.iter().flat_map(|r| (0..WIDTH).map(move |i| value(*r, i))).collect();
        Tensor::from_data(TensorData::new(values, [records.len(), WIDTH]), device)
    }

    fn read(&self, input: &str, device: &Device) -> Result<Tensor<2>> {
        Ok(self.inputs(Part::Test, &[input.parse()?], device))
    }

    fn adapted(&self, _: &Net) -> Result<ParamSelector> {
        Ok(ParamSelector::path("trunk.weight"))
    }

    fn output_axis(&self, _: &Net) -> usize {
        1
    }

    fn late(&self, _: &Net) -> ParamSelector {
        ParamSelector::path("trunk")
    }

    fn defaults(&self, _: Method, _: bool) -> Defaults {
        Defaults { steps: 1, batch: 1.0, lr: 0.1, head_lr: 0.1 }
    }
}

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    output: Output,
}

/// burn draws initial weights from one generator for the whole process.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// The last line of a run with these flags; its files go to `folder`.
fn simulated(flags: &str, folder: &Path) -> Result<Value> {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let words = "toy --clients 12 --cohort 9 --rounds 20 --clipping-norm 100 --learning-rate 0.05 --alpha 100 --seed 4";
    let flags = format!("{words} {flags}");
    let Flags { settings, mut output } = Flags::try_parse_from(flags.split_whitespace())?;
    let out = folder.join("out.jsonl");
    output.out = Some(out.clone());
    let targets = Targets::one_of((0..240).map(|record| record % 2).collect(), 2)?;
    let toy = Toy { targets };
    run(of_task(toy, &settings, folder)?.as_ref(), &settings, &output)?;
    let last = fs::read_to_string(out)?.lines().last().context("no line")?.to_owned();
    Ok(serde_json::from_str(&last)?)
}

fn number(line: &Value, name: &str) -> f64 {
    line[name].as_f64().unwrap_or(f64::NAN)
}

#[test]
fn everything_that_can_be_trained_learns() -> Result<()> {
    for flags in [
        "--train head",
        "--train head --directions 5 --public-inputs 60 --average-last 5",
        "--train bias",
        "--train lora",
        "--train scores",
        "--train all",
        "--kind masks --aggregation mean",
        "--kind masks --aggregation majority",
        "--kind masks --aggregation posterior",
        "--kind predictions --public-inputs 60",
        "--encoding quantized:4",
    ] {
        let folder = tempfile::tempdir()?;
        let line = simulated(&format!("--epsilon none {flags}"), folder.path())?;
        assert!(number(&line, "accuracy") > 0.8, "{flags}: {line}");
        assert!(line["epsilon"].is_null(), "{line}");
    }
    Ok(())
}

#[test]
fn a_run_costs_no_more_than_it_was_given() -> Result<()> {
    for flags in [
        "--unit client",
        "--directions 5 --public-inputs 60",
        "--schedule falling",
        "--schedule adaptive",
        "--unit record --train head",
        "--unit record --train bias",
        "--unit local",
        "--kind masks",
        "--kind predictions --public-inputs 60",
    ] {
        let folder = tempfile::tempdir()?;
        let line = simulated(&format!("--epsilon 4 {flags}"), folder.path())?;
        let epsilon = number(&line, "epsilon");
        assert!(epsilon > 0.5 && epsilon <= 4.0, "{flags}: {line}");
    }
    Ok(())
}

#[test]
fn one_seed_gives_one_run() -> Result<()> {
    let lines = ["", ""].map(|flags| {
        let folder = tempfile::tempdir()?;
        let line = simulated(&format!("--epsilon 4 {flags}"), folder.path())?;
        anyhow::Ok((number(&line, "accuracy"), number(&line, "bits_up")))
    });
    let [a, b] = lines;
    assert_eq!(a?, b?);
    Ok(())
}
