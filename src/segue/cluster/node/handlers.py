"""What a container's spec says of its probes and hooks. Never runs any."""

from __future__ import annotations

from typing import Literal, TypeAlias

from segue.lifecycle.probes import ProbeKind, ProbeTimes
from segue.model.objects import Obj

Slot: TypeAlias = Literal["postStart", "preStop"]


def hook_of(container: Obj, slot: Slot) -> Obj:
    """The hook's handler; empty where there is none."""
    return (container.get("lifecycle") or {}).get(slot) or {}


def ports_of(container: Obj) -> tuple[tuple[str, int], ...]:
    """The named ports."""
    ports = container.get("ports") or []
    return tuple((port["name"], int(port["containerPort"])) for port in ports if port.get("name"))


def times_of(kind: ProbeKind, probe: Obj) -> ProbeTimes:
    """The numbers of a probe."""
    return ProbeTimes(
        kind=kind,
        period_s=int(probe.get("periodSeconds") or 10),
        timeout_s=int(probe.get("timeoutSeconds") or 1),
        initial_delay_s=int(probe.get("initialDelaySeconds") or 0),
        successes_needed=int(probe.get("successThreshold") or 1),
        failures_needed=int(probe.get("failureThreshold") or 3),
    )
