//! A record with an index out of range is refused before anything is spent, or counts as zero.

use burn::optim::AdamConfig;
use burn_dp::error::BatchError;
use burn_dp::per_example::{BadRecords, Loop};
use burn_dp::seed::Seed;
use burn_dp::{DpOptimizer, Error};

use crate::common::*;

fn with_token(token: i32) -> Vec<Record> {
    let mut records = records(5, 300);
    records[3].tokens[1] = token;
    records
}

#[test]
fn a_token_out_of_range_is_an_error_that_spends_nothing() {
    for path in PATHS {
        let start = || {
            let optimizer = optimizer(plan(flat(BOUND), 1.0), AdamConfig::new().init(), path, 3);
            (optimizer, Net::new(&device()))
        };
        let ((mut refused, mut model), (mut twin, mut twin_model)) = (start(), start());
        for token in [-1, TOKENS as i32, i32::MAX, i32::MIN, -100] {
            let before = (bits(&model), refused.ledger().clone(), refused.steps_taken());
            // The bad record is in the second physical batch. The first is already summed then.
            let outcome = step(&mut refused, 0.1, &mut model, &with_token(token), 3);
            match outcome {
                Err(Error::Batch(BatchError::IndexOutOfRange {
                    index, bound, example, ..
                })) => {
                    assert_eq!((index, bound, example), (i64::from(token), TOKENS, 0), "{path:?}");
                }
                other => panic!("{path:?}, {token}: {other:?}"),
            }
            let after = (bits(&model), refused.ledger().clone(), refused.steps_taken());
            assert_eq!(before, after, "{path:?}, {token}");
        }
        let good = records(5, 300);
        step(&mut refused, 0.1, &mut model, &good, 2).expect("a step");
        step(&mut twin, 0.1, &mut twin_model, &good, 2).expect("a step");
        assert_eq!(bits(&model), bits(&twin_model), "{path:?}");
    }
}

/// The sum of the clipped gradients, and the clipping norm afterwards.
fn excluding(path: Path, clipping: burn_dp::privacy::Clipping, data: &[Record]) -> (Vec<f64>, f64) {
    let loss = Net::loss as fn(&Net, Records) -> _;
    let engine = match path.engine(loss) {
        AnyEngine::Traced(engine) => {
            AnyEngine::Traced(Box::new(engine.with_bad_records(BadRecords::Exclude)))
        }
        AnyEngine::Loop(_) => {
            AnyEngine::Loop(Loop::new(loss).with_bad_records(BadRecords::Exclude))
        }
    };
    let plan = plan(clipping, 0.0);
    let seed = Seed::reproducible(7);
    let mut optimizer = DpOptimizer::with_seed(plan.clone(), Reveal, engine, seed);
    let mut model = Net::new(&device());
    let batches: Vec<_> = data.chunks(2).map(|r| collate(r, &device())).collect();
    let batch = optimizer.vouch_for_poisson(batches);
    optimizer.step(1.0, &mut model, batch).expect("a step");
    let sum = trainable(&model).into_iter().map(|x| x * plan.divisor()).collect();
    (sum, optimizer.clipping_state().clipping_norm().value())
}

#[test]
fn an_excluded_record_adds_exactly_zero_and_counts_as_clipped() {
    for (name, clipping) in clippings() {
        for path in PATHS {
            let mut rest = with_token(-1);
            rest.remove(3);
            // Together with the other records in the same physical batches.
            let mut rest_in_place = rest.clone();
            rest_in_place.insert(3, weighted(&records(1, 300)[0], f32::NAN));
            let (with, norm_with) = excluding(path, clipping.clone(), &with_token(-1));
            let (zero, norm_zero) = excluding(path, clipping.clone(), &rest_in_place);
            assert_eq!(with, zero, "{name}, {path:?}");
            assert_eq!(norm_with, norm_zero, "{name}, {path:?}: counted as one that is not finite");
            let without = excluding(path, clipping.clone(), &rest).0;
            assert!(distance(&with, &without) < 1e-5, "{name}, {path:?}");
        }
    }
}
