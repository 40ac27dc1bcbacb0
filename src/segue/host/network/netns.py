"""Network namespaces made and visited by helper threads, so that the event loop's thread never leaves its own.

Rule: only `NamespaceThread` calls setns or unshare; every function it runs ends back in the namespace it began in.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import ParamSpec, TypeVar

from segue.host import syscalls

P = ParamSpec("P")
T = TypeVar("T")

_OWN = "/proc/thread-self/ns/net"


class NamespaceThread:
    """One thread that may change its network namespace; work is done in the order in which it was given."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="netns")
        self._home = os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC)

    def submit(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run `work` on the thread."""
        return self._pool.submit(work, *args, **kwargs)

    def make(self, inside: Callable[[int], T]) -> T:
        """On the thread: make a namespace, run `inside(fd)` in it, come home. The caller owns the fd."""
        try:
            syscalls.unshare(syscalls.CLONE_NEWNET)
            fd = os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC)
            try:
                return inside(fd)
            except BaseException:
                os.close(fd)
                raise
        finally:
            syscalls.setns(self._home, syscalls.CLONE_NEWNET)

    def close(self) -> None:
        """End the thread when its work is done."""
        self._pool.shutdown(wait=True)
        os.close(self._home)


def sysctls(values: dict[str, str | int]) -> None:
    """Set sysctls ("net/ipv4/ip_forward") of the calling thread's network namespace."""
    for name, value in values.items():
        Path("/proc/sys", name).write_text(str(value))
