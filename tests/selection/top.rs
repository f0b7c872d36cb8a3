//! Selection by gradient norms, on public data for free and on private data for a cost.

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use burn_dp::error::{BatchError, PlanError, SelectionError};
use burn_dp::per_example::{Loop, Traced, verify};
use burn_dp::privacy::{
    Accountant, Adjacency, ClippingNorm, DpEvent, Epsilon, ExpectedBatchSize, NoiseMultiplier,
    PrivacyAccountant, PrivacyPlan, PrivateSelection, SamplingRate, Steps,
};
use burn_dp::seed::Seed;
use burn_dp::selection::{
    Groups, ParamSelector, PublicData, RowSelection, TopGradientNorm, TopSelection,
};
use burn_dp::{DpOptimizer, Error};

use crate::common::{builder, delta, device, flat};
use crate::models::{Cnn, numbers};

/// Parameters whose gradients are columns of the record.
#[derive(Module, Debug)]
struct Columns {
    first: Param<Tensor<1>>,
    second: Param<Tensor<1>>,
    table: Param<Tensor<2>>,
}

impl Columns {
    fn new() -> Self {
        let zeros = |n| Param::from_tensor(Tensor::zeros([n], &device()));
        let table = Param::from_tensor(Tensor::zeros([3, 2], &device()));
        Self { first: zeros(1), second: zeros(1), table }
    }

    /// The gradient of `first` is column 0, of `second` column 1, of the table's rows columns 2 to 4.
    fn loss(&self, x: Tensor<2>) -> Tensor<1> {
        let column = |i: usize| x.clone().slice([0..x.dims()[0], i..i + 1]);
        let first = column(0) * self.first.val().unsqueeze();
        let second = column(1) * self.second.val().unsqueeze();
        let rows = x.clone().slice([0..x.dims()[0], 2..5]).matmul(self.table.val());
        (first + second + rows.sum_dim(1)).sum()
    }
}

fn records(rows: &[[f32; 5]]) -> Tensor<2> {
    let flat: Vec<f32> = rows.concat();
    Tensor::<1>::from_data(flat.as_slice(), &device()).reshape([rows.len(), 5])
}

fn paths(selection: &TopSelection) -> Vec<&str> {
    match selection {
        TopSelection::Parameters(selection) => selection.paths().collect(),
        other => panic!("{other}"),
    }
}

fn rows(selection: TopSelection) -> RowSelection {
    match selection {
        TopSelection::Rows(rows) => rows,
        other => panic!("{other}"),
    }
}

#[test]
fn public_data_chooses_the_largest_sums_of_norms() {
    let model = Columns::new();
    // Norms do not cancel, while gradients do.
    let data = records(&[[1.0, 3.0, 0.0, 0.0, 2.0], [1.0, -3.0, 0.0, 0.0, 0.1]]);
    let top = |rule: TopGradientNorm| {
        let mut engine = Loop::new(Columns::loss);
        rule.on_public(&mut engine, &model, PublicData::vouch([data.clone()])).unwrap()
    };
    assert_eq!(paths(&top(TopGradientNorm::count(1).unwrap())), ["second"]);
    assert_eq!(paths(&top(TopGradientNorm::count(2).unwrap())), ["second", "table"]);
    let by_scalar = TopGradientNorm::count(2).unwrap().per_scalar();
    assert_eq!(paths(&top(by_scalar)), ["first", "second"]);
    // 2 of 8 scalars.
    assert_eq!(paths(&top(TopGradientNorm::share(0.25).unwrap())), ["first", "second"]);
    let by_row = TopGradientNorm::count(1).unwrap().by(Groups::Rows);
    let row = rows(top(by_row));
    assert_eq!(row.rows().collect::<Vec<_>>(), [("second", &[0][..])]);
    let three = rows(top(TopGradientNorm::count(3).unwrap().by(Groups::Rows)));
    let expected = [("first", &[0][..]), ("second", &[0][..]), ("table", &[2][..])];
    assert_eq!(three.rows().collect::<Vec<_>>(), expected);
    assert_eq!(three.trained(), 4);
}

#[test]
fn layers_are_chosen_whole() {
    let model = Cnn::new();
    let mut engine = Traced::new(Cnn::loss);
    let rule = TopGradientNorm::count(1).unwrap().by(Groups::Layers);
    let data = PublicData::vouch([numbers([6, 2, 8, 8])]);
    let top = rule.on_public(&mut engine, &model, data).unwrap();
    assert_eq!(paths(&top).len(), 2, "a weight and a bias: {top}");
    let none = PublicData::vouch(Vec::<Tensor<4>>::new());
    assert!(matches!(
        rule.on_public(&mut engine, &model, none),
        Err(Error::Selection(SelectionError::Empty { .. }))
    ));
}

#[test]
fn only_what_is_trained_can_be_chosen() {
    let model = Cnn::new();
    let head = ParamSelector::head().select(&model).unwrap();
    let model = head.apply(model).unwrap();
    let rule = TopGradientNorm::count(10).unwrap();
    let data = PublicData::vouch([numbers([6, 2, 8, 8])]);
    let top = rule.on_public(&mut Traced::new(Cnn::loss), &model, data).unwrap();
    assert_eq!(paths(&top), ["head.weight", "head.bias"]);
}

