#!/usr/bin/env python3
"""How long a round takes, against the least that Flower takes for the same bytes.

    python3 crates/flower/benches/time_a_round.py WORKER [--rounds 20] [--turns 2]

WORKER is examples/federated_digits, built. Needs this package and Flower. Both federations have a SuperLink and two
SuperNodes on this machine, with TLS and registered keys. In ours (`burn-dp-flower loopback`) two clients train the
digits. In the other the server sends two messages as long as ours, the nodes return as many bytes as ours do, and
nothing is computed: that is what Flower takes by itself. It asks for replies either as often as we do, or with
`grid.send_and_receive`, as Flower's own strategies do. They run in turns. A round is the time between two releases;
of each run the first is left out, in which nodes arrive.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from burn_dp_flower.loopback import Trial, prepare
from burn_dp_flower.processes import CONNECTION, Processes, config_flag
from burn_dp_flower.server import POLL_SECONDS

NODES = 2
RELEASES = "told"  # the file in the server's state that is replaced after each release

PROJECT = """\
[project]
name = "floor"
version = "1.0.0"
dependencies = []

[tool.flwr.app]
publisher = "burn-dp"
fab-include = ["floor.py"]

[tool.flwr.app.components]
serverapp = "floor:server"
clientapp = "floor:client"

[tool.flwr.app.config]
worker = ""
state = ""
"""

FLOOR = '''
"""The least that Flower does in a round: two messages there, two back."""

import time
from pathlib import Path

from flwr.app import Array, ArrayRecord, Message, MessageType, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp

DOWN, UP, NODES = {down}, {up}, {nodes}

client = ClientApp()
server = ServerApp()


def files(length):
    chunk = Array(dtype="uint8", shape=(length,), stype="bytes", data=bytes(length))
    return RecordDict({{"files": ArrayRecord({{"file": chunk}})}})


@client.train()
def train(message, context):
    return Message(files(UP), reply_to=message)


@server.main()
def main(grid, context):
    kind, rounds = context.run_config["worker"].split()
    while len(nodes := list(grid.get_node_ids())) < NODES:
        time.sleep(0.5)
    with Path(context.run_config["state"]).open("a") as log:
        for _ in range(int(rounds)):
            messages = [Message(files(DOWN), node, MessageType.TRAIN) for node in nodes]
            if kind == "own":
                grid.send_and_receive(messages)
            else:
                waiting = set(grid.push_messages(messages))
                while waiting:
                    time.sleep({poll})
                    waiting -= {{reply.metadata.reply_to_message_id for reply in grid.pull_messages(waiting)}}
            log.write(f"{{time.time()}}\\n")
            log.flush()
'''


def main():
    """Runs all in turns and prints medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("worker", type=Path)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--turns", type=int, default=2)
    chosen = parser.parse_args()
    worker = chosen.worker.resolve()
    down, up = lengths(worker)
    print(f"{NODES} nodes, {down} bytes down, {up} up; {chosen.turns} turns of {chosen.rounds} rounds", flush=True)
    seconds = {"floor": [], "own": [], "ours": []}
    for _ in range(chosen.turns):
        for kind, found in seconds.items():
            with tempfile.TemporaryDirectory() as folder:
                trial = Trial(worker, Path(folder), NODES, True, 3600.0)
                times = ours(trial, chosen.rounds) if kind == "ours" else floor(trial, kind, chosen.rounds, down, up)
            found += [later - earlier for earlier, later in zip(times, times[1:], strict=False)]
            quarters = " ".join(f"{quarter:.2f}" for quarter in statistics.quantiles(found, n=4))
            print(f"{kind}: {len(found)} rounds, quartiles {quarters} s", flush=True)
    least, own, mine = (statistics.median(seconds[kind]) for kind in ("floor", "own", "ours"))
    print(f"a round: ours {mine:.2f} s, least {least:.2f} s, Flower's own loop {own:.2f} s")
    print(f"ours / least = {mine / least:.3f}, ours / Flower's own loop = {mine / own:.3f}")


def lengths(worker):
    """The bytes of one message of ours, down and up, as the simulator counts them."""
    environment = {**os.environ, "ROUNDS": "1", "BURN_DP_SEED": "1"}
    command = [worker, "--clients", str(NODES)]
    said = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    words = said.stdout.split()
    return int(words[-6]) // NODES, int(words[-3]) // NODES


def ours(trial, rounds):
    """The times of our releases: when the server's file was replaced."""
    names = prepare(trial)
    (trial.folder / "server" / "clients.txt").write_text("\n".join(names))
    for index in range(NODES):
        (trial.folder / trial.node(index) / "share").write_text(f"{index + 1}/{NODES}")
    command = [Path(sys.executable).parent / "burn-dp-flower", "loopback", trial.worker, trial.folder, "--tls"]
    environment = {**os.environ, "ROUNDS": str(rounds), "BURN_DP_SEED": "1"}
    with (trial.folder / "out.log").open("w") as out:
        process = subprocess.Popen(command, env=environment, stdout=out, stderr=out)
        times = []
        while process.poll() is None:
            file = trial.folder / "server" / RELEASES
            if file.exists() and (changed := file.stat().st_mtime) not in times:
                times.append(changed)
            time.sleep(0.02)
    if process.returncode != 0:
        raise SystemExit((trial.folder / "out.log").read_text())
    return times[-rounds:]


def floor(trial, kind, rounds, down, up):
    """The times of rounds of the least app, which it writes itself."""
    prepare(trial)
    app, times = trial.folder / "floor", trial.folder / "times"
    app.mkdir()
    (app / "pyproject.toml").write_text(PROJECT)
    (app / "floor.py").write_text(FLOOR.format(down=down, up=up, nodes=NODES, poll=POLL_SECONDS))
    tls = trial.folder / "tls"
    with Processes(trial.logs(), tls) as processes:
        processes.start_superlink()
        for index in range(NODES):
            name = trial.node(index)
            processes.register(tls / f"{name}.pub")
            processes.start_supernode(name, trial.worker, trial.folder / name, tls / name)
        config = config_flag(worker=f"{kind} {rounds}", state=str(times))
        processes.flwr_json("run", str(app), CONNECTION, "--run-config", config)
        while not times.exists() or len(times.read_text().splitlines()) < rounds:
            time.sleep(0.2)
    return [float(line) for line in times.read_text().splitlines()]


if __name__ == "__main__":
    main()
