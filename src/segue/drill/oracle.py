"""What a drill expects, and whether a receipt bears it out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from segue.model.objects import Obj
from segue.proof.causes import CauseKind


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectsNone:
    """No request is lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectsErrors:
    """Requests are lost: that is what the drill shows."""

    at_least: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectsCause:
    """Requests are lost to this cause, among others perhaps: a fault rarely comes alone."""

    cause: CauseKind


Oracle: TypeAlias = ExpectsNone | ExpectsErrors | ExpectsCause


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """Whether the oracle holds, and in which words."""

    holds: bool
    lost_against_none: bool  # requests were lost where none may be
    words: str


def judge(oracle: Oracle, receipt: Obj) -> Judgement:
    """Hold a receipt against what was expected."""
    # What was lost outside the exposure was lost all the same; only the bound looks at the exposure alone.
    sent, lost = int(receipt["sent"]), int(receipt["lost"]) + int(receipt["lostOutsideExposure"])
    if not sent:
        return Judgement(holds=False, lost_against_none=False, words="no request was sent, so nothing was shown")
    match oracle:
        case ExpectsNone():
            words = "as expected, nothing was lost" if not lost else f"none may be lost, but {lost:,} were"
            return Judgement(holds=not lost, lost_against_none=bool(lost), words=words)
        case ExpectsErrors(at_least=least):
            if least == 0:
                return Judgement(holds=True, lost_against_none=False, words=f"{lost:,} lost; any number may be")
            holds = lost >= least
            words = f"as expected, requests were lost ({lost:,})" if holds else f"{least} errors expected, {lost} seen"
            return Judgement(holds=holds, lost_against_none=False, words=words)
        case ExpectsCause(cause=cause):
            found = {str(row["cause"]): int(row["count"]) for row in receipt["causes"]}
            holds = cause.value in found
            seen = ", ".join(found) or "none"
            words = f"as expected: {cause} ({found.get(cause.value, 0):,})"
            words = words if holds else f"the cause {cause} was expected, seen: {seen}"
            return Judgement(holds=holds, lost_against_none=False, words=words)