#[test]
fn selected_rows_start_as_the_model_and_train_exactly() {
    let model = Cnn::new();
    let images: Tensor<4> = numbers([5, 2, 8, 8]);
    let rule = TopGradientNorm::count(7).unwrap().by(Groups::Rows);
    let data = PublicData::vouch([images.clone()]);
    let selection = rows(rule.on_public(&mut Traced::new(Cnn::loss), &model, data).unwrap());
    let before = model.loss(images.clone()).into_scalar::<f32>();
    let attached = selection.apply(model).unwrap();
    assert_eq!(attached.loss(images.clone()).into_scalar::<f32>(), before);
    verify(&attached, images.clone(), Cnn::loss, 2e-3).unwrap();
    let trained = ParamSelector::attached("rows").select(&attached).unwrap();
    assert_eq!(trained.trained(), selection.trained());
    // burn does not nest them.
    let nested = selection.apply(attached.clone()).unwrap_err();
    assert!(
        matches!(nested, Error::Selection(SelectionError::AlreadyReparameterized { .. })),
        "{nested}"
    );
    assert_eq!(attached.materialize().loss(images).into_scalar::<f32>(), before);
}

fn selection_of(noise_multiplier: f64) -> PrivateSelection {
    PrivateSelection {
        sampling_rate: SamplingRate::new(1.0).unwrap(),
        noise_multiplier: NoiseMultiplier::new(noise_multiplier).unwrap(),
        clipping_norm: ClippingNorm::new(1.0).unwrap(),
    }
}

fn plan(selection: Option<PrivateSelection>) -> PrivacyPlan {
    let builder = builder(flat(0.5), 1.0).steps(Steps::from(3));
    match selection {
        Some(selection) => builder.selection(selection).build().unwrap(),
        None => builder.build().unwrap(),
    }
}

type Columnar = fn(&Columns, Tensor<2>) -> Tensor<1>;

fn optimizer(plan: PrivacyPlan, seed: u64) -> DpOptimizer<Loop<Columnar>> {
    let sgd = burn::optim::SgdConfig::new().init();
    DpOptimizer::with_seed(
        plan,
        sgd,
        Loop::new(Columns::loss as Columnar),
        Seed::reproducible(seed),
    )
}

#[test]
fn a_private_selection_is_in_the_ledger_and_in_epsilon() {
    let planned = selection_of(2.0);
    let mut optimizer = optimizer(plan(Some(planned)), 1);
    let model = Columns::new();
    let data = records(&[[1.0, 3.0, 0.0, 0.0, 2.0]; 4]);
    let batch = optimizer.sample_for_selection(4).unwrap().batches(3, |_| data.clone()).unwrap();
    let rule = TopGradientNorm::count(1).unwrap();
    let top = optimizer.select_top(&rule, &model, batch).unwrap();
    let mut model = top.apply(model).unwrap();

    assert_eq!(optimizer.ledger().entries(), [(planned.event(), 1)]);
    assert!(matches!(planned.event(), DpEvent::PoissonSampled { .. }));
    while optimizer.steps_left().value() > 0 {
        let batch = optimizer.vouch_for_poisson([data.clone()]);
        optimizer.step(0.1, &mut model, batch).unwrap();
    }
    let spent = optimizer.epsilon(delta()).unwrap();
    assert_eq!(spent, optimizer.plan().epsilon(delta()));
    assert!(spent > plan(None).epsilon(delta()), "the selection is paid for");
    let statement = optimizer.statement(delta()).to_string();
    assert!(statement.contains("which parameters are trained"), "{statement}");
}

#[test]
fn a_target_covers_selection_and_steps() {
    let target = Epsilon::new(2.0).unwrap();
    let build = |selection: Option<PrivateSelection>| {
        let builder = PrivacyPlan::builder()
            .target(target, delta())
            .sampling_rate(SamplingRate::new(0.05).unwrap())
            .expected_batch_size(ExpectedBatchSize::new(50.0).unwrap())
            .steps(Steps::from(100))
            .clipping(flat(1.0));
        match selection {
            Some(selection) => builder.selection(selection).build(),
            None => builder.build(),
        }
    };
    let (with, without) = (build(Some(selection_of(5.0))).unwrap(), build(None).unwrap());
    assert!(with.epsilon(delta()) <= target);
    assert!(with.noise_multiplier() > without.noise_multiplier());
    let too_dear = build(Some(selection_of(0.5)));
    assert!(
        matches!(
            too_dear,
            Err(Error::Accounting(burn_dp::accounting::Error::UnreachableTarget { .. }))
        ),
        "{too_dear:?}"
    );
    // A plan keeps its selection when it is stored.
    let stored = serde_json::to_string(&with).unwrap();
    assert_eq!(serde_json::from_str::<PrivacyPlan>(&stored).unwrap(), with);
}

