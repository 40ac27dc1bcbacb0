"""Why a request was lost: exactly one cause per error, decided from measured times, or `unknown`.

The pod is found by source port where the data plane told of connections, by address where the request went to a pod
itself, else among the pods that could have got it at that moment. A cause is named only where the times bear it out;
candidates that disagree and are equally near give `unknown`, never a guess.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

import msgspec

from segue.load.outcome import Outcome
from segue.load.record import Record
from segue.model.timeline import Happening, What
from segue.proof.timeline import SLACK_S, PodStory, Span, Timeline

# An exit is observed by the process that waits for it; the sockets have gone a little earlier.
EXIT_LAG_S = 0.25
# Two explanations count as equally near unless one is this much nearer than the other.
NEARER = 3.0


class CauseKind(StrEnum):
    """The closed set of causes; each has a section in docs/reference/causes.md."""

    LISTENER_CLOSED_FIRST = "listener-closed-first"
    QUEUE_RESET = "accept-queue-reset"
    ENDED_WITH_WORK = "ended-with-work"
    KILLED = "killed"
    CRASHED = "crashed"
    LIVENESS_KILL = "liveness-kill"
    READY_TOO_EARLY = "ready-before-listening"
    ADDRESS_GONE = "address-gone"
    NO_ENDPOINT = "no-endpoint"
    KEEP_ALIVE_RACE = "keep-alive-race"
    OVERLOAD = "overload"
    WRONG_ANSWER = "wrong-answer"
    LOOKUP_FAILED = "lookup-failed"
    OWN_FAULT = "own-fault"
    UNKNOWN = "unknown"


class ToldBy(StrEnum):
    """How the pod of an error was found."""

    FLOW = "flow"  # the data plane told the pod of this very source port
    ADDRESS = "address"  # the request went to the pod's own address
    TIME = "time"  # the only kind of explanation among the pods that could have got it
    CLIENT = "client"  # the client's own socket says it all


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """One cause with its evidence. `pod` is "" where no single pod is to blame."""

    kind: CauseKind
    pod: str = ""
    told_by: ToldBy = ToldBy.CLIENT
    evidence: tuple[Happening, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """An error and its cause."""

    record: Record
    cause: Cause


@dataclass(frozen=True, slots=True, kw_only=True)
class _Finding:
    """What one pod's story says about an error; `distance_s` from the deciding happening to the error."""

    kind: CauseKind
    distance_s: float
    evidence: tuple[Happening | None, ...]


def explain_all(records: Iterable[Record], timeline: Timeline) -> list[Explained]:
    """Every record that is not OK, with its cause."""
    return [
        Explained(record=record, cause=explain(record, timeline))
        for record in records
        if record.outcome is not Outcome.OK
    ]


def explain(record: Record, timeline: Timeline) -> Cause:
    """The one cause of an error."""
    assert record.outcome is not Outcome.OK, "an answered request needs no cause"
    match record.outcome:
        case Outcome.OWN_FAULT:
            return Cause(kind=CauseKind.OWN_FAULT)
        case Outcome.NEVER_SENT:
            return Cause(kind=CauseKind.OVERLOAD)
        case Outcome.LOOKUP_FAILED:
            return Cause(kind=CauseKind.LOOKUP_FAILED)
        case _:
            pass
    flow = timeline.flow_of(record)
    if flow is not None:
        story = timeline.pod_at(str(flow.data.get("ip", "")), flow.at_s)
        if story is not None:
            return _of_pod(record, story, ToldBy.FLOW, flow)
    story = timeline.pod_at(record.remote_ip, record.opened_s)
    if story is not None:
        return _of_pod(record, story, ToldBy.ADDRESS, None)
    return _by_time(record, timeline)


def _of_pod(record: Record, story: PodStory, told_by: ToldBy, flow: Happening | None) -> Cause:
    finding = _judge(_as_the_pod_met_it(record, flow), story)
    if finding is None:
        return Cause(kind=CauseKind.UNKNOWN, pod=story.pod, told_by=told_by, evidence=_rows(flow))
    return Cause(kind=finding.kind, pod=story.pod, told_by=told_by, evidence=_rows(*finding.evidence, flow))


