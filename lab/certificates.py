"""The lab's own authority, and the certificate of its registry that it signs."""

from __future__ import annotations

import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from lab.config import REGISTRY, Lab, private_dir, write_private


def ensure(lab: Lab) -> Path:
    """Return the folder of ca.crt, server.crt and server.key, made once a lab."""
    folder = private_dir(lab.root / "tls")
    if not (folder / "server.crt").exists():
        authority_key, server_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{lab.id} authority")])
        host = REGISTRY.partition(":")[0]
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
        plain = x509.BasicConstraints(ca=False, path_length=None)
        authority = _certificate(name, name, authority_key, authority_key).add_extension(
            x509.BasicConstraints(ca=True, path_length=0), True
        )
        server = _certificate(subject, name, server_key, authority_key).add_extension(plain, True)
        server = server.add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), False)
        pem = serialization.Encoding.PEM
        unencrypted = serialization.NoEncryption()
        write_private(folder / "ca.crt", authority.sign(authority_key, hashes.SHA256()).public_bytes(pem))
        write_private(folder / "server.key", server_key.private_bytes(pem, serialization.PrivateFormat.PKCS8, unencrypted))
        write_private(folder / "server.crt", server.sign(authority_key, hashes.SHA256()).public_bytes(pem))
    return folder


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
    )
