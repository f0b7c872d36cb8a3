"""Kills in the middle of a run: a SuperNode, the SuperLink, the server app, a worker at a client and at the server.

Whatever dies is started again, and the run ends with the rounds of its plan, each released once. Where nobody was
counted as failed on the way and noise is reproducible, it also ends with the weights of the simulator, bit for bit.

The worker is the example `federated_digits`; `.ci/long` builds it and says where it is.
"""

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from burn_dp_flower import stopping
from burn_dp_flower.loopback import Trial, prepare
from burn_dp_flower.processes import CONNECTION, Processes, config_flag

pytestmark = [pytest.mark.loopback, pytest.mark.faults]

NODES = 3
PATIENCE = 400.0

# A worker that is busy for a while, once, in a state that has a file `pause`: there a test kills.
PAUSING = """#!/bin/sh
if [ "$1" != --protocol ] && rm "$3/pause" 2>/dev/null; then
    echo $$ > "$3/busy.new" && mv "$3/busy.new" "$3/busy"
    sleep {seconds}
    rm -f "$3/busy"
fi
exec "{worker}" "$@"
"""


class Federation:
    """Three nodes with registered keys, a SuperLink with a database, and runs on it."""

    def __init__(self, folder: Path, rounds: int, seed: int | None, busy_seconds: int = 60) -> None:
        self.start = time.monotonic()
        self.rounds, self.seed = rounds, seed
        self.digits = Path(os.environ.get("BURN_DP_DIGITS", "nothing"))
        assert self.digits.is_file(), "BURN_DP_DIGITS is the path of the example federated_digits: see .ci/long"
        self.worker = folder / "worker"
        self.worker.write_text(PAUSING.format(seconds=busy_seconds, worker=self.digits))
        self.worker.chmod(0o755)
        self.trial = Trial(self.worker, folder, NODES, True, PATIENCE)
        self.names = prepare(self.trial)
        self.server = folder / "server"
        (self.server / "clients.txt").write_text("".join(f"{name}\n" for name in self.names))
        for index, name in enumerate(self.names):
            place = sorted(self.names).index(name) + 1
            (self.state(index) / "share").write_text(f"{place}/{NODES}")
        self.tls = folder / "tls"
        os.environ["ROUNDS"] = str(rounds)
        os.environ.pop("BURN_DP_SEED", None)
        if seed is not None:
            os.environ["BURN_DP_SEED"] = str(seed)
        self.processes = Processes(self.trial.logs(), self.tls)
        self.nodes: dict[int, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> "Federation":
        self.processes.__enter__()
        self.start_link()
        for index in range(NODES):
            self.processes.register(self.tls / f"node-{index}.pub")
            self.start_node(index)
        self.say(f"{NODES} nodes are started")
        return self

    def __exit__(self, *error: object) -> None:
        self.processes.__exit__(*error)

    def state(self, index: int) -> Path:
        return self.trial.folder / f"node-{index}"

    def start_link(self) -> None:
        self.link = self.processes.start_superlink(self.trial.folder / "superlink.db")

    def start_node(self, index: int) -> None:
        key = self.tls / f"node-{index}"
        self.nodes[index] = self.processes.start_supernode(f"node-{index}", self.worker, self.state(index), key)

    def say(self, text: str) -> None:
        print(f"[{time.monotonic() - self.start:5.0f} s] {text}", flush=True)

    def submit(self) -> str:
        config = config_flag(worker=str(self.worker), state=str(self.server))
        answer = self.processes.flwr_json("run", str(self.trial.folder / "app"), CONNECTION, "--run-config", config)
        self.say(f"flwr run: {answer.get('run-id')}")
        return str(answer["run-id"])

    def status(self, run: str) -> str:
        return str(self.processes.flwr_json("list", "--run-id", run, CONNECTION)["runs"][0]["status"])

    def finish(self, run: str) -> str:
        """How a run ended."""
        self.until(lambda: self.status(run).startswith("finished"), "the run is over", 3.0)
        status = self.status(run)
        log = self.processes.flwr("log", run, CONNECTION, "--show")
        (self.trial.logs() / f"run-{run}.log").write_text(log)
        self.say(f"run {run}: {status}")
        return status

    def run_again(self) -> None:
        """Starts runs until one is not turned away because a program of the last still has the state."""
        for _ in range(10):
            run = self.submit()
            if self.finish(run) == "finished:completed":
                return
            assert "another run or worker has" in self.log(run), self.log(run)[-3000:]
        raise AssertionError("no run was let in")

    def log(self, run: str) -> str:
        return (self.trial.logs() / f"run-{run}.log").read_text(errors="replace")

    def until(self, condition, what: str, pause: float = 0.1) -> None:
        end = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < end, f"in {PATIENCE:g} s it did not come about that {what}"
            time.sleep(pause)

    def busy(self, state: Path) -> int:
        """Has the next call of a worker pause, after a first round was released. Returns its process when it does."""
        self.until((self.server / "told").exists, "a first round is released")
        (state / "pause").touch()
        self.until((state / "busy").exists, f"{state.name} is asked")
        self.say(f"{state.name} is busy in mid-round")
        return int((state / "busy").read_text())

    def family(self, of: "subprocess.Popen[bytes]", words: str) -> list[int]:
        """Processes that the program has started and whose command line has the words."""
        family = {member.pid for member in stopping.family({of.pid})}
        rows = subprocess.run(["ps", "-axwwo", "pid=,args="], capture_output=True, text=True).stdout.splitlines()
        return [int(row.split()[0]) for row in rows if words in row and int(row.split()[0]) in family]

    def ended(self) -> str:
        """The server's state has all rounds of the plan and its ledger, or the worker would refuse it; the digest."""
        (self.server / "told").unlink()
        folder = self.trial.folder / "asked"
        (folder / "in").mkdir(parents=True)
        (folder / "in" / "online.json").write_text('{"now": 1, "online": [], "waiting": [], "failed": []}')
        said = subprocess.run([self.digits, "server", folder, self.server], capture_output=True, text=True, check=True)
        answer = json.loads(said.stdout)
        assert (answer["label"], answer["done"]) == (f"{self.rounds} of {self.rounds} rounds", True)
        (self.trial.logs() / "asked.log").write_text(said.stderr)
        releases: dict[int, set[str]] = {}
        for log in self.trial.logs().glob("*.log"):
            for round_, digest in re.findall(r"round (\d+): .* digest (\w{8})", log.read_text(errors="replace")):
                releases.setdefault(int(round_), set()).add(digest)
        self.say(f"releases: {dict(sorted(releases.items()))}")
        assert sorted(releases) == list(range(1, self.rounds + 1)), "each round was released"
        assert all(len(digests) == 1 for digests in releases.values()), "no round was released twice"
        return releases[self.rounds].pop()

    def simulated(self) -> str:
        done = subprocess.run(
            [self.digits, "--names", self.server / "clients.txt"], capture_output=True, text=True, check=True
        )
        return re.findall(r"digest (\w{8})", done.stdout)[-1]

    def failed(self) -> list[str]:
        """What the server wrote of nodes that failed."""
        lines: set[str] = set()
        for log in self.trial.logs().glob("run-*.log"):
            lines |= set(re.findall(r"burn-dp: node .*", log.read_text(errors="replace")))
        self.say(f"failures: {sorted(lines)}")
        return sorted(lines)


def test_a_supernode_is_killed_and_comes_back_under_its_name(tmp_path):
    with Federation(tmp_path, rounds=6, seed=None) as federation:
        run = federation.submit()
        federation.busy(federation.state(1))
        stopping.kill([federation.nodes[1]])
        killed, seen = time.monotonic(), (federation.state(1) / "client.state").read_bytes()
        federation.say("the SuperNode is killed with all that it has started")
        (federation.state(1) / "busy").unlink(missing_ok=True)
        starts = 0

        def is_back() -> bool:
            """Starts it until its key is let in again, as a supervisor does."""
            nonlocal starts
            if federation.nodes[1].poll() is not None:
                starts += 1
                federation.start_node(1)
                time.sleep(5)
            return (federation.state(1) / "client.state").read_bytes() != seen

        federation.until(is_back, "the node answers again")
        federation.say(f"it answers again {time.monotonic() - killed:.0f} s after the kill, at start {starts}")
        assert federation.finish(run) == "finished:completed"
        assert federation.failed(), "the round in which it died went on without it"
        federation.ended()


def test_the_superlink_is_killed_and_a_new_run_goes_on(tmp_path):
    with Federation(tmp_path, rounds=3, seed=7, busy_seconds=20) as federation:
        run = federation.submit()
        federation.busy(federation.state(1))
        os.kill(federation.link.pid, signal.SIGKILL)
        federation.link.wait()
        federation.say("the SuperLink is killed")
        federation.start_link()
        federation.say("it is back on its database")
        assert federation.finish(run) == "finished:failed"
        federation.run_again()
        assert not federation.failed()
        digest = federation.ended()
        assert digest == federation.simulated()
        federation.say(f"digest {digest}, as simulated")


def test_the_server_app_is_killed_and_a_new_run_goes_on(tmp_path):
    with Federation(tmp_path, rounds=3, seed=7, busy_seconds=20) as federation:
        run = federation.submit()
        federation.busy(federation.state(1))
        apps = federation.family(federation.link, "flwr-serverapp")
        assert apps
        for app in apps:
            os.kill(app, signal.SIGKILL)
        federation.say("the server app is killed")
        assert federation.finish(run) == "finished:failed"
        federation.run_again()
        assert not federation.failed()
        digest = federation.ended()
        assert digest == federation.simulated()
        federation.say(f"digest {digest}, as simulated")


def test_a_worker_is_killed_in_training_and_the_round_goes_on_without_it(tmp_path):
    with Federation(tmp_path, rounds=3, seed=None) as federation:
        run = federation.submit()
        os.killpg(federation.busy(federation.state(1)), signal.SIGKILL)
        federation.say("the worker is killed")
        assert federation.finish(run) == "finished:completed"
        assert federation.failed() == [f"burn-dp: node {federation.names[1]}: no reply, but error 2 of Flower's"]
        federation.ended()


def test_the_servers_worker_is_killed_and_a_new_run_goes_on(tmp_path):
    with Federation(tmp_path, rounds=3, seed=7) as federation:
        run = federation.submit()
        os.killpg(federation.busy(federation.server), signal.SIGKILL)
        federation.say("the server's worker is killed")
        assert federation.finish(run) == "finished:failed"
        federation.run_again()
        assert not federation.failed()
        digest = federation.ended()
        assert digest == federation.simulated()
        federation.say(f"digest {digest}, as simulated")


def test_a_second_run_on_one_state_fails_at_once_and_the_first_goes_on(tmp_path):
    with Federation(tmp_path, rounds=3, seed=7, busy_seconds=40) as federation:
        first = federation.submit()
        federation.busy(federation.state(1))
        second = federation.submit()
        assert federation.finish(second) == "finished:failed"
        assert "another run or worker has" in federation.log(second)
        assert (federation.state(1) / "busy").exists(), "the first run is still in its round"
        assert federation.finish(first) == "finished:completed"
        assert not federation.failed()
        assert federation.ended() == federation.simulated()
