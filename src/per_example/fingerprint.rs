//! A canonical form of what a trace computes. Two traces of one computation have equal forms. It
//! consists of the operations in order, with values named by where they appear, scalars, shapes,
//! types, constants' values and results.
//!
//! It includes only what the loss and its gradients need, so a closure may compute other things as
//! well.

use std::collections::{HashMap, HashSet};
use std::fmt::Write;

use burn::tensor::{DType, Device};
use burn_ir::{IrVisitorMut, TensorId, TensorIr, TensorStatus};
use sha2::{Digest as _, Sha256};

use super::trace::Trace;

/// A SHA-256 digest.
pub(crate) type Digest = [u8; 32];

/// The canonical form of a trace, small enough to be kept beside its plan.
#[derive(Debug)]
pub(crate) struct Fingerprint {
    /// The digest of the whole form.
    pub(crate) digest: Digest,
    /// Every distinct operation once, without its operands' names.
    words: Vec<String>,
    operations: Vec<Operation>,
    /// The names of all operations' operands and results, one operation after another.
    operands: Vec<u32>,
    constants: Vec<Constant>,
    /// The names of the loss and of the gradients; `NONE` for a gradient that does not exist.
    results: Vec<u32>,
}

#[derive(Debug, PartialEq, Eq)]
struct Operation {
    word: u32,
    /// The place where its operands end.
    end: u32,
}

#[derive(Debug, PartialEq, Eq)]
struct Constant {
    /// Its shape and type and, for a small constant, its values.
    description: String,
    digest: Digest,
}

const NONE: u32 = u32::MAX;

/// Constants of at most this many bytes are kept in words.
const FEW: usize = 64;

impl Fingerprint {
    /// `device` is where the trace will be replayed. The trace itself is unchanged afterwards.
    pub(crate) fn of(trace: &mut Trace, device: &Device) -> Self {
        let (live, needed) = live(trace);
        let mut names = Names::default();
        for id in trace.module.iter().chain(&trace.batch) {
            names.of(*id);
        }
        let mut hash = Sha256::new();
        let number = |hash: &mut Sha256, number: u32| hash.update(number.to_le_bytes());
        hash.update(format!("{device:?}"));
        number(&mut hash, trace.module.len() as u32);
        number(&mut hash, trace.batch.len() as u32);

        let mut constants = Vec::new();
        for (id, data) in trace.constants.iter().filter(|(id, _)| needed.contains(id)) {
            number(&mut hash, names.of(*id));
            let mut description = format!("{:?} {:?}", data.shape().as_slice(), data.dtype());
            hash.update(&description);
            hash.update(data.as_bytes());
            if data.as_bytes().len() <= FEW && !matches!(data.dtype(), DType::QFloat(_)) {
                let values: Vec<String> = data.iter::<f64>().map(|x| x.to_string()).collect();
                description = format!("{description} = {}", values.join(", "));
            }
            constants
                .push(Constant { description, digest: Sha256::digest(data.as_bytes()).into() });
        }

        let mut known: HashMap<String, u32> = HashMap::new();
        let mut operations = Vec::new();
        let mut operands = Vec::new();
        let mut words = Vec::new();
        let mut word = String::new();
        let of_interest = trace.operations.iter_mut().zip(live).filter(|(_, live)| *live);
        for (op, _) in of_interest {
            let mut anonymous = Anonymous::default();
            op.visit_mut(&mut anonymous);
            word.clear();
            // Writing to a `String` does not fail.
            let _ = write!(word, "{op:?}");
            let next = words.len() as u32;
            let index = *known.entry(word.clone()).or_insert(next);
            if index == next {
                hash.update(&word);
                words.push(word.clone());
            }
            number(&mut hash, index);
            for (id, _) in &anonymous.taken {
                let name = names.of(*id);
                number(&mut hash, name);
                operands.push(name);
            }
            operations.push(Operation { word: index, end: operands.len() as u32 });
            op.visit_mut(&mut Named { taken: anonymous.taken.into_iter() });
        }

        let mut results = vec![names.of(trace.loss)];
        results.extend(trace.gradients.iter().map(|id| id.map_or(NONE, |id| names.of(id))));
        results.iter().for_each(|result| number(&mut hash, *result));
        operations.shrink_to_fit();
        operands.shrink_to_fit();
        Self { digest: hash.finalize().into(), words, operations, operands, constants, results }
    }

