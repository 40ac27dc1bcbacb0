"""Waiting for a condition of the world, with a limit: the one place where a test lets time pass."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(condition: Callable[[], T], *, limit_s: float = 10.0, every_s: float = 0.02, what: str = "") -> T:
    """Ask until the answer is truthy and return it; AssertionError with `what` when `limit_s` is over."""
    end_s = time.monotonic() + limit_s
    while True:
        answer = condition()
        if answer:
            return answer
        assert time.monotonic() < end_s, f"waited {limit_s} s in vain for {what or condition}"
        threading.Event().wait(every_s)
