"""Loopback mode's data path, a process of its own: it accepts, chooses an endpoint, connects, and carries bytes.

    python -I -S -c '... splicer.main(FD)'        FD: one end of a stream socket pair, one JSON message per line

It is told    {"table": number, "full": whole table or changes only, "gone": [[ip, port], ...],
                  "doors": [[ip, port, "forward" | "drop", affinity_s, [[pod ip, port], ...]], ...]}
and tells     {"applied": number, "at", "failed": [[ip, port, why], ...]}     from now on nothing older is followed
              {"given": [[at, client ip, client port, pod ip, port, error], ...], "lost": rows left out}
`at` is CLOCK_MONOTONIC, which all processes of a machine share. `error` is "" where the pod's kernel completed the
handshake, else its errno's name: the client is then reset, for its own handshake was completed before.

Rule 1: it decides nothing: what is not in the table gets no door, and an established connection is left alone (K6).
Rule 2: it never waits for the cluster process, and ends when that does.
Rule 3: single-threaded, standard library, nothing of segue but its own splice and the system calls.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import json
import os
import select
import signal
import socket
import time
from typing import TypedDict

from segue.host import syscalls
from segue.host.network.splice import End, Splice, reset_on_close

BACKLOG = 4096
ACCEPTS_IN_A_ROW = 32  # then connections that are under way get their turn
TELL_S = 0.01  # how long what was given may wait to be told
PAUSE_S = 0.05  # without accepting, where no descriptor is left
UNTOLD_BYTES = 16 << 20  # a cluster process that hears nothing for minutes gets a count instead of rows
_PENDING = frozenset({errno.EINPROGRESS, errno.EALREADY})

Address = tuple[str, int]
Given = tuple[float, str, int, str, int, str]


class Order(TypedDict):
    """A message to it, as above."""

    table: int
    full: bool
    gone: list[tuple[str, int]]
    doors: list[tuple[str, int, str, int, list[tuple[str, int]]]]


class Tidings(TypedDict, total=False):
    """A message from it, as above."""

    applied: int
    at: float
    failed: list[tuple[str, int, str]]
    given: list[Given]
    lost: int


class Door:
    """One frontend: its listener, and what is done with new connections."""

    def __init__(self, address: Address, listener: socket.socket) -> None:
        self.address = address
        self.listener = listener
        self.endpoints: tuple[Address, ...] = ()
        self.affinity_s = 0
        self.stuck: dict[str, tuple[Address, float]] = {}  # client -> endpoint, until when (K9)

    def choose(self, client: str, now_s: float) -> Address:
        """An endpoint for a new connection; an even choice, unless the client has one that it sticks to."""
        if not self.affinity_s:
            return self._any()
        endpoint, until_s = self.stuck.get(client, (self.endpoints[0], 0.0))
        if until_s < now_s or endpoint not in self.endpoints:
            endpoint = self._any()
        self.stuck[client] = (endpoint, now_s + self.affinity_s)
        return endpoint

    def _any(self) -> Address:
        return self.endpoints[int.from_bytes(os.urandom(4), "little") * len(self.endpoints) >> 32]


class Attempt:
    """A client whose backend has not answered the SYN yet."""

    def __init__(self, client: socket.socket, backend: socket.socket, given: Given) -> None:
        self.client = client
        self.backend = backend
        self.given = given


class Splicer:
    """The loop: tables in, connections through, what was given out."""

    def __init__(self, control: socket.socket) -> None:
        control.setblocking(False)
        self._control = control
        self._epoll = select.epoll()
        self._splice = Splice(self._epoll)
        self._doors: dict[Address, Door] = {}
        self._listening: dict[int, Door] = {}
        self._attempts: dict[int, Attempt] = {}
        self._heard = b""
        self._untold = b""
        # The next connection's second socket is there before its first is accepted: where no descriptor is left,
        # clients wait in the kernel's queue instead of being accepted and reset.
        self._spare: socket.socket | None = None
        self._given: list[Given] = []
        self._lost = 0
        self._told_s = 0.0
        self._paused_until_s = 0.0
        self._running = True

    def run(self) -> None:
        """Serve until the other end of the control socket is gone."""
        self._epoll.register(self._control.fileno(), select.EPOLLIN)
        control_fd, ends = self._control.fileno(), self._splice.ends
        while self._running:
            for fd, events in self._epoll.poll(self._patience_s(), 256):
                end = ends.get(fd)
                if end is not None:
                    self._splice.on_event(end, events)
                elif fd in self._listening:
                    self._accept(self._listening[fd], ACCEPTS_IN_A_ROW)
                elif fd == control_fd:
                    self._on_control(events)
                elif fd in self._attempts:
                    self._on_answer(fd)
            now_s = time.monotonic()
            if self._given and now_s - self._told_s >= TELL_S:
                self._tell_given(now_s)
            if self._paused_until_s and now_s >= self._paused_until_s:
                self._resume()

    def _patience_s(self) -> float:
        if self._paused_until_s:
            return PAUSE_S
        return TELL_S if self._given else -1

    # --- connections ------------------------------------------------------------------------------------------------

    def _accept(self, door: Door, limit: int) -> None:
        for _ in range(limit):
            try:
                self._spare = self._spare or _backend()
                client, address = door.listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    self._pause()
                    return
                continue  # whoever waited is gone
            client.setblocking(False)
            self._serve(client, address, door)

    def _serve(self, client: socket.socket, address: Address, door: Door) -> None:
        """Choose and connect; on loopback the answer is nearly always there at once."""
        if not door.endpoints:
            self._splice.swallow(End(client))
            return
        now_s = time.monotonic()
        endpoint = door.choose(address[0], now_s)
        given = (now_s, address[0], address[1], endpoint[0], endpoint[1], "")
        backend, self._spare = self._spare, None
        assert backend is not None, "made before anybody was accepted"
        failed = backend.connect_ex(endpoint)
        if failed == errno.EINPROGRESS:
            failed = backend.connect_ex(endpoint)  # now it says what came of it
        if not failed or failed == errno.EISCONN:
            self._given.append(given)
            self._splice.join(End(client), End(backend))
        elif failed in _PENDING:  # a full queue; the kernel tries again by itself
            self._attempts[backend.fileno()] = Attempt(client, backend, given)
            self._epoll.register(backend.fileno(), select.EPOLLOUT)
        else:
            backend.close()
            self._give_up(client, given, failed)

    def _on_answer(self, fd: int) -> None:
        attempt = self._attempts.pop(fd)
        self._epoll.unregister(fd)
        failed = attempt.backend.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if failed:
            attempt.backend.close()
            self._give_up(attempt.client, attempt.given, failed)
        else:
            self._given.append(attempt.given)
            self._splice.join(End(attempt.client), End(attempt.backend))

    def _give_up(self, client: socket.socket, given: Given, failed: int) -> None:
        """A refusal of the pod becomes a reset of the client: nearer to it a proxy cannot come."""
        self._given.append((*given[:5], errno.errorcode.get(failed, str(failed))))
        reset_on_close(client)
        client.close()

    def _pause(self) -> None:
        for fd in self._listening:
            self._epoll.modify(fd, 0)
        self._paused_until_s = time.monotonic() + PAUSE_S

    def _resume(self) -> None:
        for fd in self._listening:
            self._epoll.modify(fd, select.EPOLLIN)
        self._paused_until_s = 0.0

    # --- the table --------------------------------------------------------------------------------------------------

    def _apply(self, order: Order) -> None:
        doors = {(ip, port): (verdict, affinity_s, ends) for ip, port, verdict, affinity_s, ends in order["doors"]}
        gone = self._doors.keys() - doors.keys() if order["full"] else {(ip, port) for ip, port in order["gone"]}
        for address in gone & self._doors.keys():
            self._shut(self._doors.pop(address))
        failed: list[tuple[str, int, str]] = []
        for address, (verdict, affinity_s, ends) in doors.items():
            try:
                door = self._doors.get(address) or self._open(address)
            except OSError as error:
                failed.append((*address, error.strerror or str(error)))
                continue
            door.affinity_s = affinity_s
            door.endpoints = tuple((ip, port) for ip, port in ends) if verdict == "forward" else ()
        now_s = time.monotonic()
        self._tell_given(now_s)  # what older rules gave comes before the news of the newer ones
        self._tell({"applied": order["table"], "at": now_s, "failed": failed})

    def _open(self, address: Address) -> Door:
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # accepted sockets inherit it
            listener.bind(address)
            listener.listen(BACKLOG)
        except OSError:
            listener.close()
            raise
        door = self._doors[address] = Door(address, listener)
        self._listening[listener.fileno()] = door
        self._epoll.register(listener.fileno(), select.EPOLLIN)
        return door

    def _shut(self, door: Door) -> None:
        """Close a listener; what the kernel has accepted for it would be reset by that (N1), so it is served first."""
        self._accept(door, BACKLOG)
        del self._listening[door.listener.fileno()]
        door.listener.close()

    # --- the cluster process ----------------------------------------------------------------------------------------

    def _on_control(self, events: int) -> None:
        if events & select.EPOLLOUT:
            self._send()
        if not events & ~select.EPOLLOUT:
            return
        try:
            data = self._control.recv(1 << 20)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._running = False
            return
        *lines, self._heard = (self._heard + data).split(b"\n")
        for line in lines:
            self._apply(json.loads(line))

    def _tell_given(self, now_s: float) -> None:
        self._told_s = now_s
        if not self._given:
            return
        rows, self._given = self._given, []
        if len(self._untold) > UNTOLD_BYTES:
            self._lost += len(rows)
            return
        self._tell({"given": rows, "lost": self._lost} if self._lost else {"given": rows})
        self._lost = 0

    def _tell(self, message: Tidings) -> None:
        self._untold += json.dumps(message, separators=(",", ":")).encode() + b"\n"
        self._send()

    def _send(self) -> None:
        try:
            sent = self._control.send(self._untold)
        except BlockingIOError:
            sent = 0
        except OSError:  # gone: the next read of the control socket ends the loop
            sent = len(self._untold)
        self._untold = self._untold[sent:]
        self._epoll.modify(self._control.fileno(), select.EPOLLIN | (select.EPOLLOUT if self._untold else 0))


def _backend() -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


def main(control_fd: int) -> None:
    """Serve on the inherited descriptor."""
    syscalls.prctl_pdeathsig(signal.SIGKILL)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # it ends when its parent's end of the socket does
    gc.disable()  # nothing here makes reference cycles that last, and a pause would be everybody's
    control = socket.socket(fileno=control_fd)
    control.set_inheritable(False)
    with contextlib.suppress(KeyboardInterrupt):
        Splicer(control).run()
