"""ZD1nn: how a pod that serves is ended. Deletion starts two watchers and nothing joins them again (T3, X1)."""

from __future__ import annotations

import math
from collections.abc import Iterator

from segue.check.case import POD, Case, counted, with_fix
from segue.check.findings import Change, Finding, Fix, Path, Rule, Severity
from segue.check.pods import Container, slept

SLEEP_MINOR = 30  # preStop.sleep is on by default from here (T11)
_SHELLLESS = ("distroless", "scratch", "chainguard", "/static")

ZD101 = Rule(
    id="ZD101",
    name="no-drain-delay",
    severity=Severity.ERROR,
    is_safe=True,
    facts=("T3", "X1", "N1", "N2"),
    says="a container that serves has no preStop delay",
    why=(
        "When a pod is deleted - by every rollout, scale-down and node drain - the stop signal is sent at once, while "
        "kube-proxy and load balancers hear of it some time later. Until they have, they send new connections to a "
        "listener that is closed: these are refused, and those the kernel had already taken are reset."
    ),
    instead=(
        "Let the container go on serving until nobody sends to it any more: a preStop sleep of the propagation time. "
        "Where the application waits by itself after SIGTERM, say so with the annotation segue.dev/drain-seconds."
    ),
)
ZD102 = Rule(
    id="ZD102",
    name="drain-shorter-than-propagation",
    severity=Severity.ERROR,
    is_safe=True,
    facts=("X2", "K5"),
    says="the preStop delay ends before clients have heard",
    why=(
        "The delay covers only part of the time in which new connections still arrive. kube-proxy waits at least a "
        "second between two syncs, cloud load balancers take many seconds. What arrives after the delay finds a "
        "closed listener."
    ),
    instead="Raise the delay to the propagation time of the slowest data plane in front; segue measures it.",
)
ZD103 = Rule(
    id="ZD103",
    name="grace-too-short",
    severity=Severity.ERROR,
    is_safe=True,
    facts=("T6", "T8"),
    says="terminationGracePeriodSeconds ends before the longest request does",
    why=(
        "preStop and shutdown share one budget. What is left of it after preStop is all that a request has which "
        "began at the last moment; then SIGKILL cuts it off in the middle."
    ),
    instead="terminationGracePeriodSeconds of at least preStop + longest request + 2 s. It costs nothing if unused.",
)
ZD104 = Rule(
    id="ZD104",
    name="prestop-eats-grace",
    severity=Severity.ERROR,
    is_safe=True,
    facts=("T6", "T8", "T11"),
    says="the preStop delay leaves no time to shut down",
    why=(
        "preStop counts against terminationGracePeriodSeconds. When it ends, the application has the floor of 2 s "
        "between the stop signal and SIGKILL, whatever it has under way. The API accepts that."
    ),
    instead="terminationGracePeriodSeconds of at least preStop + longest request + 2 s.",
)
ZD105 = Rule(
    id="ZD105",
    name="prestop-starts-shutdown",
    severity=Severity.ERROR,
    is_safe=True,
    facts=("X7", "N1", "X1"),
    says="the preStop hook closes the listener at once",
    why=(
        "The hook runs at the very moment the pod is deleted, before any proxy has reacted. A hook that begins the "
        "shutdown closes the listener earlier than no hook would have done."
    ),
    instead="Sleep first, then stop: sleep 5 && nginx -s quit. Where SIGTERM does the same, a sleep alone is enough.",
)
ZD106 = Rule(
    id="ZD106",
    name="prestop-needs-shell",
    severity=Severity.WARNING,
    is_safe=True,
    facts=("T9", "T11"),
    says="the preStop command cannot run in this image",
    why=(
        "A hook that fails is logged as an event, FailedPreStopHook, and the stop signal follows at once, as if there "
        "were no hook. Images without a shell have neither sh nor sleep, and one word with a blank in it names no "
        "program."
    ),
    instead="lifecycle.preStop.sleep: the kubelet sleeps by itself and needs nothing of the image (Kubernetes 1.30).",
)
ZD107 = Rule(
    id="ZD107",
    name="prestop-http-unchecked",
    severity=Severity.INFO,
    facts=("T10", "T7"),
    says="an HTTP preStop counts any answer as success",
    why=(
        "The kubelet waits for the answer and ignores its status: a 404 or 500 ends the hook at once and the stop "
        "signal follows. It has no timeout of its own either."
    ),
    instead="Make sure that the answer comes only when the drain is over, or use preStop.sleep.",
)
ZD108 = Rule(
    id="ZD108",
    name="shell-as-pid1",
    severity=Severity.WARNING,
    facts=("X6", "N7"),
    says="a shell or package manager is PID 1 and does not pass the stop signal on",
    why=(
        "The stop signal goes to PID 1. A shell waits for its child and passes nothing on, so the server works until "
        "the grace period ends and SIGKILL cuts off every request under way, at every rollout."
    ),
    instead="exec before the last command of the script, or the server itself as command.",
)
ZD109 = Rule(
    id="ZD109",
    name="grace-tiny",
    severity=Severity.ERROR,
    is_safe=True,
    facts=("T8", "T9", "T13"),
    says="a pod that serves has next to no time to end",
    why=(
        "With 0 the preStop hook is skipped and the object vanishes at once; with a few seconds SIGKILL comes before "
        "clients have heard that the pod goes. Requests under way are cut off at every rollout."
    ),
    instead="terminationGracePeriodSeconds of at least preStop + longest request + 2 s. It costs nothing if unused.",
)
ZD110 = Rule(
    id="ZD110",
    name="probe-grace-below-prestop",
    severity=Severity.WARNING,
    is_safe=True,
    facts=("T17", "L1"),
    says="the probe's own grace period is shorter than preStop",
    why=(
        "When this probe fails, its terminationGracePeriodSeconds replaces the pod's. preStop eats it whole, and the "
        "application is killed 2 s after the stop signal."
    ),
    instead="Raise the probe's terminationGracePeriodSeconds above preStop.",
)
ZD111 = Rule(
    id="ZD111",
    name="sidecar-proxy-not-native",
    severity=Severity.WARNING,
    facts=("T20", "T21", "T23", "X9"),
    says="a proxy in containers is stopped at the same time as the application",
    why=(
        "Containers of one pod get their stop signals in parallel. A proxy that ends first takes the way in or out "
        "from the requests the application still has under way."
    ),
    instead=(
        "Move it to initContainers with restartPolicy: Always (Kubernetes 1.29): it is then stopped after the "
        "application. Or give it the application's preStop delay plus the longest request."
    ),
)
ZD112 = Rule(
    id="ZD112",
    name="sidecar-grace-starved",
    severity=Severity.WARNING,
    facts=("T22",),
    is_safe=True,
    says="native sidecars share a grace period that the application already needs",
    why=(
        "A native sidecar waits for the application to end, out of the same grace period. When that is over, all "
        "sidecars are stopped at once, with 2 s."
    ),
    instead="Add the sidecars' own stop time to terminationGracePeriodSeconds.",
)
ZD113 = Rule(
    id="ZD113",
    name="grace-exceeds-node-budget",
    severity=Severity.INFO,
    facts=("B9",),
    says="the grace period is longer than a spot node lives",
    why="A node that is taken away gives its pods a fixed time; what the manifest grants beyond it is not kept.",
    instead="Keep the longest request below the node's budget, or keep these pods off such nodes.",
)


