"""The configuration of a Gateway in HAProxy's language: one text, and weights that change while it runs.

A request is given a number below a million; each backend of a rule has the number it ends at, in a map. So weights are
exact, and changing them is a word to the running process; everything else is a new text and a hitless reload.

Rule 1: the text does not depend on weights, but for whether they sum up to 0.
Rule 2: what matches is decided first (variable `e`), so that filters and backends ask one question each.
Rule 3: everything that comes from a user is quoted.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from segue.cluster.gateway.config import Backend, Cluster, Config, Entry
from segue.model.objects import Obj

PARTS = 1_000_000
MAP = "weights.map"
SOCKET = "stats.sock"
_INVALID = "not-there"
_DEFAULTS = f"""
defaults
  mode http
  timeout connect 1s
  timeout client 24h
  timeout server 24h
  timeout tunnel 24h
  timeout http-request 30s
  timeout http-keep-alive 60s
  retries 3
  option redispatch 1
  retry-on conn-failure empty-response
  option idle-close-on-response
  http-reuse safe
  default-server pool-purge-delay 1500ms
backend {_INVALID}
  http-request return status 500
""".strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A configuration: its text, whose `version` the running process tells, and the map's entries."""

    text: str
    version: str
    weights: dict[str, int]


def written(config: Config, address: str) -> Written:
    """The configuration of one Gateway."""
    lines: list[str] = []
    weights: dict[str, int] = {}
    limits: dict[str, list[str]] = {}
    for port, hosts in config.ports.items():
        lines += _frontend(port, hosts, address, weights)
        for key, _, entry in _named(port, hosts):
            for one in entry.backends:
                limits.setdefault(one.cluster, []).extend(_limit(key, entry))
    for _, cluster in sorted(config.clusters.items()):
        lines += [*_backend(cluster), *dict.fromkeys(limits.get(cluster.name, ()))]
    body = "\n".join([_DEFAULTS, *lines])
    version = hashlib.sha256(body.encode()).hexdigest()[:16]
    head = [
        "global",
        f"  node {version}",
        f"  stats socket unix@{SOCKET} mode 600 level admin expose-fd listeners",
        "  hard-stop-after 1h",
    ]
    return Written(text="\n".join([*head, body, ""]), version=version, weights=weights)


def map_text(weights: dict[str, int]) -> str:
    """The map's file."""
    return "".join(f"{key} {end}\n" for key, end in weights.items())


def backend_name(cluster: str) -> str:
    """A cluster's name as HAProxy allows it: `/` is not."""
    return cluster.replace("/", ":")


def _frontend(port: int, hosts: dict[str, tuple[Entry, ...]], address: str, weights: dict[str, int]) -> list[str]:
    lines = [
        f"frontend port-{port}",
        f"  bind {address}:{port}",
        "  http-request disable-l7-retry if !{ method GET HEAD OPTIONS }",
        f"  http-request set-var(txn.w) rand({PARTS})",
    ]
    # The most specific host comes last, and wins.
    for name, key in _keys(hosts).items():
        lines.append(f"  http-request set-var(txn.h) str({key}){_host(name)}")
    named = _named(port, hosts)
    for key, host, entry in named:
        conditions = " ".join(["!{ var(txn.e) -m found }", f"{{ var(txn.h) -m str {host} }}", *_conditions(entry)])
        lines.append(f"  http-request set-var(txn.e) str({key}) if {conditions}")
    lines.append("  http-request return status 404 if !{ var(txn.e) -m found }")
    uses: list[str] = []
    for key, _, entry in named:
        mine = f"{{ var(txn.e) -m str {key} }}"
        lines += [f"  {line} if {mine}" for line in _filters(entry)]
        total = sum(one.weight for one in entry.backends)
        if _is_redirect(entry):
            continue
        if not total:
            lines.append(f"  http-request return status 500 if {mine}")
            continue
        end = 0
        for number, one in enumerate(entry.backends):
            end += one.weight
            weights[f"{key}.{number}"] = round(end * PARTS / total)
            lines.append(f"  http-request set-var(txn.t{number}) str({key}.{number}),map_str_int(./{MAP},0) if {mine}")
            chosen = f"{{ var(txn.w),sub(txn.t{number}) -m int lt 0 }}"
            uses.append(f"  use_backend {_name(one)} if {mine} {chosen}")
    return [*lines, *uses]


def _keys(hosts: dict[str, tuple[Entry, ...]]) -> dict[str, str]:
    return {name: f"h{number}" for number, name in enumerate(sorted(hosts, key=_specific))}


def _named(port: int, hosts: dict[str, tuple[Entry, ...]]) -> list[tuple[str, str, Entry]]:
    """Each entry with its key and its host's."""
    return [(f"{port}-{key}-{n}", key, e) for name, key in _keys(hosts).items() for n, e in enumerate(hosts[name])]


