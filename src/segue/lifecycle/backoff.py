"""When a container that exited may start again (L5): the first restart at once, then 10 s doubling to 300 s.

An exit code of 0 makes no difference (L6). A container that ran long enough has its past forgotten.
"""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class BackoffRules:
    """The numbers; the defaults are the kubelet's."""

    base_s: float = 10.0
    cap_s: float = 300.0
    forget_after_s: float = 600.0

    def __post_init__(self) -> None:
        assert self.base_s >= 0
        assert self.cap_s >= self.base_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """One container's past: `delay_s` is what its next exit will cost, counted from that exit."""

    delay_s: float = 0.0
    restarted_s: float = 0.0


def restart_at_s(backoff: Backoff, rules: BackoffRules, exited_s: float) -> float:
    """The moment from which a container that exited then may start again."""
    if _is_forgotten(backoff, rules, exited_s):
        return exited_s
    return exited_s + backoff.delay_s


def restarted(backoff: Backoff, rules: BackoffRules, *, exited_s: float, now_s: float) -> Backoff:
    """The past after a restart now."""
    if backoff.delay_s == 0 or _is_forgotten(backoff, rules, exited_s):
        return Backoff(delay_s=rules.base_s, restarted_s=now_s)
    return replace(backoff, delay_s=min(backoff.delay_s * 2, rules.cap_s), restarted_s=now_s)


def _is_forgotten(backoff: Backoff, rules: BackoffRules, exited_s: float) -> bool:
    return exited_s - backoff.restarted_s > rules.forget_after_s
