"""The loop for what is spoken on kept connections: HTTP/2, gRPC, WebSocket, events, lines. One epoll, one thread.

Rule 1: a request's moment is the plan's, and its connection is chosen by turns, whatever the connections do.
Rule 2: each request ends in exactly one record, and so does each session (a connection that carries one stream).
Rule 3: what a connection loses is lost; the next request of its place opens another one, nothing is repeated.
"""

from __future__ import annotations

import contextlib
import errno
import select
import socket
import time
from collections import deque
from collections.abc import Callable

from segue.host.firing.loop import BURST_MAX, READ_BYTES, TICK_S, Counts, Target
from segue.host.firing.peer import Ask, Peer
from segue.host.firing.speech.base import SESSION, Heard, Speech
from segue.load.outcome import Ending, Outcome, Phase, classify, errno_name
from segue.load.plan import SESSIONS, Plan, Shot, shots
from segue.load.record import Record

_IN = select.EPOLLIN | select.EPOLLRDHUP


class Talking:
    """One run of one plan. `keep` gets each record as it ends; `tick` is called about every 50 ms."""

    def __init__(
        self,
        plan: Plan,
        target: Target,
        *,
        speech: Callable[[], Speech],
        keep: Callable[[Record], None],
        tick: Callable[[float], None],
    ) -> None:
        self._plan = plan
        self._target = target
        self._speech = speech
        self._keep = keep
        self._tick = tick
        self._offset_s = time.time() - time.monotonic()
        self._epoll = select.epoll()
        self._places: list[Peer | None] = [None] * plan.connections
        self._peers: dict[int, Peer] = {}
        self._deadlines: deque[tuple[float, Peer, int]] = deque()
        self._connecting: deque[tuple[float, Peer]] = deque()
        self._sessions = plan.scheme in SESSIONS
        self._conns = 0
        self._under_way = 0
        self._broken = 0  # why the last socket could not be made or connected at once
        self._stopped = False
        self._cut = False
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
        if self._sessions:  # they are there from the beginning: what a release does to them is the question
            for place in range(self._plan.connections):
                self._open(place)
        due = shots(self._plan)
        shot = next(due, None)
        ticked_s = 0.0
        while True:
            now_s = self.now_s()
            if self._stopped:
                shot = None
            burst = 0
            while shot is not None and self.start_s + shot.at_s <= now_s and burst < BURST_MAX:
                self._fire(shot)
                shot = next(due, None)
                burst += 1
            if now_s - ticked_s >= TICK_S:
                ticked_s = now_s
                self._expire(now_s)
                self._tick(now_s)
            if self._cut or (shot is None and self._under_way == 0 and self._lasted(now_s)):
                break
            next_s = TICK_S if shot is None else self.start_s + shot.at_s - self.now_s()
            # epoll counts in whole milliseconds, a plan does not: select() on the epoll waits finely.
            if next_s > 0 and not select.select((self._epoll,), (), (), min(next_s, TICK_S))[0]:
                continue
            for fd, mask in self._epoll.poll(0, 1024):
                peer = self._peers.get(fd)
                if peer is not None:
                    self._on_event(peer, mask)
        self._leave()

    def _lasted(self, now_s: float) -> bool:
        """Whether sessions have been held for as long as was asked."""
        return not self._sessions or self._stopped or now_s >= self.start_s + self._plan.duration_s

    # -- firing ----------------------------------------------------------------------------------------------------

    def _fire(self, shot: Shot) -> None:
        self.counts.fired += 1
        place = shot.index % self._plan.connections
        peer = self._places[place] or self._open(place)
        ask = Ask(shot, f"{self._plan.run}-{shot.index}")
        self._under_way += 1
        if peer is None:  # its socket could not even be made
            self._end_alone(ask, self._broken)
            return
        peer.asks[shot.index] = ask
        peer.waiting.append(ask)
        self._deadlines.append((self.now_s() + self._plan.timeout_s, peer, shot.index))
        self._speak(peer)

    def _open(self, place: int) -> Peer | None:
        now_s = self.now_s()
        self._conns += 1
        try:
            sock = socket.socket(self._target.family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            self._broken = error.errno or errno.EMFILE
            return None
        peer = Peer(sock, self._speech(), self._conns, place, now_s)
        if self._sessions:
            number = self._conns - 1
            shot = Shot(self._plan.total + number, now_s - self.start_s, self._plan.paths[0], fresh=True)
            peer.session = Ask(shot, f"{self._plan.run}-s{number}")
        error_number = sock.connect_ex(self._target.address)
        if error_number not in (0, errno.EINPROGRESS):
            self._broken = error_number
            self._end_session(peer, Ending(phase=Phase.CONNECT, error=error_number))
            sock.close()
            return None
        peer.local_ip, peer.local_port = sock.getsockname()[:2]
        self._places[place] = peer
        self._peers[peer.fd] = peer
        self._epoll.register(peer.fd, _IN | select.EPOLLOUT)
        self._connecting.append((now_s + self._plan.connect_timeout_s, peer))
        return peer

    def _speak(self, peer: Peer) -> None:
        """Ask what waits, as far as there is room, and send."""
        if not peer.connected_s:
            return
        speech = peer.speech
        while peer.waiting and speech.ready and speech.open and len(peer.asks) - len(peer.waiting) < speech.room:
            ask = peer.waiting.popleft()
            peer.used += 1
            ask.nth = peer.used
            ask.sent_s = self.now_s()
            speech.ask(ask.shot.index, ask.request_id, ask.shot.path)
        peer.unsent += speech.out()
        if not peer.unsent:
            return
        try:
            sent = peer.sock.send(peer.unsent)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self._lose(peer, error=error.errno or errno.EPIPE)
            return
        peer.unsent = peer.unsent[sent:]
        wanted = _IN | (select.EPOLLOUT if peer.unsent else 0)
        if wanted != peer.mask:
            peer.mask = wanted
            self._epoll.modify(peer.fd, wanted)

    # -- what comes back -------------------------------------------------------------------------------------------

    def _on_event(self, peer: Peer, mask: int) -> None:
        if not peer.connected_s:
            error_number = peer.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if error_number:
                self._lose(peer, error=error_number)
                return
            peer.connected_s = self.now_s()
            peer.speech.greet()
        if mask & select.EPOLLOUT:
            peer.mask |= select.EPOLLOUT
            self._speak(peer)
        if mask & (_IN | select.EPOLLHUP | select.EPOLLERR) and self._peers.get(peer.fd) is peer:
            self._receive(peer)

    def _receive(self, peer: Peer) -> None:
        try:
            data = peer.sock.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            self._lose(peer, error=error.errno or errno.ECONNRESET)
            return
        if not data:
            self._lose(peer)
            return
        peer.bytes_in += len(data)
        for heard in peer.speech.receive(data):
            if heard.key == SESSION and heard.outcome is not None:
                self._end_all(peer, heard)
                return
            self._hear(peer, heard)
        self._speak(peer)
        if self._peers.get(peer.fd) is peer and not peer.speech.open:
            self._retire(peer)

    def _hear(self, peer: Peer, heard: Heard) -> None:
        ask = peer.asks.get(heard.key)
        if ask is None:
            return
        now_s = self.now_s()
        ask.first_byte_s = ask.first_byte_s or now_s
        ask.status, ask.version = heard.status, heard.version
        if heard.outcome is None:
            return
        ask.bytes_in = heard.size
        peer.version = heard.version or peer.version
        phase = Phase.DONE if heard.outcome in (Outcome.OK, Outcome.BAD_STATUS) else Phase.READ
        self._finish(peer, ask, heard.outcome, phase, heard.error)

    def _retire(self, peer: Peer) -> None:
        """It takes no further requests: what is under way on it goes on, its place is free, what waits goes there."""
        if self._places[peer.place] is peer:
            self._places[peer.place] = None
        waiting, peer.waiting = peer.waiting, deque()
        for ask in waiting:
            del peer.asks[ask.shot.index]
            other = self._places[peer.place] or self._open(peer.place)
            if other is None:
                self._end_alone(ask, self._broken)
                continue
            other.asks[ask.shot.index] = ask
            other.waiting.append(ask)
            due_s = self.start_s + ask.shot.at_s + self._plan.timeout_s
            self._deadlines.append((max(due_s, self.now_s()), other, ask.shot.index))
        if not peer.asks:
            self._close(peer)

    # -- endings ---------------------------------------------------------------------------------------------------

    def _lose(self, peer: Peer, *, error: int = 0, timed_out: bool = False) -> None:
        """The connection is gone, and with it all that was under way on it."""
        for ask in [*peer.asks.values()]:
            phase = peer.phase_of(ask)
            ending = Ending(
                phase=phase, error=error, bytes_in=ask.bytes_in or bool(ask.first_byte_s), timed_out=timed_out
            )
            self._finish(peer, ask, classify(ending), phase, errno_name(error), closing=True)
        phase = Phase.CONNECT if not peer.connected_s else Phase.READ if peer.bytes_in else Phase.WAIT
        ending = Ending(phase=phase, error=error, bytes_in=peer.bytes_in, timed_out=timed_out)
        self._end_session(peer, ending)
        self._close(peer)

    def _end_all(self, peer: Peer, heard: Heard) -> None:
        """The peer's own last word on the whole connection."""
        assert heard.outcome is not None, "a last word says how it ended"
        phase = Phase.DONE if heard.outcome is Outcome.BAD_STATUS else Phase.READ
        for ask in [*peer.asks.values()]:
            ask.status, ask.version = heard.status, heard.version
            self._finish(peer, ask, heard.outcome, phase, heard.error, closing=True)
        if peer.session is not None:
            peer.session.status, peer.session.version = heard.status, heard.version
            self._write(peer, peer.session, heard.outcome, phase, heard.error)
            peer.session = None
        self._close(peer)

    def _end_session(self, peer: Peer, ending: Ending) -> None:
        if peer.session is not None:
            session, peer.session = peer.session, None
            session.version = peer.version
            self._write(peer, session, classify(ending), ending.phase, errno_name(ending.error))

    def _end_alone(self, ask: Ask, error: int) -> None:
        """A request whose connection could not even be begun."""
        self._under_way -= 1
        self._write(None, ask, classify(Ending(phase=Phase.CONNECT, error=error)), Phase.CONNECT, errno_name(error))

    def _finish(  # noqa: PLR0913, PLR0917 - what a record says of an end
        self, peer: Peer, ask: Ask, outcome: Outcome, phase: Phase, error: str, closing: bool = False
    ) -> None:
        del peer.asks[ask.shot.index]
        self._under_way -= 1
        self._write(peer, ask, outcome, phase, error)
        if not closing and not peer.asks and not peer.speech.open:
            self._close(peer)

    def _write(self, peer: Peer | None, ask: Ask, outcome: Outcome, phase: Phase, error: str) -> None:
        if outcome is Outcome.OK:
            self.counts.ok += 1
        elif outcome is Outcome.OWN_FAULT:
            self.counts.own += 1
        else:
            self.counts.lost += 1
        session = peer is not None and ask is peer.session
        self._keep(
            Record(
                index=ask.shot.index,
                planned_s=self.start_s + ask.shot.at_s,
                sent_s=peer.connected_s if peer is not None and session else ask.sent_s,
                opened_s=peer.opened_s if peer is not None else 0.0,
                connected_s=peer.connected_s if peer is not None else 0.0,
                first_byte_s=ask.first_byte_s,
                done_s=self.now_s(),
                local_ip=peer.local_ip if peer is not None else "",
                local_port=peer.local_port if peer is not None else 0,
                remote_ip=self._target.address[0],
                remote_port=self._target.address[1],
                conn=peer.conn if peer is not None else 0,
                nth=ask.nth,
                bytes_out=len(ask.request_id) if ask.sent_s else 0,
                bytes_in=peer.bytes_in if peer is not None and session else ask.bytes_in,
                status=ask.status,
                errno=error,
                phase=phase,
                outcome=outcome,
                version=ask.version,
                path=ask.shot.path,
                request_id=ask.request_id,
            )
        )

    def _close(self, peer: Peer) -> None:
        if self._peers.get(peer.fd) is not peer:
            return
        del self._peers[peer.fd]
        if self._places[peer.place] is peer:
            self._places[peer.place] = None
        peer.sock.close()  # leaves the epoll by itself

    def _expire(self, now_s: float) -> None:
        """End what has waited too long."""
        while self._connecting and self._connecting[0][0] <= now_s:
            _, peer = self._connecting.popleft()
            if self._peers.get(peer.fd) is peer and not peer.connected_s:
                self._lose(peer, error=errno.ETIMEDOUT, timed_out=True)
        while self._deadlines and self._deadlines[0][0] <= now_s:
            _, peer, key = self._deadlines.popleft()
            ask = peer.asks.get(key)
            if ask is not None:
                self._give_up(peer, ask)
        if len(self._deadlines) > 1000 + 2 * self._under_way:
            self._deadlines = deque(row for row in self._deadlines if row[2] in row[1].asks)

    def _give_up(self, peer: Peer, ask: Ask) -> None:
        """No answer in time. The connection stays: others wait on it, too."""
        waited = ask in peer.waiting
        if waited:
            peer.waiting.remove(ask)
        outcome = Outcome.NEVER_SENT if waited and peer.connected_s else Outcome.READ_TIMEOUT
        self._finish(peer, ask, outcome, peer.phase_of(ask), "")

    def _leave(self) -> None:
        """End sessions in order; after a second stop, what is still under way is the load's own doing."""
        for peer in [*self._peers.values()]:
            for ask in [*peer.asks.values()]:
                self._finish(peer, ask, Outcome.OWN_FAULT, peer.phase_of(ask), "", closing=True)
            if peer.session is not None:
                session = peer.session
                session.version = peer.version
                held = bool(peer.connected_s and peer.speech.ready)
                phase = Phase.DONE if held else Phase.WAIT if peer.connected_s else Phase.CONNECT
                self._write(peer, session, Outcome.OK if held else Outcome.OWN_FAULT, phase, "")
                peer.session = None
            if peer.connected_s:
                peer.speech.bye()
                with contextlib.suppress(OSError):  # it may have gone already
                    peer.sock.send(peer.unsent + peer.speech.out())
            self._close(peer)
        self._epoll.close()
