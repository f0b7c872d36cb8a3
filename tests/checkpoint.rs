//! A resumed run equals an uninterrupted one. A damaged checkpoint is refused.

mod common;

use burn::module::{Module, ParamGroup};
use burn::optim::momentum::MomentumConfig;
use burn::optim::{AdamConfig, ModuleOptimizer, SgdConfig};
use burn_dp::Error;
use burn_dp::error::{CheckpointError, PlanError};
use burn_dp::privacy::{Clipping, PrivacyPlan, SamplingRate};
use common::*;
use proptest::prelude::*;

fn optimizers() -> Vec<(&'static str, ModuleOptimizer)> {
    let momentum = SgdConfig::new().with_momentum(Some(MomentumConfig::new().with_momentum(0.9)));
    let by_group = ModuleOptimizer::from(AdamConfig::new().build()).with_group(
        ParamGroup::from_predicate("mix"),
        momentum.build(),
        None,
    );
    vec![("momentum", momentum.init()), ("adam", AdamConfig::new().init()), ("by group", by_group)]
}

fn poisson(clipping: Clipping) -> PrivacyPlan {
    let rate = SamplingRate::new(0.4).expect("a rate");
    builder(clipping, 1.0).sampling_rate(rate).build().expect("a plan")
}

/// `steps` steps on Poisson samples of `data`.
fn train(optimizer: &mut NetOptimizer, model: &mut Net, data: &[Record], steps: usize) {
    for _ in 0..steps {
        let sample = optimizer.sample(data.len()).expect("steps are left");
        let load = |indices: &[usize]| {
            let chosen: Vec<Record> = indices.iter().map(|i| data[*i].clone()).collect();
            collate(&chosen, &device())
        };
        let batch = sample.batches(3, load).expect("a batch");
        optimizer.step(0.05, model, batch).expect("a step");
    }
}

#[test]
fn a_resumed_run_equals_an_uninterrupted_one_in_every_bit_and_in_epsilon() {
    let data = records(9, 700);
    for (name, bare) in optimizers() {
        for (kind, clipping) in clippings() {
            let plan = poisson(clipping);
            let mut whole = optimizer(plan.clone(), bare.clone(), Path::Mixed, 21);
            let mut model = Net::new(&device());
            train(&mut whole, &mut model, &data, 2);
            let checkpoint = whole.to_checkpoint(&model).expect("a checkpoint");
            train(&mut whole, &mut model, &data, 3);

            // Another process: another seed until `resume`, a fresh model with other ids and weights.
            let mut resumed = optimizer(plan, bare.clone(), Path::Mixed, 99);
            let fresh = Net::new(&device()).map(&mut NewWeights);
            let mut later = resumed.resume(fresh, &checkpoint).expect("a checkpoint of this run");
            assert_eq!(resumed.steps_taken().value(), 2);
            train(&mut resumed, &mut later, &data, 3);

            assert_eq!(bits(&model), bits(&later), "{name}, {kind}");
            assert_eq!(whole.ledger(), resumed.ledger());
            assert_eq!(whole.clipping_state(), resumed.clipping_state());
            let epsilon = |run: &NetOptimizer| run.epsilon(delta()).expect("known events");
            assert_eq!(epsilon(&whole), epsilon(&resumed), "{name}, {kind}");
        }
    }
}

struct NewWeights;

impl burn::module::ModuleMapper for NewWeights {
    fn map_float<const D: usize>(
        &mut self,
        param: burn::module::Param<burn::tensor::Tensor<D>>,
    ) -> burn::module::Param<burn::tensor::Tensor<D>> {
        param.map(|t| (t.without_autodiff() * 3.0 + 1.0).autodiff().require_grad())
    }
}

