//! Random inputs of one operation, and the two ways to run it.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};

use burn::backend::{Flex, FlexDevice};
use burn_backend::ops::{BoolTensorOps, FloatTensorOps, IntTensorOps};
use burn_backend::{DType, Shape, TensorData};
use burn_ir::{ModuleOperationIr, OperationIr, TensorId, TensorIr};

use crate::per_example::execute::execute;
use crate::per_example::indices::BadRecords;
use crate::per_example::replay::Replay;
use crate::per_example::value::Value;

const BATCH: usize = 3;

pub(in crate::per_example::rules) fn id() -> TensorId {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    TensorId::new(NEXT.fetch_add(1, Ordering::Relaxed))
}

/// The inputs of an operation, each with its numbers for one example or for all.
#[derive(Default)]
pub(in crate::per_example::rules) struct Case {
    inputs: Vec<Input>,
    seed: u64,
}

struct Input {
    tensor: TensorIr,
    batched: bool,
    numbers: Vec<f32>,
}

impl Case {
    pub(in crate::per_example::rules) fn new() -> Self {
        Self::default()
    }

    pub(in crate::per_example::rules) fn batched(&mut self, dims: &[usize]) -> TensorIr {
        self.add(dims, DType::F32, true, |u| u - 0.5)
    }

    pub(in crate::per_example::rules) fn shared(&mut self, dims: &[usize]) -> TensorIr {
        self.add(dims, DType::F32, false, |u| u - 0.5)
    }

    pub(in crate::per_example::rules) fn positive(&mut self, dims: &[usize]) -> TensorIr {
        self.add(dims, DType::F32, false, |u| u + 0.5)
    }

    pub(in crate::per_example::rules) fn batched_int(
        &mut self,
        dims: &[usize],
        bound: usize,
    ) -> TensorIr {
        self.add(dims, DType::I64, true, |u| (u * bound as f32).floor())
    }

    pub(in crate::per_example::rules) fn shared_int(
        &mut self,
        dims: &[usize],
        bound: usize,
    ) -> TensorIr {
        self.add(dims, DType::I64, false, |u| (u * bound as f32).floor())
    }

    pub(in crate::per_example::rules) fn batched_bool(&mut self, dims: &[usize]) -> TensorIr {
        self.add(dims, BOOL, true, |u| (u * 1.3).floor())
    }

    pub(in crate::per_example::rules) fn shared_bool(&mut self, dims: &[usize]) -> TensorIr {
        self.add(dims, BOOL, false, |u| (u * 1.3).floor())
    }

    /// Adds a gradient to the inputs.
    pub(in crate::per_example::rules) fn with_grad(mut self, dims: &[usize]) -> (Self, TensorIr) {
        let grad = self.batched(dims);
        (self, grad)
    }

    /// Sets the number at `place`, counted through all examples.
    pub(in crate::per_example::rules) fn set(
        &mut self,
        tensor: &TensorIr,
        place: usize,
        number: f32,
    ) {
        self.input(tensor)[place] = number;
    }

    pub(in crate::per_example::rules) fn fill(&mut self, tensor: &TensorIr, number: f32) {
        self.input(tensor).fill(number);
    }

    /// Makes an output of `op` an input.
    pub(in crate::per_example::rules) fn result(
        &mut self,
        op: &ModuleOperationIr,
        out: &TensorIr,
    ) -> TensorIr {
        let op = OperationIr::Module(op.clone());
        let numbers = read(self.all(&op).remove(out.id));
        self.inputs.push(Input { tensor: out.clone(), batched: true, numbers });
        out.clone()
    }

    /// The outputs of all examples, one after another.
    pub(in crate::per_example::rules) fn outputs(&self, op: &ModuleOperationIr) -> Vec<f32> {
        let op = OperationIr::Module(op.clone());
        let mut r = self.all(&op);
        op.outputs().flat_map(|out| read(r.remove(out.id))).collect()
    }

    /// Checks that all examples at once give what each gives alone.
    #[track_caller]
    pub(in crate::per_example::rules) fn check(&self, op: ModuleOperationIr) {
        self.compare(&OperationIr::Module(op));
    }

