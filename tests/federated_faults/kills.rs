//! Killed anywhere, a program is started again, and nothing is paid twice, released twice or lost.

use std::collections::BTreeMap;
use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rayon::prelude::*;

use super::federation::{Federation, Kill, Then, put, said};
use super::mean::{CLIENTS, ROUNDS};

/// Where a run without kills passes points of the feature `fail-points`, each of them in each of its calls is where another
/// run is killed.
pub fn killed_once_or_twice_at_any_point_a_run_ends_with_its_plan_and_one_release_a_round() {
    let mut whole = Federation::new(None, None);
    whole.run_to_the_end();
    check(&whole, &whole);
    let points = whole.points();
    assert_eq!(points.len() as u64, ROUNDS + 1 + ROUNDS * CLIENTS.len() as u64, "calls");
    let mut known: Vec<&str> = points.iter().flatten().map(String::as_str).collect();
    known.sort_unstable();
    known.dedup();
    for part in
        ["server.state", "client.state", "round-1/", "told", "released", "request", "reply", "line"]
    {
        assert!(known.iter().any(|name| name.contains(part)), "no point at {part}: {known:?}");
    }
    let kills = kills(&points);
    let runs = kills.len();
    let twice = kills.into_par_iter().filter(|kill| {
        let kill = kill.clone();
        let mut federation = Federation::new(None, Some(kill));
        federation.run_to_the_end();
        assert!(!federation.killed.is_empty());
        check(&federation, &whole);
        federation.killed.len() == 2
    });
    let twice = twice.count();
    println!("{runs} runs killed at points of {} names, {twice} of them twice", known.len());
}

/// Each point in each call, once with each thing that may follow.
fn kills(points: &[Vec<String>]) -> Vec<Kill> {
    let mut kills = Vec::new();
    for (call, names) in points.iter().enumerate() {
        let mut passed: BTreeMap<&str, u32> = BTreeMap::new();
        let is_client = names.iter().any(|name| name.contains("client.state"));
        let follows: &[Then] =
            if is_client { &[Then::Told, Then::AllEnd] } else { &[Then::AllEnd] };
        for name in names {
            let times = passed.entry(name).or_default();
            *times += 1;
            for then in follows {
                for again in [false, true] {
                    kills.push(Kill { call, point: format!("{name}:{times}"), then: *then, again });
                }
            }
        }
    }
    kills
}

/// While it ran, the federation has checked that no round had two releases, no client two replies, and that the ledger had
/// paid for what was released.
fn check(ended: &Federation, whole: &Federation) {
    let server = ended.server();
    assert_eq!(server.round(), ROUNDS);
    let (spent, planned) = (server.ledger(), whole.server().ledger());
    assert_eq!(spent.ok(), planned.ok(), "what the plan says was spent");
    let rounds: Vec<u64> = ended.released.keys().copied().collect();
    assert_eq!(rounds, (0..=ROUNDS).collect::<Vec<_>>(), "no round is lost");
    let last: Vec<u32> = server.weights().iter().map(|x| x.to_bits()).collect();
    assert_eq!(ended.released[&ROUNDS], last);
    for client in CLIENTS {
        // A client that was counted as failed is not asked again in its round, which may be its only one to miss.
        let answered = ended.answered(client);
        let killed = ended.killed.iter().filter(|killed| *killed == client).count() as u64;
        assert!((ROUNDS - killed..=ROUNDS).contains(&answered), "{answered}");
    }
    let left = fs::read_dir(ended.state("server")).expect("a folder");
    let left: Vec<String> =
        left.map(|file| file.expect("a file").file_name().to_string_lossy().into_owned()).collect();
    assert!(!left.iter().any(|name| name.starts_with("round-")), "replies are left: {left:?}");
}

pub fn a_second_process_on_one_state_fails_at_once_and_a_third_goes_on_after_a_kill() {
    let mut federation = Federation::new(None, None);
    federation.serve(&[]).expect("a request");
    for (role, who) in [("client", CLIENTS[0]), ("server", "server")] {
        let (work, state) = (federation.work(who), federation.state(who));
        match role {
            "client" => {
                let request = federation.work("server").join("out/request");
                put(&work.join("in/request"), &fs::read(request).expect("a request"));
            }
            _ => put(
                &work.join("in/online.json"),
                br#"{"now": 1001, "online": [], "waiting": [], "failed": []}"#,
            ),
        }
        put(&state.join("hold"), &[]);
        let mut first = federation.command(role, who).spawn().expect("it can be run");
        assert!(until(|| state.join("held").exists()), "the first works");

        let mut second = federation.command(role, who);
        let mut second =
            second.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it can be run");
        let in_time = until(|| second.try_wait().expect("a status").is_some());
        second.kill().expect("it has ended, or is ended now");
        let second = second.wait_with_output().expect("an output");
        assert!(in_time && !second.status.success(), "{in_time}: {}", said(&second));
        assert!(said(&second).contains("another process uses the state"), "{}", said(&second));
        assert!(second.stdout.is_empty());
        assert!(first.try_wait().expect("a status").is_none(), "the first goes on");

        first.kill().expect("it runs");
        assert_eq!(first.wait().expect("a status").code(), None);
        fs::remove_file(state.join("hold")).expect("a file");
        let third = federation.command(role, who).output().expect("it can be run");
        assert!(third.status.success(), "{}", said(&third));
    }
}

/// Whether it comes about within ten seconds.
fn until(mut condition: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + Duration::from_secs(10);
    while !condition() {
        if Instant::now() >= end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    true
}
