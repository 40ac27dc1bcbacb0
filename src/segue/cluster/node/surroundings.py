"""What a container's machine may know of its pod and its node, and where it puts its effects."""

from __future__ import annotations

from dataclasses import dataclass, field

from segue.cluster.node.effects import Effect, Record, SayEvent
from segue.cluster.node.images import ImageMap
from segue.cluster.node.settings import NodeSettings
from segue.cluster.writes import Say
from segue.model.objects import Obj, name_of, namespace_of, uid_of
from segue.model.timeline import Happening, What


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Who asked for an effect; `container` is "" where the pod itself did."""

    pod_uid: str
    container: str


class Outbox:
    """Effects in the order in which they are wanted, and who asked for which."""

    def __init__(self) -> None:
        self.effects: list[Effect] = []
        self.owners: dict[int, Owner] = {}
        self._last_id = 0

    def new_id(self, pod_uid: str, container: str = "") -> int:
        """A fresh effect id whose result goes to this owner."""
        self._last_id += 1
        self.owners[self._last_id] = Owner(pod_uid=pod_uid, container=container)
        return self._last_id

    def take(self) -> list[Effect]:
        """All effects so far."""
        effects, self.effects = self.effects, []
        return effects


@dataclass(slots=True, kw_only=True)
class Surroundings:
    """One pod as its containers see it. `obj` is the newest version known; the rest the pod's machine keeps up."""

    obj: Obj
    node_name: str
    settings: NodeSettings
    images: ImageMap
    outbox: Outbox
    ip: str = ""
    terminating: bool = False
    deletion_grace_s: int | None = None
    workers_since_s: float = 0.0
    exited: dict[str, bool] = field(default_factory=dict)

    @property
    def uid(self) -> str:
        """The pod's uid."""
        return uid_of(self.obj)

    @property
    def pod(self) -> str:
        """ "namespace/name"."""
        return f"{namespace_of(self.obj)}/{name_of(self.obj)}"

    @property
    def restart_policy(self) -> str:
        """Always, OnFailure or Never."""
        return str(self.obj["spec"].get("restartPolicy") or "Always")

    @property
    def pod_grace_s(self) -> int:
        """terminationGracePeriodSeconds, 30 where the pod leaves it open."""
        grace = self.obj["spec"].get("terminationGracePeriodSeconds")
        return 30 if grace is None else int(grace)

    def record(self, at_s: float, what: What, **data: object) -> None:
        """Put a happening of this pod on the timeline."""
        self.outbox.effects.append(Record(happening=Happening(at_s=at_s, what=what, pod=self.pod, data=data)))

    def say(self, reason: str, message: str, *, warning: bool = False) -> None:
        """Say an event about this pod."""
        say = Say(
            about=self.obj,
            about_resource="pods",
            kind="Warning" if warning else "Normal",
            reason=reason,
            message=message,
            component="kubelet",
        )
        self.outbox.effects.append(SayEvent(write=say))
