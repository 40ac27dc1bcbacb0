"""Clients that keep calling a Service from the client's network and write down who answered each call, and when.

Each call is a connection of its own unless told otherwise. Times are the wall clock's, as those of watches and puppets.
Rule: bounded in pace and number; only the addresses of a test's own namespace are called.
"""

from __future__ import annotations

import errno
import http.client
import socket
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field

from tests.live.both import manifests
from tests.live.both.world import Place
from tests.waiting import wait_until

# A machine that is busy must not make a pod unready
PATIENT_PROBE = manifests.http("ready", timeoutSeconds=10)
_WORKERS = 4
_LIMIT_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call: when it was begun, when it was answered or failed, by which pod or why not."""

    at_s: float
    done_s: float
    who: str = ""
    error: str = ""  # ECONNREFUSED, ECONNRESET, ..., timeout, closed


@dataclass(slots=True, kw_only=True)
class Calls:
    """What the callers have met so far."""

    calls: list[Call] = field(default_factory=list)

    @property
    def errors(self) -> list[Call]:
        """Those that failed."""
        return [call for call in list(self.calls) if call.error]

    @property
    def lost(self) -> list[Call]:
        """Errors of calls that were begun when one had been answered: what comes before is a Service's start."""
        answered_s = min((call.done_s for call in list(self.calls) if call.who), default=float("inf"))
        return [call for call in self.errors if call.at_s > answered_s]

    def by(self, *pods: str) -> list[Call]:
        """Those that these pods answered."""
        return [call for call in list(self.calls) if call.who in pods]

    def last_by(self, *pods: str) -> float:
        """When the last call was begun that one of these pods answered."""
        return max(call.at_s for call in self.by(*pods))

    def wait(self, wanted: Callable[[Call], bool], *, limit_s: float = 10.0, what: str = "a call") -> Call:
        """The first call like this, past ones included."""
        found = wait_until(lambda: next(filter(wanted, list(self.calls)), None), limit_s=limit_s, what=what)
        assert found
        return found

    def wait_more(self, count: int, *, limit_s: float = 20.0) -> None:
        """Wait until so many further calls are through."""
        goal = len(self.calls) + count
        wait_until(lambda: len(self.calls) >= goal, limit_s=limit_s, what=f"{count} more calls")


def who_answers(place: Place, ip: str, port: int, *, limit_s: float = _LIMIT_S) -> Call:
    """Call once."""
    at_s, who, error = time.time(), "", ""
    try:
        who = place.ask(ip, port, limit_s=limit_s)[1].split()[-1]
    except TimeoutError:
        error = "timeout"
    except http.client.HTTPException:
        error = "closed"
    except OSError as failed:
        error = errno.errorcode.get(failed.errno or 0, str(failed))
    return Call(at_s=at_s, done_s=time.time(), who=who, error=error)


@contextmanager
def calling(place: Place, ip: str, port: int, *, per_s: float = 150.0) -> Iterator[Calls]:
    """Call at this pace while the block runs; a slow answer delays only its own caller."""
    made, end = Calls(), threading.Event()
    begin_s, every_s = time.time(), _WORKERS / per_s

    def call(worker: int) -> None:
        next_s = begin_s + worker * every_s / _WORKERS
        while not end.wait(max(0.0, next_s - time.time())):
            made.calls.append(who_answers(place, ip, port))
            next_s = max(next_s + every_s, time.time())

    workers = [threading.Thread(target=call, args=(worker,), daemon=True) for worker in range(_WORKERS)]
    for each in workers:
        each.start()
    try:
        yield made
    finally:
        end.set()
        for each in workers:
            each.join()


class Kept:
    """One connection that is used again and again."""

    def __init__(self, place: Place, ip: str, port: int) -> None:
        self._way = http.client.HTTPConnection(ip, port)
        self._way.sock = place.connect(ip, port)

    def ask(self) -> str:
        """Which pod is at the other end; OSError or HTTPException where it has gone."""
        assert self.is_open, "a new connection would be made in this process's own network"
        self._way.request("GET", "/")
        return self._way.getresponse().read().decode().split()[-1]

    @property
    def is_open(self) -> bool:
        """Whether the server has not asked to end it: a connection is not made anew behind the test's back."""
        return self._way.sock is not None

    def close(self) -> None:
        """End it."""
        self._way.close()


@contextmanager
def kept(place: Place, ip: str, port: int) -> Iterator[Kept]:
    """A connection for this block."""
    with closing(Kept(place, ip, port)) as made:
        yield made


def ask_datagram(way: socket.socket, *, limit_s: float = 0.5) -> str:
    """Which pod answers a datagram on this connected socket: its name, `timeout`, or an error's name."""
    way.settimeout(limit_s)
    try:
        way.send(b"?")
        return way.recv(2048).decode()
    except TimeoutError:
        return "timeout"
    except OSError as failed:
        return errno.errorcode.get(failed.errno or 0, str(failed))


def keep_spread(
    measured: Callable[[str, float, str], None], name: str, values: Sequence[float], unit: str = "s"
) -> None:
    """Keep a series of figures: its median, its largest, how many."""
    measured(f"{name}, median of {len(values)}", statistics.median(values), unit)
    measured(f"{name}, longest of {len(values)}", max(values), unit)
