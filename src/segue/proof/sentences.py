"""A cause in one sentence for a person: measured times, relative to the start of the load. Never adds a guess."""

from __future__ import annotations

from segue.load.record import Record
from segue.model.timeline import Happening, What
from segue.proof.causes import Cause, CauseKind, ToldBy

SUMMARY: dict[CauseKind, str] = {
    CauseKind.LISTENER_CLOSED_FIRST: "the pod stopped listening on SIGTERM while the data plane still sent to it",
    CauseKind.QUEUE_RESET: "the closing listener reset connections that waited to be accepted",
    CauseKind.ENDED_WITH_WORK: "the process ended on SIGTERM with requests under way",
    CauseKind.KILLED: "SIGKILL ended the process with requests under way",
    CauseKind.CRASHED: "the container ended by itself",
    CauseKind.LIVENESS_KILL: "a failing liveness probe ended a container that still counted as ready",
    CauseKind.READY_TOO_EARLY: "the pod counted as ready before it listened",
    CauseKind.ADDRESS_GONE: "the pod's address was gone while the data plane still sent to it",
    CauseKind.NO_ENDPOINT: "the Service had no endpoint at all",
    CauseKind.KEEP_ALIVE_RACE: "the server closed an idle connection just as it was used again",
    CauseKind.OVERLOAD: "the pod was there but did not answer in time",
    CauseKind.WRONG_ANSWER: "the application answered with an error",
    CauseKind.LOOKUP_FAILED: "the name was not resolved",
    CauseKind.OWN_FAULT: "the load itself failed (no loss of the service)",
    CauseKind.UNKNOWN: "no measured time explains it",
}

REMEDY: dict[CauseKind, str] = {
    CauseKind.LISTENER_CLOSED_FIRST: (
        "Keep listening until the data plane has stopped: segue release waits for that; "
        "so does a preStop sleep longer than the propagation time."
    ),
    CauseKind.QUEUE_RESET: "Keep listening until nothing arrives any more, then close.",
    CauseKind.ENDED_WITH_WORK: (
        "Answer what is under way before ending, and be PID 1 (a shell does not pass SIGTERM on)."
    ),
    CauseKind.KILLED: (
        "Give terminationGracePeriodSeconds room for preStop plus the longest request, and do not shorten it."
    ),
    CauseKind.CRASHED: "Look at the container's log: kubectl logs --previous.",
    CauseKind.LIVENESS_KILL: "Let readiness fail well before liveness does; a preStop sleep does not help here.",
    CauseKind.READY_TOO_EARLY: "Let the readiness probe ask the path that serves requests.",
    CauseKind.ADDRESS_GONE: "The data plane lags behind the end of the pod: let the pod live longer than the lag.",
    CauseKind.NO_ENDPOINT: "Keep at least one ready pod behind the Service at every moment.",
    CauseKind.KEEP_ALIVE_RACE: (
        "Let the server announce `Connection: close` before it closes, and keep its idle time above the client's."
    ),
    CauseKind.OVERLOAD: "Add pods, or look for what hangs.",
    CauseKind.WRONG_ANSWER: "Look at the application's log.",
    CauseKind.LOOKUP_FAILED: "Ask what the lookup costs and who answers it: segue dns explain NAME.",
    CauseKind.OWN_FAULT: "Lower the rate, or widen net.ipv4.ip_local_port_range and the limit of open files.",
    CauseKind.UNKNOWN: "Run the drill with flows switched on.",
}


def sentence(record: Record, cause: Cause, zero_s: float) -> str:
    """Why this request was lost, in one sentence."""
    tell = _Teller(record, cause, zero_s)
    body = tell.body()
    assert body, "every cause has words"
    return body


def exit_code(exited: Happening) -> int:
    """As Kubernetes shows it: 128 + signal where a signal ended the process."""
    number = int(exited.data.get("signal") or 0)
    return 128 + number if number else int(exited.data.get("exit_code") or 0)


