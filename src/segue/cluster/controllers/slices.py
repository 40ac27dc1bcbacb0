"""How endpoints of one port set are laid into slices: what is there stays where it is, and few slices change.

Pure lists in, pure lists out; the order within a slice is the order of coming.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from segue.model.objects import Obj

FULL = 100  # endpoints of one slice


@dataclass(frozen=True, slots=True, kw_only=True)
class Filled:
    """The endpoints of the slices that stay, by name, and of those to be made; a slice that is missing is to go."""

    slices: Mapping[str, list[Obj]]
    more: Sequence[list[Obj]]


def fill(existing: Sequence[tuple[str, Sequence[Obj]]], wanted: Sequence[Obj]) -> Filled:
    """Keep endpoints in their slice with their newest state, then put new ones where something changes anyway."""
    waiting = {_identity(endpoint): endpoint for endpoint in wanted}
    slices: dict[str, list[Obj]] = {}
    touched: list[str] = []
    for name, endpoints in existing:
        kept = [found for old in endpoints for found in [waiting.pop(_identity(old), None)] if found is not None]
        slices[name] = kept
        if kept != list(endpoints):
            touched.append(name)
    rest = list(waiting.values())
    # A slice that is written anyway takes new endpoints first; else the fullest one with room for all of them.
    for name in touched:
        rest = _pour(slices[name], rest)
    if rest:
        untouched = [name for name, _ in existing if name not in touched]
        roomy = [name for name in untouched if FULL - len(slices[name]) >= len(rest)]
        if roomy:
            rest = _pour(slices[max(roomy, key=lambda name: len(slices[name]))], rest)
    more = [rest[start : start + FULL] for start in range(0, len(rest), FULL)]
    return Filled(slices={name: endpoints for name, endpoints in slices.items() if endpoints}, more=more)


def _pour(into: list[Obj], rest: list[Obj]) -> list[Obj]:
    room = FULL - len(into)
    into.extend(rest[:room])
    return rest[room:]


def _identity(endpoint: Obj) -> tuple[str, ...]:
    target = endpoint.get("targetRef") or {}
    return (
        *endpoint["addresses"],
        endpoint.get("hostname", ""),
        endpoint.get("nodeName", ""),
        target.get("namespace", ""),
        target.get("uid", ""),
    )
