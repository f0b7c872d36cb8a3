//! A plan is used only for what it was traced for. Whatever changes in the batch, the model or the
//! closure, the results are those of the batch-of-one engine, or a refusal.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use burn::module::Module;
use burn::nn::activation::{Activation, ActivationConfig};
use burn::nn::*;
use burn::optim::SgdConfig;
use burn::prelude::*;
use burn::tensor::Distribution;
use burn_dp::Error;
use burn_dp::batch::{self, Batch, BatchMapper};
use burn_dp::error::{BatchError, TraceError};
use burn_dp::per_example::{Engine, Loop, Retracing, Traced};

use crate::harness::{device, host, score};

fn on() -> Device {
    device().autodiff()
}

fn linear() -> Linear {
    LinearConfig::new(3, 2).init(&on())
}

/// Numbers that differ from entry to entry.
fn numbers(rows: usize, columns: usize) -> Tensor<2> {
    let count = (rows * columns) as i64;
    let numbers = Tensor::<1, Int>::arange(0..count, &on()).float();
    numbers.sin().reshape([rows, columns])
}

/// Checks that the losses and the first gradient of both engines are equal.
#[track_caller]
fn agree<M, X, F>(engine: &mut Traced<F>, model: &M, weight: &Linear, batch: &X, loss: F)
where
    M: Module,
    X: Batch,
    F: Fn(&M, X) -> Tensor<1>,
{
    let traced = engine.per_example(model, batch.clone()).expect("the traced engine");
    let looped = Loop::new(loss).per_example(model, batch.clone()).expect("the oracle");
    let id = weight.weight.id;
    let of = |given: &burn_dp::per_example::PerExample| {
        let mut all = host(given.losses());
        all.extend(host(given.gradient::<3>(id).expect("a gradient")));
        all
    };
    let (traced, looped) = (of(&traced), of(&looped));
    assert_eq!(traced.len(), looped.len());
    for (a, b) in traced.iter().zip(&looped) {
        assert!((a - b).abs() <= 1e-4 * b.abs().max(1.0), "{a} is not {b}: {traced:?} {looped:?}");
    }
}

/// Runs every batch in turn, three times, with one engine.
#[track_caller]
fn in_turn<X: Batch, F>(batches: &[X], loss: F, traces: usize)
where
    F: Fn(&Linear, X) -> Tensor<1> + Copy,
{
    let model = linear();
    let mut engine = Traced::new(loss);
    for _ in 0..3 {
        for batch in batches {
            agree(&mut engine, &model, &model, batch, loss);
        }
    }
    assert_eq!(engine.traces(), traces);
}

#[derive(Clone)]
struct Tasks {
    x: Tensor<2>,
    class: Option<Tensor<2>>,
    value: Option<Tensor<2>>,
}
burn_dp::impl_batch!(Tasks { x, class, value });

fn by_task(m: &Linear, Tasks { x, class, value }: Tasks) -> Tensor<1> {
    let y = m.forward(x);
    let mut loss = y.clone().mean();
    if let Some(class) = class {
        loss = loss + score(y.clone() * class);
    }
    if let Some(value) = value {
        loss = loss + (y - value).powi_scalar(2).mean() * 3.0;
    }
    loss
}

fn tasks(class: bool, value: bool) -> Tasks {
    let there = |there: bool| there.then(|| numbers(4, 2));
    Tasks { x: numbers(4, 3), class: there(class), value: there(value) }
}

#[test]
fn which_option_is_present() {
    let batches = [tasks(true, false), tasks(false, true), tasks(true, true), tasks(false, false)];
    in_turn(&batches, by_task, 4);
    // In a tuple, only their place distinguishes them.
    let batches = [(Some(numbers(4, 3)), None), (None, Some(numbers(4, 3)))];
    let loss = |m: &Linear, (a, b): (Option<Tensor<2>>, Option<Tensor<2>>)| match (a, b) {
        (Some(a), _) => score(m.forward(a)),
        (None, Some(b)) => m.forward(b).exp().mean(),
        (None, None) => m.weight.val().sum(),
    };
    in_turn(&batches, loss, 2);
}

