"""Files that a person names for results: tried before anything happens, written at the end."""

from __future__ import annotations

import os
from pathlib import Path

from segue.model.errors import SegueError, UsageError


def check_writable(path: Path, option: str) -> None:
    """UsageError where nothing can be written there: after a release or a drill it would be too late to say so."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        there = path.exists()
        with path.open("ab"):
            pass
        if not there:
            path.unlink()
    except OSError as error:
        raise UsageError(
            f"{option} {path}: cannot be written: {error.strerror}", remedy="name a file in a directory of yours"
        ) from error


def write_whole(path: Path, text: bytes) -> None:
    """A result, whole or not at all; a device or a pipe is written to, never replaced."""
    fresh = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        if path.exists() and not path.is_file():
            path.write_bytes(text)
            return
        fresh.write_bytes(text)
        fresh.replace(path)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise SegueError(f"{path} cannot be written: {error.strerror}") from error
