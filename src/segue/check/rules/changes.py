"""ZD307 and ZD507: what is wrong only because of what runs already. Judged where a state before is given."""

from __future__ import annotations

from collections.abc import Iterator

from segue.check.case import with_fix
from segue.check.findings import Finding, Fix, Path, Rule, Severity, Source
from segue.check.joined import Joined, selector_of, template_labels
from segue.check.reading import part, rows, text
from segue.model.objects import selects

ZD307 = Rule(
    id="ZD307",
    name="selector-changed",
    severity=Severity.ERROR,
    facts=("D16",),
    says="the selector or name of what runs has changed",
    why=(
        "spec.selector cannot be changed. Deleting and making the workload anew, as kubectl replace --force does and "
        "Helm 2's --force did, ends all its pods before the first new one starts; Helm 3 and 4 are refused. Under "
        "another name the old one stays, or goes with all its pods when the tool prunes."
    ),
    instead=(
        "A new workload beside the old one, and a Service that moves over when the new pods are proved: "
        "segue release --side-by-side does that."
    ),
)
ZD507 = Rule(
    id="ZD507",
    name="port-rename",
    severity=Severity.ERROR,
    facts=("E5",),
    says="the Service's port name moves while old pods still run",
    why=(
        "A targetPort that is a name is looked up in each pod. Pods of one version lack the new name, those of the "
        "other the old one, or mean another number: as long as both run, the Service has no port for one of them."
    ),
    instead=(
        "Send to the number (targetPort: 8080) until the old pods are gone, or leave the name. Two names for one "
        "number are no way out: kubectl apply merges ports by their number and drops one."
    ),
)
_KINDS = ("Deployment", "StatefulSet", "DaemonSet")


def changed(now: Joined, before: Joined) -> Iterator[Finding]:
    """Everything that only the difference shows."""
    for kind in _KINDS:
        for old in before.by_kind.get(kind, ()):
            new = now.named(kind, old.name, old.namespace)
            if new is None:
                yield from _renamed(old, now, before)
                continue
            yield from _selector(old, new)
            yield from _ports(old, new, now, before)


def _selector(old: Source, new: Source) -> Iterator[Finding]:
    said, runs = part(new.obj, "spec", "selector"), part(old.obj, "spec", "selector")
    if not said or not runs or said == runs:
        return
    path: Path = ("spec", "selector")
    yield with_fix(
        Finding(
            rule=ZD307,
            severity=ZD307.severity,
            source=new,
            path=path,
            message=f"the selector of {new.title} was {_shown(runs)} and is {_shown(said)} now: the API refuses "
            f"that, and to "
            "delete and make it anew ends all its pods first",
            remedy="another name for the new one, and the Service moves over: segue release --side-by-side",
        ),
        Fix(question=f"Is the new selector of {new.title} needed? Else put the old one back."),
    )


def _renamed(old: Source, now: Joined, before: Joined) -> Iterator[Finding]:
    """A workload that is gone from the set, while a Service of it and another workload for it are still there."""
    for service in before.services_of(old):
        kept = now.named("Service", service.name, service.namespace)
        behind = now.workloads_of(kept) if kept is not None else []
        taken = next((one for one in behind if before.named(one.kind, one.name, one.namespace) is None), None)
        if taken is None:
            continue
        yield with_fix(
            Finding(
                rule=ZD307,
                severity=ZD307.severity,
                source=taken,
                path=("metadata", "name"),
                message=f"{taken.title} takes the place of {old.title} behind Service {service.name}: a tool that "
                f"prunes ends "
                "all old pods at once, however far the new ones are; one that does not leaves both serving",
                remedy="segue release --side-by-side moves the Service when the new pods are proved",
            ),
            Fix(question=f"Shall {taken.title} replace {old.title}? Then release it beside the old one."),
        )
        return


def _ports(old: Source, new: Source, now: Joined, before: Joined) -> Iterator[Finding]:
    had, has = _named_ports(old), _named_ports(new)
    for service in before.services_of(old):
        kept = now.named("Service", service.name, service.namespace) or service
        if not selects(selector_of(kept), template_labels(new)):
            continue
        for at, row in enumerate(rows(kept.obj, "spec", "ports")):
            name = row.get("targetPort")
            if not isinstance(name, str) or (name in had and had.get(name) == has.get(name)):
                continue
            if name not in has and name not in had:
                continue
            lacking = "the new pods" if name not in has else "the pods that run"
            why = (
                f"{lacking} have no port {name!r}"
                if name not in has or name not in had
                else (f"port {name!r} was {had[name]} and is {has[name]} now")
            )
            place: Source = kept if now.named("Service", service.name, service.namespace) else new
            path: Path = ("spec", "ports", at, "targetPort") if place is kept else ("spec", "template", "spec")
            moved_only = name in has and name in had
            yield with_fix(
                Finding(
                    rule=ZD507,
                    severity=Severity.INFO if moved_only else ZD507.severity,
                    source=place,
                    path=path,
                    message=f"Service {kept.name} sends to port {name!r} of {new.title}, and {why}: while both "
                    f"versions run, "
                    + (
                        "the Service keeps one set of endpoints per number"
                        if moved_only
                        else "it reaches only one of them"
                    ),
                    remedy="targetPort: the number, until the pods of the old version are gone",
                ),
                Fix(question=f"Which number shall Service {kept.name} send to until the old pods are gone?"),
            )


def _named_ports(source: Source) -> dict[str, object]:
    containers = rows(source.obj, "spec", "template", "spec", "containers")
    return {
        text(row, "name"): row.get("containerPort")
        for one in containers
        for row in rows(one, "ports")
        if text(row, "name")
    }


def _shown(selector: object) -> str:
    said = part(selector, "matchLabels")
    return ",".join(f"{key}={value}" for key, value in said.items()) or str(selector)


RULES = (ZD307, ZD507)
