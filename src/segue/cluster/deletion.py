"""What a DELETE does to one object: at once, with grace (T1), shorter (T2), held by finalizers. Never writes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from segue.model.objects import Obj, copy_of, rfc3339, seconds_of

Propagation: TypeAlias = Literal["Background", "Foreground", "Orphan"]
_BY_PROPAGATION = {"Foreground": "foregroundDeletion", "Orphan": "orphan"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Deletion:
    """How to delete: metav1.DeleteOptions. `grace_s` None means the object's own."""

    grace_s: int | None = None
    uid: str = ""
    version: str = ""
    propagation: Propagation = "Background"
    dry_run: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Gone:
    """The object leaves at once; a pod is first seen as `last`, marked with a grace of 0."""

    last: Obj | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Marked:
    """The object stays for now, as `obj`."""

    obj: Obj


@dataclass(frozen=True, slots=True, kw_only=True)
class Unmoved:
    """Nothing changes: a deletion already runs and this one is not shorter."""


Verdict: TypeAlias = Gone | Marked | Unmoved


def decide_deletion(resource: str, obj: Obj, how: Deletion, now_s: float) -> Verdict:
    """What a DELETE makes of the object."""
    if resource == "pods":
        return _decide_pod(obj, how, now_s)
    if resource == "namespaces":
        return _decide_namespace(obj, now_s)
    wanted = _finalizers(obj, how.propagation)
    if not wanted:
        return Gone()
    metadata = obj["metadata"]
    if metadata.get("deletionTimestamp") and wanted == (metadata.get("finalizers") or []):
        return Unmoved()
    marked = _with_finalizers(obj, wanted)
    if not metadata.get("deletionTimestamp"):
        _mark(marked, at_s=now_s, grace_s=0)
    return Marked(obj=marked)


def is_finished(resource: str, obj: Obj) -> bool:
    """Whether an object under deletion has nothing left that holds it."""
    metadata = obj["metadata"]
    if not metadata.get("deletionTimestamp") or metadata.get("finalizers"):
        return False
    if resource == "namespaces":
        return not obj.get("spec", {}).get("finalizers")
    return not metadata.get("deletionGracePeriodSeconds")


def _decide_pod(pod: Obj, how: Deletion, now_s: float) -> Verdict:
    metadata = pod["metadata"]
    wanted = _finalizers(pod, how.propagation)
    grace_s = _pod_grace_s(pod, how)
    if metadata.get("deletionTimestamp"):
        running_s: int = metadata.get("deletionGracePeriodSeconds", 0)
        asked = how.grace_s is not None or grace_s == 0
        if not asked or grace_s >= running_s:  # T2: only ever shorter
            return (
                Unmoved() if wanted == (metadata.get("finalizers") or []) else Marked(obj=_with_finalizers(pod, wanted))
            )
        began_s = seconds_of(metadata["deletionTimestamp"]) - running_s
        ends_s = began_s + grace_s
        if ends_s < now_s and grace_s:
            grace_s, ends_s = 1, now_s + 1
    else:
        ends_s = now_s + grace_s
    marked = _with_finalizers(pod, wanted)
    _mark(marked, at_s=ends_s, grace_s=grace_s)
    return Gone(last=marked) if grace_s == 0 and not wanted else Marked(obj=marked)


def _pod_grace_s(pod: Obj, how: Deletion) -> int:
    """T1: what is asked, else the pod's own; none for a pod that has not been scheduled or has ended."""
    spec = pod.get("spec", {})
    if not spec.get("nodeName") or pod.get("status", {}).get("phase") in {"Succeeded", "Failed"}:
        return 0
    grace_s: int = spec.get("terminationGracePeriodSeconds", 30) if how.grace_s is None else how.grace_s
    return 1 if grace_s < 0 else grace_s


def _decide_namespace(obj: Obj, now_s: float) -> Verdict:
    if obj["metadata"].get("deletionTimestamp"):
        return Unmoved()
    marked = copy_of(obj)
    marked.setdefault("status", {})["phase"] = "Terminating"
    _mark(marked, at_s=now_s, grace_s=0)
    return Marked(obj=marked)


def _finalizers(obj: Obj, propagation: Propagation) -> list[str]:
    kept = [one for one in obj["metadata"].get("finalizers") or [] if one not in _BY_PROPAGATION.values()]
    added = _BY_PROPAGATION.get(propagation)
    if added is None and obj["metadata"].get("deletionTimestamp"):
        # A plain DELETE does not call off what a foreground deletion waits for.
        return list(obj["metadata"].get("finalizers") or [])
    return [*kept, added] if added else kept


def _with_finalizers(obj: Obj, finalizers: list[str]) -> Obj:
    marked = copy_of(obj)
    if finalizers:
        marked["metadata"]["finalizers"] = finalizers
    else:
        marked["metadata"].pop("finalizers", None)
    return marked


def _mark(obj: Obj, *, at_s: float, grace_s: int) -> None:
    metadata = obj["metadata"]
    if not metadata.get("deletionTimestamp") and metadata.get("generation"):
        metadata["generation"] += 1
    metadata["deletionTimestamp"] = rfc3339(at_s)
    metadata["deletionGracePeriodSeconds"] = grace_s
