"""Flower's programs on this machine: a SuperLink, SuperNodes, and calls of `flwr`.

All that they write is in one folder, Flower's own home (`FLWR_HOME`) included.
"""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from .stopping import stop
from .versions import Ports, flower_version, superlink_flags, superlink_ports, supernode_flags

CONNECTION = "loopback"
START_SECONDS = 90.0


class LoopbackError(RuntimeError):
    """A program of Flower's did not do what it should."""


class Processes:
    """A SuperLink and its SuperNodes. Leaving the `with` block ends all of them."""

    def __init__(self, folder: Path, tls: Path | None) -> None:
        """Keeps logs in `folder`. `tls` holds certificates and node keys; without it nothing is encrypted."""
        self._folder = folder
        self._tls = tls
        self._flower = flower_version()
        self._ports: Ports = superlink_ports(self._flower, free_ports())
        self._started: list[subprocess.Popen[bytes]] = []
        folder.mkdir(parents=True, exist_ok=True)
        self._environment = flower_environment(folder / "flower")
        root = tls / "ca.crt" if tls else None
        write_connection(folder / "flower", CONNECTION, f"127.0.0.1:{self._ports.control}", root)

    def __enter__(self) -> "Processes":
        """Starts nothing yet."""
        stop([])  # where there is no `ps`, this fails now and not when processes are to be ended
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends everything that was started."""
        stop(self._started)

    def start_superlink(self, database: Path | None = None) -> "subprocess.Popen[bytes]":
        """Starts the SuperLink and waits until it listens. What is in its database survives it."""
        arguments = superlink_flags(self._flower, self._ports)
        if database:
            arguments += ["--database", str(database)]
        if self._tls:
            arguments += ["--ssl-ca-certfile", str(self._tls / "ca.crt")]
            arguments += ["--ssl-certfile", str(self._tls / "link.crt")]
            arguments += ["--ssl-keyfile", str(self._tls / "link.key"), "--enable-supernode-auth"]
        else:
            arguments += ["--insecure"]
        process = self._start("superlink", "flower-superlink", arguments)
        deadline = time.monotonic() + START_SECONDS
        while not _listens(self._ports.fleet) or not _listens(self._ports.control):
            if process.poll() is not None or time.monotonic() >= deadline:
                raise LoopbackError(f"the SuperLink did not start: see {self._folder / 'superlink.log'}")
            time.sleep(0.2)
        return process

    def register(self, key: Path) -> None:
        """Registers a node's public key with the SuperLink."""
        self.flwr("supernode", "register", str(key), CONNECTION)

    def start_supernode(self, name: str, worker: Path, state: Path, key: Path | None) -> "subprocess.Popen[bytes]":
        """Starts a SuperNode with this worker and state."""
        port = next(free_ports())
        config = config_flag(worker=str(worker), state=str(state))
        arguments = ["--superlink", f"127.0.0.1:{self._ports.fleet}", "--node-config", config]
        arguments += supernode_flags(self._flower, port)
        if self._tls:
            arguments += ["--root-certificates", str(self._tls / "ca.crt")]
        else:
            arguments += ["--insecure"]
        if key:
            arguments += ["--auth-supernode-private-key", str(key)]
        return self._start(name, "flower-supernode", arguments)

    def flwr(self, *arguments: str) -> str:
        """Runs `flwr` to its end and returns what it printed."""
        return call_flwr(self._environment, self._folder, *arguments)

    def flwr_json(self, *arguments: str) -> dict[str, Any]:
        """Runs `flwr` and returns the object it printed, with whatever it printed before left out."""
        return call_flwr_json(self._environment, self._folder, *arguments)

    def start_flwr(self, name: str, *arguments: str) -> "subprocess.Popen[bytes]":
        """Starts `flwr` with its output in a log."""
        return self._start(name, "flwr", list(arguments))

    def _start(self, name: str, program: str, arguments: list[str]) -> "subprocess.Popen[bytes]":
        with (self._folder / f"{name}.log").open("ab") as log:
            # In a session of its own, so that Ctrl-C reaches this program only, which then ends all in order.
            process = subprocess.Popen(
                [flower_program(program), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment,
                cwd=self._folder,
                start_new_session=True,
            )
        self._started.append(process)
        return process


def config_flag(**values: str) -> str:
    """Values in the form that Flower's `--node-config` and `--run-config` take."""
    for value in values.values():
        if not value.isprintable() or '"' in value or "\\" in value:
            raise LoopbackError(f"a path has no quotes, backslashes or control characters: {value!r}")
    return " ".join(f'{key}="{value}"' for key, value in values.items())


def free_ports() -> Iterator[int]:
    """Ports of this machine that nobody listens on."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        yield port


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def flower_environment(home: Path) -> dict[str, str]:
    """The environment of Flower's programs: its home here, and no call to anybody else."""
    home.mkdir(parents=True, exist_ok=True)
    return {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "FLWR_HOME": str(home),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
    }


def write_connection(home: Path, name: str, address: str, root: Path | None) -> None:
    """Flower's own configuration: under this name `flwr` finds the SuperLink, and trusts this certificate."""
    trust = f"root-certificates = {json.dumps(str(root))}" if root else "insecure = true"
    (home / "config.toml").write_text(
        f'[superlink]\ndefault = "{name}"\n\n[superlink.{name}]\naddress = "{address}"\n{trust}\n'
    )


def call_flwr(environment: dict[str, str], folder: Path, *arguments: str) -> str:
    """Runs `flwr` to its end and returns what it printed."""
    program = flower_program("flwr")
    done = subprocess.run([program, *arguments], env=environment, cwd=folder, capture_output=True, text=True)
    if done.returncode != 0:
        raise LoopbackError(f"flwr {arguments[0]} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def call_flwr_json(environment: dict[str, str], folder: Path, *arguments: str) -> dict[str, Any]:
    """Runs `flwr` and returns the object it printed, with whatever it printed before left out."""
    output = call_flwr(environment, folder, *arguments, "--format", "json")
    try:
        return dict(json.JSONDecoder().raw_decode(output[output.index("{") :])[0])
    except ValueError:
        raise LoopbackError(f"flwr {arguments[0]} did not answer in JSON:\n{output}") from None


def status_of(answer: dict[str, Any]) -> str:
    """What `flwr list --run-id` says of a run, `running` or `finished:completed` for instance."""
    try:
        return str(answer["runs"][0]["status"])
    except (KeyError, IndexError, TypeError):
        raise LoopbackError(f"the SuperLink does not say how the run is; start it again to go on: {answer}") from None


def flower_program(name: str) -> str:
    """A program of the Flower that is installed with this package, not of another one on the path."""
    return str(Path(sys.executable).parent / name)