#[test]
fn an_unplanned_selection_is_refused() {
    let rule = TopGradientNorm::count(1).unwrap();
    let data = || records(&[[1.0; 5]]);
    let unplanned = optimizer(plan(None), 1);
    assert!(matches!(
        unplanned.sample_for_selection(4),
        Err(Error::Plan(PlanError::SelectionNotPlanned { reason: "" }))
    ));

    let mut twice = optimizer(plan(Some(selection_of(1.0))), 1);
    let model = Columns::new();
    let batch = twice.sample_for_selection(1).unwrap().batches(1, |_| data()).unwrap();
    twice.select_top(&rule, &model, batch).unwrap();
    assert!(matches!(
        twice.sample_for_selection(4),
        Err(Error::Plan(PlanError::SelectionNotPlanned { .. }))
    ));

    let mut late = optimizer(plan(Some(selection_of(1.0))), 1);
    let batch = late.sample_for_selection(1).unwrap().batches(1, |_| data()).unwrap();
    let mut model = Columns::new();
    let step = late.vouch_for_poisson([data()]);
    late.step(0.1, &mut model, step).unwrap();
    let error = late.select_top(&rule, &model, batch).unwrap_err();
    assert!(matches!(error, Error::Plan(PlanError::SelectionNotPlanned { .. })), "{error}");
}

#[test]
fn a_sample_serves_what_it_was_drawn_for() {
    let mut optimizer = optimizer(plan(Some(selection_of(1.0))), 1);
    let mut model = Columns::new();
    let data = || records(&[[1.0; 5]]);
    let for_selection = optimizer.sample_for_selection(1).unwrap().batches(1, |_| data()).unwrap();
    let error = optimizer.step(0.1, &mut model, for_selection).unwrap_err();
    assert!(matches!(error, Error::Batch(BatchError::OfAnotherStep { .. })), "{error}");
    let for_step = optimizer.sample(1).unwrap().batches(1, |_| data()).unwrap();
    let rule = TopGradientNorm::count(1).unwrap();
    let error = optimizer.select_top(&rule, &model, for_step).err().unwrap();
    assert!(matches!(error, Error::Batch(BatchError::OfAnotherStep { .. })), "{error}");
    assert!(optimizer.ledger().entries().is_empty());
}

#[test]
fn a_selection_survives_a_checkpoint() {
    let mut first = optimizer(plan(Some(selection_of(1.0))), 1);
    let model = Columns::new();
    let batch =
        first.sample_for_selection(1).unwrap().batches(1, |_| records(&[[1.0; 5]])).unwrap();
    first.select_top(&TopGradientNorm::count(1).unwrap(), &model, batch).unwrap();
    let bytes = first.to_checkpoint(&model).unwrap();
    let mut second = optimizer(plan(Some(selection_of(1.0))), 2);
    second.resume(model, &bytes).unwrap();
    assert_eq!(second.ledger(), first.ledger());
    assert!(second.sample_for_selection(1).is_err(), "it was made");
}

/// With and without one record, whose gradient is far longer than the clipping norm. The choice
/// must not distinguish the two better than the event says.
#[test]
fn two_worlds_are_as_close_as_accounted() {
    const TRIALS: u64 = 4000;
    let z = 0.6;
    let chosen = |canary: bool| {
        let others = [[1.0, 0.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0, 0.0]];
        let canary_record = [[0.0, 1e4, 0.0, 0.0, 0.0]];
        let all = [&others[..], &canary_record[..usize::from(canary)]].concat();
        let data = records(&all);
        let model = Columns::new();
        let rule = TopGradientNorm::count(1).unwrap();
        // Counts how often `second` wins over `first`. Whether the table is out of the race by a
        // wide margin or not is the same in both worlds.
        let mut wins = 0;
        for seed in 0..TRIALS {
            let seed = 2 * seed + u64::from(canary);
            let mut optimizer = optimizer(plan(Some(selection_of(z))), seed);
            let sample = optimizer.sample_for_selection(all.len()).unwrap();
            assert_eq!(sample.indices().len(), all.len(), "rate 1");
            let batch = sample.batches(8, |_| data.clone()).unwrap();
            let top = optimizer.select_top(&rule, &model, batch).unwrap();
            wins += usize::from(paths(&top) == ["second"]);
        }
        wins as f64 / TRIALS as f64
    };
    let (with, without) = (chosen(true), chosen(false));
    let mut accountant = PrivacyAccountant::new(Adjacency::AddRemove);
    accountant.compose(&selection_of(z).event(), 1).unwrap();
    // Three standard deviations of each frequency.
    let error = 3.0 * 0.5 / (TRIALS as f64).sqrt();
    for epsilon in [0.0, 0.5, 1.0, 2.0] {
        let allowed = accountant.delta(Epsilon::new(epsilon).unwrap());
        let grown = f64::exp(epsilon);
        assert!(with - grown * without <= allowed + (1.0 + grown) * error);
        assert!((1.0 - without) - grown * (1.0 - with) <= allowed + (1.0 + grown) * error);
    }
    // The record moves its score by the clipping norm. Among three scores with noise z, the chances
    // change by about as much as theory says for a race.
    assert!(with - without > 0.25, "no power: {without} -> {with}");
}