    /// The first difference from `was`, in words; `None` if the two are equal.
    pub(crate) fn difference(&self, was: &Self) -> Option<String> {
        if self.digest == was.digest {
            return None;
        }
        let (now, before) = (self.steps(), was.steps());
        let longer = now.len().max(before.len());
        let differs = (0..longer).find(|index| now.get(*index) != before.get(*index));
        if let Some(index) = differs {
            let number = index + 1;
            return Some(match (now.get(index), before.get(index)) {
                (Some(now), Some(before)) if now.0 != before.0 => {
                    format!("operation {number}, {}", change(now.0, before.0))
                }
                (Some((word, _)), Some(_)) => {
                    format!("operation {number}, {}, reads other values than before", name(word))
                }
                (Some((word, _)), None) => format!("operation {number}, {}, is new", name(word)),
                (None, Some((word, _))) => {
                    format!("operation {number}, {}, is gone", name(word))
                }
                (None, None) => "its operations differ".to_owned(),
            });
        }
        let mut constants = self.constants.iter().zip(&was.constants);
        Some(match constants.find(|(now, before)| now != before) {
            Some((now, before)) if now.description != before.description => {
                format!("a constant tensor is {} and was {}", now.description, before.description)
            }
            Some((now, _)) => format!("a constant tensor, {}, has other values", now.description),
            None if self.results != was.results => "its results are other values".to_owned(),
            None => "the model, the batch or the device differs".to_owned(),
        })
    }

    /// Every operation in words, with its operands.
    fn steps(&self) -> Vec<(&str, &[u32])> {
        let mut start = 0;
        let step = |operation: &Operation| {
            let end = operation.end as usize;
            let operands = self.operands.get(start..end).unwrap_or(&[]);
            start = end;
            (self.words.get(operation.word as usize).map_or("", String::as_str), operands)
        };
        self.operations.iter().map(step).collect()
    }

    /// The memory that it holds.
    pub(crate) fn bytes(&self) -> usize {
        let words: usize = self.words.iter().map(|word| word.len() + size_of::<String>()).sum();
        words + size_of_val(&self.operations[..]) + size_of_val(&self.operands[..])
    }
}

/// The operations and the values that the results need.
fn live(trace: &Trace) -> (Vec<bool>, HashSet<TensorId>) {
    let mut needed: HashSet<TensorId> = trace.gradients.iter().flatten().copied().collect();
    needed.insert(trace.loss);
    let mut live: Vec<bool> = Vec::with_capacity(trace.operations.len());
    for op in trace.operations.iter().rev() {
        let is_live = op.outputs().any(|out| needed.contains(&out.id));
        if is_live {
            needed.extend(op.inputs().map(|input| input.id));
        }
        live.push(is_live);
    }
    live.reverse();
    (live, needed)
}

/// Numbers values in order of appearance.
#[derive(Default)]
struct Names(HashMap<TensorId, u32>);

impl Names {
    fn of(&mut self, id: TensorId) -> u32 {
        let next = self.0.len() as u32;
        *self.0.entry(id).or_insert(next)
    }
}

/// Removes the names of values from an operation, and the hints how burn's own runtime may use
/// their buffers.
#[derive(Default)]
struct Anonymous {
    taken: Vec<(TensorId, TensorStatus)>,
}

impl IrVisitorMut for Anonymous {
    fn visit_tensor_mut(&mut self, tensor: &mut TensorIr) {
        self.taken.push((tensor.id, tensor.status));
        tensor.id = TensorId::new(0);
        tensor.status = TensorStatus::ReadOnly;
    }
}

/// Restores both.
struct Named {
    taken: std::vec::IntoIter<(TensorId, TensorStatus)>,
}

impl IrVisitorMut for Named {
    fn visit_tensor_mut(&mut self, tensor: &mut TensorIr) {
        if let Some((id, status)) = self.taken.next() {
            tensor.id = id;
            tensor.status = status;
        }
    }
}

/// `MulScalar` of `NumericFloat(F32, MulScalar(ScalarOpIr { .. }))`.
fn name(word: &str) -> &str {
    let head = word.split(" {").next().unwrap_or(word);
    let mut parts = head.rsplit(['(', ' ']).filter(|part| !part.is_empty());
    let last = parts.next().unwrap_or(head);
    if last.ends_with("Ir") { parts.next().unwrap_or(last) } else { last }
}

