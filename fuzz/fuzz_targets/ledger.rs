//! Whatever a file claims, reading a ledger is a typed error or a ledger that can be written, read back and priced.

#![no_main]

use burn_dp::privacy::{Adjacency, Delta, Ledger};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((first, bytes)) = bytes.split_first() else { return };
    let read: Option<Ledger> = match first % 2 {
        0 => rmp_serde::from_slice(bytes).ok(),
        _ => serde_json::from_slice(bytes).ok(),
    };
    let Some(ledger) = read else { return };
    let written = rmp_serde::to_vec(&ledger).expect("a ledger can be written");
    let again: Ledger = rmp_serde::from_slice(&written).expect("and read");
    assert_eq!(again, ledger);
    // Pricing takes a time that grows with the events; a fuzzer should not wait for it.
    if ledger.entries().len() <= 4 {
        let delta = Delta::new(1e-5).expect("a valid delta");
        if let Ok(epsilon) = ledger.epsilon(delta, Adjacency::AddRemove) {
            assert!(epsilon.value() >= 0.0);
        }
    }
});
