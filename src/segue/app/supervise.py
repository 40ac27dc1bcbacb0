"""The supervisor of one pod: turns "this should be restarted" into readiness off, quiet, restart. See `restarting`.

    supervise --check 'test $(grep -c died /var/log/threads.log) -lt 2' --port 8082 --budget web
        beside the application: its readinessProbe and livenessProbe ask /ready and /live of this port
    supervise --check-url http://127.0.0.1:8080/healthz -- gunicorn app:application
        as PID 1: it starts the command, passes signals on, ends it when it is quiet, and ends with its exit code

Rule 1: probes, looks and signals are one thread's; checks and the API server, which may take long, another's.
Rule 2: while the pod leaves nothing is checked: a check may connect, and that would be an arrival.
Rule 3: what cannot be agreed on, for want of rights or of a network, is said and replaced by a delay of the pod's own.
Standard library only, and of segue only what stands beside this file.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Sequence
from typing import NoReturn

if not __package__:  # run as a file: its neighbours are found beside it
    sys.path.insert(0, os.path.abspath(__file__).rsplit("/", 3)[0])  # noqa: PTH100 - a light module
    __package__ = "segue.app"

from .agent import IDLE_EVERY_MAX_S, IDLE_EVERY_S, IDLE_SHARE, Looks, ended
from .checks import Log, Script, Url
from .keeper import http_answer, listen, say
from .lease import Api, Lease, NoAnswer
from .quiet import Asked
from .restarting import Phase, Rules, Seen, Stand, Turn, answers_live, answers_ready, step

_TICK_S = 0.2
_CALM_TICK_S = 1.0  # while nothing is the matter: probes and the command's end wake it anyway
_PROBE_S = 1.0
_LONGEST_S = 60.0  # a sender's rhythm that is worth waiting for: the pod goes on answering meanwhile
Check = Callable[[], str]


class Worker(threading.Thread):
    """Checks the application and keeps the turn; what it finds is read by the other thread."""

    def __init__(self, check: Check, lease: Lease | None, every_s: float) -> None:
        super().__init__(name="segue-checks", daemon=True)
        self.failed, self.why, self.rounds = 0, "", 0
        self.turn = Turn.UNASKED
        self.phase = Phase.BACK
        self._check, self._lease, self._every_s = check, lease, every_s
        self._is_held = lease is not None  # perhaps by the container that was here before this one
        self._trouble = ""

    def run(self) -> None:
        """For ever."""
        while True:
            if self.phase not in {Phase.LEAVING, Phase.ENDING}:
                why = self._check()
                self.failed, self.why = (self.failed + 1, why) if why else (0, "")
                self.rounds += 1
            self._agree()
            time.sleep(self._every_s)

    def _agree(self) -> None:
        """Take the turn when it is wanted, keep it until the application is well again, give it back then."""
        if self._lease is None:
            self.turn = Turn.UNKNOWN
            return
        try:
            if self.phase in {Phase.ASKING, Phase.LEAVING, Phase.ENDING} or (self.turn is Turn.OURS and self.failed):
                self.turn = Turn.OURS if self._lease.take(time.time()) else Turn.TAKEN
                self._is_held = self._is_held or self.turn is Turn.OURS
            elif self.phase is Phase.WELL and self._is_held:
                self._lease.give_back()
                self.turn, self._is_held = Turn.UNASKED, False
        except NoAnswer as error:
            self.turn = Turn.UNKNOWN
            self._is_held = self._is_held and self.phase is not Phase.WELL
            if str(error) != self._trouble:
                say(f"no agreement with other pods: {error}")
            self._trouble = str(error)


class Supervisor:
    """Probes, looks, the command and the decision."""

    def __init__(self, options: argparse.Namespace, worker: Worker, looks: Looks, listener: socket.socket) -> None:
        self._rules = Rules(failures=options.failures, told=options.told, spread_s=options.spread)
        self._cap = {"cap_s": str(options.cap), "timer_s": str(options.timer), "longest_s": str(_LONGEST_S)}
        self._worker, self._looks, self._listener = worker, looks, listener
        self._ready = Url(options.ready_url, self.connected) if options.ready_url else None
        self._command: list[str] = options.command
        self._child: subprocess.Popen[bytes] | None = None
        self._stand = Stand(phase=Phase.BACK, since_s=time.monotonic())
        self._ready_told = self._live_told = 0
        self._look_at_s = 0.0
        self._woken, waking = socket.socketpair()
        for end in (self._woken, waking):
            end.setblocking(False)
        self._waking = waking
        self._stagger = zlib.crc32(os.environ.get("HOSTNAME", "").encode()) / 2**32

    def connected(self) -> None:
        """A connection of our own to this pod is no arrival."""
        self._looks.own += 1

    def run(self) -> int:
        """Until the command has ended; beside an application for ever."""
        if self._command:
            self._child = subprocess.Popen(self._command)
        signal.set_wakeup_fd(self._waking.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # else nobody would be woken
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._pass_on)
        self._worker.start()
        while True:
            calm = self._stand.phase is Phase.WELL and not self._worker.failed
            select.select([self._listener, self._woken], [], [], _CALM_TICK_S if calm else _TICK_S)
            with contextlib.suppress(BlockingIOError):
                self._woken.recv(64)
            self._answer_all()
            code = self._reap()
            if code is not None:
                return code
            self._tick(time.monotonic())

    # --- deciding ---------------------------------------------------------------------------------------------------

    def _tick(self, now_s: float) -> None:
        leaving = self._stand.phase is Phase.LEAVING
        if leaving or now_s >= self._look_at_s:
            self._answer_all()  # connections of our own are known before they are counted
            self._looks.take(leaving)
            # What a look costs grows with the connections of the last minute
            self._look_at_s = now_s + min(IDLE_EVERY_MAX_S, max(IDLE_EVERY_S, self._looks.cost_s / IDLE_SHARE))
        if not self._worker.rounds:
            return
        seen = Seen(
            failed=self._worker.failed,
            why=self._worker.why,
            turn=self._worker.turn,
            ready_told=self._ready_told,
            live_told=self._live_told,
            quiet=self._quiet(now_s) if leaving else "",
        )
        stand = step(self._stand, seen, self._rules, now_s, self._stagger)
        if stand.phase is not self._stand.phase:
            say(f"{stand.phase}: {stand.because}")
            self._ready_told = self._live_told = 0
            if stand.phase is Phase.ENDING and self._child is not None:
                self._child.terminate()
        self._stand = stand
        self._worker.phase = stand.phase

    def _quiet(self, now_s: float) -> str:
        """Why the drain may end; "" where it may not."""
        stand = self._stand
        if not stand.told_s:
            late = now_s - stand.since_s >= float(self._cap["cap_s"])
            return f"capped: readiness was asked {self._ready_told} times, not {self._rules.told}" if late else ""
        reason, because = ended(self._looks, Asked(stand.told_s, self._cap), now_s)
        if not reason or because.startswith(reason):
            return because if reason else ""
        return f"{reason}: {because}"

    # --- probes -----------------------------------------------------------------------------------------------------

    def _answer_all(self) -> None:
        """Everybody who waits, before anything is counted."""
        while True:
            try:
                asking, _ = self._listener.accept()
            except OSError:  # nobody is left
                return
            self.connected()
            with contextlib.suppress(OSError), asking:  # whoever asked has gone
                asking.settimeout(_PROBE_S)
                head = asking.recv(4096).decode("latin-1").split(" ", 2)
                asking.sendall(self._reply(head[1].partition("?")[0] if len(head) > 1 else ""))
                asking.shutdown(socket.SHUT_WR)

    def _reply(self, path: str) -> bytes:
        stand = self._stand
        if path == "/ready":
            why = "" if answers_ready(stand) else f"{stand.phase}: {stand.because}"
            why = why or (self._ready.fails() if self._ready else "")
            self._ready_told += bool(why)
            return http_answer(503 if why else 200, f"{why or 'ready'}\n")
        if path == "/live":
            live = answers_live(stand)
            self._live_told += not live
            return http_answer(200 if live else 503, f"{stand.phase}: {stand.because}\n")
        return http_answer(404, "GET /ready, /live\n")

    # --- the command ------------------------------------------------------------------------------------------------

    def _pass_on(self, number: int, _frame: object) -> None:
        if self._child is not None:
            self._child.send_signal(number)
        else:
            sys.exit(0)

    def _reap(self) -> int | None:
        """The command's exit code once it has ended; orphans are taken away on the way, as PID 1 must."""
        if self._child is None:
            return None
        code = self._child.poll()
        if code is not None:
            return code if code >= 0 else 128 - code
        if os.getpid() == 1:
            with contextlib.suppress(ChildProcessError):
                found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
                if found is not None and found.si_pid not in {0, self._child.pid}:
                    os.waitpid(found.si_pid, os.WNOHANG)
        return None


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(prog="supervise", usage="supervise CHECK [OPTION...] [-- COMMAND...]")
    check = made.add_mutually_exclusive_group(required=True)
    check.add_argument("--check", metavar="SCRIPT", help="a line for sh; exit 0 is well")
    check.add_argument("--check-url", metavar="URL", help="of this pod; 200 to 399 is well")
    check.add_argument("--check-log", metavar="FILE", help="well while fewer than --lines lines match --pattern")
    made.add_argument("--pattern", default="", metavar="REGEX")
    made.add_argument("--lines", type=int, default=1, metavar="N")
    made.add_argument("--every", type=float, default=2.0, metavar="S", help="between two checks (2)")
    made.add_argument("--failures", type=int, default=2, metavar="N", help="that make it sick (2)")
    made.add_argument("--port", default="8082", help="where probes are answered (8082)")
    made.add_argument("--ready-url", default="", metavar="URL", help="the application's own readiness, joined to ours")
    made.add_argument("--told", type=int, default=3, metavar="N", help="failureThreshold of both probes (3)")
    made.add_argument("--ports", default="", metavar="P,P", help="that carry traffic (all that are listened on)")
    made.add_argument("--budget", default="", metavar="NAME", help="pods of this name restart one after the other")
    made.add_argument(
        "--spread", type=float, default=60.0, metavar="S", help="without agreement, within this time (60)"
    )
    made.add_argument("--cap", type=float, default=120.0, metavar="S", help="ends any drain (120)")
    made.add_argument("--timer", type=float, default=5.0, metavar="S", help="stands in for evidence (5)")
    made.add_argument("command", nargs="*", metavar="COMMAND", help="what to start and supervise, after --")
    return made


