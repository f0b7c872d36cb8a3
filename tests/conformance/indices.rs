//! Every operation that reads an index, in every integer type, at sizes where that type is too
//! small for computing.
//!
//! The oracle is the batch-of-one engine with the same indices in the widest type, on the examples
//! next to each power of two.

use burn::module::{Lora, Module, Param};
use burn::nn::{Embedding, EmbeddingConfig};
use burn::prelude::*;
use burn::tensor::{DType, IndexingUpdateOp, TensorData};
use burn_dp::DpOptimizer;
use burn_dp::mask::{MaskKind, SuperMaskConfig};
use burn_dp::per_example::{Engine, Loop, NormMethod, Traced};
use burn_dp::privacy::*;
use burn_dp::seed::Seed;
use burn_dp::selection::ParamSelector;

use crate::common::{Reveal, trainable};
use crate::harness::{device, device_is, host, numbers, score};

/// Tokens of a record.
const LENGTH: usize = 5;
/// Width of a row.
const WIDTH: usize = 3;

const TYPES: [DType; 8] =
    [DType::I8, DType::I16, DType::I32, DType::I64, DType::U8, DType::U16, DType::U32, DType::U64];

/// How a record's indices are used.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Use {
    Embedding,
    EmbeddingTwice,
    EmbeddingOfTheExample,
    SelectShared,
    SelectOwn,
    SelectAssign,
    GatherShared,
    GatherOwn,
    Scatter,
    GatherNd,
    GatherNdPairs,
    ScatterNd,
}

pub const USES: [Use; 12] = [
    Use::Embedding,
    Use::EmbeddingTwice,
    Use::EmbeddingOfTheExample,
    Use::SelectShared,
    Use::SelectOwn,
    Use::SelectAssign,
    Use::GatherShared,
    Use::GatherOwn,
    Use::Scatter,
    Use::GatherNd,
    Use::GatherNdPairs,
    Use::ScatterNd,
];

/// A table of rows, and a number for each position.
#[derive(Module, Debug)]
pub struct Table {
    pub embedding: Embedding,
    pub scale: Param<Tensor<2>>,
}

#[derive(Clone, Debug)]
pub struct Batch {
    /// `[batch, LENGTH]`
    pub tokens: Tensor<2, Int>,
    /// The same in the widest type.
    pub again: Tensor<2, Int>,
    /// `[batch, rows, WIDTH]`: each example's own table.
    pub own: Tensor<3>,
    /// `[batch]`
    pub weight: Tensor<1>,
}
burn_dp::impl_batch!(Batch { tokens, again, own, weight });

impl Table {
    pub fn new(rows: usize, device: &Device) -> Self {
        let table = TensorData::new(numbers(7, rows * WIDTH), [rows, WIDTH]);
        let scale = TensorData::new(numbers(8, LENGTH * WIDTH), [LENGTH, WIDTH]);
        let mut embedding = EmbeddingConfig::new(rows, WIDTH).init(device);
        embedding.weight = Param::from_tensor(Tensor::from_data(table, device));
        Self { embedding, scale: Param::from_tensor(Tensor::from_data(scale, device)) }
    }
}

