"""What a controller or the node agent wants written, as values; `registry` performs them.

Rule: a controller returns writes and never performs one, so that the same controller runs in any body.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from segue.cluster.deletion import Propagation
from segue.model.objects import Obj, Ref


@dataclass(frozen=True, slots=True, kw_only=True)
class Create:
    """Create `obj`; AlreadyExists is not an error of the controller (it looks again)."""

    resource: str
    obj: Obj


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """Replace the object, guarded by the resourceVersion in `obj`; `status` replaces only the status."""

    resource: str
    obj: Obj
    status: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Delete:
    """Delete as the API would: a pod gets its grace (T1); `grace_s` None means the object's own."""

    ref: Ref
    uid: str = ""
    grace_s: int | None = None
    propagation: Propagation = "Background"


@dataclass(frozen=True, slots=True, kw_only=True)
class Say:
    """An Event object about `about`; equal ones within ten minutes are counted up, not repeated."""

    about: Obj
    about_resource: str
    kind: str  # "Normal" | "Warning"
    reason: str
    message: str
    component: str


Write: TypeAlias = Create | Update | Delete | Say


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one reconcile decided: `because` for people, `wake_in_s` to look again without an event."""

    writes: tuple[Write, ...] = ()
    because: str = ""
    wake_in_s: float | None = None