class _Teller:
    """Finds words for one error; all times relative to `zero_s`."""

    def __init__(self, record: Record, cause: Cause, zero_s: float) -> None:
        self._record = record
        self._cause = cause
        self._zero_s = zero_s
        self._pod = f"pod {cause.pod.rpartition('/')[2]}" if cause.pod else "the pod"

    def _row(self, what: What) -> Happening | None:
        return next((row for row in self._cause.evidence if row.what is what), None)

    def _at(self, at_s: float) -> str:
        return f"{at_s - self._zero_s:.3f} s"

    def body(self) -> str:
        """The whole sentence."""
        match self._cause.kind:
            case CauseKind.LISTENER_CLOSED_FIRST | CauseKind.QUEUE_RESET:
                return "; ".join(part for part in (self._close(), self._rule(), self._given()) if part)
            case CauseKind.KILLED | CauseKind.CRASHED | CauseKind.ENDED_WITH_WORK | CauseKind.LIVENESS_KILL:
                return "; ".join(part for part in (self._end(), self._rule(), self._request()) if part)
            case CauseKind.READY_TOO_EARLY:
                return f"{self._early()}; {self._request()}"
            case CauseKind.ADDRESS_GONE:
                gone = self._row(What.SANDBOX_REMOVED)
                when = f" at {self._at(gone.at_s)}" if gone else ""
                return "; ".join(
                    part
                    for part in (f"the network of {self._pod} was removed{when}", self._rule(), self._request())
                    if part
                )
            case CauseKind.NO_ENDPOINT:
                last = self._row(What.RULE_REMOVED)
                since = f" since {self._at(last.at_s)}" if last else ""
                return f"no pod stood behind the Service{since}, so the data plane rejected it; {self._request()}"
            case CauseKind.KEEP_ALIVE_RACE:
                return f"{self._race()}; {self._request()}"
            case CauseKind.OVERLOAD:
                return f"{self._pod} was there but gave no answer in time; {self._request()}"
            case CauseKind.WRONG_ANSWER:
                answer = f"status {self._record.status}" if self._record.status else "something that is no HTTP"
                return f"{self._pod} answered with {answer} at {self._at(self._record.done_s)}"
            case CauseKind.LOOKUP_FAILED:
                said = self._record.errno or "no address"
                return f"libc's resolver gave up on {self._record.path} with {said} at {self._at(self._record.done_s)}"
            case CauseKind.OWN_FAULT:
                why = self._record.errno or "it was stopped"
                return f"the load itself could not make this request ({why})"
            case CauseKind.UNKNOWN:
                why = (
                    "two explanations are equally near"
                    if len(self._cause.evidence) > 1
                    else "no measured time explains it"
                )
                return f"{why}; {self._request()}"

    def _close(self) -> str:
        closed = self._row(What.LISTENER_CLOSED) or self._row(What.CONTAINER_EXITED)
        term = self._row(What.SIGTERM_SENT)
        if closed is None:
            return f"{self._pod} closed its listener"
        after = ""
        if term is not None:
            gap_ms = (closed.at_s - term.at_s) * 1000
            after = f", {gap_ms:.0f} ms after SIGTERM" if gap_ms >= 0.5 else ", on SIGTERM"
        queue = " and reset what waited to be accepted" if self._cause.kind is CauseKind.QUEUE_RESET else ""
        return f"{self._pod} closed its listener{queue} {self._when(closed)}{after}"

    def _when(self, closed: Happening) -> str:
        """A moment, or the two between which it lies where the failure lies between them, too."""
        seen_s = closed.data.get("not_before_s")
        if isinstance(seen_s, float) and self._record.opened_s < closed.at_s and closed.at_s - seen_s > 0.001:
            return f"between {self._at(seen_s)} and {self._at(closed.at_s)}"
        return f"at {self._at(closed.at_s)}"

    def _rule(self) -> str:
        over = self._row(What.RULE_REMOVED)
        if over is None:
            return ""
        node = str(over.data.get("node", "")) or "the node"
        return f"{node}'s rules sent connections to it until {self._at(over.at_s)}"

    def _given(self) -> str:
        flow = self._row(What.FLOW)
        if self._cause.told_by is ToldBy.FLOW and flow is not None:
            refused = " and refused by it" if flow.data.get("error") == "ECONNREFUSED" else ""
            return f"this connection was given to it at {self._at(min(flow.at_s, self._record.done_s))}{refused}"
        return self._request()

    def _request(self) -> str:
        record = self._record
        if record.reused:
            sent, broken = self._at(record.sent_s or record.planned_s), self._at(record.done_s)
            return f"this was request {record.nth} on its connection, sent at {sent}, broken at {broken}"
        began_s = record.opened_s or record.planned_s
        return f"this request began at {self._at(began_s)} and failed at {self._at(record.done_s)}"

    def _end(self) -> str:
        exited, kill = self._row(What.CONTAINER_EXITED), self._row(What.SIGKILL_SENT)
        deleted, failed = self._row(What.POD_DELETION_SET), self._row(What.LIVENESS_FAILED)
        code = f" (exit code {exit_code(exited)})" if exited and "exit_code" in exited.data else ""
        end = exited or kill or self._row(What.LISTENER_CLOSED)
        when = f" at {self._at(end.at_s)}{code}" if end else code
        match self._cause.kind:
            case CauseKind.LIVENESS_KILL:
                since = f" failed at {self._at(failed.at_s)}" if failed else " failed"
                return (
                    f"the liveness probe of {self._pod}{since} and its endpoint stayed ready; it stopped serving{when}"
                )
            case CauseKind.KILLED:
                by = "SIGKILL" if kill else "SIGKILL from outside the cluster's own doing"
                grace = deleted.data.get("grace_s") if deleted else None
                left = f", its grace of {grace} s being over" if grace is not None and kill else ""
                return f"{by} ended {self._pod}{when}{left}"
            case CauseKind.CRASHED:
                return f"{self._pod} ended by itself{when}"
            case _:
                term = self._row(What.SIGTERM_SENT)
                after = f", {(end.at_s - term.at_s) * 1000:.0f} ms after SIGTERM" if term and end else ""
                return f"{self._pod} ended{when}{after} with this request under way"

    def _early(self) -> str:
        ready = self._row(What.POD_READY) or self._row(What.RULE_ADDED)
        listening = self._row(What.LISTENER_OPENED)
        when = f" at {self._at(ready.at_s)}" if ready else ""
        later = f" but listened only from {self._at(listening.at_s)}" if listening else " but never listened"
        return f"{self._pod} counted as ready{when}{later}"

    def _race(self) -> str:
        term = self._row(What.SIGTERM_SENT)
        why = f" (SIGTERM came at {self._at(term.at_s)})" if term else ""
        return f"{self._pod} closed an idle connection{why} just as it was used again"
