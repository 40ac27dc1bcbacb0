"""What a controller or the node agent wants written, as values; `registry` performs them.

Rule: a controller returns writes and never performs one, so that the same controller runs in any body.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeAlias

from segue.cluster.deletion import Propagation
from segue.model.objects import Obj, Ref


@dataclass(frozen=True, slots=True, kw_only=True)
class Create:
    """Create `obj`; AlreadyExists is not an error of the controller (it looks again).

    `by` will own what is written (metadata.managedFields); who performs a controller's writes signs them.
    """

    resource: str
    obj: Obj
    by: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """Replace the object, guarded by the resourceVersion in `obj`; `status` replaces only the status."""

    resource: str
    obj: Obj
    status: bool = False
    by: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rescale:
    """Write the scale subresource of a workload; guarded by the resourceVersion in `scale` where there is one."""

    resource: str
    scale: Obj
    by: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Delete:
    """Delete as the API would: a pod gets its grace (T1); `grace_s` None means the object's own."""

    ref: Ref
    uid: str = ""
    grace_s: int | None = None
    propagation: Propagation = "Background"
    by: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Say:
    """An Event object about `about`; equal ones within ten minutes are counted up, not repeated."""

    about: Obj
    about_resource: str
    kind: str  # "Normal" | "Warning"
    reason: str
    message: str
    component: str


Write: TypeAlias = Create | Update | Rescale | Delete | Say


def signed(write: Write, by: str) -> Write:
    """The write with the name of who will own what it writes."""
    match write:
        case Create():
            return Create(resource=write.resource, obj=write.obj, by=by)
        case Update():
            return Update(resource=write.resource, obj=write.obj, status=write.status, by=by)
        case Rescale() | Delete():
            return replace(write, by=by)
        case _:
            return write


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one reconcile decided: `because` for people, `wake_in_s` to look again without an event."""

    writes: tuple[Write, ...] = ()
    because: str = ""
    wake_in_s: float | None = None
