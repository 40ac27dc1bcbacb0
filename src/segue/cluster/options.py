"""How to write: what a call's query says, as values. Never decides what they come to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from segue.model.objects import Obj

FieldValidation: TypeAlias = Literal["Ignore", "Warn", "Strict"]
Subresource: TypeAlias = Literal["", "status", "scale", "finalize"]


def _silent(_: str) -> None:
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to write. `warn` hears what field validation only warns of.

    `manager` is who will own what the call changes; None is the server itself, which owns nothing. `entries` say who
    owns what where an apply has found that out already.
    """

    dry_run: bool = False
    fields: FieldValidation = "Ignore"
    warn: Callable[[str], None] = _silent
    manager: str | None = None
    entries: Sequence[Obj] | None = None
    user: Obj | None = None
    asked: Obj | None = None  # the options as the caller wrote them, which policies may look at


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """A patch: its content type and its parsed body; `force` takes other appliers' fields."""

    content_type: str
    body: Obj | Sequence[Obj]
    force: bool = False


DEFAULT_OPTIONS = Options()


def options_of(program: str | None) -> Options:
    """How one of the cluster's own programs writes."""
    if not program:
        return DEFAULT_OPTIONS
    return Options(manager=program, user={"username": f"system:{program}", "groups": ["system:authenticated"]})