    #[track_caller]
    pub(in crate::per_example::rules) fn compare(&self, op: &OperationIr) {
        let mut all = self.all(op);
        let all: Vec<_> = op.outputs().map(|out| read(all.remove(out.id))).collect();
        for example in 0..BATCH {
            let none = HashSet::new();
            let mut one = Replay::<Flex>::new(FlexDevice, 1, &none, BadRecords::Refuse);
            self.insert(op, &mut one, Some(example));
            execute(op, &[], &mut one).unwrap();
            for (all, out) in all.iter().zip(op.outputs()) {
                let value = one.remove(out.id).unwrap();
                assert_eq!(value.shape(), out.shape, "{op:?}");
                let (one, size) = (read(Some(value)), out.shape.num_elements());
                for (a, b) in all[example * size..][..size].iter().zip(&one) {
                    assert!((a - b).abs() <= 1e-5 * (1.0 + b.abs()), "{a} is not {b} in {op:?}");
                }
            }
        }
    }

    fn all(&self, op: &OperationIr) -> Replay<'static, Flex> {
        let given = self.inputs.iter().filter(|input| input.batched).map(|i| i.tensor.id);
        let batched: HashSet<_> = given.chain(op.outputs().map(|out| out.id)).collect();
        let dying: Vec<_> = op.inputs().map(|input| input.id).collect();
        let mut r =
            Replay::new(FlexDevice, BATCH, Box::leak(Box::new(batched)), BadRecords::Exclude);
        self.insert(op, &mut r, None);
        execute(op, dying.leak(), &mut r).unwrap();
        for out in op.outputs() {
            let shape = [&[BATCH], out.shape.as_slice()].concat();
            assert_eq!(r.get(out.id).unwrap().shape(), Shape::from(shape), "{op:?}");
        }
        r
    }

    fn insert(&self, op: &OperationIr, r: &mut Replay<'_, Flex>, example: Option<usize>) {
        for wanted in op.inputs() {
            let input = self.inputs.iter().find(|i| i.tensor.id == wanted.id).unwrap();
            let (tensor, size) = (&input.tensor, input.tensor.shape.num_elements());
            let value = match example {
                Some(i) if input.batched => {
                    value(tensor, tensor.shape.clone(), &input.numbers[i * size..][..size])
                }
                None if input.batched => {
                    let shape = [&[BATCH], tensor.shape.as_slice()].concat();
                    value(tensor, Shape::from(shape), &input.numbers)
                }
                _ => value(tensor, tensor.shape.clone(), &input.numbers),
            };
            r.insert(tensor.id, value);
        }
    }

    fn input(&mut self, tensor: &TensorIr) -> &mut [f32] {
        &mut self.inputs.iter_mut().find(|i| i.tensor.id == tensor.id).unwrap().numbers
    }

    fn add(
        &mut self,
        dims: &[usize],
        dtype: DType,
        batched: bool,
        number: impl Fn(f32) -> f32,
    ) -> TensorIr {
        let tensor = TensorIr::uninit(id(), Shape::from(dims.to_vec()), dtype);
        let count = tensor.shape.num_elements() * if batched { BATCH } else { 1 };
        let numbers = (0..count).map(|_| number(self.uniform())).collect();
        self.inputs.push(Input { tensor: tensor.clone(), batched, numbers });
        tensor
    }

    fn uniform(&mut self) -> f32 {
        self.seed = self.seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.seed >> 40) as f32 / (1u64 << 24) as f32
    }
}

const BOOL: DType = DType::Bool(burn_backend::BoolStore::Native);

fn value(tensor: &TensorIr, shape: Shape, numbers: &[f32]) -> Value<Flex> {
    let data = TensorData::new(numbers.to_vec(), shape);
    let data = if tensor.dtype == BOOL { data.convert::<bool>() } else { data };
    Value::from_data(data.convert_dtype(tensor.dtype), &FlexDevice)
}

fn read(value: Option<Value<Flex>>) -> Vec<f32> {
    let data = match value.unwrap() {
        Value::Float(t) => burn::tensor::read_sync(Flex::float_into_data(t)),
        Value::Int(t) => burn::tensor::read_sync(Flex::int_into_data(t)),
        Value::Bool(t) => burn::tensor::read_sync(Flex::bool_into_data(t)),
    };
    data.unwrap().convert::<f32>().try_to_vec().unwrap()
}
