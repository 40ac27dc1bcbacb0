"""What a release saw of pods while it ran, as happenings: the one timeline that every cluster can tell.

Rule 1: a change is dated when it was seen, for the API keeps whole seconds only; what was so at the first sight is
dated by the API's own times. A pod that the look before had not is no older than that look.
Rule 2: pods that are made only to be ended, and never get a node, are not told of.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from segue.model.natives import REVISION_LABEL
from segue.model.services import Endpoint
from segue.model.timeline import Happening, What
from segue.model.workloads import Pod


@dataclass(frozen=True, slots=True, kw_only=True)
class _State:
    """What is compared from look to look."""

    ready: bool = False
    let_go: bool = False
    leaving: bool = False
    services: frozenset[str] = frozenset()


@dataclass(slots=True, kw_only=True)
class Sightings:
    """Collects them, look by look."""

    rows: list[Happening] = field(default_factory=list)
    _known: dict[str, _State] = field(default_factory=dict)
    _looked_s: float = 0.0  # the last look

    def see(self, pods: Iterable[Pod], endpoints: Mapping[str, tuple[Endpoint, ...]], now_s: float) -> None:
        """One look at all pods that matter."""
        there: set[str] = set()
        for pod in pods:
            if pod.held_back:
                continue
            name = f"{pod.namespace}/{pod.name}"
            there.add(name)
            services = frozenset(
                service for service, rows in endpoints.items() if any(row.ready and row.pod == pod.name for row in rows)
            )
            now = _State(ready=pod.ready, let_go=pod.orphaned, leaving=pod.terminating, services=services)
            before = self._known.get(name)
            self.rows += _born(pod, name, self._looked_s, now_s) if before is None else ()
            self.rows += _changes(pod, name, before, now, now_s)
            self._known[name] = now
        for name in [name for name in self._known if name not in there]:
            del self._known[name]
            self.rows.append(Happening(at_s=now_s, what=What.POD_REMOVED, pod=name))
        self._looked_s = now_s


def _born(pod: Pod, name: str, looked_s: float, now_s: float) -> tuple[Happening, ...]:
    containers = pod.obj.get("spec", {}).get("containers") or [{}]
    data = {
        "image": str(containers[0].get("image") or ""),
        "version": pod.pod_hash or pod.labels.get(REVISION_LABEL, ""),
    }
    at_s = min(max(pod.created_s or now_s, looked_s), now_s)
    return (Happening(at_s=at_s, what=What.POD_CREATED, pod=name, data=data),)


def _changes(pod: Pod, name: str, before: _State | None, now: _State, now_s: float) -> Iterator[Happening]:
    was, first = before or _State(), before is None
    if now.ready is not was.ready:
        at_s = pod.ready_since_s or now_s if first else now_s
        what = What.POD_READY if now.ready else What.POD_UNREADY
        yield Happening(at_s=min(at_s, now_s), what=what, pod=name, data={"ip": pod.ip})
    for service in sorted(now.services - was.services):
        at_s = min(pod.ready_since_s or now_s, now_s) if first else now_s
        yield Happening(at_s=at_s, what=What.ENDPOINT_ADDED, pod=name, data={"service": service, "ip": pod.ip})
    for service in sorted(was.services - now.services):
        yield Happening(at_s=now_s, what=What.ENDPOINT_REMOVED, pod=name, data={"service": service, "ip": pod.ip})
    if now.let_go and not was.let_go:
        yield Happening(at_s=now_s, what=What.POD_LET_GO, pod=name)
    if now.leaving and not was.leaving:
        at_s = min(pod.deletion_began_s, now_s) if first else now_s
        grace_s = pod.obj["metadata"].get("deletionGracePeriodSeconds")
        yield Happening(at_s=at_s, what=What.POD_DELETION_SET, pod=name, data={"grace_s": grace_s})