def _as_the_pod_met_it(record: Record, flow: Happening | None) -> Record:
    """The error at the pod's own door. A proxy completes the client's handshake before it asks the pod for one: where
    that failed, the client saw a reset, a little later, of what the pod had refused."""
    met = _MET.get(str(flow.data.get("error", ""))) if flow is not None else None
    if flow is None or met is None:
        return record
    done_s = flow.at_s if met is Outcome.CONNECT_REFUSED else record.done_s
    return msgspec.structs.replace(record, outcome=met, opened_s=flow.at_s, sent_s=0.0, done_s=done_s)


def _by_time(record: Record, timeline: Timeline) -> Cause:
    """Nobody told the pod: ask every pod that could have got the connection, and agree or give up."""
    if record.outcome in _CONNECTING and not timeline.routable(record.opened_s):
        ends = [row for story in timeline.stories.values() if (row := story.rule_over(0.0)) is not None]
        before = [row for row in ends if row.at_s <= record.done_s]
        last = max(before, key=lambda row: row.at_s, default=None)
        return Cause(kind=CauseKind.NO_ENDPOINT, told_by=ToldBy.TIME, evidence=_rows(last))
    found = [
        (finding, story)
        for story in timeline.candidates(record.opened_s)
        if (finding := _judge(record, story)) is not None
    ]
    found.sort(key=lambda pair: pair[0].distance_s)
    if not found:
        return Cause(kind=CauseKind.UNKNOWN, told_by=ToldBy.TIME)
    finding, story = found[0]
    rivals = [other for other, _ in found if other.kind is not finding.kind]
    if rivals and rivals[0].distance_s < NEARER * finding.distance_s + SLACK_S:
        rows = _rows(*finding.evidence, *rivals[0].evidence)
        return Cause(kind=CauseKind.UNKNOWN, told_by=ToldBy.TIME, evidence=rows)
    pod = "" if finding.kind in _NOBODYS and len(found) > 1 else story.pod
    return Cause(kind=finding.kind, pod=pod, told_by=ToldBy.TIME, evidence=_rows(*finding.evidence) if pod else ())


_MET = {
    "ECONNREFUSED": Outcome.CONNECT_REFUSED,
    "ECONNRESET": Outcome.CONNECT_RESET,
    "ETIMEDOUT": Outcome.CONNECT_TIMEOUT,
    "EHOSTUNREACH": Outcome.UNREACHABLE,
    "ENETUNREACH": Outcome.UNREACHABLE,
}
_CONNECTING = frozenset({Outcome.CONNECT_REFUSED, Outcome.CONNECT_RESET, Outcome.CONNECT_TIMEOUT, Outcome.UNREACHABLE})
# Causes that every living pod could have brought about: without a flow, no single one is named.
_NOBODYS = frozenset({CauseKind.OVERLOAD, CauseKind.WRONG_ANSWER, CauseKind.KEEP_ALIVE_RACE})
# Where every pod could have caused it, a pod whose story has a death at that moment is always the nearer one.
_FAR_S = 60.0


def _judge(record: Record, story: PodStory) -> _Finding | None:
    """What this pod's story says, None where it does not explain the error."""
    match record.outcome:
        case Outcome.BAD_STATUS | Outcome.BAD_ANSWER:
            return _Finding(kind=CauseKind.WRONG_ANSWER, distance_s=_FAR_S, evidence=())
        case Outcome.CONNECT_REFUSED | Outcome.CONNECT_RESET:
            return _address_gone(record, story) or _nobody_listened(record, story)
        case Outcome.CONNECT_TIMEOUT | Outcome.UNREACHABLE:
            return _address_gone(record, story) or _nobody_accepted(record, story)
        case Outcome.READ_TIMEOUT:
            return _address_gone(record, story) or _overload(record, story)
        case Outcome.RESET_BEFORE_ANSWER | Outcome.EMPTY_ANSWER | Outcome.RESET_IN_ANSWER | Outcome.SHORT_ANSWER:
            return _cut(record, story)
        case Outcome.STREAM_REFUSED | Outcome.STREAM_RESET | Outcome.STREAM_ENDED:
            return _cut(record, story)
        case Outcome.OK | Outcome.OWN_FAULT | Outcome.NEVER_SENT | Outcome.LOOKUP_FAILED:
            return None


# -- no connection ---------------------------------------------------------------------------------------------------


