"""A node's name is its key's, however the key is written."""

import hashlib

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_ssh_private_key

from burn_dp_flower.identity import key_file_name, node_name
from burn_dp_flower.keys import make_certificates, make_node_key


def test_one_name_for_all_formats(tmp_path):
    make_node_key(tmp_path / "node")
    key = load_ssh_private_key((tmp_path / "node").read_bytes(), None)
    assert isinstance(key.curve, ec.SECP384R1)
    public = key.public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "pem").write_bytes(pem)
    name = hashlib.sha256(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()
    assert node_name(7, pem) == key_file_name(tmp_path / "node.pub") == key_file_name(tmp_path / "pem") == name


def test_without_a_key_the_name_is_the_number():
    assert node_name(2**64 - 1, b"") == "18446744073709551615"
    assert node_name(7, b"random bytes of a simulation") == "7"


def test_private_files_are_for_their_owner(tmp_path):
    make_node_key(tmp_path / "node")
    make_certificates(tmp_path)
    assert all((tmp_path / name).stat().st_mode & 0o077 == 0 for name in ("node", "link.key"))
