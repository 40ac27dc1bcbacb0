"""A certificate authority of the bed's own, a certificate per part, and the kubeconfigs.

Everything is made anew at each start: a bed has no memory. Never logs or prints a key.
"""

from __future__ import annotations

import base64
import datetime
import ipaddress
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from testbed.layout import API_CLUSTER_IP, API_PORT, CLUSTER_DOMAIN, NODE_IP, NODE_NAME, Bed
from testbed.metrics import NAME as METRICS_NAME

_VALID = datetime.timedelta(days=30)
_BACKDATED = datetime.timedelta(minutes=5)

ADMIN = "kubernetes-admin"
VIEWER = "viewer"
FRONT_PROXY = "front-proxy-client"  # as whom the API server hands calls on to servers that extend it
COMPONENTS = {  # the users that Kubernetes' own bootstrap roles expect
    "controller-manager": "system:kube-controller-manager",
    "scheduler": "system:kube-scheduler",
    "kube-proxy": "system:kube-proxy",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """Whom a certificate names."""

    file: str
    common_name: str
    group: str = ""
    names: Sequence[str] = ()
    addresses: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Authority:
    """The bed's own CA."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate


def make_pki(bed: Bed, relay_port: int) -> None:
    """Write every key, certificate and kubeconfig of the bed."""
    bed.pki.mkdir(parents=True, mode=0o700)
    authority = _make_authority(bed)
    for subject in _subjects():
        _issue(bed, authority, subject)
    _write_key(bed.pki / "sa.key", ec.generate_private_key(ec.SECP256R1()))
    _write_public(bed.pki / "sa.pub", bed.pki / "sa.key")
    inner = f"https://{NODE_IP}:{API_PORT}"
    for file in (*COMPONENTS, "kubelet", "metrics-server"):
        _write_secret(bed.pki / f"{file}.kubeconfig", kubeconfig(bed, inner, _by_certificate(bed, file)))
    outer = f"https://127.0.0.1:{relay_port}"
    _write_secret(bed.kubeconfig, kubeconfig(bed, outer, _by_certificate(bed, "admin")))
    _write_secret(bed.inner_kubeconfig, kubeconfig(bed, inner, _by_certificate(bed, "admin")))
    token = secrets.token_urlsafe(24)
    _write_secret(bed.pki / "tokens.csv", f"{token},{VIEWER},{VIEWER}\n")
    _write_secret(bed.viewer_kubeconfig, kubeconfig(bed, outer, f"    token: {token}"))


def _subjects() -> list[Subject]:
    service = ["kubernetes", "kubernetes.default", "kubernetes.default.svc"]
    api_names = ["localhost", *service, f"kubernetes.default.svc.{CLUSTER_DOMAIN}"]
    return [
        Subject(
            file="apiserver",
            common_name="kube-apiserver",
            names=api_names,
            addresses=["127.0.0.1", NODE_IP, API_CLUSTER_IP],
        ),
        Subject(file="apiserver-kubelet-client", common_name="kube-apiserver-kubelet-client", group="system:masters"),
        Subject(file="front-proxy-client", common_name=FRONT_PROXY),
        Subject(file="metrics-server-serving", common_name="metrics-server", names=[METRICS_NAME]),
        Subject(file="metrics-server", common_name="metrics-server", group="system:masters"),  # it is a part, no tenant
        Subject(file="admin", common_name=ADMIN, group="system:masters"),
        Subject(file="kubelet", common_name=f"system:node:{NODE_NAME}", group="system:nodes"),
        Subject(file="kubelet-server", common_name=NODE_NAME, names=[NODE_NAME], addresses=[NODE_IP, "127.0.0.1"]),
        *(Subject(file=file, common_name=user) for file, user in COMPONENTS.items()),
    ]


def _make_authority(bed: Bed) -> Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "segue-testbed-ca")])
    usage = x509.KeyUsage(
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
    certificate = (
        _builder(name, name, key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    _write_key(bed.pki / "ca.key", key)
    (bed.pki / "ca.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return Authority(key=key, certificate=certificate)


def _issue(bed: Bed, authority: Authority, subject: Subject) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    parts = [x509.NameAttribute(x509.NameOID.COMMON_NAME, subject.common_name)]
    if subject.group:
        parts.append(x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, subject.group))
    is_server = bool(subject.names or subject.addresses)
    purpose = ExtendedKeyUsageOID.SERVER_AUTH if is_server else ExtendedKeyUsageOID.CLIENT_AUTH
    signer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())
    builder = (
        _builder(x509.Name(parts), authority.certificate.subject, key.public_key())
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        .add_extension(signer, critical=False)
    )
    if is_server:
        dns = [x509.DNSName(name) for name in subject.names]
        addresses = [x509.IPAddress(ipaddress.ip_address(address)) for address in subject.addresses]
        builder = builder.add_extension(x509.SubjectAlternativeName([*dns, *addresses]), critical=False)
    certificate = builder.sign(authority.key, hashes.SHA256())
    _write_key(bed.pki / f"{subject.file}.key", key)
    (bed.pki / f"{subject.file}.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


def _builder(subject: x509.Name, issuer: x509.Name, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + _VALID)
    )


def kubeconfig(bed: Bed, server: str, user: str) -> str:
    """The text of a kubeconfig; `user` is the indented part that says who one is."""
    return f"""apiVersion: v1
kind: Config
clusters:
- name: real
  cluster:
    server: {server}
    certificate-authority-data: {_encoded(bed.pki / "ca.crt")}
users:
- name: real
  user:
{user}
contexts:
- name: real
  context: {{cluster: real, user: real, namespace: default}}
current-context: real
"""


def _by_certificate(bed: Bed, file: str) -> str:
    certificate, key = _encoded(bed.pki / f"{file}.crt"), _encoded(bed.pki / f"{file}.key")
    return f"    client-certificate-data: {certificate}\n    client-key-data: {key}"


def _encoded(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    text = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    _write_secret(path, text.decode())


def _write_public(path: Path, key_path: Path) -> None:
    key = serialization.load_pem_private_key(key_path.read_bytes(), None)
    public = key.public_key()
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    path.write_bytes(public.public_bytes(serialization.Encoding.PEM, form))


def _write_secret(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text(text)