def _address_gone(record: Record, story: PodStory) -> _Finding | None:
    """The pod's network had been taken away while something still pointed to it."""
    hung = record.outcome is Outcome.READ_TIMEOUT
    waited = hung or record.outcome is Outcome.CONNECT_TIMEOUT
    # Nobody answers (or refuses) a SYN that left after the network had gone; a hung answer was overtaken by its going.
    # A refusal needs somebody who refuses: without a clear order of times it speaks for a closed listener.
    slack_s = SLACK_S if waited or record.outcome is Outcome.UNREACHABLE else 0.0
    gone = story.sandbox_gone((record.done_s if hung else record.opened_s) + slack_s)
    if gone is None and slack_s and not hung:
        # Nobody told of the removal. A network that is still there refuses once its process has ended.
        gone = story.last(What.CONTAINER_EXITED, record.opened_s)
        if gone is None or story.first(What.CONTAINER_STARTED, gone.at_s, record.opened_s) or not _deleted(story, gone):
            return None
    if gone is None:
        return None
    if hung and story.first(What.CONTAINER_EXITED, record.opened_s - SLACK_S, gone.at_s - SLACK_S):
        return None  # the process ended while its network was still there: the client would have been told
    return _Finding(
        kind=CauseKind.ADDRESS_GONE,
        distance_s=abs(record.done_s - gone.at_s),
        evidence=(story.last(What.POD_DELETION_SET), gone, story.rule_over(gone.at_s)),
    )


def _nobody_listened(record: Record, story: PodStory) -> _Finding | None:
    at_s = record.done_s
    opened = [span for span in story.listeners if span.begin.at_s <= at_s + SLACK_S]
    if not opened:
        return _too_early(story, at_s, after_s=0.0)
    span = opened[-1]
    if span.end is None or at_s < span.earliest_end_s - SLACK_S:
        if span.begin.at_s >= record.opened_s - SLACK_S:  # it opened while we tried
            return _too_early(story, at_s, after_s=opened[-2].end_s if len(opened) > 1 else 0.0)
        return _closed_unseen(story, span, at_s)
    again = story.first(What.POD_READY, span.end_s + SLACK_S, at_s) or story.first(
        What.RULE_ADDED, span.end_s + SLACK_S, at_s
    )
    if again is not None and (
        story.first(What.CONTAINER_STARTED, span.end_s - SLACK_S, at_s) or story.first(What.LISTENER_OPENED, at_s)
    ):
        return _too_early(story, at_s, after_s=span.end_s)
    return _closed(story, span, at_s, CauseKind.LISTENER_CLOSED_FIRST)


def _closed_unseen(story: PodStory, span: Span, at_s: float) -> _Finding | None:
    """It refused, so its listener had closed, although nobody told of that: SIGTERM before it is what closes one."""
    term = story.last(What.SIGTERM_SENT, at_s + SLACK_S, span.begin.at_s) or story.last(
        What.POD_DELETION_SET, at_s, span.begin.at_s
    )
    if term is None:
        return None
    living = _liveness(story, span.begin.at_s, at_s) is None and _deleted(story, term)
    kind = CauseKind.LISTENER_CLOSED_FIRST if living else CauseKind.LIVENESS_KILL
    evidence = (*_prelude(story, at_s), term, story.rule_over(term.at_s))
    return _Finding(kind=kind, distance_s=abs(at_s - term.at_s), evidence=evidence)


def _too_early(story: PodStory, at_s: float, *, after_s: float) -> _Finding | None:
    """It got traffic, so it counted as ready, but nothing listened yet."""
    ready = story.last(What.POD_READY, at_s + SLACK_S) or story.last(What.RULE_ADDED, at_s + SLACK_S)
    if ready is None:
        return None
    listening = story.first(What.LISTENER_OPENED, after_s + SLACK_S if after_s else 0.0)
    started = story.last(What.CONTAINER_STARTED, at_s + SLACK_S)
    return _Finding(
        kind=CauseKind.READY_TOO_EARLY, distance_s=abs(at_s - ready.at_s), evidence=(started, ready, listening)
    )


def _nobody_accepted(record: Record, story: PodStory) -> _Finding | None:
    """The SYN got no answer although the pod has its network: its queue is full."""
    return _overload(record, story) if record.outcome is Outcome.CONNECT_TIMEOUT else None


def _overload(record: Record, story: PodStory) -> _Finding | None:
    # A handshake that was completed, or a SYN that a living pod did not refuse, found a listener: none need be told of.
    gone = story.first(What.CONTAINER_EXITED, story.happenings[0].at_s, record.opened_s)
    back = gone is not None and story.first(What.CONTAINER_STARTED, gone.at_s, record.opened_s) is not None
    listening = any(span.holds(record.opened_s) for span in story.listeners) or gone is None or back
    return _Finding(kind=CauseKind.OVERLOAD, distance_s=_FAR_S, evidence=()) if listening else None


