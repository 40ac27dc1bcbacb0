"""How large each ReplicaSet shall be: the arithmetic of a rollout (D3, D4) and of scaling in its midst (D15).

Nothing here knows an object; numbers go in and numbers come out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from segue.cluster.controllers.deployment.wishes import Wishes


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """One ReplicaSet in numbers: what it wants, what of it is available, and replicas + surge when last scaled."""

    name: str
    replicas: int
    available: int = 0
    total_max_before: int | None = None


def raised(wishes: Wishes, new: int, total: int) -> int:
    """The new ReplicaSet's next size, `total` being what all of them want now (D3)."""
    if not wishes.rolling:
        return wishes.replicas
    room = wishes.total_max - total
    return new if room <= 0 else min(wishes.replicas, new + room)


def lowered(wishes: Wishes, new: Size, olds: Sequence[Size]) -> dict[str, int]:
    """The old ReplicaSets' next sizes, oldest first: what is not available goes first, then what is (D4).

    Only sizes that change are returned; none while a ReplicaSet shows more available pods than it wants, because then
    its status is older than its size.
    """
    if any(size.available > size.replicas for size in (new, *olds)):
        return {}
    total = new.replicas + sum(old.replicas for old in olds)
    room = total - wishes.available_min - (new.replicas - new.available)
    if room <= 0:
        return {}
    sizes = {old.name: old.replicas for old in olds}
    for old in olds:
        step = min(room, old.replicas - old.available)
        sizes[old.name] -= step
        room -= step
    spare = new.available + sum(old.available for old in olds) - wishes.available_min
    for old in olds:
        step = max(0, min(spare, sizes[old.name]))
        sizes[old.name] -= step
        spare -= step
    return {old.name: sizes[old.name] for old in olds if sizes[old.name] != old.replicas}


def shared_out(wishes: Wishes, active: Sequence[Size], *, deployment_total: int) -> dict[str, int]:
    """Every active ReplicaSet's size after a change of replicas in mid-rollout (D15).

    `active` is ordered newest first; `deployment_total` stands in where a ReplicaSet does not say its former maximum.
    """
    allowed = wishes.total_max if wishes.replicas > 0 else 0
    to_add = allowed - sum(size.replicas for size in active)
    if to_add == 0:
        return {size.name: size.replicas for size in active}
    # The larger takes its part first; among equals the newer when growing and the older when shrinking.
    in_order = list(active) if to_add > 0 else list(reversed(active))
    in_order.sort(key=lambda size: -size.replicas)
    sizes: dict[str, int] = {}
    added = 0
    for size in in_order:
        part = _part(wishes, size, deployment_total)
        part = min(part, to_add - added) if to_add > 0 else max(part, to_add - added)
        sizes[size.name] = size.replicas + part
        added += part
    largest = in_order[0].name
    sizes[largest] = max(0, sizes[largest] + to_add - added)
    return sizes


def _part(wishes: Wishes, size: Size, deployment_total: int) -> int:
    if wishes.replicas == 0:
        return -size.replicas
    before = size.total_max_before or deployment_total
    if before == 0:
        return 0
    return _round_half_away(size.replicas * wishes.total_max / before) - size.replicas


def _round_half_away(number: float) -> int:
    return math.floor(number + 0.5) if number >= 0 else math.ceil(number - 0.5)
