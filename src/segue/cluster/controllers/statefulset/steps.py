"""The steps of one look at a StatefulSet: which pods are made, mended and deleted, in which order (W1, W2, W10-W14).

Rule 1: OrderedReady does one thing at a time: it waits for the lowest pod that is not available, makes or deletes one
pod, and updates only while all others are available.
Rule 2: Parallel waits for nothing when it makes or deletes pods; an update keeps to maxUnavailable all the same.
Rule 3: scaling goes before updating.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from segue.cluster.controllers.pods import is_available
from segue.cluster.controllers.statefulset.identity import (
    first_ordinal,
    is_member,
    ordinal_of,
    pod_at,
    revision_of,
    with_identity,
)
from segue.cluster.view import TERMINAL_PHASES
from segue.model.objects import Obj, is_ready, is_terminating, name_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """A StatefulSet, its pods and the two revisions that its pods may be of."""

    stateful_set: Obj
    pods: Sequence[Obj]
    current: Obj
    update: Obj
    now_s: float

    @property
    def parallel(self) -> bool:
        """Whether pods are made and deleted without waiting for one another."""
        return bool(self.stateful_set["spec"].get("podManagementPolicy") == "Parallel")

    @property
    def rolling(self) -> Obj | None:
        """updateStrategy.rollingUpdate; None where it is left out."""
        found: Obj | None = self.stateful_set["spec"]["updateStrategy"].get("rollingUpdate")
        return found

    @property
    def partition(self) -> int:
        """So many of the lowest pods stay as they are."""
        return int((self.rolling or {}).get("partition") or 0)

    @property
    def unavailable_max(self) -> int:
        """How many pods an update may take away at a time: rounded down, at least one."""
        replicas = self.stateful_set["spec"]["replicas"]
        amount = (self.rolling or {}).get("maxUnavailable", 1)
        if isinstance(amount, str):
            amount = int(amount.removesuffix("%")) * replicas // 100
        return max(1, int(amount))

    def available(self, pod: Obj) -> bool:
        """Whether a pod has been Ready for minReadySeconds and is not on its way out."""
        return not is_terminating(pod) and self.has_been_ready(pod)

    def has_been_ready(self, pod: Obj) -> bool:
        """Whether a pod has been Ready for minReadySeconds, on its way out or not."""
        return is_available(pod, self.stateful_set["spec"].get("minReadySeconds") or 0, self.now_s)


@dataclass(slots=True, kw_only=True)
class Steps:
    """What one look does, in order, and how many of the deletions are for an update."""

    made: list[Obj] = field(default_factory=list)
    mended: list[Obj] = field(default_factory=list)
    deleted: list[Obj] = field(default_factory=list)
    updated: int = 0
    because: str = ""


def steps_of(look: Look) -> Steps:
    """Make what is missing, delete what is too much, then update."""
    steps = Steps()
    replicas, condemned = _sorted_out(look)
    if not _filled(look, steps, replicas):
        return steps
    if not _emptied(look, steps, replicas, condemned):
        return steps
    if look.stateful_set["spec"]["updateStrategy"]["type"] == "RollingUpdate":
        _update(look, steps, replicas)
    return steps


def _sorted_out(look: Look) -> tuple[list[Obj | None], list[Obj]]:
    """The pods by place (None where one is missing), and those outside the ordinals, highest first."""
    start, count = first_ordinal(look.stateful_set), look.stateful_set["spec"]["replicas"]
    replicas: list[Obj | None] = [None] * count
    condemned: list[Obj] = []
    for pod in look.pods:
        if not is_member(look.stateful_set, pod):
            continue
        place = ordinal_of(pod) - start
        if 0 <= place < count:
            replicas[place] = pod
        else:
            condemned.append(pod)
    return replicas, sorted(condemned, key=ordinal_of, reverse=True)


def _filled(look: Look, steps: Steps, replicas: Sequence[Obj | None]) -> bool:
    """Make what is missing and replace what has ended; whether the look may go on."""
    start = first_ordinal(look.stateful_set)
    for place, pod in enumerate(replicas):
        if pod is None:
            made = pod_at(look.stateful_set, _revision_at(look, start + place), start + place)
            steps.made.append(made)
            steps.because = f"{name_of(made)} is missing"
            if not look.parallel:
                return False
        elif pod["status"].get("phase") in TERMINAL_PHASES:
            steps.because = f"{name_of(pod)} has ended"
            if not is_terminating(pod):
                steps.deleted.append(pod)
            if not look.parallel:
                return False
        elif not look.parallel and not look.available(pod):
            steps.because = f"{name_of(pod)} is not available"
            return False
        elif with_identity(pod) is not pod:
            steps.mended.append(with_identity(pod))
    return True


def _revision_at(look: Look, ordinal: int) -> Obj:
    """A missing pod below the partition comes back as it was."""
    spec, start = look.stateful_set["spec"], first_ordinal(look.stateful_set)
    if spec["updateStrategy"]["type"] != "RollingUpdate":
        return look.update
    kept = look.partition
    if look.rolling is None:
        kept = int((look.stateful_set.get("status") or {}).get("currentReplicas") or 0)
    return look.current if ordinal < start + kept else look.update


def _emptied(look: Look, steps: Steps, replicas: Sequence[Obj | None], condemned: Sequence[Obj]) -> bool:
    """Delete what is beyond the ordinals, highest first; whether the look may go on."""
    present = [pod for pod in replicas if pod is not None] + list(reversed(condemned))
    first_bad = next((pod for pod in present if not look.available(pod)), None)
    for pod in condemned:
        if is_terminating(pod):
            if not look.parallel:
                steps.because = f"{name_of(pod)} has not ended yet"
                return False
            continue
        ready = pod["status"].get("phase") == "Running" and is_ready(pod) and look.has_been_ready(pod)
        if not look.parallel and not ready and pod is not first_bad:
            steps.because = f"{name_of(pod)} waits for one below it"
            return False
        steps.deleted.append(pod)
        steps.because = f"{name_of(pod)} is one too many"
        if not look.parallel:
            return False
    return True


def _update(look: Look, steps: Steps, replicas: Sequence[Obj | None]) -> None:
    """Delete pods of another revision, highest first, so that no more than maxUnavailable are away."""
    present = [pod for pod in replicas if pod is not None]
    away = len(replicas) - len(present) + sum(1 for pod in present if not look.available(pod))
    room = look.unavailable_max - away
    gone = {name_of(pod) for pod in steps.deleted}
    old = [
        pod
        for pod in reversed(replicas[look.partition :])
        if pod is not None
        and revision_of(pod) != name_of(look.update)
        and not is_terminating(pod)
        and name_of(pod) not in gone
    ]
    if look.parallel:
        # What serves nobody goes first and costs nothing of what may be away.
        chosen = [pod for pod in old if not look.has_been_ready(pod)]
        chosen += [pod for pod in old if look.has_been_ready(pod)][: max(0, room)]
    else:
        chosen = old[: max(0, room)]
    steps.deleted += chosen
    steps.updated = len(chosen)
    if chosen:
        steps.because = f"{len(chosen)} pods are of another revision"
