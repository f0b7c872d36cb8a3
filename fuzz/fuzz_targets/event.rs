//! Every accountant answers any event that can be read: with a bound, or with a typed error that leaves it unchanged.

#![no_main]

use burn_dp::privacy::{Accountant, Adjacency, Delta, DpEvent, RdpAccountant, ZcdpAccountant};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((first, bytes)) = bytes.split_first() else { return };
    let read: Option<DpEvent> = match first % 2 {
        0 => rmp_serde::from_slice(bytes).ok(),
        _ => serde_json::from_slice(bytes).ok(),
    };
    let Some(event) = read else { return };
    let delta = Delta::new(1e-5).expect("a valid delta");
    for adjacency in [Adjacency::AddRemove, Adjacency::ZeroOut, Adjacency::ReplaceOne] {
        let mut zcdp = ZcdpAccountant::new(adjacency);
        let before = zcdp.epsilon(delta);
        match zcdp.compose(&event, 1) {
            Ok(()) => assert!(zcdp.epsilon(delta).value() >= 0.0),
            Err(_) => assert_eq!(zcdp.epsilon(delta), before),
        }
        let mut rdp = RdpAccountant::new(adjacency);
        if rdp.compose(&event, 1).is_ok() {
            assert!(rdp.epsilon(delta).value() >= 0.0);
        }
    }
});