#[test]
fn frozen_layers_stay_frozen_and_bit_identical_through_a_resume() {
    let data = records(9, 710);
    let plan = poisson(flat(BOUND));
    let frozen = || Net::new(&device()).freeze_group(ParamGroup::from_predicate("mix"));
    let mut first = optimizer(plan.clone(), AdamConfig::new().init(), Path::Mixed, 22);
    let mut model = frozen();
    train(&mut first, &mut model, &data, 2);
    let checkpoint = first.to_checkpoint(&model).expect("a checkpoint");
    let mut resumed = optimizer(plan, AdamConfig::new().init(), Path::Mixed, 22);
    let mut later = resumed.resume(frozen(), &checkpoint).expect("a checkpoint of this run");
    train(&mut resumed, &mut later, &data, 2);
    assert_eq!(bits(&frozen().mix), bits(&later.mix));
    assert!(!later.mix.weight.is_require_grad());
    assert_ne!(bits(&frozen().head), bits(&later.head));
}

#[test]
fn a_checkpoint_keeps_the_spent_budget_of_an_exhausted_run() {
    let plan = builder(flat(BOUND), 1.0).steps(2).build().expect("a plan");
    let mut run = optimizer(plan.clone(), AdamConfig::new().init(), Path::Mixed, 23);
    let mut model = Net::new(&device());
    train(&mut run, &mut model, &records(2, 720), 2);
    let checkpoint = run.to_checkpoint(&model).expect("a checkpoint");
    let mut resumed = optimizer(plan.clone(), AdamConfig::new().init(), Path::Mixed, 23);
    let mut model = resumed.resume(model, &checkpoint).expect("a checkpoint of this run");
    assert_eq!(resumed.epsilon(delta()).expect("known"), plan.epsilon(delta()));
    let refused = step(&mut resumed, 0.1, &mut model, &[], 1);
    assert!(matches!(refused, Err(Error::Plan(PlanError::Exhausted { steps: 2 }))), "{refused:?}");
}

#[test]
fn a_checkpoint_holds_no_key_of_the_operating_system() {
    let engine = || Path::Mixed.engine(Net::loss as fn(&Net, Records) -> burn::tensor::Tensor<1>);
    let plan = plan(flat(BOUND), 1.0);
    let new = || burn_dp::DpOptimizer::new(plan.clone(), Reveal, engine()).expect("randomness");
    let run = new();
    let checkpoint = run.to_checkpoint(&Net::new(&device())).expect("a checkpoint");
    let samples = |z: &mut NetOptimizer| {
        let mut model = Net::new(&device());
        step(z, 1.0, &mut model, &[], 1).expect("a step");
        trainable(&model)
    };
    let (mut first, mut second) = (new(), new());
    first.resume(Net::new(&device()), &checkpoint).expect("a checkpoint of this run");
    second.resume(Net::new(&device()), &checkpoint).expect("a checkpoint of this run");
    assert_ne!(samples(&mut first), samples(&mut second));
}

