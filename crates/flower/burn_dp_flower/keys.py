"""Certificates and node keys.

For a trial on this machine all of them are throw-away: an authority signs the SuperLink's certificate and its key is
then forgotten. Between hosts the SuperLink signs its own certificate, which a node knows by its fingerprint, and
each node makes its own key, which never leaves it.
"""

import datetime
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import NameOID

DAYS = 30
OWN_DAYS = 365


def make_certificates(folder: Path) -> None:
    """Writes `ca.crt`, and `link.crt` with `link.key` for a SuperLink on 127.0.0.1."""
    authority, link = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer = _name("loopback authority")
    root = _certificate(issuer, issuer, authority.public_key())
    root = root.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    addresses = [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("localhost")]
    leaf = _certificate(_name("127.0.0.1"), issuer, link.public_key())
    leaf = leaf.add_extension(x509.SubjectAlternativeName(addresses), critical=False)
    _write(folder / "ca.crt", root.sign(authority, hashes.SHA256()).public_bytes(Encoding.PEM))
    _write(folder / "link.crt", leaf.sign(authority, hashes.SHA256()).public_bytes(Encoding.PEM))
    _write(folder / "link.key", link.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def make_own_certificate(folder: Path, host: str) -> None:
    """Writes `link.crt`, signed with its own key, and `link.key`, for a SuperLink that nodes reach as `host`."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name(f"burn-dp SuperLink {host}"[:64])
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    builder = _certificate(name, name, key.public_key(), OWN_DAYS)
    for extension, critical in [
        (x509.BasicConstraints(ca=True, path_length=0), True),
        (_key_usage(), True),
        (x509.SubjectAlternativeName([_alternative(host)]), False),
        (identifier, False),
        (x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), False),
    ]:
        builder = builder.add_extension(extension, critical=critical)
    _write(folder / "link.key", key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    _write(folder / "link.crt", builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM))


def fingerprint(certificate: bytes) -> str:
    """SHA-256 of a certificate (PEM in, DER hashed), as `openssl x509 -fingerprint -sha256` has it, in lower case."""
    return x509.load_pem_x509_certificate(certificate).fingerprint(hashes.SHA256()).hex()


def make_node_key(path: Path) -> None:
    """Writes an ECDSA P-384 key in OpenSSH's format, which Flower reads: `path`, and `path.pub` to register."""
    key = ec.generate_private_key(ec.SECP384R1())
    _write(path, key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    _write(path.with_name(path.name + ".pub"), key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH))


def _key_usage() -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def _alternative(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, days: int = DAYS
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.timezone.utc)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=days))
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _write(path: Path, data: bytes) -> None:
    """Readable by the owner alone, from the moment it exists."""
    path.touch(mode=0o600, exist_ok=False)
    path.write_bytes(data)
