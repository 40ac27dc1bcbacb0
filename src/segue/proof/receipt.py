"""The receipt: one JSON document that says what was asked, done, sent, lost and why, and can be recomputed.

Fields are described in docs/reference/receipt.md. Only requests under way between the first action and the end of the
last old pod count (the exposure): quiet minutes before and after would only flatter the bound.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from segue.load.plan import Plan
from segue.load.record import Record
from segue.load.summary import Tally
from segue.model.objects import Obj, rfc3339_micro
from segue.model.timeline import Happening
from segue.proof.bound import lost_share_bound, say_share
from segue.proof.causes import CauseKind, Explained
from segue.proof.sentences import REMEDY, SUMMARY, sentence

FORMAT = "segue.dev/receipt/v0"
EDGE_S = 1e-5
ERRORS_MAX = 2000  # beyond this the causes table counts on and single errors are left out, and the receipt says so


class EndReason(StrEnum):
    """Why an old pod was let go."""

    QUIET = "quiet"  # measured: nobody sent to it any more
    TIMER = "timer"  # too little traffic to judge, the propagation time had passed
    CAPPED = "capped"  # it was still busy when its cap was reached
    FORCED = "forced"  # a person said so
    NATIVE = "native"  # ended by Kubernetes' own controllers, without segue


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionEntry:
    """One action of a release or drill: what, why, which barrier it waited for, and what showed that it held."""

    at_s: float
    action: str
    because: str = ""
    barrier: str = ""
    evidence: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PodEnd:
    """How one old pod ended."""

    pod: str
    version: str
    reason: EndReason
    at_s: float
    evidence_source: str = ""
    because: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Everything a receipt is made of besides the records. Times are seconds since the epoch."""

    title: str
    asked: Obj
    zero_s: float  # start of the load, or of the release where there was none: all times in the receipt count from it
    exposure: tuple[float, float]
    tool_version: str
    plan: Plan | None = None
    cluster: Obj = field(default_factory=dict)
    actions: tuple[ActionEntry, ...] = ()
    pods: tuple[PodEnd, ...] = ()
    end: str = ""  # how a release ended: done, held, conflict, refused or unfinished
    end_message: str = ""

    def __post_init__(self) -> None:
        assert self.exposure[0] <= self.exposure[1], "an exposure ends after it began"


def receipt(case: Case, records: Iterable[Record], explained: Iterable[Explained]) -> Obj:
    """The receipt of one case."""
    tally, outside = _count(case, records)
    inside = [row for row in explained if _within(case, row.record)]
    lost_rows = [row for row in inside if row.record.outcome.lost]
    sent = tally.total - tally.own_faults
    bound = lost_share_bound(tally.lost, sent) if sent else None
    begin_s, end_s = case.exposure
    summary = tally.as_json()
    return {
        "format": FORMAT,
        "tool": {"name": "segue", "version": case.tool_version},
        "title": case.title,
        "verdict": verdict(tally.lost, sent, outside),
        "end": case.end,
        "endMessage": case.end_message,
        "asked": case.asked,
        "cluster": case.cluster,
        "zeroAt": rfc3339_micro(case.zero_s),
        "exposure": {"fromS": _round(begin_s - case.zero_s), "toS": _round(end_s - case.zero_s)},
        "load": _load(case.plan),
        "sent": sent,
        "answered": summary["ok"],
        "lost": tally.lost,
        "lostOutsideExposure": outside,
        "lostShareBound95": bound,
        "ownFaults": tally.own_faults,
        "late": summary["late"],
        "outcomes": summary["outcomes"],
        "causes": _causes(lost_rows, case.zero_s),
        "unknownShare": _round(_share(lost_rows, CauseKind.UNKNOWN)),
        "errors": [_error(row, case.zero_s) for row in lost_rows[:ERRORS_MAX]],
        "errorsLeftOut": max(0, len(lost_rows) - ERRORS_MAX),
        "versions": summary["versions"],
        "seconds": summary["seconds"],
        "latencyMs": summary["latencyMs"],
        "longestGapMs": summary["longestGapMs"],
        "actions": [_action(entry, case.zero_s) for entry in case.actions],
        "pods": [_pod(end, case.zero_s) for end in case.pods],
        "record": {},
    }


