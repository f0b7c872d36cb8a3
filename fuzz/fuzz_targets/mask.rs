//! Bytes from a stranger as a mask: `cargo fuzz run mask`.
//!
//! Each input is read as it is, and as the body behind a right header, which no fuzzer would guess.

#![no_main]

use std::sync::LazyLock;

use burn::nn::{Linear, LinearConfig};
use burn::tensor::Device;
use burn_dp::mask::MaskSet;
use libfuzzer_sys::fuzz_target;

static MODEL: LazyLock<Linear> = LazyLock::new(|| LinearConfig::new(40, 10).init(&Device::flex()));

fuzz_target!(|bytes: &[u8]| {
    read(bytes);
    let mut whole = b"burn-dpm".to_vec();
    whole.extend(1u32.to_le_bytes());
    whole.extend(crc32fast::hash(bytes).to_le_bytes());
    whole.extend((bytes.len() as u64).to_le_bytes());
    whole.extend(bytes);
    read(&whole);
});

/// What is read is a mask of the model, and survives a round trip.
fn read(bytes: &[u8]) {
    let Ok(masks) = MaskSet::from_bytes(bytes, &*MODEL) else { return };

    assert!(masks.scores() <= 400);
    let again = masks.to_bytes().expect("a mask that was read can be written");
    assert_eq!(MaskSet::from_bytes(&again, &*MODEL).expect("what was written"), masks);
}
