"""The user's own check of an application: a script, a URL, or lines of a log. Each says why it failed, or "".

Rule: a check that cannot be carried out has failed; whoever supervises by a check that never works is told at once.
Standard library only.
"""

from __future__ import annotations

import http.client
import os
import re
import subprocess
import urllib.parse
from collections.abc import Callable
from typing import BinaryIO

TIMEOUT_S = 5.0
_SHOWN = 120


class Script:
    """A command line for `sh -c`; any exit code but 0 is a failure."""

    def __init__(self, line: str) -> None:
        self._line = line

    def fails(self) -> str:
        """Run it."""
        try:
            done = subprocess.run(
                ["sh", "-c", self._line], capture_output=True, text=True, timeout=TIMEOUT_S, check=False
            )
        except subprocess.TimeoutExpired:
            return f"the script takes longer than {TIMEOUT_S:g} s"
        except OSError as error:
            return f"the script cannot be run: {error.strerror}"
        if done.returncode == 0:
            return ""
        said = (done.stderr or done.stdout).strip().splitlines()
        return f"the script exits with {done.returncode}" + (f": {said[-1][:_SHOWN]}" if said else "")


class Url:
    """An HTTP URL of this pod; anything but 200 to 399 is a failure (P7). `connected` hears of each connection."""

    def __init__(self, url: str, connected: Callable[[], None]) -> None:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme != "http" or not parts.hostname:
            raise ValueError(f"{url}: must be http://HOST:PORT/PATH")
        self._url, self._host, self._port = url, parts.hostname, parts.port or 80
        self._path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._connected = connected

    def fails(self) -> str:
        """Ask it."""
        way = http.client.HTTPConnection(self._host, self._port, timeout=TIMEOUT_S)
        try:
            way.connect()
            self._connected()
            way.request("GET", self._path, headers={"Connection": "close"})
            code = way.getresponse().status
        except (OSError, http.client.HTTPException) as error:
            return f"{self._url} does not answer: {error}"
        finally:
            way.close()
        return "" if 200 <= code < 400 else f"{self._url} answers {code}"


class Log:
    """A file in which too many lines have matched since it was begun anew (or truncated, or made again)."""

    def __init__(self, path: str, pattern: str, count: int) -> None:
        if count < 1:
            raise ValueError("a log must be allowed at least one line")
        self._path, self._pattern, self._count = path, re.compile(pattern), count
        self._file, self._at, self._found = 0, 0, 0

    def fails(self) -> str:
        """Read what has been written since."""
        try:
            with open(self._path, "rb") as log:  # noqa: PTH123 - a light module
                self._read(log)
        except FileNotFoundError:
            self._file = self._at = self._found = 0  # nothing has been written yet
        except OSError as error:
            return f"{self._path} cannot be read: {error.strerror}"
        if self._found < self._count:
            return ""
        return f"{self._found} lines of {self._path} match {self._pattern.pattern}"

    def _read(self, log: BinaryIO) -> None:
        about = os.fstat(log.fileno())
        if about.st_ino != self._file or about.st_size < self._at:
            self._file, self._at, self._found = about.st_ino, 0, 0
        log.seek(self._at)
        whole, newline, _ = log.read().rpartition(b"\n")
        self._at += len(whole) + len(newline)
        self._found += sum(bool(self._pattern.search(line.decode(errors="replace"))) for line in whole.splitlines())