/// The loss of one record.
pub fn loss(how: Use) -> impl Fn(&Table, Batch) -> Tensor<1> + Clone {
    move |model, Batch { tokens, again, own, weight }| {
        let table = model.embedding.weight.val();
        let scale = model.scale.val();
        let rows = table.dims()[0];
        let one: Tensor<1, Int> = tokens.clone().reshape([LENGTH]);
        let all = || one.clone().reshape([LENGTH, 1]).expand([LENGTH, WIDTH]);
        // A table that depends on both the example and a parameter, if there is an own one.
        let mixed = || own.clone().reshape([rows, WIDTH]) * table.clone();
        let read: Tensor<2> = match how {
            Use::Embedding => model.embedding.forward(tokens).reshape([LENGTH, WIDTH]),
            Use::EmbeddingTwice => {
                let first = model.embedding.forward(tokens);
                let second = model.embedding.forward(again.flip([1]));
                (first * second.tanh()).reshape([LENGTH, WIDTH])
            }
            Use::EmbeddingOfTheExample => {
                burn::tensor::module::embedding(mixed(), tokens).reshape([LENGTH, WIDTH])
            }
            Use::SelectShared => table.clone().select(0, one),
            Use::SelectOwn => mixed().select(0, one),
            Use::SelectAssign => {
                let sum = mixed().select_assign(0, one, scale.clone(), IndexingUpdateOp::Add);
                sum.slice_dim(0, 0..1).expand([LENGTH, WIDTH])
            }
            Use::GatherShared => table.clone().gather(0, all()),
            Use::GatherOwn => mixed().gather(0, all()),
            Use::Scatter => {
                let sum = mixed().scatter(0, all(), scale.clone(), IndexingUpdateOp::Add);
                sum.slice_dim(0, 0..1).expand([LENGTH, WIDTH])
            }
            Use::GatherNd => mixed().gather_nd(one.reshape([LENGTH, 1])),
            Use::GatherNdPairs => {
                let column = one.clone().zeros_like() + 1;
                let pairs =
                    Tensor::cat(vec![one.reshape([LENGTH, 1]), column.reshape([LENGTH, 1])], 1);
                let entries: Tensor<1> = mixed().gather_nd(pairs);
                entries.reshape([LENGTH, 1]).expand([LENGTH, WIDTH])
            }
            Use::ScatterNd => {
                let sum = mixed().scatter_nd(
                    one.reshape([LENGTH, 1]),
                    scale.clone(),
                    IndexingUpdateOp::Add,
                );
                sum.slice_dim(0, 0..1).expand([LENGTH, WIDTH])
            }
        };
        score(read * scale) * weight
    }
}

/// The largest number of rows that indices of a type can address, up to a limit.
fn rows_of(dtype: DType, limit: usize) -> usize {
    match dtype {
        DType::I8 => 127,
        DType::U8 => 250,
        DType::I16 => 32_767,
        _ => limit,
    }
    .min(limit)
}

/// Tokens `[batch, LENGTH]`, all below `rows`, including the largest.
fn tokens(batch: usize, rows: usize) -> Vec<i64> {
    let mut tokens: Vec<i64> = numbers(9, batch * LENGTH)
        .into_iter()
        .map(|x| ((x + 1.0) / 2.0 * rows as f32) as i64)
        .map(|token| token.min(rows as i64 - 1))
        .collect();
    tokens[0] = rows as i64 - 1;
    tokens
}

pub fn batch(tokens: Vec<i64>, rows: usize, dtype: DType, weights: Vec<f32>) -> Batch {
    let device = device().autodiff();
    let examples = weights.len();
    let data = TensorData::new(tokens, [examples, LENGTH]);
    let own = TensorData::new(numbers(10, examples * rows * WIDTH), [examples, rows, WIDTH]);
    Batch {
        tokens: Tensor::from_data(data.clone().convert_dtype(dtype), (&device, dtype)),
        again: Tensor::from_data(data.convert_dtype(widest()), (&device, widest())),
        own: Tensor::from_data(own, &device),
        weight: Tensor::from_data(TensorData::new(weights, [examples]), &device),
    }
}

/// I64, except on GPUs without it.
pub fn widest() -> DType {
    if device().supports_dtype(DType::I64) { DType::I64 } else { DType::I32 }
}

/// Whether burn's own operation serves as an oracle on the backend under test.
fn possible(how: Use, dtype: DType) -> bool {
    let gpu = ["vulkan", "wgpu", "cuda"].into_iter().any(device_is);
    let nd = matches!(how, Use::GatherNd | Use::GatherNdPairs | Use::ScatterNd);
    // Not every GPU has 64 bits, or fewer than 32. burn's kernel for the last use has a race if an
    // index repeats.
    !gpu || (!nd && matches!(dtype, DType::I32 | DType::U32))
}

/// The examples on both sides of every power of two at which a type ends, and the first and the
/// last.
fn beside_the_limits(examples: usize) -> Vec<usize> {
    let mut chosen: Vec<usize> = [1 << 7, 1 << 8, 1 << 15, 1 << 16]
        .into_iter()
        .flat_map(|limit| [limit - 1, limit])
        .chain([0, examples - 1])
        .filter(|example| *example < examples)
        .collect();
    chosen.sort_unstable();
    chosen.dedup();
    chosen
}

