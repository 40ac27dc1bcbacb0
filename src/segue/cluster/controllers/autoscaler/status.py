"""The status of an autoscaler while it is worked out: conditions in the order of their coming, and what is said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from segue.cluster.writes import Say
from segue.model.objects import Obj, rfc3339

COMPONENT = "horizontal-pod-autoscaler"
RESOURCE = "horizontalpodautoscalers.autoscaling"


@dataclass(slots=True, kw_only=True)
class Draft:
    """A status that is being written."""

    scaler: Obj
    now_s: float
    conditions: list[Obj] = field(default_factory=list)
    said: list[Say] = field(default_factory=list)

    def is_true(self, kind: str) -> bool:
        """Whether a condition is True."""
        return any(one["type"] == kind and one["status"] == "True" for one in self.conditions)

    def set(self, kind: str, *, holds: bool, reason: str, message: str) -> None:
        """Set a condition; its time is that of the last change of its status."""
        status = "True" if holds else "False"
        fresh: Obj = {
            "type": kind,
            "status": status,
            "lastTransitionTime": rfc3339(self.now_s),
            "reason": reason,
            "message": message,
        }
        for index, known in enumerate(self.conditions):
            if known["type"] == kind:
                if known["status"] == status:
                    fresh["lastTransitionTime"] = known["lastTransitionTime"]
                self.conditions[index] = fresh
                return
        self.conditions.append(fresh)

    def warn(self, reason: str, message: str) -> None:
        """Say what is wrong."""
        self._say("Warning", reason, message)

    def tell(self, reason: str, message: str) -> None:
        """Say what was done."""
        self._say("Normal", reason, message)

    def _say(self, kind: str, reason: str, message: str) -> None:
        self.said.append(
            Say(
                about=self.scaler,
                about_resource=RESOURCE,
                kind=kind,
                reason=reason,
                message=message,
                component=COMPONENT,
            )
        )

    def status(
        self, *, current: int | None = None, desired: int | None = None, metrics: Sequence[Obj] | None = None
    ) -> Obj:
        """The whole of it; where nothing was counted, counts and metrics stay as they are."""
        before: Obj = self.scaler.get("status") or {}
        made: Obj = {**before, "desiredReplicas": before.get("desiredReplicas", 0), "conditions": self.conditions}
        if current is None:
            made.setdefault("currentMetrics", None)
            return made
        made["currentReplicas"] = current
        made["currentMetrics"] = list(metrics) if metrics else None
        made["observedGeneration"] = self.scaler["metadata"].get("generation", 1)
        if desired is not None:
            made["desiredReplicas"] = desired
        if not current:
            del made["currentReplicas"]
        return made


def draft_of(scaler: Obj, now_s: float) -> Draft:
    """A draft that begins with the conditions there are."""
    known = (scaler.get("status") or {}).get("conditions") or []
    return Draft(scaler=scaler, now_s=now_s, conditions=list(known))
