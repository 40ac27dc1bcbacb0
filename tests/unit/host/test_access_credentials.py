"""Certificates and tokens: made once, kept, made anew where an address is new."""

from __future__ import annotations

import ipaddress
from pathlib import Path

import yaml
from cryptography import x509

from segue.host.certificates import credentials, kubeconfig


def addresses_in(path: Path) -> set[str]:
    certificate = x509.load_pem_x509_certificate(path.read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {str(one) for one in names.get_values_for_type(x509.IPAddress)}


def test_credentials_are_kept(tmp_path: Path) -> None:
    assert credentials(tmp_path) == credentials(tmp_path)


def test_the_certificate_names_loopback_the_service_and_the_nodes(tmp_path: Path) -> None:
    made = credentials(tmp_path, ["172.30.0.2"])

    assert addresses_in(made.tls.certificate) == {"127.0.0.1", "10.96.0.1", "172.30.0.2"}
    assert ipaddress.ip_address("172.30.0.2").is_private


def test_a_new_address_makes_a_new_certificate_and_keeps_the_tokens(tmp_path: Path) -> None:
    before = credentials(tmp_path)
    after = credentials(tmp_path, ["172.30.0.3"])

    assert "172.30.0.3" in addresses_in(after.tls.certificate)
    assert after.admin_token == before.admin_token


def test_secrets_are_for_their_owner_alone(tmp_path: Path) -> None:
    credentials(tmp_path)
    secret = [path for path in (tmp_path / "pki").iterdir() if path.suffix in {".key", ".token"}]

    assert len(secret) == 4 and all(path.stat().st_mode & 0o077 == 0 for path in secret)


def test_the_two_tokens_differ_in_what_they_may(tmp_path: Path) -> None:
    made = credentials(tmp_path)
    users = made.users()

    assert users[made.admin_token].writes and not users[made.viewer_token].writes


def test_a_kubeconfig_is_what_kubectl_reads(tmp_path: Path) -> None:
    made = credentials(tmp_path)
    config = yaml.safe_load(kubeconfig(made, "https://127.0.0.1:1", token="t"))

    assert config["users"][0]["user"] == {"token": "t"}
    assert config["clusters"][0]["cluster"]["server"] == "https://127.0.0.1:1"
