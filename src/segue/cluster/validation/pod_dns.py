"""What is off in what a pod says about names: dnsPolicy, dnsConfig, hostAliases, hostname, subdomain."""

from __future__ import annotations

import ipaddress
import re

from segue.cluster.refusals import Cause, invalid_value, required, unsupported
from segue.cluster.validation.metadata import SUBDOMAIN_WORDS, dns_label_causes
from segue.dns.resolver import NAMESERVERS_MAX, SEARCH_CHARS_MAX, SEARCHES_MAX
from segue.model.objects import Obj

_POLICIES = ["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"]
_ADDRESS = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
_HOST = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_SEARCH = re.compile(r"_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?(\._?[a-z0-9]([-_a-z0-9]*[a-z0-9])?)*")
_SEARCH_WORDS = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', and must "
    "start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    f"'{_SEARCH.pattern}')"
)
_NAME_MAX, _LABEL_MAX = 253, 63


def pod_dns_causes(spec: Obj, path: str) -> list[Cause]:
    """All of it."""
    return [*_names(spec, path), *_policy(spec, path), *_config(spec, path), *_aliases(spec, path)]


def _names(spec: Obj, path: str) -> list[Cause]:
    causes: list[Cause] = []
    for key in ("hostname", "subdomain"):
        name = spec.get(key)
        if not name:
            continue
        if len(name) > _LABEL_MAX:
            causes.append(invalid_value(f"{path}.{key}", name, f"must be no more than {_LABEL_MAX} characters"))
        elif key == "subdomain" and "." in name:
            causes.append(invalid_value(f"{path}.{key}", name, "must not contain dots"))
        else:
            causes += dns_label_causes(name, f"{path}.{key}")
    return causes


def _policy(spec: Obj, path: str) -> list[Cause]:
    policy = spec.get("dnsPolicy")
    if policy not in {None, *_POLICIES}:
        return [unsupported(f"{path}.dnsPolicy", policy, _POLICIES)]
    if policy != "None":
        return []
    if spec.get("dnsConfig") is None:
        return [required(f"{path}.dnsConfig", "must provide `dnsConfig` when `dnsPolicy` is None")]
    if not spec["dnsConfig"].get("nameservers"):
        why = "must provide at least one DNS nameserver when `dnsPolicy` is None"
        return [required(f"{path}.dnsConfig.nameservers", why)]
    return []


def _config(spec: Obj, path: str) -> list[Cause]:
    config: Obj = spec.get("dnsConfig") or {}
    servers: list[str] = config.get("nameservers") or []
    searches: list[str] = config.get("searches") or []
    causes: list[Cause] = []
    where = f"{path}.dnsConfig"
    if len(servers) > NAMESERVERS_MAX:
        too_many = f"must not have more than {NAMESERVERS_MAX} nameservers"
        causes.append(invalid_value(f"{where}.nameservers", servers, too_many))
    causes += [
        invalid_value(f"{where}.nameservers[{number}]", one, _ADDRESS)
        for number, one in enumerate(servers)
        if not _is_address(one)
    ]
    if len(searches) > SEARCHES_MAX:
        too_many = f"must not have more than {SEARCHES_MAX} search paths"
        causes.append(invalid_value(f"{where}.searches", searches, too_many))
    if len(" ".join(searches)) > SEARCH_CHARS_MAX:
        too_long = f"must not have more than {SEARCH_CHARS_MAX} characters (including spaces) in the search list"
        causes.append(invalid_value(f"{where}.searches", searches, too_long))
    causes += [
        invalid_value(f"{where}.searches[{number}]", one, _SEARCH_WORDS)
        for number, one in enumerate(searches)
        if one != "." and not _fits(_SEARCH, one.removesuffix("."))
    ]
    causes += [
        required(f"{where}.options[{number}]", "must not be empty")
        for number, one in enumerate(config.get("options") or [])
        if not one.get("name")
    ]
    return causes


def _aliases(spec: Obj, path: str) -> list[Cause]:
    causes: list[Cause] = []
    for number, alias in enumerate(spec.get("hostAliases") or []):
        where = f"{path}.hostAliases[{number}]"
        if not _is_address(alias.get("ip") or ""):
            causes.append(invalid_value(f"{where}.ip", alias.get("ip") or "", _ADDRESS))
        causes += [
            invalid_value(f"{where}.hostnames[{at}]", name, SUBDOMAIN_WORDS)
            for at, name in enumerate(alias.get("hostnames") or [])
            if not _fits(_HOST, name)
        ]
    return causes


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _fits(pattern: re.Pattern[str], name: str) -> bool:
    return len(name) <= _NAME_MAX and bool(pattern.fullmatch(name))