def _sleep_change(case: Case, container: Container, seconds: int) -> Change | None:
    """The preStop that sleeps: by the kubelet, or by the image's own sleep where the cluster is too old."""
    if container.raw.get("lifecycle") is not None and not isinstance(container.raw["lifecycle"], dict):
        return None
    if case.settings.minor < SLEEP_MINOR:
        return None
    return case.change((*container.path, "lifecycle", "preStop"), {"sleep": {"seconds": seconds}})


def no_drain_delay(case: Case) -> Iterator[Finding]:
    """ZD101."""
    for container, port in case.owners:
        own_s = case.own_drain_s or 0.0
        if container.pre_stop.kind or own_s >= case.propagation.value or case.grace_s == 0:
            continue
        p_s = math.ceil(case.propagation.value - own_s)
        change = _sleep_change(case, container, p_s)
        shown = f" on port {port}" if port is not None else ""
        waits = f" (the application is said to wait {own_s:g} s by itself)" if own_s else ""
        found = case.source.finding(
            ZD101,
            container.path,
            f"container {container.name} serves {case.served_by}{shown} and has no preStop: at every rollout, "
            f"scale-down "
            f"and drain it gets its stop signal while new connections still arrive for up to {case.p_s} s; they are "
            f"refused or reset{waits}",
            remedy=f"add lifecycle.preStop.sleep.seconds: {p_s}"
            if case.settings.minor >= SLEEP_MINOR
            else f"add a preStop exec of sleep {p_s}, if the image can run it",
        )
        fix = Fix(question=f"Can the image of {container.name} run sleep? Then: preStop exec sleep {p_s}.")
        if change is not None:
            fix = Fix(changes=(change, *case.raised_grace(p_s + own_s)))
        yield with_fix(found, fix, P=case.propagation.value, S=own_s, G=case.grace_s)


