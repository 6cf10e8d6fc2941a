"""The lab's own authority, and the certificates that it signs: its registry's, and that of the names of lab/internet.py."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from lab.config import REGISTRY, Lab, private_dir, write_private
from lab.internet import NAMES

#: The certificate of the names of lab/internet.py; a lab of an earlier release has none.
INTERNET = "internet.crt"
_PEM = serialization.Encoding.PEM
_SIGNS = x509.KeyUsage(
    key_cert_sign=True,
    crl_sign=True,
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    encipher_only=False,
    decipher_only=False,
)


def ensure(lab: Lab) -> Path:
    """Return the folder of ca.crt, and of server.crt and internet.crt with their keys; made once a lab. The authority's key is not kept."""
    folder = private_dir(lab.root / "tls")
    if not (folder / "server.crt").exists():
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{lab.id} authority")])
        authority = _certificate(name, name, key, key).add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        # What the strict checks of Python 3.13 want.
        authority = authority.add_extension(_SIGNS, True)
        write_private(folder / "ca.crt", authority.sign(key, hashes.SHA256()).public_bytes(_PEM))
        for file, names in (("internet", NAMES), ("server", (REGISTRY.partition(":")[0],))):
            _write_pair(folder, file, names, name, key)
    return folder


def _write_pair(folder: Path, file: str, names: Sequence[str], issuer: x509.Name, signer: ec.EllipticCurvePrivateKey) -> None:
    """A key, and a certificate of it for these names."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    server = _certificate(subject, issuer, key, signer).add_extension(x509.BasicConstraints(ca=False, path_length=None), True)
    server = server.add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), False)
    write_private(folder / f"{file}.key", key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    write_private(folder / f"{file}.crt", server.sign(signer, hashes.SHA256()).public_bytes(_PEM))


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, signer: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=3650))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), False)
    )