def supervise(options: argparse.Namespace) -> int:
    """Supervise as `parser` has it; the exit code. OSError or ValueError where that cannot be begun."""
    looks = Looks({**os.environ, "SEGUE_PORTS": options.ports, "SEGUE_PORT": options.port.rpartition(":")[2]})
    Asked(0.0, {"cap_s": str(options.cap), "timer_s": str(options.timer)})
    if not 0 < options.every < 3600:
        raise ValueError("--every must be above 0 and below 3600")
    lease = Lease(Api(os.environ), f"segue-restart-{options.budget}") if options.budget else None
    worker = Worker(_check(options, looks), lease, options.every)
    return Supervisor(options, worker, looks, listen(options.port)).run()


def main(argv: Sequence[str]) -> int:
    """As a program of its own; the exit code."""
    try:
        return supervise(parser().parse_args(argv))
    except (OSError, ValueError) as error:
        sys.stderr.write(f"supervise: {error}\n")
        return 2


def _check(options: argparse.Namespace, looks: Looks) -> Check:
    def connected() -> None:
        looks.own += 1

    if options.check:
        return Script(options.check).fails
    if options.check_url:
        return Url(options.check_url, connected).fails
    return Log(options.check_log, options.pattern, options.lines).fails


def entry() -> NoReturn:
    """As a program."""
    sys.exit(main(sys.argv[1:]))


if __name__ == "__main__":
    entry()