#[test]
fn save_and_load_go_through_a_file_and_leave_no_partial_one() {
    let folder = std::env::temp_dir().join(format!("burn-dp-checkpoint-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let file = folder.join("run.bin");
    let plan = poisson(flat(BOUND));
    let mut run = optimizer(plan.clone(), AdamConfig::new().init(), Path::Mixed, 24);
    let mut model = Net::new(&device());
    for _ in 0..2 {
        train(&mut run, &mut model, &records(4, 730), 1);
        run.save(&model, &file).expect("a writable folder");
    }
    let mut resumed = optimizer(plan, AdamConfig::new().init(), Path::Mixed, 24);
    let loaded = resumed.load(Net::new(&device()), &file).expect("a checkpoint");
    assert_eq!(bits(&model), bits(&loaded));
    assert_eq!(std::fs::read_dir(&folder).expect("the folder").count(), 1);
    std::fs::remove_dir_all(&folder).expect("the folder");
}

/// A run two steps old, and its checkpoint.
fn written() -> (NetOptimizer, Net, Vec<u8>) {
    let plan = poisson(flat(BOUND));
    let mut run = optimizer(plan, AdamConfig::new().init(), Path::Mixed, 25);
    let mut model = Net::new(&device());
    train(&mut run, &mut model, &records(5, 740), 2);
    let checkpoint = run.to_checkpoint(&model).expect("a checkpoint");
    (run, model, checkpoint)
}

/// Magic, version, checksum and length of the body.
const HEADER: usize = 24;

#[test]
fn a_checkpoint_that_is_not_whole_is_refused_and_changes_nothing() {
    let (mut run, model, bytes) = written();
    let before = run.to_checkpoint(&model).expect("a checkpoint");
    let mut refused = |bytes: &[u8], what: &str| {
        let outcome = run.resume(model.clone(), bytes);
        let error = outcome.err().unwrap_or_else(|| panic!("{what} was accepted"));
        assert!(
            matches!(
                error,
                Error::Checkpoint(CheckpointError::Unusable { .. })
                    | Error::Checkpoint(CheckpointError::Version { .. })
            ),
            "{what}: {error}"
        );
        assert_eq!(run.steps_taken().value(), 2, "{what}");
    };
    for length in (0..HEADER + 8).chain([bytes.len() / 2, bytes.len() - 1]) {
        refused(&bytes[..length], &format!("the first {length} bytes"));
    }
    refused(&[bytes.as_slice(), b"x"].concat(), "a byte too many");
    refused(b"", "nothing");
    refused(&[0xff; 200], "noise");
    refused(&[bytes.as_slice(), bytes.as_slice()].concat(), "two checkpoints");
    let step = bytes.len() / 40;
    for at in (0..HEADER).chain((HEADER..bytes.len()).step_by(step)) {
        let mut flipped = bytes.clone();
        flipped[at] ^= 0x10;
        refused(&flipped, &format!("a flipped bit at {at}"));
    }
    // Equal bit for bit, except for the order in which burn writes the optimizer's state.
    assert_eq!(before.len(), run.to_checkpoint(&model).expect("a checkpoint").len());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..Default::default() })]

    /// Damage that a checksum does not show, because the checksum was computed again. The result is
    /// an error or a run, never a panic.
    #[test]
    fn no_checkpoint_makes_resume_panic(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let (mut run, model, bytes) = written();
        let mut body = bytes[HEADER..].to_vec();
        for (at, value) in &edits {
            let at = at.index(body.len());
            body[at] = *value;
        }
        if let Some(cut) = cut {
            body.truncate(cut.index(body.len()));
        }
        let checkpoint = sealed(&bytes, &body);
        if let Ok(model) = run.resume(model, &checkpoint) {
            prop_assert_eq!(run.steps_taken().value(), run.ledger().steps().value());
            prop_assert!(model.head.weight.dims() == [WIDTH, 2]);
        }
    }
}

/// burn's optimizer panics on a record whose tensors have no parameter number.
#[test]
fn an_optimizer_record_that_burn_would_not_write_is_an_error() {
    let (mut run, model, bytes) = written();
    let mut body = bytes[HEADER..].to_vec();
    let name = b"param_id";
    let found = body.windows(name.len()).position(|window| window == name);
    let at = found.expect("the optimizer's tensors have ids");
    body[at] = b'q';
    let error = run.resume(model, &sealed(&bytes, &body)).err();
    assert!(
        matches!(error, Some(Error::Checkpoint(CheckpointError::Unusable { .. }))),
        "{error:?}"
    );
    assert_eq!(run.steps_taken().value(), 2);
}

/// `body` behind the header of `bytes`, with a matching checksum and length.
fn sealed(bytes: &[u8], body: &[u8]) -> Vec<u8> {
    let mut sealed = bytes[..12].to_vec();
    sealed.extend(crc32fast::hash(body).to_le_bytes());
    sealed.extend((body.len() as u64).to_le_bytes());
    sealed.extend(body);
    sealed
}

