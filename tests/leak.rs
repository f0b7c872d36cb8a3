//! A run may take millions of steps, so a step must leave no memory behind. This test is alone in
//! its program, because it counts the allocations of the whole program.

mod common;

use burn::optim::SgdConfig;

use common::*;

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

const STEPS: usize = 20;

#[test]
fn a_step_leaves_nothing_behind() {
    let _profiler = dhat::Profiler::builder().testing().build();
    for path in PATHS {
        let mut optimizer = optimizer(plan(flat(BOUND), 1.0), SgdConfig::new().init(), path, 1);
        let mut model = Net::new(&device());
        let data = records(6, 1);
        let mut live = |steps: usize| {
            for _ in 0..steps {
                step(&mut optimizer, 0.1, &mut model, &data, 3).expect("a planned step");
            }
            dhat::HeapStats::get().curr_bytes
        };
        // The first steps create threads, tables and the plan.
        let (before, after) = (live(STEPS), live(STEPS));
        // One byte per step for every parameter would be more.
        let most = before + 8 * STEPS;
        assert!(after <= most, "{path:?}: {before} bytes before, {after} after {STEPS} steps");
    }
}