/// Describes how one operation became another.
fn change(now: &str, before: &str) -> String {
    if name(now) != name(before) {
        return format!("{}, was {}", name(now), name(before));
    }
    let mut equal = now.char_indices().zip(before.chars());
    let at = equal.find(|((_, a), b)| a != b).map_or(now.len().min(before.len()), |((i, _), _)| i);
    let is_token = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '+' | '_');
    // Both texts are the same up to `at`, so that is a character boundary in both.
    let head = now.get(..at).unwrap_or(now);
    let start = head.trim_end_matches(is_token).len();
    let token = |text: &str| -> String {
        text.get(start..).unwrap_or("").chars().take_while(|c| is_token(*c)).collect()
    };
    // The field to which it belongs: the last `name: ` before it.
    let fields = head.get(..start).unwrap_or("").rsplit(": ").nth(1);
    let field = fields.and_then(|text| text.rsplit(|c: char| !is_token(c)).next()).unwrap_or("");
    match (token(now), token(before)) {
        (now_is, was) if now_is.is_empty() || was.is_empty() => {
            format!("{}, has other settings ({field})", name(now))
        }
        (now_is, was) => format!("{}: {field} is {now_is} and was {was}", name(now)),
    }
}

#[cfg(test)]
mod tests {
    use burn::module::Module;
    use burn::nn::{Linear, LinearConfig};
    use burn::tensor::{DType, Device, Distribution, Tensor};

    use super::Fingerprint;
    use crate::batch::Batch;
    use crate::model::ModuleTensors;
    use crate::per_example::trace::trace;

    #[derive(Module, Debug)]
    struct Model {
        layer: Linear,
        constant: Tensor<1>,
    }

    fn model(constant: f32) -> Model {
        let device = Device::default().autodiff();
        Model {
            layer: LinearConfig::new(3, 2).init(&device),
            constant: Tensor::from_floats([constant, 2.0], &device),
        }
    }

    fn x(width: usize) -> Tensor<2> {
        Tensor::zeros([4, width], &Device::default().autodiff())
    }

    fn of_model<X: Batch>(
        model: &Model,
        batch: &X,
        loss: impl Fn(&Model, X) -> Tensor<1>,
    ) -> Fingerprint {
        let tensors = ModuleTensors::of(model).unwrap();
        let mut trace = trace(model, &tensors, batch, &loss).unwrap();
        let before = trace.operations.clone();
        let fingerprint = Fingerprint::of(&mut trace, &tensors.device);
        assert_eq!(before, trace.operations, "the trace is not as it was");
        fingerprint
    }

    fn of(loss: impl Fn(&Model, Tensor<2>) -> Tensor<1>) -> Fingerprint {
        of_model(&model(1.0), &x(3), loss)
    }

    fn forward(m: &Model, x: Tensor<2>) -> Tensor<2> {
        m.layer.forward(x).tanh()
    }

    fn difference(
        now: impl Fn(&Model, Tensor<2>) -> Tensor<1>,
        was: impl Fn(&Model, Tensor<2>) -> Tensor<1>,
    ) -> String {
        of(now).difference(&of(was)).expect("a difference")
    }

    #[test]
    fn two_traces_of_one_computation_are_equal() {
        let random = |m: &Model, x: Tensor<2>| {
            let noise = Tensor::random([1, 2], Distribution::Default, &x.device());
            let scale = Tensor::<1>::from_floats([0.5, 0.25], &x.device()).unsqueeze::<2>();
            (forward(m, x) * noise * scale + m.constant.clone().unsqueeze::<2>()).sum()
        };
        let (one, other) = (of(random), of(random));
        assert_eq!(one.digest, other.digest);
        assert_eq!(one.difference(&other), None);
        // A computation beside the loss, without effect on it.
        let aside = |m: &Model, x: Tensor<2>| {
            let _ = forward(m, x.clone()).exp().sum();
            random(m, x)
        };
        assert_eq!(of(aside).difference(&one), None);
    }

    #[test]
    fn a_scalar() {
        let said =
            difference(|m, x| (forward(m, x) * 0.5).sum(), |m, x| (forward(m, x) * 1.25).sum());
        assert!(said.contains("MulScalar: rhs is 0.5 and was 1.25"), "{said}");
    }

