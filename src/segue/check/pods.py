"""What a pod template means when a pod of it starts and ends: containers, probes with their defaults, preStop in "
"seconds.

Rule: effective values only, as the API server would default them (P1, D1, T1); what was written stays in `raw`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from segue.check.findings import Path
from segue.check.reading import part, rows, text, texts, whole
from segue.model.objects import Obj

SHELLS = frozenset({"sh", "bash", "ash", "dash", "zsh", "busybox"})
_SLEEP = re.compile(r"(?:^|[;&|\s(])(?:/\S*/)?sleep\s+(\d+(?:\.\d+)?)([smh]?)\b")
_UNIT_S = {"": 1, "s": 1, "m": 60, "h": 3600}
_STOPS = re.compile(
    r"nginx\s+-s\s+(?:quit|stop)|(?:^|[;&|\s])kill\s+(?:-(?:s\s+)?(?:SIG)?(?:TERM|QUIT|INT|15|3|2)\s+)?1\b"
    r"|(?:apachectl|httpd)\s+(?:-k\s+)?(?:graceful-)?stop|(?:^|[;&|\s/])(?:pkill|killall)\s|supervisorctl\s+stop"
    r"|catalina\.sh\s+stop|kill\s+(?:-\w+\s+)?\$\((?:pidof|pgrep|cat)",
)
_STOP_PATH = re.compile(r"/(?:[\w-]*shutdown|quit|stop|exit|terminate|quitquitquit)(?:/|$|\?)", re.IGNORECASE)
PROXIES = re.compile(
    r"(?:^|[/_-])(?:istio-proxy|proxyv2|envoy|linkerd-proxy|cloud-?sql-proxy|cloudsql-proxy|consul-dataplane"
    r"|oauth2-proxy|pgbouncer|haproxy|dapr[d]?|vault-agent|kuma-sidecar)(?:$|[:@_.-])"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One probe with its defaults (P1)."""

    raw: Obj = field(repr=False)
    path: Path
    kind: str  # http, tcp, grpc, exec, or "" where the manifest names none

    @property
    def period_s(self) -> int:
        """periodSeconds."""
        return whole(self.raw, "periodSeconds", 0) or 10

    @property
    def timeout_s(self) -> int:
        """timeoutSeconds."""
        return whole(self.raw, "timeoutSeconds", 0) or 1

    @property
    def failures(self) -> int:
        """failureThreshold."""
        return whole(self.raw, "failureThreshold", 0) or 3

    @property
    def delay_s(self) -> int:
        """initialDelaySeconds."""
        return whole(self.raw, "initialDelaySeconds", 0)

    @property
    def budget_s(self) -> int:
        """How long it fails before it acts: period x failureThreshold (P5)."""
        return self.period_s * self.failures

    @property
    def port(self) -> object:
        """The port it asks, a number or a name."""
        key = {"http": "httpGet", "tcp": "tcpSocket", "grpc": "grpc"}.get(self.kind, "")
        return part(self.raw, key).get("port") if key else None

    @property
    def http_path(self) -> str:
        """The path of an HTTP probe."""
        return text(part(self.raw, "httpGet"), "path") or "/"

    def handler(self, container: Container) -> tuple[object, ...]:
        """What it asks, comparable with other probes of the same container."""
        if self.kind == "http":
            get = part(self.raw, "httpGet")
            asked = (text(get, "scheme") or "HTTP", text(get, "host"), self.http_path)
            return ("http", *asked, container.number_of(self.port))
        if self.kind == "exec":
            return ("exec", texts(part(self.raw, "exec"), "command"))
        return (self.kind, container.number_of(self.port), text(part(self.raw, "grpc"), "service"))


@dataclass(frozen=True, slots=True, kw_only=True)
class PreStop:
    """What happens before the stop signal."""

    kind: str  # sleep, exec, http, tcp, or "" where there is none
    path: Path
    command: tuple[str, ...] = ()
    http_path: str = ""
    port: object = None  # that an HTTP hook asks
    slept_s: float | None = None  # how long it takes for certain; None where only running it would tell
    seconds_path: Path = ()  # where the number stands by itself, for a fix to replace it

    @property
    def script(self) -> str:
        """The exec command as one line, without `sh -c` before it."""
        words = self.command
        if len(words) >= 3 and base(words[0]) in SHELLS and words[1].startswith("-") and "c" in words[1]:
            return " ".join(words[2:])
        return " ".join(words)

    @property
    def quoted(self) -> str:
        """The script, where quotes within it make one word of it, which no program is named: sh -c "'sleep 10'"."""
        script = self.script.strip()
        if script == " ".join(self.command) or len(script) < 3 or script[0] not in "'\"" or script[-1] != script[0]:
            return ""
        inner = script[1:-1]
        return inner if script[0] not in inner and " " in inner.strip() else ""

    @property
    def stop_said(self) -> str:
        """The words that begin the shutdown, "" where it does not."""
        if self.kind == "http":
            return self.http_path if _STOP_PATH.search(self.http_path) else ""
        found = _STOPS.search(self.script) if self.kind == "exec" else None
        return found[0].strip(" ;&|") if found else ""

    @property
    def wait_before_stop_s(self) -> float:
        """How long it sleeps before the words that begin the shutdown."""
        found = _STOPS.search(self.script) if self.kind == "exec" else None
        return slept(self.script[: found.start()]) or 0.0 if found else 0.0


