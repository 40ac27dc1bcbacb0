"""What commands about releases share: who drives, what an end means, the receipt and where it is kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from segue import __version__
from segue.drain.judge import Policy
from segue.drive.driver import Driver
from segue.drive.loop import Outcome
from segue.host.performing import CLOCK, holder_is_gone, identity
from segue.host.receipts import keep, receipts_dir
from segue.model.errors import Conflict, Refused, Unfinished, UsageError
from segue.model.objects import Obj, rfc3339_micro
from segue.proof.raw import Raw
from segue.proof.receipt import ActionEntry, Case, EndReason, PodEnd
from segue.release.decision import Done, Stopped
from segue.release.plan import USUAL_CAP_S, Approach


def driver(
    *,
    cap_s: float | None,
    timeout_s: float | None,
    sampler_image: str = "",
    approach: Approach | None = None,
    outbound: bool = False,
) -> Driver:
    """The driver of this process. A cap below the propagation time shortens that, too."""
    asked = approach or Approach()
    said = cap_s is not None
    cap_s = cap_s if cap_s is not None else USUAL_CAP_S.get(asked.strategy, Policy().cap_s)
    if cap_s < 2:
        raise UsageError(f"--drain-cap {cap_s:g}: must be at least 2 s, the shortest proof of quiet")
    if timeout_s is not None and timeout_s <= 0:
        raise UsageError(f"--timeout {timeout_s:g}: must be above 0 s")
    policy = Policy(cap_s=cap_s, timer_s=min(Policy().timer_s, cap_s), outgoing=outbound)
    asked = replace(asked, policy=policy, cap_said=said, timeout_s=timeout_s)
    return Driver(me=identity(), holder_is_gone=holder_is_gone, approach=asked, sampler_image=sampler_image)


def check_end(outcome: Outcome) -> str:
    """The message of a good end; a stopped one is raised as what it is."""
    match outcome.end:
        case Done(message=message):
            return message
        case Stopped(error=error, message=message, remedy=remedy):
            kinds = {"conflict": Conflict, "refused": Refused, "unfinished": Unfinished}
            raise kinds[error](message, remedy=remedy)


def raw_of(asked: Obj, outcome: Outcome, *, title: str) -> Raw:
    """The raw record of one run, without a load: its receipt says nothing about requests."""
    journal = outcome.journal
    began_s = journal.actions[0].at_s if journal.actions else outcome.began_s
    case = Case(
        title=title,
        asked=asked,
        zero_s=outcome.began_s,
        exposure=(began_s, max(began_s, outcome.ended_s)),
        tool_version=__version__,
        end=_end_of(outcome),
        end_message=outcome.end.message,
        actions=tuple(
            ActionEntry(
                at_s=entry.at_s,
                action=entry.action,
                because=entry.because,
                barrier=entry.barrier,
                evidence=entry.evidence,
            )
            for entry in journal.actions
        ),
        pods=tuple(
            PodEnd(
                pod=end.pod,
                version=end.version,
                reason=EndReason(end.reason),
                at_s=end.at_s,
                evidence_source=end.evidence_source,
                because=end.because,
            )
            for end in journal.ends
        ),
    )
    return Raw(case=case, happenings=journal.seen.rows)


def _end_of(outcome: Outcome) -> str:
    match outcome.end:
        case Done(held=held):
            return "held" if held else "done"
        case Stopped(error=error):
            return error


def keep_receipt(raw: Raw, name: str) -> tuple[Path, Obj]:
    """Keep a receipt and its record among the receipts of this user; where it lies now."""
    stamp = rfc3339_micro(CLOCK.now_s()).replace(":", "").replace("-", "")[:15]
    target = receipts_dir() / f"{name}-{stamp}.json"
    number = 2
    while target.exists():  # several workloads of one release end within one second
        target = target.with_name(f"{name}-{stamp}-{number}.json")
        number += 1
    return target, keep([raw], target)[0]