def drain_too_short(case: Case) -> Iterator[Finding]:
    """ZD102."""
    for container, _ in case.owners:
        hook = container.pre_stop
        waited = case.waited_s(hook)
        if not hook.kind or hook.stop_said or waited is None or waited >= case.propagation.value:
            continue
        is_certain = case.propagation.is_said or waited < 1  # kube-proxy's own floor is 1 s (K5)
        p_s = math.ceil(case.propagation.value - (case.own_drain_s or 0.0))
        found = case.source.finding(
            ZD102,
            hook.seconds_path or hook.path,
            f"container {container.name} waits {waited:g} s before its stop signal, but new connections arrive for up "
            f"to {case.propagation.value:g} s after the deletion ({_origin(case)}): those of the last "
            f"{case.propagation.value - waited:g} s are refused",
            remedy=f"wait {p_s} s",
            severity=Severity.ERROR if is_certain else Severity.WARNING,
        )
        fix = Fix(question=f"preStop of {container.name} is a script of yours: let it sleep {p_s} s in all.")
        if hook.seconds_path:
            value: object = p_s if hook.kind == "sleep" else str(p_s)
            fix = Fix(changes=(case.change(hook.seconds_path, value), *case.raised_grace(case.propagation.value)))
        yield with_fix(found, fix, S=waited, P=case.propagation.value)


def _origin(case: Case) -> str:
    if case.propagation.is_said:
        return "as said"
    return "a load balancer sends to pod addresses" if case.has_ip_targets else "assumed; segue can measure it"


def grace_too_short(case: Case) -> Iterator[Finding]:
    """ZD103 and ZD109."""
    if not case.is_served:
        return
    waited = max((case.waited_s(one.pre_stop) or 0.0 for one, _ in case.owners), default=0.0)
    after_s = case.grace_s - waited
    needed_s = case.needed_grace_s(max(waited, case.propagation.value))
    fix = Fix(changes=(case.change((*POD, "terminationGracePeriodSeconds"), needed_s),))
    path: Path = (*POD, "terminationGracePeriodSeconds")
    if case.grace_s < 5:
        what = "skips the preStop hook and kills at once" if case.grace_s == 0 else "kills before clients have heard"
        found = case.source.finding(
            ZD109,
            path,
            f"terminationGracePeriodSeconds {case.grace_s} {what}: every pod of {case.served_by} that is replaced, "
            f"scaled "
            "down or drained loses the requests it has under way",
            remedy=f"terminationGracePeriodSeconds: {needed_s}",
        )
        yield with_fix(found, fix, G=case.grace_s, P=case.propagation.value, Q=case.longest.value, M=case.margin_s)
        return
    if after_s >= case.longest.value + case.margin_s or after_s <= case.margin_s:
        return  # the second is ZD104's
    needed_s = case.needed_grace_s(waited)
    found = case.source.finding(
        ZD103,
        path,
        f"{case.grace_said} less {waited:g} s before the stop signal leaves {after_s:g} s, but a request takes up to "
        f"{case.longest.value:g} s ({'as said' if case.longest.is_said else 'assumed'}) and stopping "
        f"{case.margin_s:g} s: "
        "a request that began at the last moment is cut off by SIGKILL",
        remedy=f"terminationGracePeriodSeconds: {needed_s}, or say the longest request: "
        f"segue.dev/longest-request-seconds",
        severity=Severity.ERROR if case.longest.is_said else Severity.WARNING,
    )
    fix = Fix(changes=(case.change(path, needed_s),))
    yield with_fix(found, fix, G=case.grace_s, S=waited, Q=case.longest.value, M=case.margin_s)


