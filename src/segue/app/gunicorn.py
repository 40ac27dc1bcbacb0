"""gunicorn that leaves without losing a request once too many of its threads or workers have died.

In gunicorn.conf.py:

    from segue.app.gunicorn import Rules, hooks
    globals().update(hooks(8081, Rules(dead_threads=2, told=3)))

and in the manifest a readinessProbe (GET /ready, port 8081), whose failureThreshold is `told`. For workers `sync` and
`gthread`. All workers share one board and one listener for probes, both made before they were forked, so probes are
answered as long as one of them lives.
A dead thread of `gthread` gets a successor in its pool: such a worker goes on accepting when all its threads are dead,
and what it has accepted only it can answer.
Rule 1: hooks that the configuration has already are called as well: name them in `hooks(..., more=...)`.
Rule 2: gunicorn's own stop closes the listener first (N1); so it is told to stop only once nobody comes any more.
Standard library only, of gunicorn nothing but what hooks are given.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeAlias

from segue.app.board import Board
from segue.app.keeper import Keeper, end_process, listen
from segue.app.leaving import Rules
from segue.app.wsgi import Application, Counted

__all__ = ["Rules", "hooks"]

Hook: TypeAlias = Callable[..., None]  # type: ignore[explicit-any]  # each hook has parameters of its own
_LISTENERS: dict[str, socket.socket] = {}  # SIGHUP reads the configuration again


class Request(Protocol):
    """A request as gunicorn has it."""

    def force_close(self) -> None:
        """Make the answer the last one on its connection."""
        ...


class Worker(Protocol):
    """A worker as hooks are given it."""

    age: int
    wsgi: Application
    sockets: list[socket.socket]


def hooks(port: int | str, rules: Rules, *, more: Mapping[str, Hook] | None = None) -> dict[str, Hook]:
    """Server hooks by name. `port` is where probes are answered, or ADDRESS:PORT."""
    where = str(port)
    if where not in _LISTENERS:
        _LISTENERS[where] = listen(where)
    board = Board()
    own = _Server(board, rules, _LISTENERS[where])
    made: dict[str, Hook] = {
        "post_worker_init": own.begin,
        "pre_request": lambda worker, request: own.before(request),
        "worker_abort": own.abort,
        "worker_exit": lambda server, worker: own.exit(worker),
        "child_exit": lambda server, worker: own.bury(worker),
    }
    for name, hook in (more or {}).items():
        made[name] = _both(made[name], hook, _ARITY[name]) if name in made else hook
    return made


_ARITY = {"post_worker_init": 1, "worker_abort": 1, "pre_request": 2, "worker_exit": 2, "child_exit": 2}


def _both(first: Hook, second: Hook, arity: int) -> Hook:
    """One hook that calls two; gunicorn counts a hook's parameters."""

    def one(worker: object) -> None:
        first(worker)
        second(worker)

    def two(server: object, worker: object) -> None:
        first(server, worker)
        second(server, worker)

    return one if arity == 1 else two


class _Server:
    """What the hooks share."""

    def __init__(self, board: Board, rules: Rules, listener: socket.socket) -> None:
        self._board, self._rules, self._listener = board, rules, listener
        self._keeper: Keeper | None = None  # of this process, once it is a worker's
        self._aborted = False

    def begin(self, worker: Worker) -> None:
        """In the worker, its application loaded."""
        self._keeper = Keeper(self._board, self._rules, self._listener, worker.age)
        worker.wsgi = Counted(worker.wsgi, self._keeper)
        pool = getattr(worker, "tpool", None)
        if isinstance(pool, ThreadPoolExecutor):
            self._keeper.replace = lambda: add_thread(pool)
        ports = frozenset(each.getsockname()[1] for each in worker.sockets if each.family != socket.AF_UNIX)
        self._keeper.start(ports, end_process(os.getppid()))

    def before(self, request: Request) -> None:
        """In the worker, before each request."""
        if self._keeper is not None and self._keeper.leaves:
            request.force_close()

    def abort(self, worker: Worker) -> None:
        """In the worker: it was silent for too long, and the arbiter ends it."""
        self._aborted = True

    def exit(self, worker: Worker) -> None:
        """In the worker, at its end; not where it is killed."""
        if self._keeper is not None and not self._aborted:
            self._board.end(worker.age)

    def bury(self, worker: Worker) -> None:
        """In the arbiter, after a worker's end."""
        if not self._board.has_ended(worker.age):
            self._board.lose()
        self._board.free(worker.age)


def add_thread(pool: ThreadPoolExecutor) -> None:
    """One thread more for what waits in the pool; where the pool's inside is another one day, none."""
    if hasattr(pool, "_max_workers") and hasattr(pool, "_adjust_thread_count"):
        pool._max_workers += 1
        pool._adjust_thread_count()
