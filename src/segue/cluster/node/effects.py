"""What the node agent wants done, and what it is told back: closed unions of frozen values.

Each effect with an `effect_id` is answered by exactly one result of its kind, except `StartContainer`: that is answered
by `Started` or `StartFailed` and, once started, by one `Exited`. `at_s` is when it happened, measured on the spot.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from segue.cluster.writes import Delete, Say, Update
from segue.model.objects import Obj
from segue.model.timeline import Happening

StopSignal: TypeAlias = Literal["TERM", "KILL"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachNetwork:
    """Give the pod a place in the network."""

    effect_id: int
    pod_uid: str
    pod: str  # "namespace/name"


@dataclass(frozen=True, slots=True, kw_only=True)
class DetachNetwork:
    """Take the pod's place away; nothing of the pod runs any more."""

    effect_id: int
    pod_uid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StartContainer:
    """Start one container; `command` and `env` are what the image map says for its image."""

    effect_id: int
    pod_uid: str
    pod: Obj
    container: Obj
    ip: str
    container_id: str
    attempt: int
    entrypoint: tuple[str, ...]
    default_args: tuple[str, ...]
    image_env: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunProbe:
    """Probe once; `handler` is the probe object of the container's spec, `kind` for its messages."""

    effect_id: int
    pod_uid: str
    container_id: str
    kind: str
    handler: Obj
    ports: tuple[tuple[str, int], ...]  # the container's named ports
    ip: str
    timeout_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunHook:
    """Run a lifecycle hook (exec, httpGet, sleep); it has no timeout of its own (T7)."""

    effect_id: int
    pod_uid: str
    container_id: str
    handler: Obj
    ports: tuple[tuple[str, int], ...]
    ip: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """Send a signal to the container's PID 1."""

    effect_id: int
    pod_uid: str
    container_id: str
    signal: StopSignal


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchListeners:
    """Look for the pod's listening ports this often from now on, `then_s` once one is seen; 0 ends it."""

    pod_uid: str
    pod: str
    every_s: float
    then_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteStatus:
    """Write the pod's status, guarded by the resourceVersion in it."""

    effect_id: int
    pod_uid: str
    write: Update


@dataclass(frozen=True, slots=True, kw_only=True)
class RemovePod:
    """Delete the API object for good: nothing of the pod is left (T4)."""

    effect_id: int
    pod_uid: str
    write: Delete


@dataclass(frozen=True, slots=True, kw_only=True)
class SayEvent:
    """An Event object about the pod."""

    write: Say


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A happening for the timeline."""

    happening: Happening


@dataclass(frozen=True, slots=True, kw_only=True)
class Forget:
    """The pod is gone: its files may go."""

    pod_uid: str


Effect: TypeAlias = (
    AttachNetwork
    | DetachNetwork
    | StartContainer
    | RunProbe
    | RunHook
    | Signal
    | WatchListeners
    | WriteStatus
    | RemovePod
    | SayEvent
    | Record
    | Forget
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attached:
    """The pod has its place."""

    at_s: float
    ip: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachFailed:
    """It has none; it will be tried again."""

    at_s: float
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Detached:
    """The place is gone."""

    at_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """The container's process runs."""

    at_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StartFailed:
    """It does not; `reason` is a waiting reason of the kubelet's (CreateContainerConfigError, RunContainerError)."""

    at_s: float
    reason: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Exited:
    """The container's PID 1 is gone; `signal` is 0 where it exited by itself."""

    at_s: float
    exit_code: int
    signal: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeDone:
    """A probe's outcome; `succeeded` None is an error that is no result (P8)."""

    at_s: float
    succeeded: bool | None
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HookDone:
    """A hook has ended."""

    at_s: float
    succeeded: bool
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signalled:
    """The signal has been sent (to a process that was there)."""

    at_s: float
    sent: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """The write was performed; `obj` is what is stored now."""

    at_s: float
    obj: Obj = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteRefused:
    """The write was not performed; `current` is the object as stored now, None where it is gone."""

    at_s: float
    code: int
    message: str
    current: Obj | None


Result: TypeAlias = (
    Attached
    | AttachFailed
    | Detached
    | Started
    | StartFailed
    | Exited
    | ProbeDone
    | HookDone
    | Signalled
    | Written
    | WriteRefused
)