def _limit(key: str, entry: Entry) -> list[str]:
    """A backend's own line for an entry that has a time limit."""
    if not entry.timeout_s:
        return []
    mine = f"{{ var(txn.e) -m str {key} }}"
    return [f"  http-request set-timeout server {round(entry.timeout_s * 1000)}ms if {mine}"]


def _name(backend: Backend) -> str:
    return backend_name(backend.cluster) if backend.cluster else _INVALID


def _backend(cluster: Cluster) -> list[str]:
    protocol = " proto h2" if cluster.http2 else ""
    lines = [f"backend {backend_name(cluster.name)}", "  balance leastconn"]
    lines += [f"  server {address}:{port} {address}:{port}{protocol}" for address, port in cluster.addresses]
    return lines


def _specific(name: str) -> tuple[bool, bool, int, str]:
    return bool(name), not name.startswith("*."), len(name), name


def _host(name: str) -> str:
    if not name:
        return ""
    kind, text = ("end", name[1:]) if name.startswith("*.") else ("str", name)
    return f" if {{ req.hdr(host),host_only,lower -m {kind} {_quoted(text.lower())} }}"


def _conditions(entry: Entry) -> list[str]:
    match = entry.match
    found = []
    if match.path_type == "Exact":
        found.append(f"{{ path -m str {_quoted(match.path)} }}")
    elif match.path_type == "RegularExpression":
        found.append(f"{{ path -m reg {_quoted(f'^(?:{match.path})$')} }}")
    elif match.path.rstrip("/"):
        prefix = re.escape(match.path.rstrip("/"))
        found.append(f"{{ path -m reg {_quoted(f'^{prefix}(/|$)')} }}")
    if match.method:
        found.append(f"{{ method {match.method} }}")
    found += [f"{{ req.fhdr({name}) {_text(kind, value)} }}" for name, kind, value in match.headers]
    found += [f"{{ url_param({name}) {_text(kind, value)} }}" for name, kind, value in match.queries]
    return found


def _text(kind: str, value: str) -> str:
    return f"-m reg {_quoted(f'^(?:{value})$')}" if kind == "RegularExpression" else f"-m str {_quoted(value)}"


def _quoted(text: str) -> str:
    """In strong quotes, in which nothing has a meaning but their end."""
    return "'" + text.replace("'", "'\\''") + "'"


def _is_redirect(entry: Entry) -> bool:
    return any(one["type"] == "RequestRedirect" for one in entry.filters)


def _filters(entry: Entry) -> list[str]:
    lines: list[str] = []
    for one in entry.filters:
        for key, side in (("requestHeaderModifier", "request"), ("responseHeaderModifier", "response")):
            said: Obj = one.get(key) or {}
            if side == "response" and said:
                lines += [f"http-after-{line}" for line in _header_lines(said, side)]
            else:
                lines += [f"http-{line}" for line in _header_lines(said, side)]
        path = (one.get("urlRewrite") or {}).get("path") or {}
        if "hostname" in (one.get("urlRewrite") or {}):
            hostname = _literal(one["urlRewrite"]["hostname"])
            lines.append(f"http-request set-header Host {hostname}")
        if path.get("type") == "ReplaceFullPath":
            full = _literal(path["replaceFullPath"])
            lines.append(f"http-request set-path {full}")
        elif path:
            lines.append(f"http-request replace-path {_prefix(entry)} {_literal(_joined(path))}\\1")
        if one["type"] == "RequestRedirect":
            moved = one["requestRedirect"].get("path") or {}
            if moved.get("type") == "ReplacePrefixMatch":  # the location is then made of the path that it has become
                lines.append(f"http-request replace-path {_prefix(entry)} {_literal(_joined(moved))}\\1")
            lines.append(_redirect(entry, one["requestRedirect"]))
    return lines


def _header_lines(said: Obj, side: str) -> list[str]:
    lines = [f"{side} set-header {row['name']} {_literal(row['value'])}" for row in said.get("set") or []]
    lines += [f"{side} add-header {row['name']} {_literal(row['value'])}" for row in said.get("add") or []]
    return lines + [f"{side} del-header {name}" for name in said.get("remove") or []]


def _literal(text: str) -> str:
    """A text where HAProxy reads a format: `%` is doubled, and it is quoted."""
    return _quoted(str(text).replace("%", "%%"))


def _prefix(entry: Entry) -> str:
    return _quoted(f"^{re.escape(entry.match.path.rstrip('/'))}(?:/+)?(.*)")


def _joined(path: Obj) -> str:
    return str(path["replacePrefixMatch"]).rstrip("/") + "/"


def _redirect(entry: Entry, said: Obj) -> str:
    path = said.get("path") or {}
    scheme = said.get("scheme", "http")
    host = _literal(str(said["hostname"])) if "hostname" in said else "%[req.hdr(host),host_only]"
    port = f":{said['port']}" if "port" in said else ""
    where = "%[pathq]"
    if path.get("type") == "ReplaceFullPath":
        where = _literal(path["replaceFullPath"])
    return f"http-request redirect location {scheme}://{host}{port}{where} code {said.get('statusCode', 302)}"
