"""The named experiments: what each does and what it must show. Values only; nothing is performed here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from segue.drill.oracle import ExpectsCause, ExpectsErrors, ExpectsNone, Oracle
from segue.drill.steps import (
    Apply,
    DeletePod,
    PatchDeployment,
    Segue,
    StartLoad,
    Step,
    StopLoad,
    Until,
    WaitReady,
    WaitRollout,
    with_environment,
)
from segue.load.plan import Mode
from segue.model.errors import UsageError
from segue.model.objects import Obj, copy_of, name_of
from segue.proof.causes import CauseKind

WARM_S = 2.0  # load before the first act, so that the picture shows what is normal
COOL_S = 3.0  # and after the last one
ROLLOUT_S = 11.0  # a pod waits for its next probe, every 10 s by default (P1); an upper limit, loads end with the act
RELEASE_S = 45.0
RESTARTED_AT = "kubectl.kubernetes.io/restartedAt"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What a person asked for. `objects` is the manifest, `next_objects` its next version (may be empty)."""

    objects: tuple[Obj, ...]
    next_objects: tuple[Obj, ...] = ()
    rate: float = 1000.0
    for_s: float = 20.0
    deletes: int = 5
    mode: Mode = Mode.NEW
    connections: int = 16
    path: str = "/fast"
    slow: int = 0
    segue: bool = False  # let segue do it instead of Kubernetes' own controllers

    def deployment(self) -> Obj:
        """The one Deployment of the manifest."""
        found = [obj for obj in self.objects if obj.get("kind") == "Deployment"]
        if len(found) != 1:
            raise UsageError(f"a drill needs a manifest with one Deployment, this one has {len(found)}")
        return found[0]

    def next_deployment(self) -> Obj:
        """The Deployment of the next version."""
        found = [obj for obj in self.next_objects if obj.get("kind") == "Deployment"]
        if len(found) != 1:
            raise UsageError("this drill needs the next version's manifest", remedy="name it with --to FILE")
        return found[0]

    @property
    def replicas(self) -> int:
        """How many pods it asks for."""
        return int(self.deployment()["spec"].get("replicas", 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """A drill ready to be performed. `story` says in one sentence what it is meant to show."""

    name: str
    title: str
    story: str
    steps: tuple[Step, ...]
    oracle: Oracle


def _opening(ask: Ask, duration_s: float, *, slow: int | None = None, objects: tuple[Obj, ...] = ()) -> list[Step]:
    return [
        Apply(objects=objects or ask.objects),
        WaitReady(replicas=ask.replicas),
        StartLoad(
            rate=ask.rate,
            duration_s=duration_s,
            mode=ask.mode,
            connections=ask.connections,
            paths=(ask.path,),
            slow=ask.slow if slow is None else slow,
        ),
        Until(load_s=WARM_S),
    ]


def _baseline(ask: Ask) -> Experiment:
    return Experiment(
        name="baseline",
        title="Nothing happens",
        story="The same load without any deletion: whatever is lost here would be lost for another reason.",
        steps=(*_opening(ask, ask.for_s), StopLoad()),
        oracle=ExpectsNone(),
    )


def _deletions(ask: Ask, grace_s: int | None = None, slow: int | None = None) -> tuple[Step, ...]:
    steps = _opening(ask, ask.for_s, slow=slow)
    room_s = max(0.0, ask.for_s - WARM_S - COOL_S)
    for number in range(ask.deletes):
        steps += [Until(load_s=WARM_S + number * room_s / max(1, ask.deletes)), DeletePod(grace_s=grace_s)]
    return (*steps, StopLoad())


def _delete(ask: Ask) -> Experiment:
    return Experiment(
        name="delete",
        title="Delete a pod under load" if ask.deletes == 1 else f"Delete {ask.deletes} pods, one by one, under load",
        story="The seed's second option: single pods are deleted while new connections keep coming.",
        steps=_deletions(ask),
        # A kept connection is served to its end by a graceful server; only the race for an idle one can lose.
        oracle=ExpectsErrors(at_least=1 if ask.mode is Mode.NEW else 0),
    )


def _slow(ask: Ask) -> Experiment:
    load = StartLoad(rate=float(max(5, ask.replicas)), duration_s=1.0, paths=("/slow",))
    return Experiment(
        name="slow",
        title="Slow requests survive the deletion of their pod",
        story="The seed's first option: requests to /slow are under way while their pod is deleted.",
        steps=(
            Apply(objects=ask.objects),
            WaitReady(replicas=ask.replicas),
            load,
            Until(load_s=1.5),
            DeletePod(),
            StopLoad(),
        ),
        oracle=ExpectsNone(),
    )


def _grace_1(ask: Ask) -> Experiment:
    return Experiment(
        name="grace-1",
        title="Delete pods with --grace-period=1",
        story="The seed's remark: with one second of grace, slow requests end as curl's error 52.",
        steps=_deletions(ask, grace_s=1, slow=max(ask.slow, int(ask.for_s * 10))),
        oracle=ExpectsCause(cause=CauseKind.KILLED),
    )


def _sigkill(ask: Ask) -> Experiment:
    deaf = copy_of(ask.deployment())
    pod = deaf["spec"]["template"]["spec"]
    pod["terminationGracePeriodSeconds"] = 3
    pod["containers"][0].setdefault("env", []).append({"name": "IGNORE_TERM", "value": "1"})
    others = tuple(obj for obj in ask.objects if obj.get("kind") != "Deployment")
    steps = _deletions(replace(ask, objects=(deaf, *others)), slow=max(ask.slow, int(ask.for_s * 10)))
    return Experiment(
        name="sigkill",
        title="An application that ignores SIGTERM",
        story="Where SIGTERM reaches nobody (a shell as PID 1), SIGKILL ends the pod with requests under way.",
        steps=steps,
        oracle=ExpectsCause(cause=CauseKind.KILLED),
    )


def _readiness_lies(ask: Ask) -> Experiment:
    patch = with_environment(ask.deployment(), {"START_DELAY_S": "2"})
    # null removes a field in a strategic merge patch: without a probe a started container counts as ready (P3).
    patch["spec"]["template"]["spec"]["containers"][0].update({"readinessProbe": None, "livenessProbe": None})
    return Experiment(
        name="readiness-lies",
        title="Ready before it listens",
        story="No readiness probe, and an application that takes 2 s to start: new pods get traffic they refuse.",
        steps=(
            *_opening(ask, ask.for_s + ask.replicas * ROLLOUT_S),
            PatchDeployment(patch=patch, why="release a version without readiness probe that starts slowly"),
            WaitRollout(),
            StopLoad(early=True, cool_s=COOL_S),
        ),
        oracle=ExpectsCause(cause=CauseKind.READY_TOO_EARLY),
    )


def _restart(ask: Ask) -> Experiment:
    stamp: Obj = {"spec": {"template": {"metadata": {"annotations": {RESTARTED_AT: "drill"}}}}}
    return _rolled(ask, "restart", "Rollout restart under load", PatchDeployment(patch=stamp, why="rollout restart"))


def _undo(ask: Ask) -> Experiment:
    back = {"spec": {"template": ask.deployment()["spec"]["template"]}}
    if ask.segue:
        act: Step = Segue(argv=("undo", name_of(ask.deployment())))
    else:
        act = PatchDeployment(patch=back, why="rollout undo: back to the template before")
    # The version to go back to needs to be in the history, not to have served: no pod of it is started.
    empty = {**ask.deployment(), "spec": {**ask.deployment()["spec"], "replicas": 0}}
    others = tuple(obj for obj in ask.objects if obj.get("kind") != "Deployment")
    before: list[Step] = [Apply(objects=(empty, *others)), WaitReady(replicas=0)]
    found = _rolled(ask, "undo", "Undo a rollout under load", act, objects=ask.next_objects or (ask.next_deployment(),))
    return Experiment(
        name=found.name, title=found.title, story=found.story, steps=(*before, *found.steps), oracle=found.oracle
    )


def _scale(ask: Ask) -> Experiment:
    fewer = max(1, ask.replicas // 2)
    title = f"Scale down from {ask.replicas} to {fewer} under load"
    if ask.segue:
        return _rolled(ask, "scale", title, Segue(argv=("scale", name_of(ask.deployment()), str(fewer))))
    between = max(fewer, ask.replicas - 2)
    # A data plane that has been idle rewrites its rules at once; a change right after another one waits (K5).
    first: list[Step] = [
        PatchDeployment(patch={"spec": {"replicas": between}}, why=f"scale from {ask.replicas} to {between}"),
        Until(load_s=WARM_S + 0.3),
    ]
    act = PatchDeployment(patch={"spec": {"replicas": fewer}}, why=f"scale from {between} to {fewer}")
    return _rolled(ask, "scale", title, act, first=first)


def _release(ask: Ask) -> Experiment:
    manifest = ask.next_objects or (ask.next_deployment(),)
    return _rolled(
        ask, "release", "segue release under load", Segue(argv=("release", "-f", "{MANIFEST}"), manifest=manifest)
    )


def _rolled(  # noqa: PLR0913 - the few things in which acts differ
    ask: Ask, name: str, title: str, act: Step, *, objects: tuple[Obj, ...] = (), first: Sequence[Step] = ()
) -> Experiment:
    """A load with one act in it that replaces or removes pods, for as long as that takes."""
    by_segue = isinstance(act, Segue)
    duration_s = WARM_S + COOL_S + max(ask.for_s, RELEASE_S, ask.replicas * ROLLOUT_S)
    return Experiment(
        name=name,
        title=title + (" (by segue)" if by_segue and name != "release" else ""),
        story=(
            "segue changes what runs while new connections keep coming, and ends a pod only when nobody sends to it."
            if by_segue
            else "Kubernetes' own controllers replace or remove pods while new connections keep coming."
        ),
        steps=(
            *_opening(ask, duration_s, objects=objects),
            *first,
            act,
            *([] if by_segue else [WaitRollout()]),
            StopLoad(early=True, cool_s=COOL_S),
        ),
        oracle=ExpectsNone() if by_segue else ExpectsErrors(),
    )


def _cure(ask: Ask) -> Experiment:
    deployment = name_of(ask.deployment())
    manifest = ask.next_objects or (ask.next_deployment(),)
    fewer = max(1, ask.replicas // 2)
    return Experiment(
        name="cure",
        title="segue release, undo and scale under one load",
        story="The same load while segue does all three things that lost requests before.",
        steps=(
            *_opening(ask, WARM_S + COOL_S + 2 * RELEASE_S),
            Segue(argv=("release", "-f", "{MANIFEST}"), manifest=manifest),
            Segue(argv=("undo", deployment)),
            Segue(argv=("scale", deployment, str(fewer))),
            StopLoad(early=True, cool_s=COOL_S),
        ),
        oracle=ExpectsNone(),
    )


EXPERIMENTS: dict[str, Callable[[Ask], Experiment]] = {
    "baseline": _baseline,
    "delete": _delete,
    "restart": _restart,
    "scale": _scale,
    "undo": _undo,
    "release": _release,
    "cure": _cure,
    "slow": _slow,
    "grace-1": _grace_1,
    "sigkill": _sigkill,
    "readiness-lies": _readiness_lies,
}


def experiment(name: str, ask: Ask) -> Experiment:
    """The named experiment for this manifest; UsageError with the list of names where there is none such."""
    if name not in EXPERIMENTS:
        raise UsageError(f"there is no drill named {name}", remedy="the drills: " + ", ".join(EXPERIMENTS))
    return EXPERIMENTS[name](ask)
