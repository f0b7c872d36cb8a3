"""A node's host: a SuperNode with a key of its own, and a worker and a state that its operator chose.

FOLDER/state is the worker's: the node's data, its ledger and its policy. FOLDER/node.key is the node's key, which
never leaves the host, FOLDER/node.key.pub what the coordinator registers, FOLDER/link.crt the SuperLink's certificate.
"""

import ssl
import subprocess
import sys
import time
from pathlib import Path

from .coordinator import Address
from .identity import key_file_name
from .keys import fingerprint, make_node_key
from .processes import config_flag, flower_environment, flower_program, free_ports
from .stopping import stop
from .versions import flower_version, supernode_flags

# A SuperNode gives up when its key is not registered yet, and while Flower still counts it as online after a crash.
RETRY_SECONDS = 10.0
CONNECT_SECONDS = 60.0


def prepare_node(folder: Path) -> tuple[str, str]:
    """Makes the folders and the key where they are missing. Returns the node's name and its public key's text."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)  # who made it for the node's data may have left it open to others on the host
    (folder / "state").mkdir(mode=0o700, exist_ok=True)
    key = folder / "node.key"
    if not key.exists():
        make_node_key(key)
    public = folder / "node.key.pub"
    return key_file_name(public), public.read_text().strip()


def trust(folder: Path, address: Address, expected: str) -> Path:
    """The SuperLink's certificate, once it is the one whose fingerprint the operator was told.

    Asked once, then kept. The fingerprint comes by another way than the network, so nobody in between can give his own.
    """
    file = folder / "link.crt"
    if not file.exists():
        found = _certificate(address)
        if fingerprint(found.encode()) != _hex(expected):
            raise ValueError(
                f"the SuperLink at {address} shows another certificate than the one you were told of "
                f"(its SHA-256 is {fingerprint(found.encode())}): ask the coordinator, and do not connect"
            )
        partial = file.with_suffix(".new")
        partial.write_text(found)
        partial.rename(file)
    if fingerprint(file.read_bytes()) != _hex(expected):
        raise ValueError(f"{file} is of another SuperLink: remove it if the coordinator told you of a new certificate")
    return file


def _hex(text: str) -> str:
    digits = text.replace(":", "").lower()
    if len(digits) != 64 or not set(digits) <= set("0123456789abcdef"):
        raise ValueError(f"not a fingerprint: {text}; it has 64 hexadecimal digits")
    return digits


def _certificate(address: Address) -> str:
    deadline = time.monotonic() + CONNECT_SECONDS
    while True:
        try:
            return ssl.get_server_certificate((address.host, address.port), timeout=10)
        except OSError as error:
            if time.monotonic() >= deadline:
                raise ValueError(f"no SuperLink answers at {address}: {error}") from error
            time.sleep(1)


def serve(folder: Path, address: Address, worker: Path, root: Path) -> int:
    """Runs a SuperNode until this process is stopped; starts it again whenever it ends."""
    config = config_flag(worker=str(worker), state=str(folder / "state"))
    arguments = ["--superlink", str(address), "--root-certificates", str(root), "--node-config", config]
    arguments += ["--auth-supernode-private-key", str(folder / "node.key")]
    environment = flower_environment(folder / "flower")
    while True:
        flags = supernode_flags(flower_version(), next(free_ports()))
        process = subprocess.Popen(
            [flower_program("flower-supernode"), *arguments, *flags],
            env=environment,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            process.wait()
        finally:
            stop([process])
        print(
            f"burn-dp-flower: not connected (is the key registered?); again in {RETRY_SECONDS:g} s",
            file=sys.stderr,
            flush=True,
        )
        time.sleep(RETRY_SECONDS)
