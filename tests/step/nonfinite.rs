//! A gradient that is not finite contributes exactly zero.

use burn::module::{Module, Param};
use burn::tensor::Tensor;

use crate::common::*;

/// Records whose gradient, or its squared norm, is not finite.
fn bad_records() -> Vec<(&'static str, Record)> {
    let good = records(1, 200).remove(0);
    let feature = |x: f32| {
        let mut record = good.clone();
        record.features[LENGTH + 1] = x;
        record
    };
    vec![
        ("NaN loss", weighted(&good, f32::NAN)),
        ("infinite loss", weighted(&good, f32::INFINITY)),
        ("negative infinite loss", weighted(&good, f32::NEG_INFINITY)),
        ("loss times 1e30", weighted(&good, 1e30)),
        ("overflowing loss", weighted(&good, f32::MAX)),
        ("NaN input", feature(f32::NAN)),
        ("infinite input", feature(f32::INFINITY)),
    ]
}

#[test]
fn a_gradient_that_is_not_finite_contributes_exactly_zero() {
    for (name, clipping) in clippings() {
        let plan = plan(clipping, 0.0);
        for path in PATHS {
            for (bad, record) in bad_records() {
                let released = release(&plan, path, &[record], 1);
                let norm = norm(&released);
                if bad.contains("1e30") || bad == "infinite input" {
                    // The gradient may be finite after all, and is then clipped.
                    assert!(norm <= BOUND * (1.0 + 1e-6), "{name}, {path:?}, {bad}: {norm}");
                } else {
                    assert!(released.iter().all(|x| *x == 0.0), "{name}, {path:?}, {bad}: {norm}");
                }
            }
        }
    }
}

#[test]
fn a_bad_record_changes_no_other_records_contribution() {
    for (name, clipping) in clippings() {
        let plan = plan(clipping, 1.0);
        let good = records(5, 210);
        for path in PATHS {
            let expected = release(&plan, path, &good, 3);
            let mut mixed = good.clone();
            for (_, record) in bad_records().into_iter().filter(|(bad, _)| bad.starts_with("NaN")) {
                mixed.insert(2, record);
            }
            // Bad records together with good ones in one physical batch, apart from them, and
            // alone.
            for physical in [1, 2, 7] {
                let released = release(&plan, path, &mixed, physical);
                assert!(released.iter().all(|x| x.is_finite()), "{name}, {path:?}, {physical}");
                let error = distance(&released, &expected);
                assert!(error < 1e-5, "{name}, {path:?}, {physical}: {error}");
            }
        }
    }
}

#[test]
fn the_update_is_finite_and_within_its_bound_whatever_the_batch_holds() {
    let bad: Vec<Record> = bad_records().into_iter().map(|(_, record)| record).collect();
    for (name, clipping) in clippings() {
        let plan = plan(clipping, 0.0);
        for path in PATHS {
            let released = release(&plan, path, &bad, 4);
            let norm = norm(&released);
            assert!(norm <= bad.len() as f64 * BOUND, "{name}, {path:?}: {norm}");
        }
    }
}

/// If the weights are not finite, every gradient is bad.
#[test]
fn weights_that_are_not_finite_give_a_step_of_pure_noise() {
    let device = device();
    for value in [f32::NAN, f32::INFINITY] {
        let mut broken = Net::new(&device);
        let bias = Tensor::<1>::from_data([value, 1.0], &device);
        broken.head.bias = Some(Param::initialized(
            broken.head.bias.as_ref().map(|bias| bias.id).unwrap_or_default(),
            bias.require_grad(),
        ));
        for path in PATHS {
            let plan = plan(flat(BOUND), 1.0);
            let noise = release_of(broken.clone(), &plan, path, &[], 1);
            let released = release_of(broken.clone(), &plan, path, &records(4, 220), 4);
            assert_eq!(released, noise, "{path:?}");
            assert!(noise.iter().all(|x| x.is_finite()) && norm(&noise) > BOUND);
        }
    }
}

#[test]
fn adaptive_clipping_counts_a_bad_record_as_clipped() {
    // A count with almost no noise: the norm shows what was counted.
    let plan = plan(adaptive(1e3, 1e-9), 0.0);
    let clipping_norm_after = |records: &[Record]| {
        let mut optimizer = optimizer(plan.clone(), Reveal, Path::Mixed, 1);
        step(&mut optimizer, 1.0, &mut Net::new(&device()), records, 8).expect("a step");
        optimizer.clipping_state().clipping_norm().value()
    };
    let expected = |centred_count: f64| 1e3 * (-0.2 * centred_count / DIVISOR).exp();
    let mut data = records(4, 230);
    assert!((clipping_norm_after(&data) / expected(2.0) - 1.0).abs() < 1e-6);
    data[1].weight = f32::NAN;
    assert!((clipping_norm_after(&data) / expected(1.0) - 1.0).abs() < 1e-6);
    data[2].weight = 1e12;
    assert!((clipping_norm_after(&data) / expected(0.0) - 1.0).abs() < 1e-6);
}

#[test]
fn a_frozen_layer_that_is_not_finite_does_not_reach_the_released_bits() {
    let device = device();
    let mut model = Net::new(&device);
    let weight = Tensor::<2>::full([WIDTH, WIDTH], f32::NAN, &device);
    let id = model.mix.weight.id;
    model.mix.weight = Param::initialized(id, weight);
    model.mix = model.mix.freeze();
    for path in PATHS {
        let released =
            release_of(model.clone(), &plan(flat(BOUND), 0.0), path, &records(3, 240), 2);
        assert!(released.iter().all(|x| *x == 0.0), "{path:?}");
    }
}
