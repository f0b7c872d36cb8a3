//! An index out of range: refused by name, or its record counts as zero; never a panic, never
//! another index.

use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::{Linear, LinearConfig};
use burn::prelude::*;
use burn::tensor::{DType, TensorData};
use burn_dp::Error;
use burn_dp::error::{BatchError, LossError};
use burn_dp::loss::{IGNORED, cross_entropy};
use burn_dp::per_example::{BadRecords, Engine, Loop, NormMethod, PerExample, Traced};

use crate::harness::{device, device_is, host, numbers};
use crate::indices::{Batch, Table, USES, Use, batch, loss};

const ROWS: usize = 6;
const EXAMPLES: usize = 4;
/// The example that holds the bad index.
const BAD: usize = 2;

/// Runs every engine with its setting for bad records.
fn run<M, X, F>(
    engine: Option<NormMethod>,
    bad: BadRecords,
    loss: F,
    model: &M,
    batch: X,
) -> burn_dp::Result<PerExample>
where
    M: Module,
    X: burn_dp::batch::Batch,
    F: Fn(&M, X) -> Tensor<1>,
{
    match engine {
        Some(method) => Traced::new(loss)
            .with_norm_method(method)
            .with_bad_records(bad)
            .per_example(model, batch),
        None => Loop::new(loss).with_bad_records(bad).per_example(model, batch),
    }
}

const ENGINES: [Option<NormMethod>; 4] =
    [None, Some(NormMethod::Mixed), Some(NormMethod::Ghost), Some(NormMethod::Materialized)];

fn with_index(index: i64, dtype: DType) -> Batch {
    let mut tokens: Vec<i64> = (0..20).map(|i| (i * 7) % ROWS as i64).collect();
    tokens[BAD * 5 + 3] = index;
    batch(tokens, ROWS, dtype, vec![1.0; EXAMPLES])
}

fn possible(how: Use) -> bool {
    let gpu = ["vulkan", "wgpu", "cuda"].into_iter().any(device_is);
    !gpu || !matches!(how, Use::GatherNd | Use::GatherNdPairs | Use::ScatterNd)
}

#[test]
fn an_index_out_of_range_is_refused_by_name_on_every_engine() {
    let model = Table::new(ROWS, &device().autodiff());
    for how in USES.into_iter().filter(|how| possible(*how)) {
        for bad in [-1, -100, ROWS as i64, 1_000_000, i64::from(i32::MIN)] {
            for engine in ENGINES {
                let given = with_index(bad, DType::I32);
                // EmbeddingTwice reads the same tokens in the widest type, too; only one of them is bad here.
                let given = Batch { again: with_index(0, DType::I32).again, ..given };
                let refused = run(engine, BadRecords::Refuse, loss(how), &model, given);
                let what = format!("{how:?}, {bad}, {engine:?}");
                match refused.err() {
                    Some(Error::Batch(BatchError::IndexOutOfRange {
                        operation,
                        index,
                        bound,
                        example,
                    })) => {
                        assert_eq!((index, bound, example), (bad, ROWS, BAD), "{what}");
                        assert!(!operation.is_empty());
                    }
                    other => panic!("{what}: {other:?}"),
                }
            }
        }
    }
}

#[test]
fn a_byte_beyond_the_table_is_refused() {
    if ["vulkan", "wgpu", "cuda"].into_iter().any(device_is) {
        return; // No GPU of burn's has bytes.
    }
    let model = Table::new(ROWS, &device().autodiff());
    for (dtype, bad) in [(DType::U8, 255), (DType::I8, -128), (DType::U64, i64::MAX)] {
        for how in USES {
            for engine in ENGINES {
                let given = with_index(bad, dtype);
                let given = Batch { again: with_index(0, DType::I32).again, ..given };
                let refused = run(engine, BadRecords::Refuse, loss(how), &model, given).err();
                let found = matches!(refused, Some(Error::Batch(BatchError::IndexOutOfRange { index, .. })) if index == bad);
                assert!(found, "{how:?}, {dtype:?}, {engine:?}: {refused:?}");
            }
        }
    }
}

#[test]
fn an_excluded_record_is_zero_and_changes_no_other() {
    let model = Table::new(ROWS, &device().autodiff());
    let id = model.embedding.weight.id;
    for how in USES.into_iter().filter(|how| possible(*how)) {
        for engine in ENGINES {
            let given = |index| {
                let batch = with_index(index, DType::I32);
                Batch { again: with_index(0, DType::I32).again, ..batch }
            };
            let run = |index| {
                let run = run(engine, BadRecords::Exclude, loss(how), &model, given(index));
                run.unwrap_or_else(|error| panic!("{how:?}, {engine:?}: {error}"))
            };
            let (good, bad) = (run(0), run(-1));
            assert!(good.excluded().is_empty());
            assert_eq!(bad.excluded(), [BAD], "{how:?}, {engine:?}");
            let [good_losses, bad_losses] = [&good, &bad].map(|of| host(of.losses()));
            let [good, bad] = [&good, &bad].map(|of| host(of.gradient::<3>(id).unwrap()));
            let each = good.len() / EXAMPLES;
            for example in 0..EXAMPLES {
                let rows = example * each..(example + 1) * each;
                if example == BAD {
                    assert_eq!(bad_losses[example], 0.0);
                    assert!(bad[rows].iter().all(|x| *x == 0.0), "{how:?}, {engine:?}");
                } else {
                    assert_eq!(bad_losses[example], good_losses[example], "{how:?}, {engine:?}");
                    assert_eq!(bad[rows.clone()], good[rows], "{how:?}, {engine:?}");
                }
            }
        }
    }
}

