//! Private training through burn's `Learner`, with its dashboard, schedulers and early stopping.
//!
//! [`PrivateTrainer`] holds the run: the [`DpOptimizer`] with its plan and ledger. It wraps the
//! model in a [`PrivateModel`], whose training step is that of DP-SGD, and makes the data loader
//! that draws the plan's samples. [`EpsilonMetric`] shows ε on the dashboard. There is no metric of
//! the training loss: it is exact and private, and showing it would be a release that no plan
//! accounts for.
//!
//! ```no_run
//! use burn::data::dataloader::{DataLoaderBuilder, batcher::Batcher};
//! use burn::data::dataset::InMemDataset;
//! use burn::module::Module;
//! use burn::nn::{Linear, LinearConfig, loss::CrossEntropyLossConfig};
//! use burn::optim::AdamConfig;
//! use burn::tensor::{Device, Int, Tensor};
//! use burn::train::metric::AccuracyMetric;
//! use burn::train::{ClassificationOutput, InferenceStep, SupervisedTraining};
//! use burn_dp::DpOptimizer;
//! use burn_dp::per_example::Traced;
//! use burn_dp::privacy::*;
//! use burn_dp::train::{EpsilonMetric, PrivateTrainer};
//!
//! type Images = (Tensor<2>, Tensor<1, Int>);
//!
//! #[derive(Module, Debug)]
//! struct Classifier {
//!     linear: Linear,
//! }
//!
//! impl Classifier {
//!     fn outputs(&self, (images, labels): Images) -> ClassificationOutput {
//!         let logits = self.linear.forward(images);
//!         let loss = CrossEntropyLossConfig::new().init(&logits.device());
//!         let loss = loss.forward(logits.clone(), labels.clone());
//!         ClassificationOutput::new(loss, logits, labels)
//!     }
//! }
//!
//! // What the Learner does on the validation set. Its training step is the trainer's.
//! impl InferenceStep for Classifier {
//!     type Input = Images;
//!     type Output = ClassificationOutput;
//!
//!     fn step(&self, batch: Images) -> ClassificationOutput {
//!         self.outputs(batch)
//!     }
//! }
//!
//! #[derive(Clone)]
//! struct Collate;
//! # impl Batcher<([f32; 64], i32), Images> for Collate {
//! #     fn batch(&self, items: Vec<([f32; 64], i32)>, device: &Device) -> Images {
//! #         let rows: Vec<_> = items.iter().map(|(row, _)| Tensor::<1>::from_floats(*row, device)).collect();
//! #         let labels: Vec<i32> = items.iter().map(|(_, label)| *label).collect();
//! #         (Tensor::stack(rows, 0), Tensor::from_data(labels.as_slice(), device))
//! #     }
//! # }
//!
//! # fn run(plan: PrivacyPlan, records: Vec<([f32; 64], i32)>, held_out: Vec<([f32; 64], i32)>) -> burn_dp::Result<()> {
//! let device = Device::default().autodiff();
//! let loss = |model: &Classifier, batch: Images| model.outputs(batch).loss;
//! let optimizer = DpOptimizer::new(plan, AdamConfig::new().init(), Traced::new(loss))?;
//! let trainer = PrivateTrainer::new(optimizer, Delta::new(1e-5)?);
//!
//! // An epoch is a number of steps: Poisson sampling knows no pass over the data.
//! let train = trainer.loader(InMemDataset::new(records), Collate, 64, &device, 20)?;
//! let valid = DataLoaderBuilder::new(Collate).batch_size(64).build(InMemDataset::new(held_out));
//! let training = SupervisedTraining::new("out", train, valid)
//!     .metric_train_numeric(EpsilonMetric::new())
//!     .metric_valid_numeric(AccuracyMetric::new())
//!     .num_epochs(10);
//! trainer.stop_through(training.interrupter()); // so that an error ends the run at once
//! let model = Classifier { linear: LinearConfig::new(64, 10).init(&device) };
//! let result = training.launch(trainer.learner(model, 1e-3));
//!
//! trainer.outcome()?; // a step that failed
//! println!("{}", trainer.statement());
//! let model: Classifier = result.model.into_inner();
//! # Ok(())
//! # }
//! ```
//!
//! # What the Learner must not do
//!
//! - Its own checkpoints (`with_default_checkpointers`, `checkpoint`) hold neither the ledger nor
//!   the optimizer that is used. A run resumed from one would count its ε from zero. Use
//!   [`PrivateTrainer::save_every`], and [`DpOptimizer::load`] to resume.
//! - Early stopping by a metric of private data makes the number of steps depend on the data. Then
//!   report the ε of the whole plan; [`PrivateTrainer::statement`] reports that one anyway. Early
//!   stopping by public data is free.
//! - Several devices at once (`MultiDevice`, `DistributedDataParallel`) are refused: a step's batch
//!   is the whole sample, and a batch that is not due ends the run with an error.
//! - Gradient accumulation is harmless for privacy, but useless: the batch is already split into
//!   physical parts.

mod epoch;
mod metric;
mod model;
mod shared_run;
mod trainer;

pub use metric::{EpsilonMetric, Spent};
pub use model::{PrivateModel, Run};
pub use trainer::PrivateTrainer;

#[allow(unused_imports, reason = "for links in the documentation")]
use crate::DpOptimizer;