# -- a connection that broke -----------------------------------------------------------------------------------------


def _cut(record: Record, story: PodStory) -> _Finding | None:
    """Connected, then reset or closed: by a death, by a closing listener (N1), or as an idle connection (N5)."""
    begin_s = record.sent_s or record.opened_s
    died = story.first(What.CONTAINER_EXITED, begin_s - SLACK_S, record.done_s + EXIT_LAG_S) or story.first(
        What.SIGKILL_SENT, begin_s - SLACK_S, record.done_s + SLACK_S
    )
    idle = record.reused and record.bytes_in == 0
    if died is not None:
        ended = _end_of_run(story, died.at_s)
        orderly = ended is CauseKind.ENDED_WITH_WORK
        # A process that ends on SIGTERM resets what waits to be accepted (N1) but closes in order what it had read
        # (N7): so RST, with the listener's end inside the request's life, speaks of the queue.
        queued = orderly and record.outcome is Outcome.RESET_BEFORE_ANSWER and _closing(record, story) is not None
        if not (orderly and (idle or queued)):
            return _Finding(
                kind=ended,
                distance_s=abs(record.done_s - died.at_s),
                evidence=(*_prelude(story, died.at_s), died),
            )
    if idle:
        term = story.last(What.SIGTERM_SENT, record.done_s + SLACK_S)
        return _Finding(kind=CauseKind.KEEP_ALIVE_RACE, distance_s=_FAR_S, evidence=(term,))
    span = _closing(record, story)
    if span is not None:
        # A closing listener resets; who closes in order had read the request, and ended although nobody told of it.
        reset = record.outcome in (Outcome.RESET_BEFORE_ANSWER, Outcome.RESET_IN_ANSWER)
        kind = CauseKind.QUEUE_RESET if reset else CauseKind.ENDED_WITH_WORK
        return _closed(story, span, record.done_s, kind)
    term = story.first(What.SIGTERM_SENT, record.opened_s - SLACK_S, record.done_s + SLACK_S)
    if term is not None and record.outcome is Outcome.RESET_BEFORE_ANSWER:  # as its listener would, had it been seen
        evidence = (*_prelude(story, term.at_s), term)
        return _Finding(kind=CauseKind.QUEUE_RESET, distance_s=abs(record.done_s - term.at_s), evidence=evidence)
    gone = story.first(What.SANDBOX_REMOVED, begin_s - SLACK_S, record.done_s + SLACK_S)
    if gone is not None:
        return _Finding(kind=CauseKind.ADDRESS_GONE, distance_s=record.done_s - gone.at_s, evidence=(gone,))
    return None


def _closing(record: Record, story: PodStory) -> Span | None:
    """A listener of the pod that may have closed while this connection was waiting for it."""
    for span in reversed(story.listeners):
        if (
            span.end is not None
            and record.opened_s <= span.end_s + SLACK_S
            and span.earliest_end_s <= record.done_s + SLACK_S
        ):
            return span
    return None


# -- why a listener or a process ended -------------------------------------------------------------------------------


def _closed(story: PodStory, span: Span, at_s: float, orderly: CauseKind) -> _Finding:
    """A listener that had closed: `orderly` where SIGTERM made it, else the death that took it."""
    assert span.end is not None, "only a closed listener explains anything"
    kind = _end_of_listener(story, span)
    if kind is CauseKind.ENDED_WITH_WORK:  # here: SIGTERM came first; whether the process lived on is no matter
        kind = orderly
    closed = span.end
    exited = story.first(What.CONTAINER_EXITED, span.earliest_end_s - EXIT_LAG_S, at_s + EXIT_LAG_S)
    over = story.rule_over(span.earliest_end_s)
    return _Finding(
        kind=kind,
        distance_s=abs(at_s - closed.at_s),
        evidence=(*_prelude(story, closed.at_s), closed, exited, over),
    )