    #[test]
    fn the_parameter_of_a_random_distribution() {
        let loss = |probability: f64| {
            move |m: &Model, x: Tensor<2>| {
                let kept = Distribution::Bernoulli(probability);
                (forward(m, x.clone()) * Tensor::random([1, 2], kept, &x.device())).sum()
            }
        };
        let said = difference(loss(0.5), loss(0.25));
        assert!(said.contains("0.5") && said.contains("0.25"), "{said}");
    }

    #[test]
    fn another_operation() {
        let said = difference(|m, x| forward(m, x).exp().sum(), |m, x| forward(m, x).sin().sum());
        assert!(said.contains("Exp, was Sin"), "{said}");
    }

    #[test]
    fn one_operation_more() {
        let said = difference(|m, x| forward(m, x).sum() * 2.0, |m, x| forward(m, x).sum());
        assert!(said.starts_with("operation "), "{said}");
    }

    #[test]
    fn the_order_of_operands() {
        let two = |m: &Model, x: Tensor<2>| {
            let y = forward(m, x);
            (y.clone().exp(), y.sin())
        };
        let one_way = move |m: &Model, x: Tensor<2>| {
            let (a, b) = two(m, x);
            (a - b).sum()
        };
        let other_way = move |m: &Model, x: Tensor<2>| {
            let (a, b) = two(m, x);
            (b - a).sum()
        };
        let said = difference(one_way, other_way);
        assert!(said.contains("Sub, reads other values"), "{said}");
    }

    #[test]
    fn which_tensor_of_the_batch_is_which() {
        let loss = |m: &Model, (x, y): (Tensor<2>, Tensor<2>)| (forward(m, x) * 2.0 - y).sum();
        let swapped = |m: &Model, (y, x): (Tensor<2>, Tensor<2>)| (forward(m, x) * 2.0 - y).sum();
        let device = Device::default().autodiff();
        let square = Model {
            layer: LinearConfig::new(3, 3).init(&device),
            constant: Tensor::zeros([1], &device),
        };
        let batch = (x(3), x(3));
        let said = of_model(&square, &batch, loss).difference(&of_model(&square, &batch, swapped));
        assert!(said.is_some());
    }

    #[test]
    fn a_shape() {
        let loss = |m: &Model, (x, y): (Tensor<2>, Tensor<2>)| forward(m, x).sum() + y.sum();
        let of = |width| of_model(&model(1.0), &(x(3), x(width)), loss);
        let said = of(5).difference(&of(4)).expect("a difference");
        assert!(said.contains("is 5 and was 4"), "{said}");
    }

    #[test]
    fn a_type() {
        let said = difference(
            |m, x| forward(m, x).cast(DType::F64).exp().cast(DType::F32).sum(),
            |m, x| forward(m, x).cast(DType::F16).exp().cast(DType::F32).sum(),
        );
        assert!(said.contains("F64") && said.contains("F16"), "{said}");
    }

    #[test]
    fn the_values_of_a_constant_and_only_if_it_is_used() {
        let used =
            |m: &Model, x: Tensor<2>| (forward(m, x) * m.constant.clone().unsqueeze::<2>()).sum();
        let of = |constant: f32| of_model(&model(constant), &x(3), used);
        let said = of(0.5).difference(&of(1.0)).expect("a difference");
        assert!(said.contains("is [2] F32 = 0.5, 2 and was [2] F32 = 1, 2"), "{said}");
        assert_eq!(of(0.5).difference(&of(0.5)), None);

        let unused = |m: &Model, x: Tensor<2>| forward(m, x).sum();
        let of = |constant: f32| of_model(&model(constant), &x(3), unused);
        assert_eq!(of(0.5).difference(&of(1.0)), None);
    }

    #[test]
    fn which_gradient_is_whose() {
        let device = Device::default().autodiff();
        let model = || {
            let linear = || LinearConfig::new(2, 2).init(&device);
            (linear(), linear())
        };
        let model = model();
        let tensors = ModuleTensors::of(&model).unwrap();
        let of = |first: bool| {
            let loss = move |(a, b): &(Linear, Linear), x: Tensor<2>| {
                if first { a.forward(x).exp().sum() } else { b.forward(x).exp().sum() }
            };
            let mut trace = trace(&model, &tensors, &x(2), &loss).unwrap();
            Fingerprint::of(&mut trace, &tensors.device)
        };
        assert!(of(true).difference(&of(false)).is_some());
        assert_eq!(of(true).difference(&of(true)), None);
    }
}
