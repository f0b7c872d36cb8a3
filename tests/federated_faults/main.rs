//! A federated run whose programs are killed, whose state two programs want, and whose clients leave anything in their files.
//!
//! The programs are real processes: this one again, as a worker, with the points of the feature `fail-points` in it.

mod federation;
mod hostile_files;
mod kills;
mod mean;

use std::path::PathBuf;
use std::process::ExitCode;

use burn_dp::federated::worker;
use libtest_mimic::{Arguments, Failed, Trial};

use self::mean::Mean;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().collect();
    if let [_, role, _, state] = &words[..]
        && ["server", "client"].contains(&role.as_str())
    {
        return worker::main(&Mean { state: PathBuf::from(state) });
    }
    let law = |name: &str, law: fn()| {
        Trial::test(name, move || {
            law();
            Ok::<(), Failed>(())
        })
    };
    let laws = vec![
        law(
            "killed_once_or_twice_at_any_point_a_run_ends_with_its_plan_and_one_release_a_round",
            kills::killed_once_or_twice_at_any_point_a_run_ends_with_its_plan_and_one_release_a_round,
        ),
        law(
            "a_second_process_on_one_state_fails_at_once_and_a_third_goes_on_after_a_kill",
            kills::a_second_process_on_one_state_fails_at_once_and_a_third_goes_on_after_a_kill,
        ),
        law(
            "whatever_a_client_leaves_in_its_files_counts_as_silence",
            hostile_files::whatever_a_client_leaves_in_its_files_counts_as_silence,
        ),
        law(
            "a_replayed_reply_counts_as_silence",
            hostile_files::a_replayed_reply_counts_as_silence,
        ),
    ];
    libtest_mimic::run(&Arguments::from_args(), laws).exit_code()
}