fn classifier() -> (Linear, Tensor<2>) {
    let device = device().autodiff();
    let x = TensorData::new(numbers(3, EXAMPLES * 5), [EXAMPLES, 5]);
    (LinearConfig::new(5, 3).init(&device), Tensor::from_data(x, &device))
}

#[test]
fn a_label_of_no_class_is_refused_by_burns_cross_entropy() {
    let (model, x) = classifier();
    let loss = |model: &Linear, (x, labels): (Tensor<2>, Tensor<1, Int>)| {
        let logits = model.forward(x);
        CrossEntropyLossConfig::new().init(&logits.device()).forward(logits, labels)
    };
    for label in [-100, -1, 3, 255] {
        let labels = Tensor::<1, Int>::from_data([0, 1, label, 2], &device().autodiff());
        for engine in ENGINES {
            let refused =
                run(engine, BadRecords::Refuse, loss, &model, (x.clone(), labels.clone()));
            let error = refused.err().map(|error| error.to_string()).unwrap_or_default();
            for word in ["gather", &label.to_string(), "below 3", "example 2"] {
                assert!(error.contains(word), "{engine:?}: no {word} in: {error}");
            }
        }
    }
}

/// Token classification: 4 records of 3 positions. Some positions are left out, and one record has
/// no counted position.
#[test]
fn ignored_positions_leave_the_mean_of_each_record() {
    let device = device().autodiff();
    let model = LinearConfig::new(2, 3).init(&device);
    let x = TensorData::new(numbers(4, EXAMPLES * 3 * 2), [EXAMPLES, 3, 2]);
    let x = Tensor::<3>::from_data(x, &device);
    let ignored = i64::from(IGNORED);
    let labels: [[i64; 3]; EXAMPLES] =
        [[0, 1, 2], [2, ignored, ignored], [ignored, 1, 0], [ignored; 3]];
    let given = Tensor::<2, Int>::from_data(TensorData::from(labels), &device);
    let loss = |model: &Linear, (x, labels): (Tensor<3>, Tensor<2, Int>)| {
        cross_entropy(model.forward(x), labels)
    };

    let logits = host(model.forward(x.clone()));
    let expected = labels.iter().enumerate().map(|(record, labels)| {
        let counted = labels.iter().enumerate().filter(|(_, label)| **label != ignored);
        let of = counted.map(|(position, label)| {
            let logits = &logits[(record * 3 + position) * 3..][..3];
            logits.iter().map(|x| x.exp()).sum::<f64>().ln() - logits[*label as usize]
        });
        let of: Vec<f64> = of.collect();
        of.iter().sum::<f64>() / of.len().max(1) as f64
    });
    let expected: Vec<f64> = expected.collect();
    for engine in ENGINES {
        let found = run(engine, BadRecords::Refuse, loss, &model, (x.clone(), given.clone()));
        let found = found.unwrap();
        for (a, b) in host(found.losses()).iter().zip(&expected) {
            assert!((a - b).abs() < 1e-5, "{engine:?}: {a} and {b}");
        }
        let norms = host(found.estimated_squared_norms());
        assert!(norms[3] == 0.0 && norms[..3].iter().all(|n| *n > 0.0), "{engine:?}: {norms:?}");
    }
    // The mean over the batch is the mean of the records.
    let batch = host(loss(&model, (x, given)))[0];
    let mean = expected.iter().sum::<f64>() / EXAMPLES as f64;
    assert!((batch - mean).abs() < 1e-5, "{batch} and {mean}");
}

#[test]
fn a_panic_of_the_loss_is_an_error_and_the_engine_goes_on() {
    let (model, x) = classifier();
    let loss = |model: &Linear, x: Tensor<2>| {
        let largest = x.clone().max().into_scalar::<f32>();
        assert!(largest < 10.0, "a record that the loss cannot take");
        model.forward(x).powi_scalar(2).mean()
    };
    let mut engine = Loop::new(loss);
    let expected = host(engine.per_example(&model, x.clone()).unwrap().losses());
    let wrong = x.clone() * 100.0;
    let refused = engine.per_example(&model, wrong).err();
    match refused {
        Some(Error::Loss(LossError::Panicked { reason })) => {
            assert!(reason.contains("cannot take"), "{reason}")
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(host(engine.per_example(&model, x).unwrap().losses()), expected);
}
