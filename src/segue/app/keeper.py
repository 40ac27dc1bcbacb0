"""One per process of a server: counts its threads and requests, answers probes, and ends the process when it is time.

    GET /ready    200, or 503 from the moment it leaves           GET /live      200 while this can answer at all
    GET /status   what is counted, as JSON                        POST /restart  leave as if it were sick

It has a thread and a port of its own, so that probes are answered even when every thread of the application is dead.
A thread is dead when the kernel no longer has it, or when it has been at one request for longer than `stuck_s`.
Rule 1: a request under way in a thread that lives is never cut before the cap.
Rule 2: a process that has dead threads ends by `_exit`: the interpreter would wait for them for ever.
Standard library only.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from segue.app import backlog
from segue.app.board import Board, Row
from segue.app.leaving import Phase, Rules, Seen, Senders, Stand, step

TICK_S = 0.2
_ANSWER_S = 1.0  # for a probe to send its request
_STOPPING_S = 10.0  # between the word to end and the end of processes whose requests go on


class Requests:
    """The requests under way in this process. Every method may be called from any thread."""

    def __init__(self, stuck_s: float) -> None:
        self._stuck_s = stuck_s
        self._lock = threading.Lock()
        self._running: dict[int, tuple[float, int]] = {}  # number -> since when, thread (0: none of its own)
        self._number = 0
        self._buried: set[int] = set()
        self._senders = Senders()
        self.last_s = 0.0

    def begin(self, sender: str, thread: int | None = None) -> int:
        """A request has come; its number. `thread` is the kernel's number of the one that works on it."""
        now_s = time.monotonic()
        thread = threading.get_native_id() if thread is None else thread
        with self._lock:
            self._number += 1
            self._running[self._number] = (now_s, thread)
            if not sender.startswith("127."):  # the pod's own
                self._senders.note(sender, now_s)
            self.last_s = now_s
            return self._number

    def end(self, number: int) -> None:
        """It has been answered."""
        with self._lock:
            self._running.pop(number, None)

    @contextmanager
    def during(self, sender: str, thread: int | None = None) -> Iterator[None]:
        """The same for a block."""
        number = self.begin(sender, thread)
        try:
            yield
        finally:
            self.end(number)

    def window_s(self, now_s: float, risk: float) -> tuple[float, bool]:
        """How long the rarest sender must be silent, and whether one cannot be judged."""
        with self._lock:
            return self._senders.window_s(now_s, risk)

    def count(self, now_s: float) -> tuple[int, int]:
        """How many threads are dead, and how many requests are under way in those that live."""
        alive = _threads_alive()
        with self._lock:
            rows = list(self._running.values())
        main = threading.main_thread()  # after a fork Python 3.11 gives it the number that its parent had
        others = [thread.native_id for thread in threading.enumerate() if thread is not main]
        self._buried |= {number for number in others if number and number not in alive}
        gone = [row for row in rows if row[1] and row[1] not in alive]
        stuck = [row for row in rows if row not in gone and now_s - row[0] > self._stuck_s]
        self._buried |= {thread for _, thread in gone}
        return len(self._buried) + len(stuck), len(rows) - len(gone) - len(stuck)


def _threads_alive() -> set[int]:
    return {int(name) for name in os.listdir("/proc/self/task")}  # noqa: PTH208 - a light module