/// Checks that losses, norms and gradients of some examples are those of the batch-of-one engine in
/// the widest type.
fn agrees(how: Use, dtype: DType, rows: usize, examples: usize, method: NormMethod) {
    let what = format!("{how:?}, {dtype:?}, {rows} rows, {examples} examples, {method:?}");
    let model = Table::new(rows, &device().autodiff());
    let weights = vec![1.0; examples];
    let given = batch(tokens(examples, rows), rows, dtype, weights.clone());
    let exact = Batch { tokens: given.again.clone(), ..given.clone() };
    let mut traced = Traced::new(loss(how)).with_norm_method(method);
    let found = traced.per_example(&model, given).unwrap_or_else(|e| panic!("{what}: {e}"));
    let (losses, norms) = (host(found.losses()), host(found.estimated_squared_norms()));
    let materialize = examples * rows * WIDTH < 1 << 22;
    let gradient = |of: &burn_dp::per_example::PerExample| {
        host(of.gradient::<3>(model.embedding.weight.id).unwrap())
    };
    let gradients = materialize.then(|| gradient(&found));
    for example in beside_the_limits(examples) {
        let one = burn_dp::batch::slice(&exact, example..example + 1).unwrap();
        let oracle = Loop::new(loss(how)).per_example(&model, one).unwrap();
        let close = |a: f64, b: f64, of: &str| {
            let difference = (a - b).abs() / (b.abs() + 1e-6);
            assert!(difference < 1e-4, "{what}: {of} of {example} is {a} instead of {b}");
        };
        close(losses[example], host(oracle.losses())[0], "loss");
        close(norms[example], host(oracle.estimated_squared_norms())[0], "squared norm");
        if let Some(gradients) = &gradients {
            let each = rows * WIDTH;
            let found = &gradients[example * each..(example + 1) * each];
            let oracle = gradient(&oracle);
            let largest = oracle.iter().fold(0.0f64, |m, x| m.max(x.abs()));
            for (a, b) in found.iter().zip(&oracle) {
                assert!((a - b).abs() <= 1e-4 * largest, "{what}: gradient of {example}");
            }
        }
    }
}

const METHODS: [NormMethod; 3] = [NormMethod::Mixed, NormMethod::Ghost, NormMethod::Materialized];

#[test]
fn indices_of_every_type_mean_the_same_beyond_2_to_the_7_and_8() {
    for how in USES {
        for dtype in TYPES.into_iter().filter(|dtype| possible(how, *dtype)) {
            for examples in [1, 2, 127, 129, 257] {
                for method in METHODS {
                    agrees(how, dtype, rows_of(dtype, 300), examples, method);
                }
            }
        }
    }
}

#[test]
fn indices_of_every_type_mean_the_same_beyond_2_to_the_15_and_16() {
    for how in USES {
        // Without a batched form in burn, examples run one after another. That would take minutes
        // and show nothing new.
        if how == Use::EmbeddingOfTheExample {
            continue;
        }
        for dtype in [DType::I8, DType::U8, DType::I16, DType::U16] {
            if possible(how, dtype) {
                agrees(how, dtype, 4, (1 << 16) + 2, NormMethod::Mixed);
                agrees(how, dtype, 4, (1 << 15) + 2, NormMethod::Ghost);
            }
        }
    }
}

#[test]
fn a_large_table_is_read_where_it_says() {
    for how in [Use::Embedding, Use::EmbeddingTwice, Use::SelectShared, Use::GatherShared] {
        for dtype in [DType::I16, DType::U16, DType::I32] {
            if possible(how, dtype) {
                for method in METHODS {
                    agrees(how, dtype, rows_of(dtype, 66_000).min(65_535), 3, method);
                }
            }
        }
    }
}