#[test]
fn where_lists_are_split() {
    type Lists = (Vec<Tensor<2>>, Vec<Tensor<2>>);
    let list = |length: usize| (0..length).map(|_| numbers(4, 3)).collect::<Vec<_>>();
    let batches = [(list(2), list(1)), (list(1), list(2)), (list(3), list(0))];
    let loss = |m: &Linear, (a, b): Lists| {
        let a = a.into_iter().map(|x| score(m.forward(x)));
        let b = b.into_iter().map(|x| m.forward(x).exp().mean());
        a.chain(b).reduce(|a, b| a + b).unwrap()
    };
    in_turn(&batches, loss, 3);
    let of_lists = [vec![list(2), list(1)], vec![list(1), list(2)]];
    let loss = |m: &Linear, lists: Vec<Vec<Tensor<2>>>| {
        let weighted = lists.into_iter().map(|list| {
            let scores = list.into_iter().map(|x| score(m.forward(x)));
            scores.reduce(|a, b| a + b).unwrap().powi_scalar(2)
        });
        weighted.reduce(|a, b| a + b).unwrap()
    };
    in_turn(&of_lists, loss, 2);
}

#[derive(Clone)]
enum Task {
    Score { x: Tensor<2>, scale: f32 },
    Exp(Tensor<2>),
    Sum(Tensor<2>),
}
burn_dp::impl_batch!(enum Task { Score { x, #[key] scale }, Exp(x), Sum(x) });

fn by_variant(m: &Linear, task: Task) -> Tensor<1> {
    match task {
        Task::Score { x, scale } => score(m.forward(x)) * scale,
        Task::Exp(x) => m.forward(x).exp().mean(),
        Task::Sum(x) => m.forward(x).sum(),
    }
}

#[test]
fn which_variant_an_enum_has() {
    let x = || numbers(4, 3);
    let batches = [
        Task::Score { x: x(), scale: 1.0 },
        Task::Exp(x()),
        Task::Sum(x()),
        Task::Score { x: x(), scale: 0.5 },
    ];
    in_turn(&batches, by_variant, 4);
}

#[derive(Clone, Copy, Debug)]
enum Mode {
    Half,
    Whole,
}

#[derive(Clone)]
struct Noted(Tensor<2>, Mode, Vec<String>);
burn_dp::impl_batch!(Noted(
    x,
    #[key]
    mode,
    #[ignore]
    names
));

fn by_mode(m: &Linear, Noted(x, mode, _): Noted) -> Tensor<1> {
    match mode {
        Mode::Half => score(m.forward(x)) * 0.5,
        Mode::Whole => m.forward(x).exp().mean(),
    }
}

#[test]
fn a_key_field_counts_and_an_ignored_one_does_not() {
    let noted = |mode, name: &str| Noted(numbers(4, 3), mode, vec![name.to_owned()]);
    in_turn(&[noted(Mode::Half, "a"), noted(Mode::Whole, "a"), noted(Mode::Half, "b")], by_mode, 2);
    // Only the tensors are cut.
    let part = batch::slice(&noted(Mode::Half, "a"), 1..3).unwrap();
    assert_eq!((part.0.dims(), part.2), ([2, 3], vec!["a".to_owned()]));
}

/// An implementation written by hand, with fields that `map` does not show.
#[derive(Clone)]
struct ByHand {
    first: Option<Tensor<2>>,
    second: Option<Tensor<2>>,
    mode: Mode,
}

impl Batch for ByHand {
    fn map<M: BatchMapper>(self, mapper: &mut M) -> Self {
        let Self { first, second, mode } = self;
        let first = first.map(|x| mapper.map_float(x));
        Self { first, second: second.map(|x| mapper.map_float(x)), mode }
    }
}

fn by_hand(first: bool, mode: Mode) -> ByHand {
    let there = |there: bool| there.then(|| numbers(4, 3));
    ByHand { first: there(first), second: there(!first), mode }
}

fn of_by_hand(m: &Linear, batch: ByHand) -> Tensor<1> {
    let loss = match (batch.first, batch.second) {
        (Some(x), _) => score(m.forward(x)),
        (None, Some(x)) => m.forward(x).exp().mean(),
        (None, None) => m.weight.val().sum(),
    };
    match batch.mode {
        Mode::Half => loss * 0.5,
        Mode::Whole => loss,
    }
}

fn all_by_hand() -> Vec<ByHand> {
    let pairs =
        [(true, Mode::Half), (false, Mode::Half), (true, Mode::Whole), (false, Mode::Whole)];
    pairs.into_iter().map(|(first, mode)| by_hand(first, mode)).collect()
}

#[test]
fn an_implementation_by_hand_is_traced_each_time_and_keeps_a_plan_for_each_computation() {
    in_turn(&all_by_hand(), of_by_hand, 4);
}

#[test]
fn an_implementation_by_hand_deep_inside() {
    type Deep = (Tensor<2>, Vec<Option<Within>>);
    #[derive(Clone)]
    struct Within {
        inner: ByHand,
    }
    burn_dp::impl_batch!(Within { inner });
    let loss = |m: &Linear, (x, mut list): Deep| {
        let inner = list.pop().flatten().unwrap().inner;
        of_by_hand(m, inner) + m.forward(x).mean()
    };
    let deep = |inner| (numbers(4, 3), vec![Some(Within { inner })]);
    let batches: Vec<Deep> = all_by_hand().into_iter().map(deep).collect();
    in_turn(&batches, loss, 4);
}

#[test]
fn an_implementation_that_forwards_a_part_of_itself_is_not_trusted() {
    #[derive(Clone)]
    struct Forwards(Tensor<2>, Option<Tensor<2>>, Option<Tensor<2>>);
    impl Batch for Forwards {
        fn map<M: BatchMapper>(self, mapper: &mut M) -> Self {
            let (first, second) = (Batch::map(self.1, mapper), Batch::map(self.2, mapper));
            Self(Batch::map(self.0, mapper), first, second)
        }
        fn structure(&self, structure: &mut batch::Structure) {
            self.0.structure(structure);
        }
    }
    let loss = |m: &Linear, Forwards(x, first, second): Forwards| match (first, second) {
        (Some(y), _) => score(m.forward(x + y)),
        (None, Some(y)) => m.forward(x * y).exp().mean(),
        (None, None) => score(m.forward(x)),
    };
    let x = || numbers(4, 3);
    in_turn(&[Forwards(x(), Some(x()), None), Forwards(x(), None, Some(x()))], loss, 2);
}

#[derive(Module, Debug)]
struct Annealed {
    layer: Linear,
    #[module(skip)]
    temperature: f64,
    activation: Activation,
    constant: Tensor<1>,
}

fn annealed() -> Annealed {
    Annealed {
        layer: linear(),
        temperature: 1.0,
        activation: ActivationConfig::Tanh.init(&on()),
        constant: Tensor::from_floats([1.0], &on()),
    }
}

fn of_annealed(m: &Annealed, x: Tensor<2>) -> Tensor<1> {
    let y = m.activation.forward(m.layer.forward(x) / m.temperature);
    score(y) * m.constant.clone()
}

#[test]
fn fields_of_the_model_that_are_no_tensors() {
    let mut engine = Traced::new(of_annealed as fn(&Annealed, Tensor<2>) -> Tensor<1>);
    let mut model = annealed();
    let mut check = |model: &Annealed| {
        for _ in 0..3 {
            agree(&mut engine, model, &model.layer, &numbers(4, 3), of_annealed);
        }
        engine.traces()
    };
    assert_eq!(check(&model), 1);
    model.temperature = 0.5;
    assert_eq!(check(&model), 2);
    model.activation = ActivationConfig::Gelu.init(&on());
    assert_eq!(check(&model), 3);
    model.temperature = 1.0;
    model.activation = ActivationConfig::Tanh.init(&on());
    assert_eq!(check(&model), 3, "what was traced once is still there");
}

#[test]
fn a_constant_tensor_of_the_model_is_found_changed() {
    let mut engine = Traced::new(of_annealed);
    let mut model = annealed();
    let x = numbers(4, 3);
    engine.per_example(&model, x.clone()).unwrap();
    model.constant = Tensor::from_floats([0.25], &on());
    let refused = engine.per_example(&model, x.clone()).err().expect("a refusal");
    assert!(matches!(refused, Error::Trace(TraceError::Changed { .. })), "{refused:?}");
    assert!(refused.to_string().contains("F32 = 0.25 and was [1] F32 = 1"), "{refused}");
    engine.clear();
    agree(&mut engine, &model, &model.layer, &x, of_annealed);
}

/// A number that the engine cannot see.
struct Captured(AtomicU32);

impl Captured {
    fn new(value: f32) -> Self {
        Self(AtomicU32::new(value.to_bits()))
    }

    fn set(&self, value: f32) {
        self.0.store(value.to_bits(), Ordering::Relaxed);
    }

    fn get(&self) -> f32 {
        f32::from_bits(self.0.load(Ordering::Relaxed))
    }
}

#[test]
fn a_captured_number_is_found_changed_and_named_until_the_traces_are_cleared() {
    let scale = Captured::new(1.0);
    let loss = |m: &Linear, x: Tensor<2>| (m.forward(x) * scale.get()).exp().mean();
    let (model, x) = (linear(), numbers(4, 3));
    // The number of calls for which it stayed the same does not matter.
    for same in [1, 2, 5, 33] {
        scale.set(1.0);
        let mut engine = Traced::new(&loss);
        for _ in 0..same {
            engine.per_example(&model, x.clone()).unwrap();
        }
        scale.set(0.5);
        let refused = (0..=same).find_map(|_| engine.per_example(&model, x.clone()).err());
        let refused = refused.expect("found before as many calls again");
        assert!(matches!(refused, Error::Trace(TraceError::Changed { .. })), "{refused:?}");
        let message = refused.to_string();
        assert!(message.contains("MulScalar: rhs is 0.5 and was 1"), "{message}");
        assert!(message.contains("`clear()`"), "{message}");
        // The refusal has changed nothing: the old trace is not trusted, and the new one is not
        // taken.
        assert!(engine.per_example(&model, x.clone()).is_err());
        scale.set(1.0);
        agree(&mut engine, &model, &model, &x, &loss);
        scale.set(0.5);
        engine.clear();
        agree(&mut engine, &model, &model, &x, &loss);
    }
}

#[test]
fn a_loss_that_differs_from_call_to_call() {
    let calls = AtomicUsize::new(0);
    let loss = |m: &Linear, x: Tensor<2>| {
        let even = calls.fetch_add(1, Ordering::Relaxed).is_multiple_of(2);
        if even { m.forward(x).sin().mean() } else { m.forward(x).exp().mean() }
    };
    let (model, x) = (linear(), numbers(4, 3));
    let mut engine = Traced::new(&loss);
    engine.per_example(&model, x.clone()).unwrap();
    let refused = engine.per_example(&model, x.clone()).err().expect("a refusal").to_string();
    assert!(refused.contains("Exp, was Sin"), "{refused}");

    // Or the change is intended, and every batch is traced.
    let scale = Captured::new(1.0);
    let loss = |m: &Linear, x: Tensor<2>| (m.forward(x) * scale.get()).exp().mean();
    let mut engine = Traced::new(&loss).with_retracing(Retracing::Always);
    for value in [1.0, 0.5, 0.25, 1.0, 0.5] {
        scale.set(value);
        agree(&mut engine, &model, &model, &x, &loss);
    }
    assert_eq!(engine.traces(), 3);

    // Or nobody checks.
    let mut engine = Traced::new(&loss).with_retracing(Retracing::Never);
    scale.set(1.0);
    let before = host(engine.per_example(&model, x.clone()).unwrap().losses());
    scale.set(0.5);
    for _ in 0..5 {
        assert_eq!(before, host(engine.per_example(&model, x.clone()).unwrap().losses()));
    }
}

#[derive(Module, Debug)]
struct Everything {
    layer: Linear,
    norm: BatchNorm,
    dropout: Dropout,
    embedding: Embedding,
    #[module(skip)]
    temperature: f64,
    constant: Tensor<1>,
    random: Tensor<1>,
}

#[test]
fn fifty_training_steps_are_one_trace_and_few_looks() {
    let calls = AtomicUsize::new(0);
    let loss = |m: &Everything, (x, i): (Tensor<2>, Tensor<2, Int>)| {
        calls.fetch_add(1, Ordering::Relaxed);
        let y = m.norm.forward(m.dropout.forward(m.layer.forward(x)));
        let y = y / m.temperature + m.embedding.forward(i).sum_dim(1).squeeze_dim(1);
        let noise = Tensor::random(y.shape(), Distribution::Default, &y.device());
        score((y + noise) * m.constant.clone().unsqueeze::<2>())
    };
    let norm = BatchNormConfig::new(2).init(&on()).freeze();
    let mut model = Everything {
        layer: linear(),
        norm,
        dropout: DropoutConfig::new(0.1).init(),
        embedding: EmbeddingConfig::new(5, 2).init(&on()),
        temperature: 0.5,
        constant: Tensor::from_floats([0.5, 2.0], &on()),
        random: Tensor::ones([2], &on()),
    };
    let mut optimizer = SgdConfig::new().init();
    let mut engine = Traced::new(&loss);
    for step in 0..50usize {
        // The batch has as many examples as a sample may have. Fields that the loss does not use
        // may change.
        let examples = 1 + step % 5;
        let tokens = Tensor::<2, Int>::ones([examples, 3], &on());
        model.random = Tensor::random([2], Distribution::Default, &on());
        let given = engine.per_example(&model, (numbers(examples, 3), tokens)).unwrap();
        let weights = Tensor::<1>::ones([examples], &on());
        let gradient = given.weighted_sum(weights).unwrap().into_gradients(&model);
        model = optimizer.step(1e-3, model, gradient);
    }
    assert_eq!(engine.traces(), 1);
    // The loss was traced at the first call, and at calls 2, 4, 8, 16 and 32.
    assert_eq!(calls.load(Ordering::Relaxed), 6);
}

#[derive(Module, Debug)]
struct Counting {
    layer: Linear,
    #[module(skip)]
    step: usize,
}

#[test]
fn a_field_that_changes_every_step_without_effect_keeps_one_plan() {
    let loss = |m: &Counting, x: Tensor<2>| score(m.layer.forward(x));
    let mut model = Counting { layer: linear(), step: 0 };
    let mut engine = Traced::new(loss);
    for step in 0..20 {
        model.step = step;
        agree(&mut engine, &model, &model.layer, &numbers(4, 3), loss);
    }
    assert_eq!(engine.traces(), 1);
}

#[test]
fn the_least_recently_used_plans_go_and_come_back() {
    let loss = |m: &Linear, x: Tensor<3>| score(m.forward(x));
    let model = linear();
    let x = |length: usize| numbers(2 * length, 3).reshape([2, length, 3]);
    let mut all = Traced::new(loss);
    for length in 1..10 {
        agree(&mut all, &model, &model, &x(length), loss);
    }
    assert_eq!(all.traces(), 9);

    let mut one = Traced::new(loss).with_plan_memory(0);
    for length in [1, 2, 1, 3, 3, 2] {
        agree(&mut one, &model, &model, &x(length), loss);
        assert_eq!(one.traces(), 1, "the one in use");
    }

    // There is room for a few plans: the bound holds, and plans that are used repeatedly stay.
    let calls = AtomicUsize::new(0);
    let counted = |m: &Linear, x: Tensor<3>| {
        calls.fetch_add(1, Ordering::Relaxed);
        loss(m, x)
    };
    let room = 4 * 60_000;
    let mut few = Traced::new(&counted).with_retracing(Retracing::Never).with_plan_memory(room);
    for length in 2..60 {
        few.per_example(&model, x(1)).unwrap();
        few.per_example(&model, x(length)).unwrap();
    }
    assert!((2..30).contains(&few.traces()), "{} traces", few.traces());
    assert_eq!(calls.load(Ordering::Relaxed), 59, "the one that is used stays");
}

#[test]
fn batches_that_differ_beside_their_tensors_do_not_concatenate() {
    let refused = batch::concat(&[tasks(true, false), tasks(false, true)]).err();
    assert!(
        matches!(&refused, Some(Error::Batch(BatchError::StructuresDiffer { difference }))
            if difference == "`class` is present in one and absent in another"),
        "{refused:?}"
    );
    let noted = |mode, name: &str| Noted(numbers(4, 3), mode, vec![name.to_owned()]);
    let refused = batch::concat(&[noted(Mode::Half, "a"), noted(Mode::Whole, "a")]).err();
    assert!(
        matches!(&refused, Some(Error::Batch(BatchError::StructuresDiffer { difference }))
            if difference == "`mode` is Half in one and Whole in another"),
        "{refused:?}"
    );
    let joined = batch::concat(&[noted(Mode::Half, "a"), noted(Mode::Half, "b")]).unwrap();
    assert_eq!((joined.0.dims(), joined.2), ([8, 3], vec!["a".to_owned()]));

    let refused = batch::concat(&[Task::Exp(numbers(4, 3)), Task::Sum(numbers(4, 3))]).err();
    assert!(refused.is_some_and(|e| e.to_string().contains("the batch is the variant `Exp`")));

    let refused = batch::concat(&all_by_hand()).err();
    assert!(
        matches!(&refused, Some(Error::Batch(BatchError::StructureUnknown { type_name }))
            if type_name.ends_with("ByHand")),
        "{refused:?}"
    );
    // A single batch has nothing to differ from.
    batch::concat(&all_by_hand()[..1]).unwrap();

    let types = [Tensor::<2>::zeros([1, 3], &on()), numbers(1, 3).cast(burn::tensor::DType::F64)];
    let refused = batch::concat(&types).err();
    assert!(
        matches!(refused, Some(Error::Batch(BatchError::StructuresDiffer { .. }))),
        "{refused:?}"
    );
}

#[test]
fn a_tuple_of_twelve() {
    let x = || numbers(4, 3);
    let batch = (x(), x(), x(), x(), x(), x(), x(), x(), x(), x(), x(), Some(x()));
    let joined = batch::concat(&[batch.clone(), batch]).unwrap();
    assert_eq!(batch::len(&joined).unwrap(), 8);
}