def _end_of_listener(story: PodStory, span: Span) -> CauseKind:
    """Which death or order closed a listener; ENDED_WITH_WORK stands for "SIGTERM did"."""
    assert span.end is not None, "only a closed listener has an end"
    begun_s, closed_s = span.begin.at_s, span.end_s
    if _liveness(story, begun_s, closed_s) is not None:
        return CauseKind.LIVENESS_KILL
    term = story.last(What.SIGTERM_SENT, closed_s + SLACK_S, begun_s)
    exited = story.first(What.CONTAINER_EXITED, span.earliest_end_s - EXIT_LAG_S, closed_s + EXIT_LAG_S)
    if exited is None:
        killed = story.first(What.SIGKILL_SENT, span.earliest_end_s - SLACK_S, closed_s + SLACK_S)
        if killed is not None:
            return CauseKind.KILLED
        deleted = story.last(What.POD_DELETION_SET, closed_s + SLACK_S, begun_s)
        if term is not None and not _deleted(story, span.end):
            return CauseKind.LIVENESS_KILL
        return CauseKind.ENDED_WITH_WORK if term or deleted else CauseKind.UNKNOWN
    kind = _end_of_run(story, exited.at_s)
    killed = story.last(What.SIGKILL_SENT, exited.at_s + SLACK_S, begun_s)
    if term is not None and kind is CauseKind.KILLED and killed and span.earliest_end_s < killed.at_s - SLACK_S:
        return CauseKind.ENDED_WITH_WORK  # closed in order on SIGTERM, killed only later
    return kind


def _end_of_run(story: PodStory, exited_s: float) -> CauseKind:
    """Why a container's process ended."""
    exited = story.last(What.CONTAINER_EXITED, exited_s) or story.last(What.SIGKILL_SENT, exited_s)
    assert exited is not None, "asked about an end that was recorded"
    started = story.last(What.CONTAINER_STARTED, exited_s)
    begun_s = started.at_s if started else 0.0
    if _liveness(story, begun_s, exited_s) is not None:
        return CauseKind.LIVENESS_KILL
    killed = story.last(What.SIGKILL_SENT, exited_s + SLACK_S, begun_s) is not None
    if killed or exited.data.get("signal") == 9 or exited.data.get("exit_code") == 137:
        return CauseKind.KILLED
    if story.last(What.SIGTERM_SENT, exited_s + SLACK_S, begun_s) is not None:
        # The node sends one for a deletion or for a probe that failed; nothing told of the former.
        return CauseKind.ENDED_WITH_WORK if _deleted(story, exited) else CauseKind.LIVENESS_KILL
    if exited.data.get("exit_code") in (0, 143) and _deleted(story, exited):  # nobody told of the SIGTERM it obeyed
        return CauseKind.ENDED_WITH_WORK
    return CauseKind.CRASHED


def _deleted(story: PodStory, end: Happening) -> bool:
    """Whether its pod was on its way out when it ended: told, or seen by what follows of a deletion."""
    if any(story.last(what) is not None for what in (What.POD_DELETION_SET, What.POD_REMOVED, What.SANDBOX_REMOVED)):
        return True
    if story.last(What.POD_CREATED) is None and story.last(What.ENDPOINT_ADDED) is None:
        return True  # the API told nothing of this pod: that it is silent about a deletion says nothing
    if story.last(What.CONTAINER_EXITED) is None and story.last(What.RULE_REMOVED) is not None:
        return True  # what is only restarted keeps its rule until its exit is seen
    # An endpoint leaves before the end of a pod that is deleted, and after that of one that is only restarted.
    left = story.last(What.ENDPOINT_REMOVED, end.at_s - 2 * SLACK_S)
    return left is not None and story.first(What.ENDPOINT_ADDED, left.at_s) is None


def _liveness(story: PodStory, begun_s: float, until_s: float) -> Happening | None:
    """The liveness failure that ended this run of the container; a deletion that came first takes precedence."""
    failed = story.last(What.LIVENESS_FAILED, until_s + SLACK_S, begun_s)
    deleted = story.first(What.POD_DELETION_SET)
    if failed is None or (deleted is not None and deleted.at_s < failed.at_s):
        return None
    return failed


def _prelude(story: PodStory, until_s: float) -> tuple[Happening | None, ...]:
    """What led up to an end: the same run's liveness failure, deletion and signals."""
    started = story.last(What.CONTAINER_STARTED, until_s)
    begun_s = started.at_s if started else 0.0
    wanted = (What.LIVENESS_FAILED, What.POD_DELETION_SET, What.SIGTERM_SENT, What.SIGKILL_SENT)
    return tuple(story.last(what, until_s + SLACK_S, begun_s) for what in wanted)


def _rows(*rows: Happening | None) -> tuple[Happening, ...]:
    """The evidence that there is, once each, in order of time."""
    kept: list[Happening] = []
    for row in rows:
        if row is not None and row not in kept:
            kept.append(row)
    return tuple(sorted(kept, key=lambda row: row.at_s))
