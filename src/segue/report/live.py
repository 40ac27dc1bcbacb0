"""What the live page shows, made of what was seen: one JSON document, of plain words and numbers.

Rule 1: every string of a cluster stays a string. The page puts it into the document as text, never as markup.
Rule 2: what nobody can see is null, never 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from segue.drain.sights import Sight
from segue.drive.looking_on import Onlooker, Step
from segue.drive.standing import Standing
from segue.model.objects import Obj, rfc3339
from segue.model.workloads import Pod
from segue.release.memory import Memory
from segue.release.native_snapshot import NativeSnapshot
from segue.release.snapshot import Snapshot

WORDS = ("pause", "resume", "promote", "abort", "undo")
PHASES = ("serving", "ready", "starting", "draining", "ending", "ended")


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """All that the page is made of."""

    standing: Standing
    snapshot: Snapshot | NativeSnapshot
    sights: Mapping[str, Sight] = field(default_factory=dict)  # by pod
    onlooker: Onlooker = field(default_factory=Onlooker)
    namespace: str = ""


def live_page(seen: Seen) -> Obj:
    """The document."""
    standing, memory = seen.standing, seen.snapshot.memory
    return {
        "kind": standing.kind,
        "name": standing.name,
        "namespace": seen.namespace,
        "replicas": standing.replicas,
        "ready": standing.ready,
        "version": standing.version,
        "release": _release(seen, memory) if memory is not None else None,
        "versions": _versions(seen, memory),
        "services": list(standing.services),
        "buttons": buttons(memory, driven=bool(standing.driven_by), revisions=_revisions(seen.snapshot)),
        "steps": [_step(step) for step in reversed(seen.onlooker.steps)],
    }


def buttons(memory: Memory | None, *, driven: bool, revisions: int) -> list[Obj]:
    """The words that somebody can say now, and why one cannot be said: the commands refuse for the same reasons."""
    why = dict.fromkeys(WORDS, "")
    if memory is None:
        why |= dict.fromkeys(("pause", "resume", "promote", "abort"), "nothing is under way")
        if revisions < 2:
            why["undo"] = "there is no earlier revision"
    else:
        why["undo"] = f"a {memory.kind} is under way: abort takes it back"
        if memory.keeps_version:
            why |= dict.fromkeys(("pause", "resume", "promote"), f"a {memory.kind} cannot be held")
        elif memory.aborting:
            why |= dict.fromkeys(("pause", "resume", "promote"), "it is being taken back")
        else:
            why["pause"] = "it is paused" if memory.paused else ""
            why["resume"] = "it is not paused" if driven and not memory.paused else ""
            why["promote"] = "" if memory.stops or memory.paused else "it has no stop to be promoted from"
    return [{"word": word, "why": why[word] or None} for word in WORDS]


def _release(seen: Seen, memory: Memory) -> Obj:
    onlooker = seen.onlooker
    return {
        "kind": memory.kind,
        "strategy": memory.strategy,
        "since": memory.begun_s,
        "phase": seen.standing.phase,
        "drivenBy": seen.standing.driven_by or None,
        "paused": memory.paused,
        "aborting": memory.aborting,
        "waitsFor": onlooker.waits or seen.standing.phase,
        "due": [_step(step) for step in onlooker.due],
        "outline": list(onlooker.outline),
    }


def _step(step: Step) -> Obj:
    return {"at": rfc3339(step.at_s), "action": step.action, "because": step.because, "barrier": step.barrier or None}


def _revisions(snapshot: Snapshot | NativeSnapshot) -> int:
    return len(snapshot.revisions) if isinstance(snapshot, NativeSnapshot) else len(snapshot.sets)


def _versions(seen: Seen, memory: Memory | None) -> list[Obj]:
    """The versions that have pods or get some, the oldest first."""
    snapshot = seen.snapshot
    pods: dict[str, list[Pod]] = {}
    for pod in sorted(snapshot.pods, key=lambda pod: pod.name):
        pods.setdefault(_version_of(snapshot, pod), []).append(pod)
    known = _known(snapshot)
    named = {memory.old_hash, memory.new_hash} if memory is not None else set[str]()
    if not isinstance(snapshot, NativeSnapshot) and snapshot.newest is not None:
        named.add(snapshot.newest.pod_hash)
    order = [version for version in known if version in pods or version in named]
    order += [version for version in pods if version not in known]
    return [_version(seen, version, pods.get(version, []), known.get(version), order) for version in order]


def _known(snapshot: Snapshot | NativeSnapshot) -> dict[str, tuple[int, list[str]]]:
    """Versions by revision: number and images."""
    if isinstance(snapshot, NativeSnapshot):
        rows = [(one.short, one.number, one.template) for one in snapshot.revisions]
    else:
        rows = [(one.pod_hash, one.revision, one.template) for one in snapshot.sets]
    return {
        version: (number, [str(each.get("image")) for each in template.get("spec", {}).get("containers") or []])
        for version, number, template in sorted(rows, key=lambda row: row[1])
    }


def _version_of(snapshot: Snapshot | NativeSnapshot, pod: Pod) -> str:
    return snapshot.version_of(pod) if isinstance(snapshot, NativeSnapshot) else pod.pod_hash or "?"


def _version(
    seen: Seen, version: str, pods: Sequence[Pod], known: tuple[int, list[str]] | None, order: Sequence[str]
) -> Obj:
    rows = [_pod(pod, seen) for pod in pods]
    role = ("old" if order.index(version) < len(order) - 1 else "new") if len(order) > 1 else "only"
    return {
        "version": version,
        "revision": known[0] if known else None,
        "images": known[1] if known else [],
        "role": role,
        "serving": sum(row["phase"] == "serving" for row in rows),
        "pods": rows,
        "open": _sum(row["open"] for row in rows),
        "arrivals": _sum(row["arrivals"] for row in rows),
    }


def _pod(pod: Pod, seen: Seen) -> Obj:
    sight = seen.sights.get(pod.name)
    blind = sight is None or sight.rate is None
    return {
        "name": pod.name,
        "phase": phase_of(pod, seen.snapshot),
        "trouble": pod.trouble() if pod.alive and not pod.ready else None,
        "open": None if sight is None else sight.open,
        "live": None if sight is None or blind else sight.evidence.live,
        "arrivals": None if sight is None or sight.rate is None else round(sight.rate, 1),
        "source": sight.evidence.source if sight is not None and not blind else None,
        "verdict": sight.evidence.because if sight is not None and pod.orphaned else None,
    }


def phase_of(pod: Pod, snapshot: Snapshot | NativeSnapshot) -> str:
    """Where a pod is on its way; one of PHASES."""
    if pod.ended:
        return "ended"
    if pod.terminating:
        return "ending"
    if pod.orphaned:
        return "draining"
    if not pod.ready:
        return "starting"
    sends = any(one.pod == pod.name and one.ready for rows in snapshot.endpoints.values() for one in rows)
    return "serving" if sends else "ready"


def _sum(values: Iterable[float | None]) -> float | None:
    known = [one for one in values if one is not None]
    return round(sum(known), 1) if known else None
