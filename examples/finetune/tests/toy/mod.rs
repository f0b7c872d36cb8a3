//! A task that trains in milliseconds.
#![allow(dead_code)] // Each test crate uses a part.

use std::fs;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use anyhow::Result;
use burn::module::{Module, Param};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Tensor, TensorData};
use burn_dp::selection::ParamSelector;
use clap::Parser;
use finetune::run::task::{Classifier, Defaults, Part, Task};
use finetune::run::{Args, Method, Summary, Targets, run};

/// Features of a record.
const WIDTH: usize = 6;

#[derive(Module, Debug)]
pub struct Net {
    pub trunk: Linear,
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

/// Called with record indices.
type OnLoad = Box<dyn Fn(&[usize])>;

/// Two classes of records that a straight line tells apart.
pub struct Toy {
    targets: [Targets; 2],
    /// For each batch that is loaded to train on.
    pub on_load: OnLoad,
}

impl Toy {
    pub fn new() -> Self {
        let targets = |count: u32| {
            Targets::one_of((0..count).map(|record| record % 2).collect(), 2).expect("two classes")
        };
        Self { targets: [targets(200), targets(50)], on_load: Box::new(|_| ()) }
    }
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
        let linear = |rows: usize, columns: usize| {
            let mut linear = LinearConfig::new(rows, columns).init(device);
            let weights: Vec<f32> =
                (0..rows * columns).map(|i| ((i * 7 % 11) as f32 - 5.0) / 10.0).collect();
            let weights = TensorData::new(weights, [rows, columns]);
            linear.weight = Param::from_data(weights, device);
            linear
        };
        Ok(Net { trunk: linear(WIDTH, 16), head: linear(16, 2) })
    }

    fn targets(&self, part: Part) -> &Targets {
        &self.targets[usize::from(part == Part::Test)]
    }

    fn inputs(&self, part: Part, records: &[usize], device: &Device) -> Tensor<2> {
        if part == Part::Train {
            (self.on_load)(records);
        }
        let value = |record: usize, i: usize| {
            let noise = ((record * 31 + i * 17) % 13) as f32 / 13.0 - 0.5;
            noise + if record.is_multiple_of(2) { 0.5 } else { -0.5 }
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
        Defaults { steps: 10, batch: 60.0, lr: 0.05, head_lr: 0.05 }
    }
}

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    run: Args,
}

/// The settings that a command line stands for, with results in `out`.
pub fn args(flags: &str, out: &Path) -> Result<Args> {
    let words = ["toy"].into_iter().chain(flags.split_whitespace());
    let mut args = Flags::try_parse_from(words)?.run;
    args.out = Some(out.to_owned());
    Ok(args)
}

/// burn draws initial weights from one generator for the whole process.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// A run whose features are kept in `out`.
pub fn train(task: &Toy, flags: &str, out: &Path) -> Result<Summary> {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    run(task, serde_json::Value::Null, &args(flags, out)?, out)
}

/// The lines of a run's metrics without the time, which differs between runs.
pub fn timeless_metrics(out: &Path) -> Result<Vec<String>> {
    let timeless = |line: &str| line.split(",\"seconds\"").next().unwrap_or_default().to_owned();
    Ok(fs::read_to_string(out.join("metrics.jsonl"))?.lines().map(timeless).collect())
}