def prestop_eats_grace(case: Case) -> Iterator[Finding]:
    """ZD104."""
    if case.grace_s < 5 and case.is_served:
        return  # ZD109
    for container in case.containers:
        slept_s = container.pre_stop.slept_s
        if not slept_s or slept_s < case.grace_s - case.margin_s or case.grace_s == 0:
            continue
        needed_s = case.needed_grace_s(slept_s)
        found = case.source.finding(
            ZD104,
            container.pre_stop.seconds_path or container.pre_stop.path,
            f"preStop of container {container.name} takes {slept_s:g} s of {case.grace_said}: the application has "
            f"{max(2, case.grace_s - slept_s):g} s from its stop signal to SIGKILL, and requests under way are cut off",
            remedy=f"terminationGracePeriodSeconds: {needed_s}",
        )
        fix = Fix(changes=(case.change((*POD, "terminationGracePeriodSeconds"), needed_s),))
        yield with_fix(found, fix, S=slept_s, G=case.grace_s, Q=case.longest.value, M=case.margin_s)


def _asks_another(case: Case, container: Container) -> bool:
    """Whether an HTTP hook asks another container of the pod, which may well wait until all is drained."""
    hook = container.pre_stop
    return hook.kind == "http" and len(case.containers) > 1 and not container.answers(hook.port)


def prestop_starts_shutdown(case: Case) -> Iterator[Finding]:
    """ZD105."""
    if not case.is_served:
        return
    for container in case.containers:
        hook = container.pre_stop
        if not hook.stop_said or hook.wait_before_stop_s >= case.propagation.value:
            continue
        if _asks_another(case, container):
            continue
        waits = f"after {hook.wait_before_stop_s:g} s" if hook.wait_before_stop_s else "at once"
        found = case.source.finding(
            ZD105,
            hook.path,
            f"preStop of container {container.name} stops the server {waits} ({hook.stop_said}), while new connections "
            f"still arrive for up to {case.propagation.value:g} s after the deletion: they are refused or reset",
            remedy=f"sleep {case.p_s} first: sleep {case.p_s} && {hook.stop_said}"
            if hook.kind == "exec"
            else f"lifecycle.preStop.sleep.seconds: {case.p_s} instead: the stop signal follows it anyway",
            severity=Severity.ERROR if not hook.wait_before_stop_s or case.propagation.is_said else Severity.WARNING,
        )
        fix = Fix(
            question=f"Does SIGTERM stop {container.name} the same way? Then a preStop sleep of {case.p_s} s is enough."
        )
        if (
            hook.kind == "exec"
            and not hook.wait_before_stop_s
            and len(hook.command) == 3
            and hook.script == hook.command[2]
        ):
            value = f"sleep {case.p_s} && {hook.script}"
            where = (*hook.path, "exec", "command", 2)
            fix = Fix(changes=(case.change(where, value), *case.raised_grace(case.p_s)))
        yield with_fix(found, fix, S=hook.wait_before_stop_s, P=case.propagation.value)


def prestop_needs_shell(case: Case) -> Iterator[Finding]:
    """ZD106."""
    for container in case.containers:
        hook = container.pre_stop
        if hook.kind != "exec" or not hook.command:
            continue
        has_none = any(word in container.image for word in _SHELLLESS)
        is_one_word = bool(hook.quoted) or (len(hook.command) == 1 and " " in hook.command[0].strip())
        if not is_one_word and not (has_none and hook.command[0].rpartition("/")[2] in {"sh", "bash", "sleep"}):
            continue
        script = hook.quoted or hook.script
        slept_s = slept(script) if hook.slept_s is None else hook.slept_s
        slept_s = case.p_s if slept_s is None else slept_s
        why = (
            f"{(hook.quoted or hook.command[0])!r} is one word, and no program has that name"
            if is_one_word
            else (f"the image {container.image} has no {hook.command[0]}")
        )
        only_sleeps = script.split() in (
            [f"sleep {slept_s:g}".split()[0], f"{slept_s:g}"],
            [f"/bin/sleep {slept_s:g}"],
        )
        found = case.source.finding(
            ZD106,
            hook.path,
            f"preStop of container {container.name} fails: {why}. The stop signal then comes at once, as without a "
            f"hook",
            remedy=f"lifecycle.preStop.sleep.seconds: {math.ceil(slept_s)}",
        )
        fix = Fix(question=f"Write what preStop of {container.name} shall do as words of a command the image has.")
        if only_sleeps and case.settings.minor >= SLEEP_MINOR:
            fix = Fix(changes=(case.change(hook.path, {"sleep": {"seconds": math.ceil(slept_s)}}),))
        yield with_fix(found, fix, S=slept_s)


