"""The command `burn-dp-flower`."""

import argparse
import signal
import sys
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import Any

from . import coordinator, node
from .coordinator import parse_address
from .identity import key_file_name
from .locking import Busy
from .loopback import Trial, prepare, run
from .processes import LoopbackError
from .project import ProjectError, make_project
from .versions import BELOW, KEYS_TOLD_SINCE, OLDEST, flower_version, is_supported, tells_keys
from .worker import PROTOCOL, Worker, WorkerError

LOG_TAIL = 30


def main(arguments: list[str] | None = None) -> int:
    """Runs a command and returns the exit code."""
    chosen = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, _end)
    try:
        return int(chosen.command(chosen))
    except (Busy, LoopbackError, ProjectError, WorkerError, OSError, ValueError) as error:
        print(f"burn-dp-flower: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="burn-dp-flower", description="burn-dp workers on Flower")
    parser.add_argument("--version", action="version", version=version("burn-dp-flower"))
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    new = commands.add_parser("new", help="write a project for `flwr run`")
    new.add_argument("folder", type=Path)
    new.add_argument("--worker", default="", help="the worker's program on the SuperLink's machine")
    new.add_argument("--state", default="", help="the server's state folder on the SuperLink's machine")
    new.set_defaults(command=_new)

    check = commands.add_parser("check", help="check a worker's protocol and Flower's version")
    check.add_argument("worker", type=Path)
    check.set_defaults(command=_check)

    name = commands.add_parser("id", help="print the names that nodes with these keys have in a plan")
    name.add_argument("key", type=Path, nargs="+", help="a public key: OpenSSH's format, or PEM")
    name.set_defaults(command=_id)

    trial = commands.add_parser("loopback", help="run SuperLink and SuperNodes on this machine, for a trial")
    trial.add_argument("worker", type=Path)
    trial.add_argument("folder", type=Path, help="states, keys and logs; FOLDER/server holds the plan")
    trial.add_argument("--nodes", type=int, default=2)
    trial.add_argument("--tls", action="store_true", help="throw-away certificates and registered node keys")
    trial.add_argument("--prepare", action="store_true", help="make the folders, print the nodes' names, stop")
    trial.add_argument("--timeout", type=float, default=600.0, help="seconds for the run")
    trial.set_defaults(command=_loopback)

    _add_hosts(commands)
    return parser


def _add_hosts(commands: Any) -> None:
    link = commands.add_parser("superlink", help="the coordinator's host: a SuperLink with TLS and registered keys")
    link.add_argument("address", help="HOST:PORT where nodes reach it")
    link.add_argument("folder", type=Path, help="state, keys, database; FOLDER/server is the server's state")
    link.add_argument("--prepare", action="store_true", help="make the certificate, print its fingerprint, stop")
    link.set_defaults(command=_superlink)

    host = commands.add_parser("node", help="a node's host: a SuperNode with a key of its own")
    host.add_argument("address", help="HOST:PORT of the SuperLink")
    host.add_argument("fingerprint", help="of the SuperLink's certificate, told by its operator")
    host.add_argument("worker", type=Path, help="the program that trains here")
    host.add_argument("folder", type=Path, help="the node's key, and FOLDER/state for its worker")
    host.add_argument("--prepare", action="store_true", help="make the key, print it, stop")
    host.set_defaults(command=_node)

    start = commands.add_parser("run", help="the coordinator's host: register nodes, start a run, show its log")
    start.add_argument("worker", type=Path, help="the server's program")
    start.add_argument("folder", type=Path, help="the folder of `burn-dp-flower superlink`")
    start.add_argument("keys", nargs="*", help="public keys of new nodes: files, or a key's text in quotes")
    start.add_argument("--timeout", type=float, default=30 * 24 * 3600.0, help="seconds to wait for its end")
    start.set_defaults(command=_run)


def _new(chosen: argparse.Namespace) -> int:
    make_project(chosen.folder, chosen.worker, chosen.state)
    print(f"wrote {chosen.folder / 'pyproject.toml'}; start it with: flwr run {chosen.folder}")
    return 0


def _check(chosen: argparse.Namespace) -> int:
    Worker(chosen.worker.resolve(), 60.0).check_protocol()
    print(f"{chosen.worker} speaks protocol {PROTOCOL}")
    flower = flower_version()
    if not is_supported(flower):
        raise ValueError(
            f"Flower {version('flwr')} is not supported: install flwr>={_release(OLDEST)},<{_release(BELOW)}"
        )
    print(f"Flower {version('flwr')} is supported")
    return 0


def _id(chosen: argparse.Namespace) -> int:
    _need_keys()
    for key in chosen.key:
        print(key_file_name(key))
    return 0


def _loopback(chosen: argparse.Namespace) -> int:
    if chosen.nodes < 1:
        raise ValueError("a trial needs at least one node")
    trial = Trial(chosen.worker.resolve(), chosen.folder.resolve(), chosen.nodes, chosen.tls, chosen.timeout)
    Worker(trial.worker, 60.0).check_protocol()
    if chosen.prepare and chosen.tls:
        _need_keys()
    if chosen.prepare:
        for name in prepare(trial):
            print(name)
        return 0
    status = run(trial)
    print(f"{status}; logs are in {trial.logs()}")
    if status == "finished:completed":
        return 0
    print(*(trial.logs() / "run.log").read_text(errors="replace").splitlines()[-LOG_TAIL:], sep="\n", file=sys.stderr)
    return 1


def _superlink(chosen: argparse.Namespace) -> int:
    address = parse_address(chosen.address)
    folder = chosen.folder.resolve()
    fingerprint = coordinator.prepare_superlink(folder, address)
    print(f"nodes join with: burn-dp-flower node {address} {fingerprint} WORKER FOLDER", flush=True)
    if not chosen.prepare:
        coordinator.become_superlink(folder, address)
    return 0


def _node(chosen: argparse.Namespace) -> int:
    address, folder, worker = parse_address(chosen.address), chosen.folder.resolve(), chosen.worker.resolve()
    Worker(worker, 60.0).check_protocol()
    name, key = node.prepare_node(folder)
    print(f"this node is {name}\nits public key, for the coordinator:\n{key}", flush=True)
    if chosen.prepare:
        return 0
    return node.serve(folder, address, worker, node.trust(folder, address, chosen.fingerprint))


def _run(chosen: argparse.Namespace) -> int:
    worker, folder = chosen.worker.resolve(), chosen.folder.resolve()
    Worker(worker, 60.0).check_protocol()
    for name in coordinator.register(folder, chosen.keys):
        print(f"registered: {name}", flush=True)
    status = coordinator.run(folder, worker, chosen.timeout)
    print(status)
    return 0 if status == "finished:completed" else 1


def _need_keys() -> None:
    if not tells_keys(flower_version()):
        raise ValueError(
            f"before Flower {_release(KEYS_TOLD_SINCE)} a node's name is not made from its key: "
            "it is the number that `flwr supernode register` prints"
        )


def _release(numbers: tuple[int, int]) -> str:
    return f"{numbers[0]}.{numbers[1]}"


def _end(number: int, frame: FrameType | None) -> None:
    """Turns a polite request to end into an exception, so that all processes are ended on the way out."""
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
