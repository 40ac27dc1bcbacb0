"""ZD108, ZD111 and ZD114: which process hears the stop signal, and in which order."""

from __future__ import annotations

import re
from collections.abc import Iterator

from segue.check.case import Case
from segue.check.findings import Finding, Rule, Severity
from segue.check.pods import SHELLS, Container, base
from segue.check.reading import texts
from segue.check.rules.shutdown import ZD108, ZD111

_MANAGERS = frozenset({"npm", "yarn", "pnpm", "mvn", "mvnw", "gradle", "gradlew"})
_FORWARDS = re.compile(r"\btrap\b|\btini\b|\bdumb-init\b|\bs6-|\bsupervisord\b")
_STOPS_ON = {"php-fpm": "SIGQUIT", "postgres": "SIGINT", "nginx": "SIGQUIT", "httpd": "SIGWINCH"}

ZD114 = Rule(
    id="ZD114",
    name="stop-signal-overridden",
    severity=Severity.WARNING,
    facts=("T5",),
    says="lifecycle.stopSignal asks for a signal that does not drain this server",
    why=(
        "The image's own STOPSIGNAL is the one its server drains on. lifecycle.stopSignal replaces it; with another "
        "signal the server may close every connection at once. The field counts only where its feature gate is on."
    ),
    instead="Leave lifecycle.stopSignal out, or name the signal on which this server drains.",
)


def shell_as_pid1(case: Case) -> Iterator[Finding]:
    """ZD108."""
    if case.pod.get("shareProcessNamespace") is True or not case.is_served:
        return
    owners = {container.path for container, _ in case.owners}
    for container in case.containers:
        words = container.words
        if container.path not in owners or not texts(container.raw, "command") or not words:
            continue
        first = base(words[0])
        if first in _MANAGERS:
            said, remedy = first, "run the server itself, for example node server.js or java -jar app.jar"
        elif first in SHELLS and (last := _last_command(words)) and not _FORWARDS.search(" ".join(words)):
            if last.startswith("exec "):
                continue
            said, remedy = f"{first} -c", f"write exec before the last command: exec {last[:60]}"
        else:
            continue
        yield case.source.finding(
            ZD108,
            (*container.path, "command"),
            f"PID 1 of container {container.name} is {said}, which does not pass the stop signal on: the server "
            f"works on "
            f"for {case.grace_s} s and is then killed with every request it has under way",
            remedy=remedy,
        )


def _last_command(words: tuple[str, ...]) -> str:
    """The last simple command of `sh -c SCRIPT`, "" where a lone command is exec'd by the shell itself."""
    if len(words) < 3 or not (words[1].startswith("-") and "c" in words[1]):
        return ""
    lines = [line for line in re.split(r"&&|\|\||;|\n", words[2]) if line.strip() and not line.strip().startswith("#")]
    if not lines or (len(lines) == 1 and "|" not in lines[0] and "&" not in lines[0] and base(words[0]) != "busybox"):
        return ""  # dash, bash and ash replace themselves by the only command of a script
    return lines[-1].strip()


def proxy_in_containers(case: Case) -> Iterator[Finding]:
    """ZD111."""
    apps = [one for one in case.containers if not one.is_proxy]
    if not case.is_served or not apps:
        return
    longest = max((case.waited_s(one.pre_stop) or 0.0 for one in apps), default=0.0)
    for container in case.containers:
        if not container.is_proxy or _outlives(container, longest):
            continue
        yield case.source.finding(
            ZD111,
            container.path,
            f"the proxy {container.name} gets its stop signal together with the application"
            + (f", whose preStop takes {longest:g} s" if longest else "")
            + ": requests under way lose their way in or out",
            remedy="move it to initContainers with restartPolicy: Always, or give it a preStop of "
            f"{longest + case.longest.value:g} s",
        )


def _outlives(container: Container, longest: float) -> bool:
    hook = container.pre_stop
    return bool(hook.kind) and (hook.slept_s is None or (hook.slept_s > 0 and hook.slept_s >= longest))


def stop_signal(case: Case) -> Iterator[Finding]:
    """ZD114."""
    for container in case.containers:
        lifecycle = container.raw.get("lifecycle")
        said = lifecycle.get("stopSignal") if isinstance(lifecycle, dict) else None
        known = _STOPS_ON.get(base(container.image).partition(":")[0].partition("@")[0])
        if isinstance(said, str) and known and said != known:
            yield case.source.finding(
                ZD114,
                (*container.path, "lifecycle", "stopSignal"),
                f"container {container.name} is stopped by {said}; {container.image} drains on {known}, its image's "
                f"own "
                "stop signal: with another one it may close connections at once",
                remedy=f"leave stopSignal out, or stopSignal: {known}",
            )


RULES = (((ZD108,), shell_as_pid1), ((ZD111,), proxy_in_containers), ((ZD114,), stop_signal))