def prestop_http(case: Case) -> Iterator[Finding]:
    """ZD107."""
    for container, _ in case.owners:
        hook = container.pre_stop
        if hook.kind == "http" and (not hook.stop_said or _asks_another(case, container)):
            yield case.source.finding(
                ZD107,
                hook.path,
                f"preStop of container {container.name} asks {hook.http_path or '/'}: whatever status comes back, even "
                "500, ends the hook, and the stop signal follows",
                remedy=f"let it answer only when the drain is over, or use lifecycle.preStop.sleep.seconds: {case.p_s}",
            )


def probe_grace(case: Case) -> Iterator[Finding]:
    """ZD110."""
    for container in case.containers:
        slept_s = container.pre_stop.slept_s
        for key in ("livenessProbe", "startupProbe"):
            probe = container.probe(key)
            grace_s = probe.raw.get("terminationGracePeriodSeconds") if probe else None
            if probe is None or not slept_s or not isinstance(grace_s, int) or grace_s >= slept_s + case.margin_s:
                continue
            needed_s = math.ceil(slept_s + case.margin_s)
            path = (*probe.path, "terminationGracePeriodSeconds")
            found = case.source.finding(
                ZD110,
                path,
                f"when {key} of container {container.name} fails, its terminationGracePeriodSeconds {grace_s} counts: "
                f"preStop takes {slept_s:g} s of it, and {counted(2, 's')} remain to shut down",
                remedy=f"{key}.terminationGracePeriodSeconds: {needed_s}",
            )
            yield with_fix(found, Fix(changes=(case.change(path, needed_s),)), S=slept_s, G=grace_s, M=case.margin_s)


def sidecar_grace(case: Case) -> Iterator[Finding]:
    """ZD112."""
    if not case.sidecars or not case.is_served or case.grace_s < 5:
        return
    waited = max((case.waited_s(one.pre_stop) or 0.0 for one, _ in case.owners), default=0.0)
    stop_s = case.margin_s * len(case.sidecars)
    needed_s = math.ceil(waited + case.longest.value + stop_s + case.margin_s)
    if case.grace_s >= needed_s or case.grace_s < waited + case.longest.value + case.margin_s:
        return  # the second is ZD103's
    path = (*POD, "terminationGracePeriodSeconds")
    found = case.source.finding(
        ZD112,
        path,
        f"{case.grace_said} covers the application ({waited:g} s preStop, {case.longest.value:g} s longest request) "
        f"but "
        f"not {counted(len(case.sidecars), 'native sidecar')} after it: they are stopped together, with 2 s",
        remedy=f"terminationGracePeriodSeconds: {needed_s}",
    )
    yield with_fix(found, Fix(changes=(case.change(path, needed_s),)), G=case.grace_s, S=waited, Q=case.longest.value)


def node_budget(case: Case) -> Iterator[Finding]:
    """ZD113."""
    selector = " ".join(f"{key}={value}" for key, value in _selector(case).items()).lower()
    budget_s = case.settings.number("nodeBudgetSeconds")
    if ("spot" in selector or "preemptible" in selector) and case.grace_s > budget_s:
        yield case.source.finding(
            ZD113,
            (*POD, "terminationGracePeriodSeconds"),
            f"{case.grace_said} on spot nodes, which go after about {budget_s:g} s: the rest is not granted",
            remedy=f"end within {budget_s:g} s, or keep requests that long off spot nodes",
        )


def _selector(case: Case) -> dict[str, object]:
    selector = case.pod.get("nodeSelector")
    return selector if isinstance(selector, dict) else {}


RULES = (
    ((ZD101,), no_drain_delay),
    ((ZD102,), drain_too_short),
    ((ZD103, ZD109), grace_too_short),
    ((ZD104,), prestop_eats_grace),
    ((ZD105,), prestop_starts_shutdown),
    ((ZD106,), prestop_needs_shell),
    ((ZD107,), prestop_http),
    ((ZD110,), probe_grace),
    ((ZD112,), sidecar_grace),
    ((ZD113,), node_budget),
)