#[test]
fn a_checkpoint_of_another_version_plan_or_model_is_refused_by_name() {
    let (run, model, bytes) = written();
    let fresh = |plan| optimizer(plan, AdamConfig::new().init(), Path::Mixed, 25);

    let mut newer = bytes.clone();
    newer[8] = 200;
    let error = fresh(run.plan().clone()).resume(model.clone(), &newer).err();
    assert!(
        matches!(error, Some(Error::Checkpoint(CheckpointError::Version { found: 200, .. }))),
        "{error:?}"
    );

    for plan in [poisson(flat(BOUND * 1.01)), plan(flat(BOUND), 1.0)] {
        let error = fresh(plan).resume(model.clone(), &bytes).err();
        assert!(
            matches!(error, Some(Error::Checkpoint(CheckpointError::OfAnotherPlan))),
            "{error:?}"
        );
    }

    let mut wider = model.clone();
    wider.head = burn::nn::LinearConfig::new(WIDTH, 3).init(&device());
    let error = fresh(run.plan().clone()).resume(wider, &bytes).err();
    assert!(matches!(error, Some(Error::Checkpoint(CheckpointError::OfAnotherModel))), "{error:?}");
}

#[test]
fn a_file_that_is_not_there_is_an_error_with_its_path() {
    let (mut run, model, _) = written();
    let nowhere = std::env::temp_dir().join("burn-dp-no-such-folder").join("run.bin");
    let read = run.load(model.clone(), &nowhere).map(|_| ()).expect_err("no file").to_string();
    let write = run.save(&model, &nowhere).expect_err("no folder").to_string();
    assert!(read.contains("burn-dp-no-such-folder") && write.contains("burn-dp-no-such-folder"));
}

#[test]
fn a_checkpoint_whose_ledger_is_not_of_the_plan_is_refused() {
    let z = 1.234_567;
    let plan = plan(flat(BOUND), z);
    let mut run = optimizer(plan.clone(), Reveal, Path::Mixed, 26);
    let mut model = Net::new(&device());
    step(&mut run, 0.1, &mut model, &[], 1).expect("a step");
    let bytes = run.to_checkpoint(&model).expect("a checkpoint");
    // The plan states the noise multiplier first, and the ledger after it.
    let mut body = bytes[HEADER..].to_vec();
    let found = |body: &[u8]| body.windows(8).rposition(|eight| eight == z.to_be_bytes());
    let at = found(&body).expect("a noise multiplier");
    assert!(found(&body[..at]).is_some(), "one in the plan, one in the ledger");
    body[at..at + 8].copy_from_slice(&(2.0 * z).to_be_bytes());
    let mut resumed = optimizer(plan, Reveal, Path::Mixed, 26);
    let error = resumed.resume(model, &sealed(&bytes, &body)).err();
    assert!(
        matches!(error, Some(Error::Checkpoint(CheckpointError::Unusable { .. }))),
        "{error:?}"
    );
    assert_eq!(resumed.steps_taken().value(), 0);
}

/// Moments of one optimizer mean something else to another. The same is true of a run whose
/// settings change. An error is better than a run that is neither of the two.
#[test]
fn a_checkpoint_of_another_optimizer_is_refused_and_both_are_named() {
    let (run, model, bytes) = written();
    let adam = AdamConfig::new;
    let clipped = burn::grad_clipping::GradientClippingConfig::Norm(1.0);
    let decay = burn::optim::decay::WeightDecayConfig::new(1e-2);
    let by_group = ModuleOptimizer::from(adam().build()).with_group(
        ParamGroup::from_predicate("head.bias"),
        adam().with_beta_1(0.5).build(),
        None,
    );
    let others: [(&str, ModuleOptimizer); 10] = [
        ("this is SGD with burn's default", SgdConfig::new().init()),
        ("this is AdamW with burn's default", burn::optim::AdamWConfig::new().init()),
        ("from 1 to [", adam().with_beta_1(0.95).init()),
        ("from 1 to [", adam().with_beta_2(0.998).init()),
        ("from 1 to [", adam().with_epsilon(1e-8).init()),
        ("from 1 to [", adam().with_amsgrad(true).with_beta_2(0.9).init()),
        ("from 1 to [", adam().with_weight_decay(Some(decay)).init()),
        ("from 1 to [", adam().with_grad_clipping(Some(clipped)).init()),
        ("this is", by_group),
        ("from 1 to [", SgdConfig::new().with_momentum(Some(MomentumConfig::new())).init()),
    ];
    for (name, other) in others {
        let mut other = optimizer(run.plan().clone(), other, Path::Mixed, 25);
        let error = other.resume(model.clone(), &bytes).expect_err(name);
        assert!(
            matches!(error, Error::Checkpoint(CheckpointError::OfAnotherOptimizer { .. })),
            "{name}: {error:?}"
        );
        let message = error.to_string();
        assert!(message.contains("another optimizer: Adam with burn's default"), "{message}");
        assert!(message.contains(name) && message.contains("betas"), "{message}");
        assert_eq!(other.steps_taken().value(), 0);
    }
    let mut same = optimizer(run.plan().clone(), adam().init(), Path::Mixed, 25);
    same.resume(model, &bytes).expect("Adam's checkpoint");
}