NO_PRE_STOP = PreStop(kind="", path=(), slept_s=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """A container of the template; `path` is where it stands in its object."""

    raw: Obj = field(repr=False)
    path: Path
    is_native_sidecar: bool = False

    @property
    def name(self) -> str:
        """name."""
        return text(self.raw, "name")

    @property
    def image(self) -> str:
        """image."""
        return text(self.raw, "image")

    @property
    def is_proxy(self) -> bool:
        """Whether its name or image is one of the known proxies that stand beside an application."""
        return bool(PROXIES.search(self.name) or PROXIES.search(self.image))

    @property
    def words(self) -> tuple[str, ...]:
        """command and args."""
        return texts(self.raw, "command") + texts(self.raw, "args")

    def number_of(self, port: object) -> object:
        """A port's number, where a name is given and declared."""
        if isinstance(port, str):
            for row in rows(self.raw, "ports"):
                if row.get("name") == port:
                    return whole(row, "containerPort", 0) or port
            return int(port) if port.isdecimal() and len(port) < 6 else port
        return port if isinstance(port, int) else None

    def owns(self, port: object) -> bool:
        """Whether it declares this port, by name or number."""
        return any(port in (row.get("name"), row.get("containerPort")) for row in rows(self.raw, "ports"))

    def answers(self, port: object) -> bool:
        """Whether this port is its own as far as the manifest says: declared, or asked by one of its probes."""
        probes = (self.probe(key) for key in ("readinessProbe", "livenessProbe", "startupProbe"))
        return self.owns(port) or any(one is not None and one.port == port for one in probes)

    def probe(self, key: str) -> Probe | None:
        """readinessProbe, livenessProbe or startupProbe."""
        raw = self.raw.get(key)
        if not isinstance(raw, dict):
            return None
        kinds = {"httpGet": "http", "tcpSocket": "tcp", "grpc": "grpc", "exec": "exec"}
        kind = next((short for long, short in kinds.items() if isinstance(raw.get(long), dict)), "")
        return Probe(raw=raw, path=(*self.path, key), kind=kind)

    @property
    def pre_stop(self) -> PreStop:
        """lifecycle.preStop."""
        hook = part(self.raw, "lifecycle", "preStop")
        path = (*self.path, "lifecycle", "preStop")
        if isinstance(hook.get("sleep"), dict):
            seconds = whole(hook["sleep"], "seconds", 0)
            return PreStop(kind="sleep", path=path, slept_s=seconds, seconds_path=(*path, "sleep", "seconds"))
        if isinstance(hook.get("exec"), dict):
            return _exec_hook(texts(hook["exec"], "command"), path)
        if isinstance(hook.get("httpGet"), dict):
            get = hook["httpGet"]
            return PreStop(kind="http", path=path, http_path=text(get, "path"), port=get.get("port"))
        if isinstance(hook.get("tcpSocket"), dict):
            return PreStop(kind="tcp", path=path, slept_s=0.0)
        return NO_PRE_STOP


def _exec_hook(command: tuple[str, ...], path: Path) -> PreStop:
    where = (*path, "exec", "command")
    if len(command) == 2 and base(command[0]) == "sleep":
        only = slept(f"sleep {command[1]}")
        is_plain = command[1].isdigit()
        return PreStop(
            kind="exec", path=path, command=command, slept_s=only, seconds_path=(*where, 1) if is_plain else ()
        )
    hook = PreStop(kind="exec", path=path, command=command)
    known = slept(hook.script)
    if known is None and hook.stop_said:
        known = 0.0
    return PreStop(kind="exec", path=path, command=command, slept_s=known)


def slept(script: str) -> float | None:
    """What the `sleep N` of a script add up to; None where there is none. A loop may sleep longer: this is the "
    "least."""
    found = _SLEEP.findall(script)
    return sum(float(number) * _UNIT_S[unit] for number, unit in found) if found else None


def base(word: str) -> str:
    """The last part of a command's path."""
    return word.rpartition("/")[2]
