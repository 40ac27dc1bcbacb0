"""ZD2nn: probes. Liveness does not take a pod out of traffic (L3); readiness does, and they race."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from segue.check.case import Case, with_fix
from segue.check.findings import Finding, Fix, Rule, Severity
from segue.check.pods import Container, Probe
from segue.check.reading import part, rows, text
from segue.model.objects import Obj

READINESS_MAX_S = 30
_DEPENDS = re.compile(r"ready|deps|depend|/db\b|database|full|deep", re.IGNORECASE)
_UNREADY = re.compile(
    r"\brm\s+\S*(?:ready|health|alive)|touch\s+\S*(?:drain|unready|shutdown|not-?ready)", re.IGNORECASE
)
_UNREADY_PATH = re.compile(r"/(?:drain|unready|not-?ready|fail|lame-?duck|offline)", re.IGNORECASE)

ZD201 = Rule(
    id="ZD201",
    name="no-readiness",
    severity=Severity.ERROR,
    facts=("P3", "X8"),
    says="a container that serves has no readiness probe",
    why=(
        "Without a readiness probe a container is ready the moment its process starts. It gets traffic before it "
        "listens, and the rollout takes the next old pod away before this one can answer."
    ),
    instead="A readiness probe that asks what real requests ask. segue does not invent the path: only you know it.",
)
ZD202 = Rule(
    id="ZD202",
    name="liveness-before-unready",
    severity=Severity.ERROR,
    is_safe=True,
    facts=("L3", "L4", "L7"),
    says="the same check kills the container before it is out of traffic",
    why=(
        "A failing liveness probe does not take the endpoint away; only readiness does. With the same check and the "
        "same patience the container is killed while the pod is still in every proxy's list, and a preStop delay does "
        "not help, because the endpoint stays ready all the while."
    ),
    instead=(
        "Let liveness be more patient than readiness by at least the propagation time, or give it a check of its own "
        "that fails only where a restart helps."
    ),
)
ZD203 = Rule(
    id="ZD203",
    name="liveness-failure-threshold-1",
    severity=Severity.WARNING,
    is_safe=True,
    facts=("P5", "L5", "M2"),
    says="one slow answer restarts the container",
    why=(
        "One liveness probe that takes longer than its timeout ends the container with everything it has under way, "
        "usually under load, where the others then get its load, too."
    ),
    instead="failureThreshold 3 or more, and a timeout shorter than the period.",
)
ZD204 = Rule(
    id="ZD204",
    name="liveness-kills-slow-start",
    severity=Severity.ERROR,
    is_safe=True,
    facts=("P4", "L1"),
    says="liveness kills the container before it has started",
    why=(
        "Without a startup probe liveness counts from the beginning. The first look is at once, so a start that takes "
        "longer than initialDelay + period x (failureThreshold - 1) is cut off and tried again, with growing pauses; "
        "the rollout never completes, and where maxUnavailable gave pods away, they are missing for as long."
    ),
    instead="A startup probe with the same check and enough patience for the slowest start.",
)
ZD205 = Rule(
    id="ZD205",
    name="liveness-without-drain",
    severity=Severity.INFO,
    facts=("L3", "L4", "M15"),
    says="a preStop sleep protects deletions, not liveness restarts",
    why=(
        "During a liveness restart the pod is not being deleted: its endpoint stays ready through the whole preStop "
        "sleep, new requests keep coming, and are refused when the sleep ends (measured: M15)."
    ),
    instead=(
        "Let liveness fail only where a restart is worth its loss, later than readiness; or make the hook turn "
        "readiness off first and then wait period x failureThreshold + propagation."
    ),
)
ZD206 = Rule(
    id="ZD206",
    name="liveness-checks-dependencies",
    severity=Severity.WARNING,
    facts=("L1",),
    says="liveness asks something that restarts do not repair",
    why=(
        "A liveness check that includes a database or another service restarts every pod at once when that is slow, "
        "and turns a slow minute into an outage."
    ),
    instead="Liveness asks only whether this process can still work; what it needs belongs to readiness.",
)
ZD207 = Rule(
    id="ZD207",
    name="readiness-too-slow",
    severity=Severity.WARNING,
    facts=("P5",),
    says="a broken pod stays in traffic for long",
    why="Until readiness has failed period x failureThreshold, the pod keeps its share of all new requests.",
    instead="A period of 5 s and a threshold of 2 or 3 notice it within 15 s.",
)
ZD208 = Rule(
    id="ZD208",
    name="readiness-fails-on-shutdown",
    severity=Severity.ERROR,
    facts=("K3", "K11", "X3"),
    says="shutdown turns readiness off where the last pod is still needed",
    why=(
        "When no ready endpoint is left - one replica, or traffic policy Local with one pod on the node - kube-proxy "
        "falls back to endpoints that are ending but still serving. A pod that fails its readiness at shutdown takes "
        "that way out: connections are refused, or with Local dropped until the client gives up."
    ),
    instead="Only sleep in preStop and stay ready. Deletion alone takes the endpoint out of normal traffic.",
)
ZD209 = Rule(
    id="ZD209",
    name="probe-redirect",
    severity=Severity.WARNING,
    facts=("P7",),
    is_safe=True,
    says="the probe speaks HTTP to a port that speaks HTTPS",
    why=(
        "A redirect to another host counts as success without being followed, and a plain HTTP answer of a TLS port "
        "is 400: the probe tests something else than what requests get."
    ),
    instead="scheme: HTTPS.",
)
ZD210 = Rule(
    id="ZD210",
    name="probe-port-not-traffic-port",
    severity=Severity.INFO,
    facts=("X8",),
    says="readiness asks another port than the one that serves",
    why=(
        "A management port can answer while the port that requests come to does not listen yet, or no longer does. "
        "The pod then counts as ready without being so."
    ),
    instead="Ask the serving port, or make sure that the management port answers only when the other one does.",
)
ZD211 = Rule(
    id="ZD211",
    name="exec-readiness-on-1.35-36",
    severity=Severity.INFO,
    facts=("P11",),
    says="exec readiness probes stop at deletion in Kubernetes 1.35 and 1.36",
    why="In these versions readiness stays what it was when termination began, whatever the command would say.",
    instead="An HTTP or gRPC probe, where readiness during shutdown matters.",
)
ZD212 = Rule(
    id="ZD212",
    name="readiness-delay-as-guard",
    severity=Severity.WARNING,
    facts=("P3", "P6"),
    says="a long initialDelaySeconds stands in for knowing when the application is up",
    why=(
        "The delay is paid by every pod at every start, also by one that is ready after a second, and a start that "
        "takes longer is only a probe like any other. It also keeps a pod out of traffic for so long after a restart, "
        "when the others carry its load. It does not make all new pods wait for each other either."
    ),
    instead="A startup probe with a short period: the pod is in traffic as soon as it can serve, however long it took.",
)


def _owners(case: Case) -> Iterator[Container]:
    for container, _ in case.owners:
        yield container


def no_readiness(case: Case) -> Iterator[Finding]:
    """ZD201."""
    for container, port in case.owners:
        if (
            container.is_native_sidecar
            or container.probe("readinessProbe") is not None
            or rows(case.pod, "readinessGates")
        ):
            continue
        shown = container.number_of(port)
        yield with_fix(
            case.source.finding(
                ZD201,
                container.path,
                f"container {container.name} serves {case.served_by} and has no readinessProbe: it gets requests the "
                "moment its process starts, before it listens, and the rollout goes on to the next pod",
                remedy="add a readinessProbe that asks what requests ask"
                + (f"; at the least tcpSocket on port {shown}" if shown else ""),
            ),
            Fix(question=f"Which path of container {container.name} answers 200 only when it can serve?"),
        )


def liveness_before_unready(case: Case) -> Iterator[Finding]:
    """ZD202."""
    for container in _owners(case):
        live, ready = container.probe("livenessProbe"), container.probe("readinessProbe")
        if live is None or ready is None or not live.kind or live.handler(container) != ready.handler(container):
            continue
        needed_s = ready.budget_s + case.propagation.value
        if live.budget_s >= needed_s:
            continue
        failures = math.ceil(needed_s / live.period_s)
        waited = case.waited_s(container.pre_stop) or 0.0  # the hook runs at a liveness kill, too (L1)
        is_certain = live.budget_s + waited < needed_s and live.kind != "tcp"
        covered = f"; its preStop covers {waited:g} s of that" if waited else ""
        found = case.source.finding(
            ZD202,
            live.path,
            f"liveness and readiness of container {container.name} ask the same. When it fails, the kill comes after "
            f"{live.budget_s} s (period {live.period_s} x failureThreshold {live.failures}), un-readiness after "
            f"{ready.budget_s} s, and clients hear of that {case.propagation.value:g} s later: requests of the time "
            f"between are lost{covered}",
            remedy=f"livenessProbe.failureThreshold: {failures}",
            severity=Severity.ERROR if is_certain else Severity.WARNING,
        )
        fix = Fix(changes=(case.change((*live.path, "failureThreshold"), failures),))
        yield with_fix(found, fix, live_s=live.budget_s, ready_s=ready.budget_s, S=waited, P=case.propagation.value)


def liveness_impatient(case: Case) -> Iterator[Finding]:
    """ZD203."""
    for container in _owners(case):
        live = container.probe("livenessProbe")
        if live is None:
            continue
        if live.failures == 1:
            found = case.source.finding(
                ZD203,
                (*live.path, "failureThreshold"),
                f"one answer of container {container.name} that takes longer than {live.timeout_s} s restarts it, with "
                "every request it has under way",
                remedy="livenessProbe.failureThreshold: 3",
            )
            fix = Fix(changes=(case.change((*live.path, "failureThreshold"), 3),))
            yield with_fix(found, fix, timeout_s=live.timeout_s)
        elif live.timeout_s > live.period_s:
            yield case.source.finding(
                ZD203,
                (*live.path, "timeoutSeconds"),
                f"liveness of container {container.name} waits {live.timeout_s} s for an answer and asks every "
                f"{live.period_s} s: what it counts is one slow stretch, not {live.failures} failures",
                remedy=f"timeoutSeconds below {live.period_s}",
            )


def liveness_kills_start(case: Case) -> Iterator[Finding]:
    """ZD204."""
    for container in _owners(case):
        live = container.probe("livenessProbe")
        if live is None or not live.kind or container.probe("startupProbe") is not None:
            continue
        budget_s = live.delay_s + live.budget_s - live.period_s  # the first look is at once (P4)
        is_said = case.start.is_said
        if budget_s + (0 if is_said else live.period_s) >= case.start.value:  # what is assumed is no exact number
            continue
        failures = math.ceil(case.start.value / 5) + 1
        found = case.source.finding(
            ZD204,
            live.path,
            f"container {container.name} is killed {budget_s} s after its start (initialDelaySeconds {live.delay_s} + "
            f"period {live.period_s} x (failureThreshold {live.failures} - 1)) unless it answers by then; it needs up "
            f"to {case.start.value:g} s ({'as said' if is_said else 'assumed; say it with segue.dev/start-seconds'})",
            remedy=f"a startupProbe with the same check, periodSeconds 5, failureThreshold {failures}",
            severity=Severity.ERROR if is_said else Severity.INFO,
        )
        fix = Fix(question=f"How long does container {container.name} need at worst? Say it: segue.dev/start-seconds.")
        handler: Obj = {key: live.raw[key] for key in ("httpGet", "tcpSocket", "grpc", "exec") if key in live.raw}
        if is_said:
            value: Obj = {**handler, "periodSeconds": 5, "failureThreshold": failures}
            fix = Fix(changes=(case.change((*container.path, "startupProbe"), value),))
        yield with_fix(found, fix, start_s=case.start.value, budget_s=budget_s)


def liveness_without_drain(case: Case) -> Iterator[Finding]:
    """ZD205."""
    for container in _owners(case):
        live, hook = container.probe("livenessProbe"), container.pre_stop
        if live is not None and live.kind == "exec" and hook.slept_s and not hook.stop_said:
            yield case.source.finding(
                ZD205,
                live.path,
                f"when liveness of container {container.name} fails, its preStop sleeps {hook.slept_s:g} s while the "
                "endpoint stays ready: the restart loses the requests that come when the sleep ends",
                remedy="let readiness fail first: the same condition in the readinessProbe, liveness later by "
                f"{case.propagation.value:g} s",
            )


def liveness_dependencies(case: Case) -> Iterator[Finding]:
    """ZD206."""
    for container in _owners(case):
        live, ready = container.probe("livenessProbe"), container.probe("readinessProbe")
        if live is None or live.kind != "http" or not _DEPENDS.search(live.http_path):
            continue
        if ready is not None and ready.handler(container) == live.handler(container):
            continue  # ZD202 speaks of it
        yield case.source.finding(
            ZD206,
            (*live.path, "httpGet", "path"),
            f"liveness of container {container.name} asks {live.http_path}, which sounds as if it asked what the pod "
            "depends on: a slow dependency then restarts all pods at once",
            remedy="ask a path that tells only whether this process works",
        )


def readiness_slow(case: Case) -> Iterator[Finding]:
    """ZD207."""
    for container in _owners(case):
        ready = container.probe("readinessProbe")
        if ready is None or ready.budget_s + ready.timeout_s <= READINESS_MAX_S + max(1, ready.timeout_s):
            continue
        yield with_fix(
            case.source.finding(
                ZD207,
                ready.path,
                f"a pod whose container {container.name} no longer answers keeps its share of requests for up to "
                f"{ready.budget_s + ready.timeout_s} s (period {ready.period_s} x failureThreshold {ready.failures} + "
                f"timeout {ready.timeout_s})",
                remedy="periodSeconds: 5, failureThreshold: 3",
            ),
            Fix(question=f"Why is readiness of {container.name} so patient? 5 s x 3 notices within 15 s."),
            ready_s=ready.budget_s,
        )


def readiness_fails_on_shutdown(case: Case) -> Iterator[Finding]:
    """ZD208."""
    local = [one for one in case.services if "Local" in _policies(one.obj)]
    if not local and case.n > 1:
        return
    for container in _owners(case):
        hook = container.pre_stop
        said = ""
        if hook.kind == "exec" and (found := _UNREADY.search(hook.script)):
            said = found[0]
        elif hook.kind == "http" and _UNREADY_PATH.search(hook.http_path):
            said = hook.http_path
        if said:
            why = f"Service {local[0].name} has traffic policy Local" if local else f"there is 1 pod ({case.n_said})"
            what = "dropped until the client gives up" if local else "refused"
            yield with_fix(
                case.source.finding(
                    ZD208,
                    hook.path,
                    f"preStop of container {container.name} turns readiness off ({said}), and {why}: the last pod "
                    f"is no "
                    f"longer used while it ends, and new connections are {what}",
                    remedy=f"only sleep in preStop: lifecycle.preStop.sleep.seconds: {case.p_s}",
                ),
                Fix(
                    question=f"Does anything else need {said}? If not, a preStop sleep of {case.p_s} s takes its place."
                ),
            )


def _policies(service: object) -> tuple[str, str]:
    spec = part(service, "spec")
    return text(spec, "externalTrafficPolicy"), text(spec, "internalTrafficPolicy")


def probe_scheme(case: Case) -> Iterator[Finding]:
    """ZD209."""
    for container in _owners(case):
        for key in ("readinessProbe", "livenessProbe", "startupProbe"):
            probe = container.probe(key)
            if probe is None or probe.kind != "http" or text(part(probe.raw, "httpGet"), "scheme") == "HTTPS":
                continue
            if probe.port != "https" and container.number_of(probe.port) != 443:
                continue
            found = case.source.finding(
                ZD209,
                (*probe.path, "httpGet"),
                f"{key} of container {container.name} speaks plain HTTP to port {probe.port}: it tests another answer "
                "than the one requests get",
                remedy="httpGet.scheme: HTTPS",
            )
            yield with_fix(found, Fix(changes=(case.change((*probe.path, "httpGet", "scheme"), "HTTPS"),)))


def readiness_port(case: Case) -> Iterator[Finding]:
    """ZD210."""
    for container, port in case.owners:
        ready = container.probe("readinessProbe")
        if ready is None or ready.kind not in {"http", "tcp", "grpc"} or port is None:
            continue
        asked = container.number_of(ready.port)
        served = {container.number_of(one) for owner, one in _ports(case) if owner.path == container.path}
        if asked in served or not isinstance(asked, int) or not all(isinstance(one, int) for one in served):
            continue
        shown = " and ".join(str(one) for one in served)
        yield case.source.finding(
            ZD210,
            ready.path,
            f"readiness of container {container.name} asks port {asked}, requests come to port {shown}: the one can "
            f"answer "
            "while the other does not listen",
            remedy=f"ask port {shown}, or let {asked} answer only when it does",
        )


def _ports(case: Case) -> Iterator[tuple[Container, object]]:
    for service in case.services:
        for row in rows(service.obj, "spec", "ports"):
            for container, _ in case.owners:
                yield container, row.get("targetPort", row.get("port"))


def exec_readiness(case: Case) -> Iterator[Finding]:
    """ZD211."""
    if case.settings.minor not in {35, 36}:
        return
    for container in _owners(case):
        ready = container.probe("readinessProbe")
        if ready is not None and ready.kind == "exec":
            yield case.source.finding(
                ZD211,
                ready.path,
                f"readiness of container {container.name} is a command: Kubernetes 1.{case.settings.minor} stops "
                f"running "
                "it when the pod is being deleted",
                remedy="an httpGet or grpc probe",
            )


def readiness_delay(case: Case) -> Iterator[Finding]:
    """ZD212."""
    for container in _owners(case):
        ready = container.probe("readinessProbe")
        if ready is None or ready.delay_s < READINESS_MAX_S or container.probe("startupProbe") is not None:
            continue
        yield with_fix(
            case.source.finding(
                ZD212,
                (*ready.path, "initialDelaySeconds"),
                f"every pod of {case.served_by or case.source.title} stays out of traffic for {ready.delay_s} s "
                f"after each "
                "start and restart of its container, also when it is up after one; a start that takes longer is not "
                "guarded at all",
                remedy="a startupProbe with the same check, periodSeconds 5 and failureThreshold "
                f"{_failures(ready)}, and no initialDelaySeconds",
            ),
            Fix(question=f"Does the readiness path of {container.name} answer only when it can serve?"),
            delay_s=ready.delay_s,
        )


def _failures(ready: Probe) -> int:
    return math.ceil(2 * ready.delay_s / 5)


RULES = (
    ((ZD201,), no_readiness),
    ((ZD202,), liveness_before_unready),
    ((ZD203,), liveness_impatient),
    ((ZD204,), liveness_kills_start),
    ((ZD205,), liveness_without_drain),
    ((ZD206,), liveness_dependencies),
    ((ZD207,), readiness_slow),
    ((ZD208,), readiness_fails_on_shutdown),
    ((ZD209,), probe_scheme),
    ((ZD210,), readiness_port),
    ((ZD211,), exec_readiness),
    ((ZD212,), readiness_delay),
)
