"""Where a release stops: its checks are run and its sources asked, by whatever body there is, with facts for both.

Rule: nothing is judged here. What came of it is noted where the next snapshot takes it from.
"""

from __future__ import annotations

from dataclasses import replace

from segue.analysis.values import Analysis, Hook
from segue.drive.flow import Check, Flow, Measure, Progress
from segue.drive.journal import ActionEntry
from segue.drive.observe import Observer
from segue.model.images import tag_of
from segue.model.workloads import ReplicaSet
from segue.release.snapshot import Measured, Snapshot


def run_check(observer: Observer, hook: Hook, because: str, snapshot: Snapshot) -> Flow[tuple[ActionEntry, ...]]:
    """Begin a check, or see how it has ended: then it is one entry of the journal."""
    answer = yield Check(hook=hook, facts=_facts(snapshot, snapshot.newest))
    if answer.checked is None:
        return ()
    stage = _stage(snapshot)
    before = observer.checked
    number = before.number + 1 if before is not None and before.stage == stage else 0
    observer.checked = replace(answer.checked, stage=stage, number=number)
    said = "passed" if answer.checked.passed else "failed"
    yield Progress(because=answer.checked.said, action=f"the check has {said}")
    entry = ActionEntry(
        at_s=snapshot.now_s,
        ended_s=answer.now_s,
        action=f"run the check: {hook.said}",
        because=because,
        barrier="",
        evidence=f"{said} ({answer.checked.said})",
    )
    return (entry,)


def measure(observer: Observer, analysis: Analysis | None, snapshot: Snapshot) -> Flow[None]:
    """Ask the sources for what they have; None lets them go, and what was measured stays as it is."""
    if analysis is None:
        yield Measure(analysis=None)
        return
    stage = _stage(snapshot)
    memory = snapshot.memory
    old = snapshot.set_named(memory.old_set) if memory is not None else None
    facts, old_facts = _facts(snapshot, snapshot.newest), _facts(snapshot, old)
    answer = yield Measure(analysis=analysis, stage=stage, facts=facts, old_facts=old_facts)
    before = observer.measured
    began_s = before.began_s if before is not None and before.stage == stage else answer.now_s
    observer.measured = Measured(stage=stage, began_s=began_s, samples=answer.samples)


def _stage(snapshot: Snapshot) -> int:
    return snapshot.memory.passed if snapshot.memory is not None else 0


def _facts(snapshot: Snapshot, version: ReplicaSet | None) -> dict[str, str]:
    """What a check or a source may want to know of one version, as its environment."""
    memory = snapshot.memory
    pods = snapshot.ready_of(version.pod_hash) if version is not None else ()
    containers = version.template["spec"]["containers"] if version is not None else []
    return {
        "SEGUE_NAMESPACE": snapshot.deployment.namespace,
        "SEGUE_DEPLOYMENT": snapshot.deployment.name,
        "SEGUE_VERSION": version.pod_hash if version is not None else "",
        "SEGUE_TAG": tag_of(str(containers[0]["image"])) if containers else "",
        "SEGUE_PREVIEW": memory.preview if memory is not None else "",
        "SEGUE_PODS": " ".join(pod.name for pod in pods),
        "SEGUE_PODS_PATTERN": "|".join(pod.name for pod in pods),
        "SEGUE_POD_IPS": " ".join(pod.ip for pod in pods),
    }
