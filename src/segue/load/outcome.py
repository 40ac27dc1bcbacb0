"""What came of one request: closed sets of outcomes and phases, and the table that tells them apart.

Decides from what the client's own socket said (error number, bytes, phase), never from what the cluster was doing:
that is a cause, and causes are the proof room's.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass
from enum import StrEnum


class Phase(StrEnum):
    """How far a request had come when it ended."""

    CONNECT = "connect"  # no connection yet
    SEND = "send"  # connected, request not fully written
    WAIT = "wait"  # request written, not one byte of an answer
    READ = "read"  # within the answer
    DONE = "done"  # the answer is complete


class Outcome(StrEnum):
    """How a request ended. `OK` is the only good one; `OWN_FAULT` is no loss, the load could not do its part."""

    OK = "ok"
    CONNECT_REFUSED = "connect-refused"  # ECONNREFUSED: nothing listens, or the data plane rejects
    CONNECT_RESET = "connect-reset"  # the handshake was aborted
    CONNECT_TIMEOUT = "connect-timeout"  # nobody answered the SYN
    UNREACHABLE = "unreachable"  # EHOSTUNREACH, ENETUNREACH: the address has no owner
    RESET_BEFORE_ANSWER = "reset-before-answer"  # RST or EPIPE, not one byte of an answer
    RESET_IN_ANSWER = "reset-in-answer"  # RST within the answer
    EMPTY_ANSWER = "empty-answer"  # closed without one byte: curl's error 52
    SHORT_ANSWER = "short-answer"  # closed within the answer
    BAD_ANSWER = "bad-answer"  # what came is not what the URL says is spoken
    BAD_STATUS = "bad-status"  # complete, but 4xx or 5xx, or a gRPC status that is not OK
    STREAM_REFUSED = "stream-refused"  # GOAWAY or REFUSED_STREAM: not begun by the server, may be repeated
    STREAM_RESET = "stream-reset"  # RST_STREAM of another kind: this stream alone
    STREAM_ENDED = "stream-ended"  # the server ended in order what the client still used: a WebSocket, a stream
    LOOKUP_FAILED = "lookup-failed"  # libc's resolver gave no address; `errno` has its EAI_ code
    READ_TIMEOUT = "read-timeout"  # connected, no complete answer in time
    NEVER_SENT = "never-sent"  # all keep-alive connections stayed busy until its time was over
    OWN_FAULT = "own-fault"  # out of ports or files, or stopped: says nothing about the service

    @property
    def lost(self) -> bool:
        """Whether a user would have seen an error."""
        return self not in (Outcome.OK, Outcome.OWN_FAULT)


OWN_ERRNOS = frozenset(
    {
        errno.EADDRNOTAVAIL,  # no local port left
        errno.EADDRINUSE,
        errno.EMFILE,
        errno.ENFILE,
        errno.ENOBUFS,
        errno.ENOMEM,
        errno.EPERM,  # the local conntrack table is full, or a local rule forbids it
        errno.EACCES,
    }
)
_UNREACHABLE = frozenset({errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ENETDOWN})
_RESET = frozenset({errno.ECONNRESET, errno.EPIPE, errno.ECONNABORTED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """What the socket said last: `error` is an errno, 0 where the peer closed in order or the answer is complete."""

    phase: Phase
    error: int = 0
    bytes_in: int = 0
    status: int = 0  # 0 until a status line came
    http: bool = True  # False once the bytes cannot be an HTTP answer
    timed_out: bool = False


def classify(ending: Ending) -> Outcome:
    """The one outcome of an ending."""
    if ending.error in OWN_ERRNOS:
        return Outcome.OWN_FAULT
    if not ending.http:
        return Outcome.BAD_ANSWER
    if ending.timed_out or ending.error == errno.ETIMEDOUT:
        return Outcome.CONNECT_TIMEOUT if ending.phase is Phase.CONNECT else Outcome.READ_TIMEOUT
    if ending.error in _UNREACHABLE:
        return Outcome.UNREACHABLE
    match ending.phase:
        case Phase.CONNECT:
            return Outcome.CONNECT_REFUSED if ending.error == errno.ECONNREFUSED else Outcome.CONNECT_RESET
        case Phase.DONE:
            return Outcome.OK if 200 <= ending.status < 400 else Outcome.BAD_STATUS
        case Phase.SEND | Phase.WAIT | Phase.READ:
            reset = ending.error in _RESET or ending.error == errno.ECONNREFUSED
            if ending.bytes_in:
                return Outcome.RESET_IN_ANSWER if reset else Outcome.SHORT_ANSWER
            return Outcome.RESET_BEFORE_ANSWER if reset else Outcome.EMPTY_ANSWER


def errno_name(error: int) -> str:
    """`ECONNRESET` for 104; "" for 0."""
    return errno.errorcode.get(error, str(error)) if error else ""
