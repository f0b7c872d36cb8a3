//! Whatever a file claims, reading a plan is a typed error or a plan that holds what it says.

#![no_main]

use burn_dp::privacy::PrivacyPlan;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((first, bytes)) = bytes.split_first() else { return };
    let read: Option<PrivacyPlan> = match first % 2 {
        0 => rmp_serde::from_slice(bytes).ok(),
        _ => serde_json::from_slice(bytes).ok(),
    };
    let Some(plan) = read else { return };
    let state = plan.clipping().initial_state();
    assert!(plan.noise_std(&state) >= 0.0);
    assert!(plan.gradient_noise_multiplier() >= plan.noise_multiplier());
    let written = rmp_serde::to_vec(&plan).expect("a plan can be written");
    let again: PrivacyPlan = rmp_serde::from_slice(&written).expect("and read");
    assert_eq!(again.fingerprint(), plan.fingerprint());
});
