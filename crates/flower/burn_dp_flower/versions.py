"""What differs between releases of Flower. No other file knows.

Checked on 1.28 and 1.42. SuperLink, SuperNodes and `flwr` must be of one release.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import version

from flwr.serverapp import Grid

OLDEST = (1, 28)
BELOW = (1, 43)
NO_INSTALLATION_SINCE = (1, 34)  # of an app's dependencies, which the SuperLink does unless told otherwise
KEYS_TOLD_SINCE = (1, 38)  # a server app learns the public keys of its nodes
ONE_PORT_SINCE = (1, 40)  # HTTP on one port; before that gRPC on one for each API


@dataclass(frozen=True)
class Ports:
    """The ports of a SuperLink. With one port for all, the three are equal."""

    fleet: int
    control: int
    runtime: int


def flower_version() -> tuple[int, int]:
    """The release of Flower that is installed."""
    return parse_version(version("flwr"))


def parse_version(text: str) -> tuple[int, int]:
    """The first two numbers of a version."""
    match = re.match(r"(\d+)\.(\d+)", text)
    if match is None:
        raise ValueError(f"not a version of Flower: {text}")
    return int(match[1]), int(match[2])


def is_supported(flower: tuple[int, int]) -> bool:
    """Whether this package was checked with the release."""
    return OLDEST <= flower < BELOW


def tells_keys(flower: tuple[int, int]) -> bool:
    """Whether a server app learns the public keys of its nodes."""
    return flower >= KEYS_TOLD_SINCE


def online_nodes(grid: Grid) -> list[tuple[int, bytes]]:
    """The online nodes: Flower's number, and the public key (empty where Flower does not tell it)."""
    if not tells_keys(flower_version()):
        return [(number, b"") for number in grid.get_node_ids()]
    return [(node.node_id, bytes(node.public_key)) for node in grid.get_nodes()]


def superlink_ports(flower: tuple[int, int], free: Iterable[int]) -> Ports:
    """As many free ports as a SuperLink of this release needs."""
    ports = iter(free)
    if flower >= ONE_PORT_SINCE:
        port = next(ports)
        return Ports(port, port, port)
    return Ports(next(ports), next(ports), next(ports))


def superlink_flags(flower: tuple[int, int], ports: Ports) -> list[str]:
    """Where a SuperLink on this machine listens, and that it installs nothing."""
    flags = ["--disable-runtime-dependency-installation"] if flower >= NO_INSTALLATION_SINCE else []
    if flower >= ONE_PORT_SINCE:
        return [*flags, "--host", "127.0.0.1", "--port", str(ports.fleet)]
    return [
        *flags,
        *("--fleet-api-address", f"127.0.0.1:{ports.fleet}"),
        *("--control-api-address", f"127.0.0.1:{ports.control}"),
        *("--serverappio-api-address", f"127.0.0.1:{ports.runtime}"),
    ]


def superlink_flags_at(flower: tuple[int, int], host: str, port: int) -> list[str]:
    """Where a SuperLink listens for other hosts, and that it installs nothing. Older releases need three ports."""
    if flower < ONE_PORT_SINCE:
        raise ValueError(f"this needs Flower {ONE_PORT_SINCE[0]}.{ONE_PORT_SINCE[1]}; for older releases see README.md")
    return ["--disable-runtime-dependency-installation", "--host", host, "--port", str(port)]


def supernode_flags(flower: tuple[int, int], port: int) -> list[str]:
    """Where a SuperNode on this machine listens for its own client app."""
    if flower >= ONE_PORT_SINCE:
        return ["--host", "127.0.0.1", "--port", str(port)]
    return ["--clientappio-api-address", f"127.0.0.1:{port}"]
