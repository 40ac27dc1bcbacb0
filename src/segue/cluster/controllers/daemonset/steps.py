"""The steps of one look at a DaemonSet: which nodes get a pod and which pods go (W3, W20-W24).

Rule 1: filling nodes goes before updating; a look that fills does not update.
Rule 2: without surge a pod goes before its next one is made; with surge the next one is made first, and the old one
goes when that is available, or at once when it is not Ready itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from segue.cluster.controllers.daemonset.pods import is_updated, is_wanted, node_of, oldest_first
from segue.cluster.controllers.pods import is_available
from segue.cluster.view import TERMINAL_PHASES
from segue.model.objects import Obj, is_ready, is_terminating, name_of, seconds_of

FAILED_FOR_S = 1.0  # a failed pod is replaced no sooner than this after it was made, or a broken node would spin


@dataclass(slots=True, kw_only=True)
class Steps:
    """What one look does: nodes that get a pod, pods that go, those of them that have ended."""

    nodes: list[str] = field(default_factory=list)
    pods: list[Obj] = field(default_factory=list)
    ended: list[Obj] = field(default_factory=list)
    wake_in_s: float | None = None
    because: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """A DaemonSet, the cluster's nodes and its pods by node."""

    daemon_set: Obj
    nodes: Sequence[Obj]
    pods: dict[str, list[Obj]]
    digest: str  # the hash of the present revision
    now_s: float

    @property
    def desired(self) -> list[Obj]:
        """The nodes that are to have a pod."""
        return [node for node in self.nodes if is_wanted(self.daemon_set, node)[0]]

    def bounds(self, count: int) -> tuple[int, int]:
        """Surge and unavailable pods of so many, both rounded up; where both come out as 0, one may be unavailable."""
        strategy = self.daemon_set["spec"]["updateStrategy"]
        if strategy["type"] != "RollingUpdate":
            return 0, 0
        rolling = strategy.get("rollingUpdate") or {}
        surge, unavailable = _share(rolling.get("maxSurge", 0), count), _share(rolling.get("maxUnavailable", 1), count)
        return surge, unavailable if surge or unavailable else 1

    def available(self, pod: Obj) -> bool:
        """Whether a pod has been Ready for minReadySeconds."""
        return is_available(pod, self.daemon_set["spec"].get("minReadySeconds") or 0, self.now_s)

    def is_new(self, pod: Obj) -> bool:
        """Whether a pod is of the present template."""
        return is_updated(self.daemon_set, pod, self.digest)


def look_at(daemon_set: Obj, nodes: Sequence[Obj], pods: Iterable[Obj], digest: str, now_s: float) -> Look:
    """The look: pods by node, without those that have ended and are on their way out."""
    by_node: dict[str, list[Obj]] = {}
    for pod in pods:
        if not (is_terminating(pod) and pod.get("status", {}).get("phase") in TERMINAL_PHASES) and node_of(pod):
            by_node.setdefault(node_of(pod), []).append(pod)
    return Look(daemon_set=daemon_set, nodes=nodes, pods=by_node, digest=digest, now_s=now_s)


def steps_of(look: Look) -> Steps:
    """Fill and clear nodes; where nothing was to do, update."""
    steps = Steps()
    for node in look.nodes:
        _fill(look, steps, node)
    known = {name_of(node) for node in look.nodes}
    for name in sorted(look.pods.keys() - known):
        # Its node went before it was scheduled: nobody else would ever delete it.
        steps.pods += [pod for pod in look.pods[name] if not pod["spec"].get("nodeName")]
    if steps.nodes or steps.pods:
        steps.because = f"{len(steps.nodes)} nodes without a pod, {len(steps.pods)} pods too many"
    elif look.daemon_set["spec"]["updateStrategy"]["type"] == "RollingUpdate":
        _update(look, steps)
    return steps


def _fill(look: Look, steps: Steps, node: Obj) -> None:
    wanted, may_stay = is_wanted(look.daemon_set, node)
    present = look.pods.get(name_of(node))
    if wanted and present is None:
        steps.nodes.append(name_of(node))
        return
    here = [pod for pod in present or [] if not is_terminating(pod)]
    if not may_stay:
        steps.pods += here
        return
    for pod in [pod for pod in here if pod.get("status", {}).get("phase") in TERMINAL_PHASES]:
        here.remove(pod)
        early_s = seconds_of(pod["metadata"]["creationTimestamp"]) + FAILED_FOR_S - look.now_s
        if pod["status"]["phase"] == "Failed" and early_s > 0:
            steps.wake_in_s = early_s
            continue
        steps.pods.append(pod)
        steps.ended.append(pod)
    if look.bounds(1)[0] == 0:
        steps.pods += oldest_first(here)[1:]
        return
    if not here and wanted:
        # With surge the next pod does not wait for one that is on its way out.
        steps.nodes.append(name_of(node))
    elif len(here) > 1:
        _clear_surge(look, steps, here)


def _clear_surge(look: Look, steps: Steps, here: list[Obj]) -> None:
    """One old and one new pod may be on a node at a time, until the new one can take over."""
    ordered = oldest_first(here)
    new, old = [pod for pod in ordered if look.is_new(pod)], [pod for pod in ordered if not look.is_new(pod)]
    steps.pods += new[1:] + old[1:]
    if new and old and (not is_ready(old[0]) or look.available(new[0])):
        steps.pods.append(old[0])


def _update(look: Look, steps: Steps) -> None:
    desired = [name_of(node) for node in look.desired]
    surge, unavailable = look.bounds(len(desired))
    if surge == 0:
        _replace(look, steps, desired, unavailable)
    else:
        _surge(look, steps, desired, surge)
    if steps.nodes or steps.pods:
        steps.because = "pods are of another template"


def _replace(look: Look, steps: Steps, desired: list[str], unavailable_max: int) -> None:
    """Delete old pods: those that serve nobody at once, others as many as may be away."""
    away = 0
    serving: list[Obj] = []
    for name in sorted({*look.pods, *desired}):
        pods = [pod for pod in look.pods.get(name, []) if not is_terminating(pod)]
        if len(pods) != 1:
            away += 1
        elif look.is_new(pods[0]):
            away += not look.available(pods[0])
        elif look.available(pods[0]):
            serving.append(pods[0])
        else:
            steps.pods.append(pods[0])
            away += 1
    steps.pods += serving[: max(0, unavailable_max - away)]


def _surge(look: Look, steps: Steps, desired: list[str], surge_max: int) -> None:
    """Make new pods beside old ones, as many as may be more; those of nodes that are no longer wanted just go."""
    surging = 0
    candidates: list[str] = []
    for name, pods in sorted(look.pods.items()):
        here = [pod for pod in pods if not is_terminating(pod)]
        new, old = [pod for pod in here if look.is_new(pod)], [pod for pod in here if not look.is_new(pod)]
        if len(new) > 1 or len(old) > 1:
            surging += 1
        elif new and old:
            if look.available(new[0]):
                steps.pods.append(old[0])
            else:
                surging += 1
        elif old and name not in desired:
            steps.pods += [] if look.available(old[0]) else old
        elif old and look.available(old[0]):
            candidates.append(name)
        elif old:
            steps.nodes.append(name)
    steps.nodes += candidates[: max(0, surge_max - surging)]


def _share(amount: int | str, count: int) -> int:
    """A number of pods, or a percentage rounded up."""
    return amount if isinstance(amount, int) else -(-int(amount.removesuffix("%")) * count // 100)