def verdict(lost: int, sent: int, outside: int = 0) -> str:
    """The result in words; `outside` were lost before or after the exposure."""
    if not sent:
        return "no load was sent, so nothing is proved about losses"
    if lost or outside:
        beside = f", and {outside:,} before or after" if outside else ""
        return f"{lost:,} of {sent:,} requests were lost{beside}"
    bound = say_share(lost_share_bound(0, sent))
    return f"no request was lost: 0 of {sent:,} (fewer than {bound}, with 95 % confidence)"


def _count(case: Case, records: Iterable[Record]) -> tuple[Tally, int]:
    tally = Tally(case.zero_s, case.exposure)
    outside = 0
    for record in records:
        if _within(case, record):
            tally.add(record)
        else:
            outside += record.outcome.lost
    return tally, outside


def _within(case: Case, record: Record) -> bool:
    return counts(record, case.exposure)


def counts(record: Record, exposure: tuple[float, float]) -> bool:
    """Whether a request was under way at any time of the exposure: one that began before the first action can be lost
    by it."""
    # zeroAt is written in microseconds, so that much is granted at the edges.
    return record.planned_s <= exposure[1] + EDGE_S and record.done_s >= exposure[0] - EDGE_S


def _load(plan: Plan | None) -> Obj:
    if plan is None:
        return {}
    return {
        "url": plan.url,
        "ratePerSecond": plan.rate,
        "forS": plan.duration_s,
        "mode": plan.mode.value,
        "paths": list(plan.paths),
        "slow": plan.slow,
        "open": True,
    }


def _causes(rows: list[Explained], zero_s: float) -> list[Obj]:
    """One row per kind, the most frequent first, each with the sentence of its first error."""
    kinds: dict[CauseKind, list[Explained]] = {}
    for row in rows:
        kinds.setdefault(row.cause.kind, []).append(row)
    ranked = sorted(kinds.items(), key=lambda item: (-len(item[1]), item[0]))
    return [
        {
            "cause": kind.value,
            "count": len(found),
            "share": _round(len(found) / len(rows)),
            "what": SUMMARY[kind],
            "remedy": REMEDY[kind],
            "pods": sorted({row.cause.pod for row in found if row.cause.pod}),
            "firstS": _round(min(row.record.done_s for row in found) - zero_s),
            "lastS": _round(max(row.record.done_s for row in found) - zero_s),
            "example": sentence(found[0].record, found[0].cause, zero_s),
        }
        for kind, found in ranked
    ]


def _share(rows: list[Explained], kind: CauseKind) -> float:
    return sum(row.cause.kind is kind for row in rows) / len(rows) if rows else 0.0


def _error(row: Explained, zero_s: float) -> Obj:
    record = row.record
    return {
        "id": record.request_id,
        "atS": _round(record.done_s - zero_s),
        "outcome": record.outcome.value,
        "errno": record.errno,
        "phase": record.phase.value,
        "source": f"{record.local_ip}:{record.local_port}",
        "use": record.nth,
        "cause": row.cause.kind.value,
        "pod": row.cause.pod,
        "toldBy": row.cause.told_by.value,
        "sentence": sentence(record, row.cause, zero_s),
        "evidence": [_evidence(happening, zero_s) for happening in row.cause.evidence],
    }


def _evidence(happening: Happening, zero_s: float) -> Obj:
    return {"atS": _round(happening.at_s - zero_s), "what": happening.what.value, "pod": happening.pod}


def _action(entry: ActionEntry, zero_s: float) -> Obj:
    return {
        "atS": _round(entry.at_s - zero_s),
        "action": entry.action,
        "because": entry.because,
        "barrier": entry.barrier,
        "evidence": entry.evidence,
    }


def _pod(end: PodEnd, zero_s: float) -> Obj:
    return {
        "pod": end.pod,
        "version": end.version,
        "reason": end.reason.value,
        "atS": _round(end.at_s - zero_s),
        "evidenceSource": end.evidence_source,
        "because": end.because,
    }


def _round(value: float) -> float:
    """Microseconds: finer than anything measured here."""
    return round(value, 6)
