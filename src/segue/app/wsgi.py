"""A WSGI application whose requests are counted, so that its server can leave without losing one.

    keeper = Keeper(Board(), Rules(dead_threads=2), listen("8081"), 0)
    application = Counted(application, keeper)
    keeper.start(frozenset({8080}), end_process(os.getpid()))

A WSGI application may not say `Connection: close` by itself (PEP 3333); hooks of its server may (`segue.app.gunicorn`).
Standard library only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias

from segue.app.keeper import Keeper

Environ: TypeAlias = dict[str, Any]  # type: ignore[explicit-any]  # PEP 3333: servers put in whatever they like
Application: TypeAlias = Callable[[Environ, Any], Iterable[bytes]]  # type: ignore[explicit-any]  # likewise
Start: TypeAlias = Callable[..., Any]  # type: ignore[explicit-any]  # likewise


class Counted:
    """The application, each of its requests known to the keeper until its answer has been closed."""

    def __init__(self, application: Application, keeper: Keeper) -> None:
        self._application = application
        self._keeper = keeper

    def __call__(self, environ: Environ, start_response: Start) -> Iterable[bytes]:
        """Answer one request."""
        requests = self._keeper.requests
        number = requests.begin(str(environ.get("REMOTE_ADDR") or ""))
        try:
            answer = self._application(environ, start_response)
        except BaseException:
            requests.end(number)
            raise
        wrapper = environ.get("wsgi.file_wrapper")
        if isinstance(wrapper, type) and isinstance(answer, wrapper):  # the server sends such a file by itself
            requests.end(number)
            return answer
        return _Answer(answer, lambda: requests.end(number))


class _Answer:
    """What the application answers; its end is the request's."""

    def __init__(self, answer: Iterable[bytes], ended: Callable[[], None]) -> None:
        self._answer = answer
        self._ended = ended

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._answer)

    def close(self) -> None:
        """Called by the server in any case."""
        try:
            close = getattr(self._answer, "close", None)
            if close is not None:
                close()
        finally:
            self._ended()
