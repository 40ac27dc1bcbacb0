"""What a Deployment's spec asks for, in numbers (D1, D2)."""

from __future__ import annotations

from dataclasses import dataclass

from segue.model.objects import Obj

INT32_MAX = 2**31 - 1  # as progress deadline or history limit it means "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """A Deployment's spec in numbers; `surge` and `unavailable` are whole pods, 0 where nothing rolls."""

    replicas: int
    surge: int
    unavailable: int
    rolling: bool
    paused: bool
    min_ready_s: int
    deadline_s: int | None
    history_limit: int | None

    @property
    def available_min(self) -> int:
        """How many pods must stay available (D6)."""
        return self.replicas - self.unavailable

    @property
    def total_max(self) -> int:
        """How many pods all ReplicaSets together may want (D3)."""
        return self.replicas + self.surge


def wishes_of(deployment: Obj) -> Wishes:
    """The numbers of a spec, with Kubernetes' defaults where a field is absent (D1)."""
    spec = deployment["spec"]
    strategy = spec.get("strategy") or {}
    rolling = strategy.get("type", "RollingUpdate") == "RollingUpdate"
    rules = strategy.get("rollingUpdate") or {}
    replicas = _number(spec.get("replicas"), 1)
    surge, unavailable = fenceposts(rules.get("maxSurge", "25%"), rules.get("maxUnavailable", "25%"), replicas)
    deadline_s = _number(spec.get("progressDeadlineSeconds"), 600)
    history_limit = _number(spec.get("revisionHistoryLimit"), 10)
    return Wishes(
        replicas=replicas,
        surge=surge if rolling else 0,
        unavailable=min(unavailable, replicas) if rolling else 0,
        rolling=rolling,
        paused=bool(spec.get("paused")),
        min_ready_s=spec.get("minReadySeconds") or 0,
        deadline_s=None if deadline_s == INT32_MAX else deadline_s,
        history_limit=None if history_limit == INT32_MAX else history_limit,
    )


def fenceposts(max_surge: int | str, max_unavailable: int | str, replicas: int) -> tuple[int, int]:
    """Surge rounded up and unavailable rounded down; if both come out as 0, unavailable becomes 1 (D2)."""
    surge = _share(max_surge, replicas, up=True)
    unavailable = _share(max_unavailable, replicas, up=False)
    if surge == 0 and unavailable == 0:
        unavailable = 1
    return surge, unavailable


def _share(amount: int | str, replicas: int, *, up: bool) -> int:
    if isinstance(amount, int):
        return amount
    percent = int(amount.removesuffix("%"))
    return -(-percent * replicas // 100) if up else percent * replicas // 100


def _number(value: int | None, default: int) -> int:
    return default if value is None else value
