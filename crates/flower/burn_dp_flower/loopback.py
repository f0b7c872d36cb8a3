"""A trial on this machine: a SuperLink, some SuperNodes, one run to its end.

FOLDER/server is the state of the server's worker and FOLDER/node-0, FOLDER/node-1, ... those of the nodes. They
stay, so a second trial in the same folder goes on where the first ended. Logs are in FOLDER/logs, and with TLS
the certificates and keys in FOLDER/tls.
"""

import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from .identity import key_file_name
from .keys import make_certificates, make_node_key
from .processes import CONNECTION, LoopbackError, Processes, config_flag, status_of
from .project import make_project

_STATUS_SECONDS = 3.0


@dataclass(frozen=True)
class Trial:
    """What to run."""

    worker: Path
    folder: Path
    nodes: int
    tls: bool
    seconds: float

    def node(self, index: int) -> str:
        """The name of a node's state folder, log and key."""
        return f"node-{index}"

    def logs(self) -> Path:
        """Where Flower's programs write."""
        return self.folder / "logs"


def prepare(trial: Trial) -> list[str]:
    """Makes the folders and, with TLS, certificates and keys. Returns the nodes' names in the workers' files.

    They are known ahead only with keys, so the list is empty without.
    """
    for name in ["server", "logs", *(trial.node(index) for index in range(trial.nodes))]:
        (trial.folder / name).mkdir(parents=True, exist_ok=True)
    if not (trial.folder / "app").exists():
        make_project(trial.folder / "app")
    if not trial.tls:
        return []
    tls = trial.folder / "tls"
    tls.mkdir(mode=0o700, exist_ok=True)
    if not (tls / "link.key").exists():
        make_certificates(tls)
    for index in range(trial.nodes):
        if not (tls / trial.node(index)).exists():
            make_node_key(tls / trial.node(index))
    return [key_file_name(_public_key(trial, index)) for index in range(trial.nodes)]


def run(trial: Trial) -> str:
    """Runs the trial and returns how it ended, in Flower's words: `finished:completed` is a success."""
    prepare(trial)
    tls = trial.folder / "tls" if trial.tls else None
    with Processes(trial.logs(), tls) as processes:
        processes.start_superlink()
        for index in range(trial.nodes):
            if tls:
                processes.register(_public_key(trial, index))
            key = tls / trial.node(index) if tls else None
            state = trial.folder / trial.node(index)
            processes.start_supernode(trial.node(index), trial.worker, state, key)
        config = config_flag(worker=str(trial.worker), state=str(trial.folder / "server"))
        answer = processes.flwr_json("run", str(trial.folder / "app"), CONNECTION, "--run-config", config)
        if "run-id" not in answer:
            raise LoopbackError(f"the run did not start: {answer}")
        return _finish(processes, str(answer["run-id"]), trial.seconds)


def _public_key(trial: Trial, index: int) -> Path:
    return trial.folder / "tls" / f"{trial.node(index)}.pub"


def _finish(processes: Processes, run_id: str, seconds: float) -> str:
    """Waits for the end of the run. Its log ends with it; only then is Flower asked how it ended."""
    deadline = time.monotonic() + seconds
    log = processes.start_flwr("run", "log", run_id, CONNECTION, "--stream")
    while time.monotonic() < deadline:
        try:
            log.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            break
        status = status_of(processes.flwr_json("list", "--run-id", run_id, CONNECTION))
        if status.startswith("finished"):
            return status
        time.sleep(_STATUS_SECONDS)
    raise LoopbackError(f"the run did not end in {seconds:g} seconds")