class Keeper:
    """Counts, answers and decides; one thread."""

    def __init__(self, board: Board, rules: Rules, listener: socket.socket | None, number: int) -> None:
        self.requests = Requests(rules.stuck_s)
        self.ports: frozenset[int] = frozenset()  # where the application listens
        self.begun: Callable[[], bool] = lambda: True  # whether it serves already: not ready before (X8)
        self.replace: Callable[[], None] | None = None  # puts a successor in the place of a dead thread
        self._replaced = 0
        self._board, self._rules, self._listener, self._number = board, rules, listener, number
        self._told = 0
        self._because = ""
        self._ending_s = 0.0

    @property
    def leaves(self) -> bool:
        """Whether answers should say that they are the last on their connection."""
        return self._board.stand.phase is not Phase.SERVING

    def start(self, ports: frozenset[int], end: Callable[[], None]) -> None:
        """Begin; `end` tells the whole server to go."""
        self.ports = ports
        self._board.take(self._number)
        threading.Thread(target=self._run, args=(end,), name="segue-keeper", daemon=True).start()

    def _run(self, end: Callable[[], None]) -> None:
        while True:
            if self._listener is None:
                time.sleep(TICK_S)
            elif select.select([self._listener], [], [], TICK_S)[0]:
                self._answer(self._listener)
            self._tick(end, time.monotonic())

    # --- deciding ---------------------------------------------------------------------------------------------------

    def _tick(self, end: Callable[[], None], now_s: float) -> None:
        dead, running = self._write(now_s)
        while self.replace is not None and self._replaced < dead:
            self._replaced += 1
            self.replace()
        before = self._board.stand
        if before.phase is Phase.EXITING:
            self._leave(running, dead, now_s)
            return
        found = step(before, self._seen(before), self._rules, now_s)
        self._because = found.because
        if found.stand == before:
            return
        self._board.stand = found.stand
        if found.stand.phase is not before.phase:
            say(f"{found.stand.phase}: {found.because}")
        if found.stand.phase is Phase.EXITING:
            end()

    def _write(self, now_s: float) -> tuple[int, int]:
        dead, running = self.requests.count(now_s)
        window_s, rare = self.requests.window_s(now_s, self._rules.risk)
        row = Row(
            dead=dead,
            running=running,
            last_s=self.requests.last_s,
            told=self._told,
            window_s=window_s,
            rare=rare,
        )
        self._board.write(self._number, row)
        return dead, running

    def _seen(self, stand: Stand) -> Seen:
        return self._board.seen(backlog.unread(self.ports) if stand.phase is Phase.UNREADY else 0)

    def _leave(self, running: int, dead: int, now_s: float) -> None:
        self._ending_s = self._ending_s or now_s
        if dead and (not running or now_s - self._ending_s > _STOPPING_S):
            self._board.end(self._number)
            sys.stdout.flush()
            os._exit(0)

    # --- probes -----------------------------------------------------------------------------------------------------

    def _answer(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):  # whoever asked has gone, or another process was quicker
            asking, _ = listener.accept()
            with asking:
                asking.settimeout(_ANSWER_S)
                head = asking.recv(4096).decode("latin-1")
                asking.sendall(self._reply(*[*head.split(" ", 2), "", ""][:2]))
                asking.shutdown(socket.SHUT_WR)

    def _reply(self, method: str, path: str) -> bytes:
        stand = self._board.stand
        match method, path.partition("?")[0]:
            case _, "/live":
                return http_answer(200, "alive\n")
            case _, "/ready" if stand.phase is Phase.SERVING:
                return http_answer(200, "ready\n") if self.begun() else http_answer(503, "it does not listen yet\n")
            case _, "/ready":
                self._told += 1
                return http_answer(503, f"{stand.phase}: {self._because}\n")
            case "POST", "/restart":
                self._board.ask()
                return http_answer(202, "it leaves\n")
            case _, "/status":
                return http_answer(200, json.dumps(self._status(stand)) + "\n")
            case _:
                return http_answer(404, "GET /ready, /live, /status; POST /restart\n")

    def _status(self, stand: Stand) -> dict[str, object]:
        seen = self._seen(stand)
        return {
            "phase": stand.phase.value,
            "because": self._because,
            "deadThreads": seen.dead,
            "lostWorkers": seen.lost,
            "running": seen.running,
            "unread": seen.unread,
        }


def listen(where: str) -> socket.socket:
    """The probes' listener: `PORT` or `ADDRESS:PORT`; without an address POD_IP, or all."""
    host, _, port = where.rpartition(":")
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind((host or os.environ.get("POD_IP") or "0.0.0.0", int(port)))
    made.listen(64)
    made.setblocking(False)
    return made


def http_answer(code: int, body: str) -> bytes:
    """A whole answer to a probe."""
    reason = {200: "OK", 202: "Accepted", 404: "Not Found", 503: "Service Unavailable"}[code]
    head = f"HTTP/1.1 {code} {reason}\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n"
    return f"{head}Connection: close\r\n\r\n{body}".encode()


def end_process(pid: int) -> Callable[[], None]:
    """What tells this process to go gracefully."""
    return lambda: os.kill(pid, signal.SIGTERM)


def say(text: str) -> None:
    """One line of the log."""
    sys.stdout.write(f"segue: {text}\n")
    sys.stdout.flush()
