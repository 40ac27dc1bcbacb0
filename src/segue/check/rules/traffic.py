"""ZD5nn: how requests come to pods, and how long they go on coming. Judged per Service, route or workload."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from segue.check.case import Case, Known, with_fix
from segue.check.findings import Change, Finding, Fix, Path, Rule, Severity, Source
from segue.check.joined import Joined, carries_requests, is_headless, selector_of, template_labels
from segue.check.pods import Container
from segue.check.reading import labels, part, rows, seconds, text, whole
from segue.check.settings import Settings

ZD501 = Rule(
    id="ZD501",
    name="local-policy-drain",
    severity=Severity.ERROR,
    facts=("K3", "K4", "K10", "K11"),
    is_safe=True,
    unshown=(
        "What is lost here is lost by a load balancer that looks too seldom, and none stands before the clusters of "
        "the tests. What the rules of a node do under policy Local is confirmed by itself (K3, K4)."
    ),
    says="traffic policy Local, and the pod is gone before the load balancer notices",
    why=(
        "With externalTrafficPolicy Local the load balancer finds out by its own health checks that a node has no pod "
        "left. Until then it goes on sending; when the last pod there has ended, the node drops what arrives, and "
        "clients hang until they give up."
    ),
    instead=(
        "A preStop delay of at least the load balancer's interval x unhealthy threshold, and readiness that stays true "
        "meanwhile; or externalTrafficPolicy: Cluster."
    ),
)
ZD502 = Rule(
    id="ZD502",
    name="publish-not-ready",
    severity=Severity.ERROR,
    facts=("E1",),
    is_safe=True,
    says="the Service sends to pods that are not ready",
    why=(
        "publishNotReadyAddresses makes every endpoint ready, even one that starts, fails its probe or is being ended. "
        "Each rollout sends requests to pods that do not listen yet and to pods that no longer do."
    ),
    instead="Keep it for headless Services by which peers find each other, and use another Service for clients.",
)
ZD503 = Rule(
    id="ZD503",
    name="lb-without-readiness-gate",
    severity=Severity.WARNING,
    facts=("G2", "X8"),
    says="a load balancer sends to pod addresses, and no readiness gate waits for it",
    why=(
        "New pods count as available before the load balancer has registered and checked them. In a quick rollout all "
        "its known targets are gone before it knows the new ones."
    ),
    instead="Label the namespace elbv2.k8s.aws/pod-readiness-gate-inject: enabled.",
)
ZD504 = Rule(
    id="ZD504",
    name="deregistration-vs-grace",
    severity=Severity.WARNING,
    facts=("X2",),
    says="the load balancer drains longer than the pod lives",
    why=(
        "The load balancer lets requests under way go on for its deregistration delay. The pod ends by its own clock; "
        "what the load balancer still waits for is then cut off."
    ),
    instead="terminationGracePeriodSeconds of at least preStop + deregistration delay, or a shorter delay.",
)
ZD505 = Rule(
    id="ZD505",
    name="keepalive-below-lb-idle",
    severity=Severity.WARNING,
    facts=("N5", "N11"),
    says="the application closes idle connections before the load balancer does",
    why=(
        "The load balancer reuses a connection in the very moment in which the application closes it for idleness: the "
        "request is reset, at any time, not only at releases."
    ),
    instead="A keep-alive time in the application above the load balancer's idle timeout.",
)
ZD506 = Rule(
    id="ZD506",
    name="service-selects-two-apps",
    severity=Severity.WARNING,
    facts=("E5", "G5"),
    says="one Service sends to the pods of several workloads",
    why=(
        "A selector that is too wide gives each workload a share of the requests. If they are not versions of one "
        "application, that share is answered by the wrong one."
    ),
    instead="A label in the selector that only the meant workload has; a version label for blue/green.",
)
ZD509 = Rule(
    id="ZD509",
    name="headless-client-cache",
    severity=Severity.INFO,
    facts=("E7",),
    says="clients of a headless Service keep addresses longer than pods live",
    why=(
        "A headless Service gives out pod addresses by DNS, 5 s old at least, and clients keep them as long as they "
        "like. Nothing in the cluster can turn such a client away from a pod that ends."
    ),
    instead="A preStop delay of DNS TTL + client cache, or a Service with a cluster IP for clients.",
)
ZD510 = Rule(
    id="ZD510",
    name="pinned-address",
    severity=Severity.WARNING,
    facts=("E5", "N10"),
    says="an address is written down where a name belongs",
    why=(
        "An address of a Service or pod is valid until that object is made anew. What is written into hostAliases or "
        "the environment goes on sending to where nobody is."
    ),
    instead="The Service's name.",
)
ZD508 = Rule(
    id="ZD508",
    name="route-weights",
    severity=Severity.WARNING,
    facts=("G4",),
    says="a route sends a share of requests to nobody",
    why=(
        "A backend's share is its weight by the sum of all. Requests for a backend that has no pods are answered with "
        "500 or 503, and with a sum of 0 all of them are."
    ),
    instead="Weight 0 for what has no pods; scale first, then shift.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceCase:
    """A Service with the workloads behind it."""

    source: Source
    joined: Joined = field(repr=False)
    settings: Settings = field(repr=False)


def local_policy(case: Case) -> Iterator[Finding]:
    """ZD501."""
    for service in case.services:
        spec = part(service.obj, "spec")
        if text(spec, "type") != "LoadBalancer" or text(spec, "externalTrafficPolicy") != "Local":
            continue
        needed = _noticed_s(service, case.settings)
        for container, _ in case.owners:
            waited = case.waited_s(container.pre_stop)
            if waited is None or waited >= needed.value:
                continue
            is_certain = needed.is_said or waited < 5
            wait_s = int(needed.value)
            found = case.source.finding(
                ZD501,
                container.pre_stop.seconds_path or container.path,
                f"Service {service.name} has externalTrafficPolicy Local: its load balancer needs {needed.value:g} "
                f"s to "
                f"notice that a node has no pod left ({'as said' if needed.is_said else 'assumed: 10 s x 3'}), but "
                f"container {container.name} serves for {waited:g} s only. Then what arrives is dropped, and "
                f"clients hang",
                remedy=f"preStop of {wait_s} s, or externalTrafficPolicy: Cluster",
                severity=Severity.ERROR if is_certain else Severity.WARNING,
            )
            yield with_fix(found, _longer(case, container, wait_s), S=waited, needed_s=needed.value)


def _longer(case: Case, container: Container, wait_s: int) -> Fix:
    hook = container.pre_stop
    if hook.kind == "sleep" or not hook.kind:
        path = hook.seconds_path or (*container.path, "lifecycle", "preStop")
        value = wait_s if hook.seconds_path else {"sleep": {"seconds": wait_s}}
        return Fix(changes=(case.change(path, value), *case.raised_grace(wait_s)))
    return Fix(question=f"preStop of {container.name} is a command of yours: let it take {wait_s} s in all.")


def _noticed_s(service: Source, settings: Settings) -> Known:
    prefix = "service.beta.kubernetes.io/aws-load-balancer-healthcheck-"
    interval = seconds(service.annotation(f"{prefix}interval"))
    times = seconds(service.annotation(f"{prefix}unhealthy-threshold"))
    keys = ("healthCheckIntervalSeconds", "healthCheckUnhealthyThreshold")
    is_said = interval is not None or times is not None or any(key in settings.known for key in keys)
    value = (interval or settings.number(keys[0])) * (times or settings.number(keys[1]))
    return Known(value=value, is_said=is_said)


def publish_not_ready(case: ServiceCase) -> Iterator[Finding]:
    """ZD502."""
    spec = part(case.source.obj, "spec")
    if spec.get("publishNotReadyAddresses") is not True or is_headless(case.source) or not selector_of(case.source):
        return
    path: Path = ("spec", "publishNotReadyAddresses")
    yield with_fix(
        case.source.finding(
            ZD502,
            path,
            f"Service {case.source.name} sends to every pod that has an address: to one that starts, fails its "
            f"probe or is "
            "being ended, too, and so loses requests at every rollout",
            remedy="publishNotReadyAddresses: false",
        ),
        Fix(changes=(Change(source=case.source, path=path, value=False),)),
    )


def readiness_gate(case: Case) -> Iterator[Finding]:
    """ZD503."""
    if not case.has_ip_targets or rows(case.pod, "readinessGates") or not case.source.namespace:
        return
    on_aws = [
        one
        for one in [*case.all_services, *case.fronts]
        if "aws" in str(one.obj.get("metadata")) or "alb." in str(one.obj.get("metadata"))
    ]
    space = case.joined.named("Namespace", case.source.namespace, "")
    if not on_aws or space is None:
        return
    label = "elbv2.k8s.aws/pod-readiness-gate-inject"
    if labels(space.obj, "metadata", "labels").get(label) == "enabled":
        return
    yield with_fix(
        Finding(
            rule=ZD503,
            severity=ZD503.severity,
            source=space,
            path=("metadata", "labels"),
            message=f"{on_aws[0].title} sends to the addresses of {case.source.title}, and namespace {space.name} "
            f"lacks the "
            "label that makes new pods wait until the load balancer knows them",
            remedy=f"label {label}: enabled",
        ),
        Fix(
            question=f"Does the AWS load balancer controller run in this cluster? Then label the namespace "
            f"{label}=enabled."
        ),
    )


_DEREGISTRATION = re.compile(r"deregistration_delay\.timeout_seconds=(\d+)")


def deregistration(case: Case) -> Iterator[Finding]:
    """ZD504."""
    for one in [*case.all_services, *case.fronts]:
        said = " ".join(labels(one.obj, "metadata", "annotations").values())
        found = _DEREGISTRATION.search(said)
        drain_s = int(found[1]) if found else 0
        waited = max((case.waited_s(owner.pre_stop) or 0.0 for owner, _ in case.owners), default=0.0)
        if found and drain_s > case.grace_s - waited:
            needed_s = int(waited + drain_s)
            yield with_fix(
                case.source.finding(
                    ZD504,
                    ("spec", "template", "spec", "terminationGracePeriodSeconds"),
                    f"{one.title} lets requests under way go on for {drain_s} s, but {case.grace_said} less "
                    f"{waited:g} s "
                    f"preStop leaves {case.grace_s - waited:g} s",
                    remedy=f"terminationGracePeriodSeconds: {needed_s}, or a deregistration delay of "
                    f"{max(0, int(case.grace_s - waited))} s",
                ),
                Fix(
                    question=f"Do requests of {case.source.name} take {drain_s} s? Else shorten the deregistration "
                    f"delay."
                ),
                S=waited,
                G=case.grace_s,
            )


_KEEP_ALIVE = re.compile(
    r"(?:--timeout-keep-alive|--keep-alive(?:-timeout)?|KEEP_?ALIVE(?:_TIMEOUT)?(?:_SECONDS|_S)?|keepAliveTimeout)[=\s]+(\d+)(ms)?\b",
    re.IGNORECASE,
)


def keep_alive(case: Case) -> Iterator[Finding]:
    """ZD505."""
    if not case.fronts and not any(text(part(one.obj, "spec"), "type") == "LoadBalancer" for one in case.services):
        return
    idle_s = case.settings.number("loadBalancerIdleSeconds")
    for container, _ in case.owners:
        env = [f"{text(row, 'name')}={text(row, 'value')}" for row in rows(container.raw, "env")]
        for words in (" ".join(container.words), *env):
            found = _KEEP_ALIVE.search(words)
            said_s = 0.0 if found is None else float(found[1]) / (1000 if found[2] or float(found[1]) >= 1000 else 1)
            if found is not None and 0 < said_s < idle_s:
                yield with_fix(
                    case.source.finding(
                        ZD505,
                        container.path,
                        f"container {container.name} closes idle connections after {said_s:g} s "
                        f"({found[0].strip()}), what "
                        f"stands in front keeps them for {idle_s:g} s: it reuses some in the moment they are closed",
                        remedy=f"a keep-alive time above {idle_s:g} s, for example {idle_s + 5:g}",
                    ),
                    Fix(question=f"What is the idle timeout in front of {container.name}? Its own must be longer."),
                )
                break


_RELEASE_WORDS = re.compile(r"canary|blue|green|stable|primary|preview|baseline|experiment|-v\d+$|-(?:next|new|old)$")


def two_apps(case: ServiceCase) -> Iterator[Finding]:
    """ZD506."""
    if not carries_requests(case.source):
        return
    behind = [one for one in case.joined.workloads_of(case.source) if one.kind in {"Deployment", "DeploymentConfig"}]
    if len(behind) < 2 or any(_RELEASE_WORDS.search(one.name) for one in behind):
        return
    if any({"version", "track", "color", "colour", "release-track"} & set(template_labels(one)) for one in behind):
        return
    names = " and ".join(one.name for one in behind[:3]) + (f" and {len(behind) - 3} more" if len(behind) > 3 else "")
    yield with_fix(
        case.source.finding(
            ZD506,
            ("spec", "selector"),
            f"Service {case.source.name} selects the pods of {len(behind)} Deployments ({names}): each answers a "
            f"share of "
            "the requests",
            remedy="a label in the selector that only one of them has; a version label if they are versions of one",
        ),
        Fix(question=f"Which of {names} is Service {case.source.name} meant for?"),
    )


def headless(case: Case) -> Iterator[Finding]:
    """ZD509."""
    if case.source.kind != "Deployment":
        return
    for service in case.all_services:
        if not is_headless(service) or not carries_requests(service) or case.services:
            continue
        needed_s = 5 + case.settings.number("dnsCacheSeconds")
        waited = max((one.pre_stop.slept_s or 0.0 for one in case.containers), default=0.0)
        if waited < needed_s:
            yield case.source.finding(
                ZD509,
                ("metadata", "name"),
                f"clients of headless Service {service.name} may keep a pod's address for {needed_s:g} s (DNS TTL 5 "
                f"s and "
                f"their own cache), the pods of {case.source.title} serve for {waited:g} s after their deletion",
                remedy=f"preStop of {needed_s:g} s, or a Service with a cluster IP",
            )


_ADDRESS = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}")


def pinned_address(case: Case) -> Iterator[Finding]:
    """ZD510."""
    known = case.joined.addresses()
    for container in case.containers if known else ():
        for at, row in enumerate(rows(container.raw, "env")):
            for address in _ADDRESS.findall(text(row, "value")):
                if address in known:
                    yield case.source.finding(
                        ZD510,
                        (*container.path, "env", at, "value"),
                        f"{text(row, 'name')} of container {container.name} has the address {address} of Service "
                        f"{known[address]}: it is another one when that Service is made anew",
                        remedy=f"the name {known[address]}",
                    )
    for at, row in enumerate(rows(case.pod, "hostAliases")):
        if text(row, "ip") in known:
            yield case.source.finding(
                ZD510,
                ("spec", "template", "spec", "hostAliases", at),
                f"hostAliases of {case.source.title} pins the address of Service {known[text(row, 'ip')]}",
                remedy=f"the name {known[text(row, 'ip')]}",
            )


def route_weights(case: ServiceCase) -> Iterator[Finding]:
    """ZD508: judged per route, given as a case of its own."""
    for at, rule in enumerate(rows(case.source.obj, "spec", "rules")):
        backends = rows(rule, "backendRefs")
        weights = [whole(one, "weight", 1) for one in backends]
        path: Path = ("spec", "rules", at, "backendRefs")
        if backends and sum(weights) == 0:
            yield with_fix(
                case.source.finding(
                    ZD508,
                    path,
                    f"all {len(backends)} weights of this rule are 0: every request is answered with 500",
                    remedy="a weight above 0 for the backend that serves",
                ),
                Fix(question=f"Which backend of {case.source.title} shall serve?"),
            )
            continue
        for index, (one, weight) in enumerate(zip(backends, weights, strict=True)):
            if weight > 0 and (lacks := _lacks_pods(case, one)):
                yield with_fix(
                    case.source.finding(
                        ZD508,
                        (*path, index),
                        f"{weight} of {sum(weights)} requests go to Service {text(one, 'name')}, {lacks}: they are "
                        f"answered "
                        "with 503",
                        remedy="weight: 0 until it has pods",
                    ),
                    Fix(question=f"Shall {text(one, 'name')} get requests? Then scale it up first."),
                )


def _lacks_pods(case: ServiceCase, backend: object) -> str:
    space = text(backend, "namespace") or case.source.namespace
    service = case.joined.named("Service", text(backend, "name"), space)
    if service is None or not selector_of(service):
        return ""
    behind = case.joined.workloads_of(service)
    sizes = [whole(part(one.obj, "spec"), "replicas", 1) for one in behind if one.kind != "DaemonSet"]
    if behind and sizes and len(sizes) == len(behind) and not any(sizes):
        return f"whose {behind[0].title} has replicas 0"
    return ""


RULES = (
    ((ZD501,), local_policy),
    ((ZD503,), readiness_gate),
    ((ZD504,), deregistration),
    ((ZD505,), keep_alive),
    ((ZD509,), headless),
    ((ZD510,), pinned_address),
)
SERVICE_RULES = (((ZD502,), publish_not_ready), ((ZD506,), two_apps))
ROUTE_RULES = (((ZD508,), route_weights),)
