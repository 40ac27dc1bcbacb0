"""What a release of a StatefulSet or a DaemonSet may do, as values; each of them exactly one API request.

Rule: as in `actions`: a request fails where its object has changed since, and what is not here is not done.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias, assert_never

from segue.model.http import ApiRequest
from segue.model.natives import PLURALS, Native, Revision
from segue.model.objects import Obj
from segue.release.actions import DropLease, EndPod, TakeLease
from segue.release.memory import ANNOTATION, Memory
from segue.release.requests import patch_workload, request_of
from segue.release.telling import describe


@dataclass(frozen=True, slots=True, kw_only=True)
class Amend:
    """Spec fields (None removes one), labels, annotations and the memory in one patch; memory None forgets it."""

    native: Native
    says: str
    memory: Memory | None
    spec: Obj = field(default_factory=dict)
    metadata: Obj = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanRevision:
    """Take the memory off a ControllerRevision: its controller had copied the annotations there."""

    revision: Revision


NativeAction: TypeAlias = TakeLease | DropLease | EndPod | Amend | CleanRevision


def native_request(action: NativeAction) -> ApiRequest:
    """The one request that performs an action."""
    match action:
        case Amend(native=native, memory=memory):
            annotations: Obj = {**(action.metadata.get("annotations") or {})}
            annotations[ANNOTATION] = None if memory is None else memory.text()
            labels: Obj = action.metadata.get("labels") or {}
            return patch_workload(native.obj, PLURALS[native.kind], action.spec, labels=labels, annotations=annotations)
        case CleanRevision(revision=revision):
            return patch_workload(revision.obj, "controllerrevisions", {}, labels={}, annotations={ANNOTATION: None})
        case TakeLease() | DropLease() | EndPod():
            return request_of(action)
        case _:
            assert_never(action)


def told(action: NativeAction) -> str:
    """One line for people."""
    match action:
        case Amend(says=says):
            return says
        case CleanRevision(revision=revision):
            return f"take segue's annotation off ControllerRevision {revision.name}"
        case TakeLease() | DropLease() | EndPod():
            return describe(action)
        case _:
            assert_never(action)
