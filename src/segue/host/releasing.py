"""What commands about releases share: who drives, what an end means, the receipt and where it is kept."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import msgspec

from segue import __version__
from segue.drain.judge import Policy
from segue.drive.driver import Driver
from segue.drive.loop import Outcome
from segue.host.performing import CLOCK, holder_is_gone, identity
from segue.host.state import state_dir
from segue.model.errors import Conflict, Refused, Unfinished, UsageError
from segue.model.objects import Obj, rfc3339_micro
from segue.proof.receipt import ActionEntry, Case, EndReason, PodEnd, receipt
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


def receipt_of(asked: Obj, outcome: Outcome, *, title: str) -> Obj:
    """The receipt of one run, without a load: nothing is said about requests."""
    journal = outcome.journal
    began_s = journal.actions[0].at_s if journal.actions else outcome.began_s
    case = Case(
        title=title,
        asked=asked,
        zero_s=outcome.began_s,
        exposure=(began_s, max(began_s, outcome.ended_s)),
        tool_version=__version__,
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
            )
            for end in journal.ends
        ),
    )
    return receipt(case, (), ())


def write_receipt(document: Obj, name: str, path: str = "") -> Path:
    """Keep a receipt: at `path`, else among the receipts of this user."""
    stamp = rfc3339_micro(CLOCK.now_s()).replace(":", "").replace("-", "")[:15]
    target = Path(path) if path else state_dir("receipts") / f"{name}-{stamp}.json"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        fresh = target.with_name(target.name + ".new")
        fresh.write_bytes(msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n")
        fresh.replace(target)
    except OSError as error:
        with suppress(OSError):
            target.with_name(target.name + ".new").unlink()
        raise UsageError(f"the receipt cannot be written to {target}: {error.strerror}") from error
    return target