/// The same if the parameters have adapters.
#[test]
fn another_optimizer_of_a_model_with_adapters_is_refused() {
    let adapted = || {
        let adapters = burn_dp::selection::LowRank::new(2, 4.0).expect("a rank");
        Net::new(&device()).apply_reparameterization(adapters)
    };
    let plan = poisson(flat(BOUND));
    let mut run = optimizer(plan.clone(), AdamConfig::new().init(), Path::Mixed, 28);
    let mut model = adapted();
    train(&mut run, &mut model, &records(5, 760), 1);
    let bytes = run.to_checkpoint(&model).expect("a checkpoint");
    let other = AdamConfig::new().with_beta_2(0.99).init();
    let mut other = optimizer(plan.clone(), other, Path::Mixed, 28);
    let error = other.resume(adapted(), &bytes).err();
    assert!(
        matches!(error, Some(Error::Checkpoint(CheckpointError::OfAnotherOptimizer { .. }))),
        "{error:?}"
    );
    let mut same = optimizer(plan, AdamConfig::new().init(), Path::Mixed, 28);
    let later = same.resume(adapted(), &bytes).expect("its checkpoint");
    assert_eq!(bits(&model), bits(&later));
}

/// An optimizer that cannot be identified by what it does is accepted as it is.
#[test]
fn an_optimizer_that_draws_random_numbers_resumes() {
    #[derive(Clone)]
    struct Restless;
    impl burn::optim::Optimizer for Restless {
        type State<const D: usize> = burn::optim::SgdState<D>;

        fn step<const D: usize>(
            &self,
            _: f64,
            tensor: burn::tensor::Tensor<D>,
            gradient: burn::tensor::Tensor<D>,
            _: Option<Self::State<D>>,
        ) -> (burn::tensor::Tensor<D>, Option<Self::State<D>>) {
            let noise = gradient.random_like(burn::tensor::Distribution::Default);
            (tensor - gradient * 0.1 + noise, None)
        }

        fn to_device<const D: usize>(
            state: Self::State<D>,
            _: &burn::tensor::Device,
        ) -> Self::State<D> {
            state
        }
    }
    let plan = poisson(flat(BOUND));
    let mut run = optimizer(plan.clone(), Restless, Path::Mixed, 27);
    let mut model = Net::new(&device());
    train(&mut run, &mut model, &records(5, 750), 1);
    let bytes = run.to_checkpoint(&model).expect("a checkpoint");
    let mut resumed = optimizer(plan, Restless, Path::Mixed, 27);
    let later = resumed.resume(Net::new(&device()), &bytes).expect("its checkpoint");
    assert_eq!(bits(&model), bits(&later));
}

#[test]
fn a_checkpoint_leaves_the_run_as_it_was() {
    let (mut run, mut model, bytes) = written();
    let mut other = optimizer(run.plan().clone(), AdamConfig::new().init(), Path::Mixed, 25);
    let mut later = other.resume(model.clone(), &bytes).expect("a checkpoint of this run");
    // The run may be saved again and again, or never again.
    for _ in 0..3 {
        run.to_checkpoint(&model).expect("a checkpoint");
        train(&mut run, &mut model, &records(5, 740), 1);
        train(&mut other, &mut later, &records(5, 740), 1);
    }
    assert_eq!(bits(&model), bits(&later));
}
