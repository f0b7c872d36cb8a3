"""The coordinator's host: a SuperLink that other hosts reach, and runs on it.

FOLDER/server is the state of the server's worker. FOLDER/tls has the SuperLink's certificate and key, FOLDER/nodes the
public keys of the registered nodes, and FOLDER/flower what Flower keeps. With TLS and registered keys, always.
"""

import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from .identity import key_text_name
from .keys import fingerprint, make_own_certificate
from .processes import (
    LoopbackError,
    call_flwr,
    call_flwr_json,
    config_flag,
    flower_environment,
    flower_program,
    status_of,
    write_connection,
)
from .project import make_project
from .versions import flower_version, superlink_flags_at

CONNECTION = "coordinator"
CLIENTS = "clients.txt"
_STATUS_SECONDS = 3.0


@dataclass(frozen=True)
class Address:
    """Where nodes reach a SuperLink."""

    host: str
    port: int

    def __str__(self) -> str:
        """As Flower's programs take it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """HOST:PORT, where HOST is a name or an address; one of IPv6 is in brackets."""
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError(f"not an address: {text}; write it like 10.0.0.1:9092")
    return Address(host, int(port))


def prepare_superlink(folder: Path, address: Address) -> str:
    """Makes folders, certificate and Flower's configuration where they are missing. Returns the fingerprint."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # Flower's database in it holds nodes' updates
    for name in ("server", "nodes", "tls"):
        (folder / name).mkdir(mode=0o700, exist_ok=True)
    certificate = folder / "tls" / "link.crt"
    if not certificate.exists():
        make_own_certificate(folder / "tls", address.host)
    flower_environment(folder / "flower")
    write_connection(folder / "flower", CONNECTION, str(address), certificate)
    if not (folder / "app").exists():
        make_project(folder / "app")
    return fingerprint(certificate.read_bytes())


def become_superlink(folder: Path, address: Address) -> None:
    """Puts the SuperLink in the place of this process, so that a supervisor sees Flower itself."""
    tls = folder / "tls"
    arguments = superlink_flags_at(flower_version(), address.host, address.port)
    arguments += ["--ssl-ca-certfile", str(tls / "link.crt"), "--ssl-certfile", str(tls / "link.crt")]
    arguments += ["--ssl-keyfile", str(tls / "link.key"), "--enable-supernode-auth"]
    arguments += ["--database", str(folder / "superlink.db")]
    program = flower_program("flower-superlink")
    os.chdir(folder)
    os.execve(program, [program, *arguments], flower_environment(folder / "flower"))


def register(folder: Path, keys: list[str]) -> list[str]:
    """Registers these nodes, files of public keys or the keys' text, and returns the names of all registered so far.

    The server's worker finds the names in `clients.txt`. They are the population that is sampled.
    """
    if not (folder / "flower" / "config.toml").exists():
        raise ValueError(f"{folder} is no coordinator's folder: start `burn-dp-flower superlink` there first")
    new = {key_text_name(text.encode()): text for text in map(key_text, keys)}
    names = sorted({file.stem for file in (folder / "nodes").glob("*.pub")} | set(new))
    _write_clients(folder / "server" / CLIENTS, names)
    environment = flower_environment(folder / "flower")
    for name, text in new.items():
        file = folder / "nodes" / f"{name}.pub"
        if not file.exists():
            partial = file.with_suffix(".new")
            partial.write_text(text + "\n")
            call_flwr(environment, folder, "supernode", "register", str(partial), CONNECTION)
            partial.rename(file)
    return names


def key_text(key: str) -> str:
    """A public key, of a file or as text."""
    path = Path(key)
    text = key if key.startswith(("ecdsa-sha2-", "-----BEGIN PUBLIC KEY")) else path.read_text()
    key_text_name(text.strip().encode())  # refuses what is no key
    return text.strip()


def _write_clients(file: Path, names: list[str]) -> None:
    """A plan counts on its population, so another list needs another run, which its operator has to begin."""
    text = "".join(f"{name}\n" for name in names)
    if file.exists() and sorted(file.read_text().split()) != names:
        raise ValueError(
            f"{file} lists other nodes than are registered: a run keeps its population. "
            "Finish it first, then begin a new one with an empty server/ folder"
        )
    if not names:
        raise ValueError("no node is registered: give the public key of each")
    if not file.exists():
        file.write_text(text)


def run(folder: Path, worker: Path, seconds: float) -> str:
    """Starts a run, shows its log, and returns how it ended, in Flower's words: `finished:completed` is a success."""
    environment = flower_environment(folder / "flower")
    config = config_flag(worker=str(worker), state=str(folder / "server"))
    answer = call_flwr_json(environment, folder, "run", str(folder / "app"), CONNECTION, "--run-config", config)
    if "run-id" not in answer:
        raise LoopbackError(f"the run did not start: {answer}")
    run_id = str(answer["run-id"])
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        log = subprocess.Popen(
            [flower_program("flwr"), "log", run_id, CONNECTION, "--stream"], env=environment, cwd=folder
        )
        try:
            log.wait(max(0.1, deadline - time.monotonic()))
        finally:
            log.kill()
            log.wait()
        status = status_of(call_flwr_json(environment, folder, "list", "--run-id", run_id, CONNECTION))
        if status.startswith("finished"):
            return status
        time.sleep(_STATUS_SECONDS)
    raise LoopbackError(f"the run has not ended in {seconds:g} seconds; it goes on: flwr list")
