"""Who the cluster is and who may enter: a CA, the API server's certificate, two tokens, the kubeconfig.

Made once and kept in the state directory; made anew only where the server got other addresses. The library that makes
certificates is imported only then: it costs more than the rest of the start.
"""

from __future__ import annotations

import base64
import datetime
import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from segue.cluster.api.results import ADMIN, VIEWER, ApiUser

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

_NAMES = (
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
)
_ADDRESSES = ("127.0.0.1", "10.96.0.1")
_VALID = datetime.timedelta(days=3650)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """Files of the server's certificate and key."""

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What server and clients need of each other."""

    ca: str  # PEM
    tls: Tls
    admin_token: str
    viewer_token: str
    token_secret: str  # signs the tokens of service accounts

    def users(self) -> dict[str, ApiUser]:
        """Token to user."""
        return {self.admin_token: ADMIN, self.viewer_token: VIEWER}


def credentials(state: Path, addresses: Sequence[str] = ()) -> Credentials:
    """The credentials kept in `state`, made where they are missing or do not name all of `addresses`."""
    folder = state / "pki"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    tls = Tls(certificate=folder / "apiserver.crt", key=folder / "apiserver.key")
    wanted = sorted({*_ADDRESSES, *addresses})
    named = folder / "addresses"
    if not tls.certificate.exists() or not named.exists() or not set(wanted) <= set(named.read_text().split()):
        _make(folder, tls, wanted)
        named.write_text("\n".join(wanted))  # last: a start that was killed half-way begins again
    return Credentials(
        ca=(folder / "ca.crt").read_text(),
        tls=tls,
        admin_token=_token(folder / "admin.token"),
        viewer_token=_token(folder / "viewer.token"),
        token_secret=_token(folder / "accounts.secret"),
    )


def kubeconfig(credentials: Credentials, server: str, *, token: str = "", name: str = "segue") -> str:
    """The text of a kubeconfig for `server` (a URL); the admin's token unless another is given."""
    authority = base64.b64encode(credentials.ca.encode()).decode()
    return f"""apiVersion: v1
kind: Config
clusters:
- name: {name}
  cluster:
    server: {server}
    certificate-authority-data: {authority}
users:
- name: {name}
  user:
    token: {token or credentials.admin_token}
contexts:
- name: {name}
  context:
    cluster: {name}
    user: {name}
    namespace: default
current-context: {name}
"""


def _token(path: Path) -> str:
    if not path.exists():
        _write_secret(path, secrets.token_urlsafe(32).encode())
    return path.read_text()


def _make(folder: Path, tls: Tls, addresses: Sequence[str]) -> None:
    import ipaddress  # noqa: PLC0415 - needed at the first start only

    from cryptography import x509  # noqa: PLC0415 - 100 ms that only a first start pays
    from cryptography.hazmat.primitives import hashes  # noqa: PLC0415 - see above
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415 - see above

    ca_key = ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "segue-ca")])
    ca_usage = x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=True,
        crl_sign=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    ca_identifier = x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key())
    ca = (
        _builder(ca_name, ca_name, ca_key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(ca_usage, critical=True)
        .add_extension(ca_identifier, critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    key = ec.generate_private_key(ec.SECP256R1())
    names = [
        *(x509.DNSName(name) for name in _NAMES),
        *(x509.IPAddress(ipaddress.ip_address(address)) for address in addresses),
    ]
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "segue-apiserver")])
    certificate = (
        _builder(subject, ca_name, key)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(ca_identifier), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    _write_secret(folder / "ca.key", _private_pem(ca_key))
    (folder / "ca.crt").write_bytes(_pem(ca))
    _write_secret(tls.key, _private_pem(key))
    tls.certificate.write_bytes(_pem(certificate))


def _builder(subject: x509.Name, issuer: x509.Name, key: EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    from cryptography import x509  # noqa: PLC0415 - see _make

    now = datetime.datetime.now(datetime.UTC) - datetime.timedelta(minutes=5)  # a client's clock may lag a little
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + _VALID)
    )


def _pem(certificate: x509.Certificate) -> bytes:
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 - see _make

    return certificate.public_bytes(serialization.Encoding.PEM)


def _private_pem(key: EllipticCurvePrivateKey) -> bytes:
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 - see _make

    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write_secret(path: Path, content: bytes) -> None:
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