/// The clipped sum of a batch: C = 1, no noise, divisor 1.
fn clipped_sum<M: Module>(
    model: &M,
    batch: Batch,
    method: NormMethod,
    loss: impl Fn(&M, Batch) -> Tensor<1>,
) -> Vec<f64> {
    let plan = PrivacyPlan::builder()
        .sampling_rate(SamplingRate::new(1.0).unwrap())
        .expected_batch_size(ExpectedBatchSize::new(1.0).unwrap())
        .steps(Steps::from(1))
        .clipping(Clipping::flat(ClippingNorm::new(1.0).unwrap()))
        .noise_multiplier(NoiseMultiplier::new(0.0).unwrap())
        .build()
        .unwrap();
    let engine = Traced::new(loss).with_norm_method(method);
    let mut optimizer = DpOptimizer::with_seed(plan, Reveal, engine, Seed::reproducible(1));
    let mut model = model.clone();
    let batch = optimizer.vouch_for_poisson([batch]);
    optimizer.step(1.0, &mut model, batch).unwrap();
    trainable(&model)
}

/// Checks that leaving out any one of eight records moves the sum by at most 1.
fn neighbors<M: Module>(
    what: &str,
    model: &M,
    rows: usize,
    dtype: DType,
    loss: impl Fn(&M, Batch) -> Tensor<1> + Clone,
) {
    const RECORDS: usize = 8;
    let all = tokens(RECORDS, rows);
    let mut weights = [1.0; RECORDS];
    (weights[2], weights[5]) = (100.0, 100.0);
    let given = |left_out: Option<usize>| {
        let keep = || (0..RECORDS).filter(|i| Some(*i) != left_out);
        let tokens = keep().flat_map(|i| all[i * LENGTH..(i + 1) * LENGTH].to_vec()).collect();
        let weights: Vec<f32> = keep().map(|i| weights[i]).collect();
        let mut batch = batch(tokens, rows, dtype, weights);
        // Each example's own table must stay with its example.
        let own: Vec<f32> = numbers(10, RECORDS * rows * WIDTH);
        let each = rows * WIDTH;
        let kept: Vec<f32> = keep().flat_map(|i| own[i * each..(i + 1) * each].to_vec()).collect();
        let kept = TensorData::new(kept, [keep().count(), rows, WIDTH]);
        batch.own = Tensor::from_data(kept, &device().autodiff());
        batch
    };
    for method in METHODS {
        let whole = clipped_sum(model, given(None), method, loss.clone());
        for left_out in 0..RECORDS {
            let rest = clipped_sum(model, given(Some(left_out)), method, loss.clone());
            let moved = whole.iter().zip(&rest).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt();
            assert!(moved <= 1.0 + 1e-4, "{what}, {dtype:?}, {method:?}: {left_out} moves {moved}");
            if left_out == 2 {
                assert!(moved > 0.9, "{what}, {dtype:?}, {method:?}: {left_out} moves {moved}");
            }
        }
    }
}

#[test]
fn leaving_a_record_out_moves_the_sum_by_at_most_the_clipping_norm_in_every_type() {
    for how in USES {
        for dtype in TYPES.into_iter().filter(|dtype| possible(how, *dtype)) {
            let rows = rows_of(dtype, 256);
            let model = Table::new(rows, &device().autodiff());
            // Every weight is so large that a hundredfold loss is clipped.
            let strong = {
                let loss = loss(how);
                move |model: &Table, batch: Batch| loss(model, batch) * 10.0
            };
            neighbors(&format!("{how:?}"), &model, rows, dtype, strong);
        }
    }
}

#[test]
fn masks_and_adapters_of_embeddings_keep_records_apart_in_every_type() {
    let device = device().autodiff();
    let strong = |model: &Table, batch: Batch| loss(Use::Embedding)(model, batch) * 10.0;
    for dtype in TYPES.into_iter().filter(|dtype| possible(Use::Embedding, *dtype)) {
        let rows = rows_of(dtype, 256);
        let masked = SuperMaskConfig::new(MaskKind::Multiplier).unwrap();
        let masked = masked.apply(Table::new(rows, &device)).unwrap();
        let masked = ParamSelector::masks().select(&masked).unwrap().apply(masked).unwrap();
        neighbors("multiplier mask", &masked, rows, dtype, strong);

        let adapted = Table::new(rows, &device).apply_lora(Lora::new(2, 4.0));
        let adapted = ParamSelector::lora().select(&adapted).unwrap().apply(adapted).unwrap();
        neighbors("LoRA", &adapted, rows, dtype, strong);
    }
}
