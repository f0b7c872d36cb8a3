//! A server's program whose client leaves anything but its reply: honest clients and the release do not notice.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::federation::{Federation, put, said};
use super::mean::{CLIENTS, DEADLINE, plan};

const HOSTILE: &str = CLIENTS[1];

/// What is done to the reply's file.
type Spoil = fn(&Path);

const SPOILS: [(&str, Spoil); 11] = [
    ("no file", |reply| fs::remove_file(reply).expect("a file")),
    ("another file", |reply| {
        fs::rename(reply, reply.with_file_name("other")).expect("a file");
    }),
    ("nothing in it", |reply| put(reply, &[])),
    ("half of it", |reply| change(reply, |bytes| bytes.truncate(bytes.len() / 2))),
    ("half of its header", |reply| change(reply, |bytes| bytes.truncate(12))),
    ("one byte more", |reply| change(reply, |bytes| bytes.push(0))),
    ("one bit changed", |reply| {
        change(reply, |bytes| {
            if let Some(last) = bytes.last_mut() {
                *last ^= 1;
            }
        });
    }),
    ("a length that lies", |reply| change(reply, |bytes| bytes[16..24].fill(0xff))),
    ("a GiB of zeros", |reply| {
        File::create(reply).and_then(|file| file.set_len(1 << 30)).expect("a sparse file");
    }),
    ("a reply and a GiB of zeros", |reply| {
        let file = File::options().write(true).open(reply);
        file.and_then(|file| file.set_len(1 << 30)).expect("a sparse file");
    }),
    ("what the longest reply can hold", |reply| {
        put(reply, &vec![0xdd; plan().expect("a plan").longest_reply()]);
    }),
];

/// Also for its memory: the server's program gets half a GiB.
pub fn whatever_a_client_leaves_in_its_files_counts_as_silence() {
    let (silent, _) = released(&opened(), |reply| {
        fs::remove_dir_all(reply.parent().expect("a folder")).expect("a folder");
        vec![HOSTILE.to_owned()]
    });
    let honest = released(&opened(), |_| Vec::new()).0;
    assert_ne!(honest, silent);
    for (name, spoil) in SPOILS {
        let (weights, line) = released(&opened(), |reply| {
            spoil(reply);
            Vec::new()
        });
        assert_eq!(line["label"], json!("1 of 2 rounds"), "{name}");
        assert_eq!(weights, silent, "{name}");
    }
}

/// Its reply to the last round is not one to this: the round waits for another until its deadline.
pub fn a_replayed_reply_counts_as_silence() {
    let second_round = |replay: bool| {
        let mut federation = opened();
        let reply = federation.work("server").join("in").join(HOSTILE).join("reply");
        let old = fs::read(&reply).expect("a reply");
        released(&federation, |_| Vec::new());
        assert!(federation.ask(CLIENTS[0]));
        if replay {
            put(&reply, &old);
        }
        let line = federation.serve(&[]).expect("a line");
        assert_eq!(line["label"], json!("1 of 2 rounds"), "the round is open");
        federation.now += DEADLINE + 1;
        let line = federation.serve(&[]).expect("a line");
        assert_eq!(line["done"], json!(true));
        federation.server().weights().to_vec()
    };
    assert_eq!(second_round(true), second_round(false));
}

/// A first round in which both have answered, each with a number of its own.
fn opened() -> Federation {
    let mut federation = Federation::new(Some(7), None);
    federation.serve(&[]).expect("a line");
    for (index, client) in CLIENTS.into_iter().enumerate() {
        put(&federation.state(client).join("number"), format!("0.{index}").as_bytes());
        assert!(federation.ask(client));
    }
    federation
}

/// The weights and the line after the server's next call; `spoil` has a hand in what has arrived, and says who failed.
fn released(
    federation: &Federation,
    spoil: impl FnOnce(&Path) -> Vec<String>,
) -> (Vec<f32>, Value) {
    let inbox = federation.work("server").join("in");
    let failed = spoil(&inbox.join(HOSTILE).join("reply"));
    let told = json!({ "now": federation.now, "online": CLIENTS, "waiting": [], "failed": failed });
    put(&inbox.join("online.json"), told.to_string().as_bytes());
    let output = limited(&federation.command("server", "server")).output().expect("it can be run");
    assert!(output.status.success(), "{}", said(&output));
    fs::remove_dir_all(inbox).expect("a folder");
    let printed = String::from_utf8(output.stdout).expect("text");
    let line = serde_json::from_str(printed.lines().last().expect("a line")).expect("JSON");
    (federation.server().weights().to_vec(), line)
}

/// With no more than half a GiB of memory, where a shell can say so.
fn limited(worker: &Command) -> Command {
    if !cfg!(target_os = "linux") {
        let mut command = Command::new(worker.get_program());
        command.args(worker.get_args());
        return with_environment(command, worker);
    }
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -v 524288 && exec \"$0\" \"$@\""]);
    command.arg(worker.get_program()).args(worker.get_args());
    with_environment(command, worker)
}

fn with_environment(mut command: Command, of: &Command) -> Command {
    for (name, value) in of.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
}

fn change(file: &Path, how: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(file).expect("a file");
    how(&mut bytes);
    put(file, &bytes);
}
