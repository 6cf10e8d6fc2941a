"""Certificates and keys as users have them, good and bad."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID


def make(folder: Path) -> Path:
    """Write own.crt with own.key, and what does not fit them; return the folder."""
    own = generate_private_key(SECP256R1())
    write(folder / "own.crt", certificate(own, 2020, 2090), 0o644)
    write(folder / "old.crt", certificate(own, 2019, 2020), 0o644)
    write(folder / "own.key", private(own), 0o600)
    write(folder / "open.key", private(own), 0o644)
    write(folder / "locked.key", private(own, BestAvailableEncryption(b"secret")), 0o600)
    write(folder / "other.key", private(generate_private_key(SECP256R1())), 0o600)
    return folder


def private(key: EllipticCurvePrivateKey, encryption: KeySerializationEncryption | None = None) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption())


def certificate(key: EllipticCurvePrivateKey, first: int, last: int) -> bytes:
    """One for the years from `first` to `last`."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "jupyter.example.org")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(datetime(first, 1, 1, tzinfo=UTC))
    return builder.not_valid_after(datetime(last, 1, 1, tzinfo=UTC)).sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


def write(path: Path, content: bytes, mode: int) -> None:
    path.write_bytes(content)
    path.chmod(mode)
