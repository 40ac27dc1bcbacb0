"""The loop that fires: non-blocking sockets and one epoll in one thread.

Rule 1: a request's moment is the plan's. A loop that falls behind fires what is due; the record shows how late.
Rule 2: no request is repeated and no error hidden; each shot ends in exactly one record.
Rule 3: memory grows with requests under way, never with requests done.

An answer that came before, byte for byte and in one piece, is not read again but looked up: servers say the same thing
over and over, and reading heads was a third of what a request cost.
"""

from __future__ import annotations

import errno
import select
import socket
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from segue.host.firing.wire import Wire
from segue.load.answer import AnswerReader
from segue.load.outcome import Ending, Outcome, Phase, classify, errno_name
from segue.load.plan import Plan, Shot, shots
from segue.load.record import Record, Row

READ_BYTES = 65536
EVENTS_MAX = 64  # answers looked at before what is due is fired: at 10 us each, two thirds of a millisecond
BURST_MAX = 16  # shots fired before answers are looked at again: catching up must not look like a slow service
LINGER_S = 1.0  # how long a complete connection waits for the server's FIN, so that TIME_WAIT stays with the server
TICK_S = 0.05
KNOWN_MAX = 256  # answers kept to be looked up
KNOWN_BYTES_MAX = 4096
_UNREAD = AnswerReader()  # stands for an answer of which nothing came; never fed
_IN = select.EPOLLIN | select.EPOLLRDHUP
_GONE = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where requests go: resolved once, so that name lookups are no part of what is measured."""

    family: int
    address: tuple[str, int]
    host: str  # value of the Host header


@dataclass(slots=True)
class Counts:
    """What can be told while the loop runs."""

    fired: int = 0
    ok: int = 0
    lost: int = 0
    own: int = 0


class Firing:
    """One run of one plan. `keep` gets each record as it ends; `tick` is called about every 50 ms."""

    def __init__(
        self, plan: Plan, target: Target, *, keep: Callable[[Record | Row], None], tick: Callable[[float], None]
    ) -> None:
        self._plan = plan
        self._target = target
        self._keep = keep
        self._tick = tick
        self._offset_s = time.time() - time.monotonic()
        self._epoll = select.epoll()
        self._wires: dict[int, Wire] = {}
        self._idle: deque[Wire] = deque()
        self._queue: deque[Shot] = deque()  # shots of the pool that found no connection free
        self._deadlines: deque[tuple[float, Wire, int]] = deque()
        self._connecting: deque[tuple[float, Wire]] = deque()
        self._lingering: deque[tuple[float, Wire]] = deque()
        self._pool = 0
        self._conns = 0
        self._stopped = False
        self._cut = False
        self._run = plan.run
        self._patience_s = self._offset_s + plan.timeout_s
        self._heads: dict[tuple[str, bool], bytes] = {}
        self._known: dict[bytes, AnswerReader] = {}
        self.start_s = 0.0
        self.counts = Counts()

    def now_s(self) -> float:
        """Seconds since the epoch that never go backwards."""
        return time.monotonic() + self._offset_s

    def stop(self) -> None:
        """Fire no more and wait for what is under way; a second call waits no longer."""
        self._cut = self._stopped
        self._stopped = True

    def run(self) -> None:
        """Fire the whole plan and wait until each request has ended."""
        self.start_s = self.now_s()
        due = shots(self._plan)
        shot = next(due, None)
        ticked_s = 0.0
        while True:
            now_s = self.now_s()
            if self._stopped:
                shot = None
            while self._queue and self._pool < self._plan.connections:
                self._open(self._queue.popleft(), pooled=True)
            burst = 0
            while shot is not None and self.start_s + shot.at_s <= now_s and burst < BURST_MAX:
                self._fire(shot)
                shot = next(due, None)
                burst += 1
            if now_s - ticked_s >= TICK_S:
                ticked_s = now_s
                self._expire(now_s)
                self._tick(now_s)
            if self._cut or (shot is None and self._under_way() == 0):
                break
            next_s = TICK_S if shot is None else self.start_s + shot.at_s - self.now_s()
            # epoll counts in whole milliseconds, a plan does not: select() on the epoll waits finely.
            if next_s > 0 and not select.select((self._epoll,), (), (), min(next_s, TICK_S))[0]:
                continue
            for fd, mask in self._epoll.poll(0, EVENTS_MAX):
                wire = self._wires.get(fd)
                if wire is not None:
                    self._on_event(wire, mask)
        self._close_all()

    def _under_way(self) -> int:
        return len(self._wires) - len(self._idle) - len(self._lingering) + len(self._queue)

    # -- firing ----------------------------------------------------------------------------------------------------

    def _fire(self, shot: Shot) -> None:
        self.counts.fired += 1
        if shot.fresh:
            self._open(shot, pooled=False)
            return
        while self._idle:
            wire = self._idle.popleft()
            if wire.fd >= 0:
                self._load(wire, shot)
                self._send(wire)
                return
        if self._pool < self._plan.connections:
            self._open(shot, pooled=True)
        else:
            self._queue.append(shot)

    def _load(self, wire: Wire, shot: Shot) -> None:
        fresh = not wire.pooled
        head = self._heads.get((shot.path, fresh))
        if head is None:
            lines = f"GET {shot.path} HTTP/1.1\r\nHost: {self._target.host}\r\nUser-Agent: segue\r\n"
            head = (lines + ("Connection: close\r\n" if fresh else "") + "X-Request-Id: ").encode("latin-1")
            self._heads[shot.path, fresh] = head
        request_id = f"{self._run}-{shot.index}"
        wire.take(shot, b"%b%b\r\n\r\n" % (head, request_id.encode()), request_id)
        self._deadlines.append((time.monotonic() + self._patience_s, wire, wire.nth))

    def _open(self, shot: Shot, *, pooled: bool) -> None:
        self._conns += 1
        now_s = self.now_s()
        try:
            sock = socket.socket(self._target.family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        except OSError as error:
            wire = Wire(None, self._conns, now_s, pooled)
            self._load(wire, shot)
            self._finish(wire, error=error.errno or errno.EMFILE)
            return
        wire = Wire(sock, self._conns, now_s, pooled)
        self._load(wire, shot)
        self._pool += pooled
        self._wires[wire.fd] = wire
        error_number = sock.connect_ex(self._target.address)
        if error_number not in (0, errno.EINPROGRESS):
            self._finish(wire, error=error_number)
            return
        wire.local_ip, wire.local_port = sock.getsockname()[:2]
        # Next door the handshake is over when connect() returns, so sending at once saves a round through epoll;
        # EAGAIN says that it is not.
        self._send(wire, first=True)

    def _send(self, wire: Wire, *, first: bool = False) -> None:
        assert wire.sock is not None, "sending needs a socket"
        try:
            sent = wire.sock.send(wire.request[wire.bytes_out :] if wire.bytes_out else wire.request)
        except BlockingIOError:
            if first:
                self._connecting.append((wire.opened_s + self._plan.connect_timeout_s, wire))
                wire.mask = _IN | select.EPOLLOUT
                self._epoll.register(wire.fd, wire.mask)
            return
        except OSError as error:
            self._finish(wire, error=error.errno or 0)
            return
        if not wire.sent_s:
            wire.sent_s = time.monotonic() + self._offset_s
            wire.connected_s = wire.connected_s or wire.sent_s
        wire.bytes_out += sent
        done = wire.bytes_out == len(wire.request)
        wire.phase = Phase.WAIT if done else Phase.SEND
        mask = _IN if done else _IN | select.EPOLLOUT
        if mask != wire.mask:
            wire.mask = mask
            (self._epoll.register if first else self._epoll.modify)(wire.fd, mask)

    # -- what comes back -------------------------------------------------------------------------------------------

    def _on_event(self, wire: Wire, mask: int) -> None:
        assert wire.sock is not None, "an event has a socket"
        if wire.shot is None:
            self._on_quiet_event(wire)
            return
        if wire.phase is Phase.CONNECT:
            error_number = wire.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if error_number:
                self._finish(wire, error=error_number)
                return
            wire.connected_s = self.now_s()
            wire.phase = Phase.SEND
        if mask & select.EPOLLOUT and wire.phase is Phase.SEND:
            self._send(wire)
            if wire.shot is None:
                return
        if mask & (_IN | select.EPOLLHUP | select.EPOLLERR):
            self._receive(wire, gone=bool(mask & _GONE))

    def _receive(self, wire: Wire, *, gone: bool) -> None:
        assert wire.sock is not None, "receiving needs a socket"
        while True:
            try:
                data = wire.sock.recv(READ_BYTES)
            except BlockingIOError:
                return
            except OSError as error:
                self._finish(wire, error=error.errno or errno.ECONNRESET)
                return
            reader = wire.reader
            if not data:
                if reader is not None:
                    reader.end()
                    if reader.complete:
                        wire.phase = Phase.DONE
                self._finish(wire, ended=True)
                return
            if reader is None:
                wire.first_byte_s = time.monotonic() + self._offset_s
                known = self._known.get(data)
                if known is not None:
                    wire.reader, wire.bytes_in, wire.phase = known, len(data), Phase.DONE
                    self._finish(wire, ended=gone)
                    return
                reader = wire.reader = AnswerReader()
            wire.phase = Phase.READ
            wire.bytes_in += len(data)
            reader.feed(data)
            if reader.complete:
                wire.phase = Phase.DONE
                if wire.bytes_in == len(data) <= KNOWN_BYTES_MAX:
                    self._learn(data, reader)
            if reader.complete or not reader.http:
                self._finish(wire, ended=gone)
                return
            if not gone and len(data) < READ_BYTES:
                return

    def _learn(self, data: bytes, reader: AnswerReader) -> None:
        """A whole answer in one piece; complete readers take nothing more, so they can be shared."""
        if len(self._known) >= KNOWN_MAX:  # it dates itself, and each second's answers are new
            self._known.clear()
        self._known[data] = reader

    def _on_quiet_event(self, wire: Wire) -> None:
        """Something on a connection without a request: the server closes it, which is its right."""
        assert wire.sock is not None, "a quiet connection has a socket"
        try:
            data = wire.sock.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if wire in self._idle:
            self._idle.remove(wire)
        elif data:
            return  # lingering: whatever still comes is of no interest
        else:
            self._lingering = deque(pair for pair in self._lingering if pair[1] is not wire)
        self._close(wire)

    # -- endings ---------------------------------------------------------------------------------------------------

    def _finish(self, wire: Wire, *, error: int = 0, timed_out: bool = False, ended: bool = False) -> None:
        """Write the record; then reuse, linger or close the connection."""
        shot = wire.shot
        assert shot is not None, "only a request can finish"
        reader = wire.reader or _UNREAD
        if wire.phase is Phase.DONE and not error and not timed_out and 200 <= reader.status < 400:
            outcome = Outcome.OK
        else:
            outcome = classify(
                Ending(
                    phase=wire.phase,
                    error=error,
                    bytes_in=wire.bytes_in,
                    status=reader.status,
                    http=reader.http,
                    timed_out=timed_out,
                )
            )
        now_s = time.monotonic() + self._offset_s
        self._write(wire, shot, outcome, error, now_s)
        wire.shot = None
        if wire.phase is not Phase.DONE or ended or (wire.pooled and reader.closes):
            self._close(wire)
        elif wire.pooled:
            self._rest(wire)
        else:
            self._lingering.append((now_s + LINGER_S, wire))

    def _write(self, wire: Wire, shot: Shot, outcome: Outcome, error: int, now_s: float) -> None:
        if outcome is Outcome.OK:
            self.counts.ok += 1
        elif outcome is Outcome.OWN_FAULT:
            self.counts.own += 1
        else:
            self.counts.lost += 1
        address = self._target.address
        reader = wire.reader or _UNREAD
        self._keep(  # in the order of Record's fields
            (
                shot.index,
                self.start_s + shot.at_s,
                wire.sent_s,
                wire.opened_s,
                wire.connected_s,
                wire.first_byte_s,
                now_s,
                wire.local_ip,
                wire.local_port,
                address[0],
                address[1],
                wire.conn,
                wire.nth,
                wire.bytes_out,
                wire.bytes_in,
                reader.status,
                errno_name(error) if error else "",
                wire.phase,
                outcome,
                reader.version,
                shot.path,
                wire.request_id,
            )
        )

    def _rest(self, wire: Wire) -> None:
        """Back to the pool, or on with a shot that waits for a connection."""
        if self._queue:
            self._load(wire, self._queue.popleft())
            self._send(wire)
        else:
            self._idle.append(wire)

    def _close(self, wire: Wire) -> None:
        if wire.sock is None or wire.fd < 0:
            return
        del self._wires[wire.fd]
        wire.fd = -1
        wire.sock.close()  # leaves the epoll by itself
        if wire.pooled:
            self._pool -= 1

    def _expire(self, now_s: float) -> None:
        """End what has waited too long."""
        while self._connecting and self._connecting[0][0] <= now_s:
            _, wire = self._connecting.popleft()
            if wire.shot is not None and wire.phase is Phase.CONNECT:
                self._finish(wire, timed_out=True)
        while self._deadlines and self._deadlines[0][0] <= now_s:
            _, wire, nth = self._deadlines.popleft()
            if wire.shot is not None and wire.nth == nth:
                self._finish(wire, timed_out=True)
        if len(self._deadlines) > 1000 + 2 * len(self._wires):
            self._deadlines = deque(row for row in self._deadlines if row[1].shot is not None and row[1].nth == row[2])
        while self._lingering and self._lingering[0][0] <= now_s:
            self._close(self._lingering.popleft()[1])
        while self._queue and self.start_s + self._queue[0].at_s + self._plan.timeout_s <= now_s:
            self._give_up(self._queue.popleft(), Outcome.NEVER_SENT, now_s)

    def _give_up(self, shot: Shot, outcome: Outcome, now_s: float) -> None:
        wire = Wire(None, 0, 0.0, pooled=True)
        wire.request_id = f"{self._plan.run}-{shot.index}"
        self._write(wire, shot, outcome, 0, now_s)

    def _close_all(self) -> None:
        """After a second stop: what is still under way is the load's own doing."""
        now_s = self.now_s()
        for shot in self._queue:
            self._give_up(shot, Outcome.OWN_FAULT, now_s)
        self._queue.clear()
        for wire in list(self._wires.values()):
            if wire.shot is not None:
                self._write(wire, wire.shot, Outcome.OWN_FAULT, 0, now_s)
                wire.shot = None
            self._close(wire)
        self._epoll.close()
