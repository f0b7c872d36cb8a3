"""Who a node is.

Flower's node id is a random number. With registered keys it belongs to a key, but a new registration (a new
SuperLink database, say) gives the same key another number. The key itself is what lasts, and what its
operator can vouch for. So a node is called by the SHA-256 of its public key where Flower tells it, in hex, and by
Flower's number, in decimal, where it does not.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_public_key,
    load_ssh_public_key,
)


def node_name(node_id: int, public_key: bytes) -> str:
    """The name of a node in a worker's files. The key is as Flower gives it: PEM, or nothing."""
    try:
        return key_name(load_pem_public_key(public_key))
    except (ValueError, UnsupportedAlgorithm):
        return str(node_id)


def key_file_name(path: Path) -> str:
    """The name of the node that has this public key, in OpenSSH's format or PEM."""
    return key_text_name(path.read_bytes())


def key_text_name(data: bytes) -> str:
    """The name of the node that has this public key, as it stands in a file."""
    load = load_pem_public_key if data.startswith(b"-----BEGIN PUBLIC KEY") else load_ssh_public_key
    return key_name(load(data))


def key_name(key: Any) -> str:
    """SHA-256 of the key's standard (DER, SubjectPublicKeyInfo) form: one name, however the key is written."""
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def by_name(nodes: Iterable[tuple[int, bytes]]) -> dict[str, int]:
    """Flower's numbers of these nodes, by their names."""
    return {node_name(node_id, public_key): node_id for node_id, public_key in nodes}
