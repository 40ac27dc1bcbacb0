"""How every command speaks: results on stdout, progress and errors on stderr, colours only on terminals.

Never decides anything; takes values and prints them. Lines are wrapped on terminals only: what a program reads stays
one line per statement.
"""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from enum import StrEnum
from typing import TextIO

import msgspec

from segue.model.errors import SegueError
from segue.model.objects import Obj

WIDTH_MAX = 100  # longer lines are hard to read, however wide the terminal is


class Output(StrEnum):
    """The value of `-o`."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


def coloured(stream: TextIO) -> bool:
    """Whether escapes may go there: a terminal that can show them, and nobody said NO_COLOR (https://no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def width() -> int:
    """How wide text may be."""
    return max(40, min(WIDTH_MAX, shutil.get_terminal_size().columns))


def say(text: str = "") -> None:
    """One line of result."""
    sys.stdout.write(text + "\n")


def note(text: str) -> None:
    """One line of progress, beside the result."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def emit(value: Obj | list[Obj], output: Output) -> None:
    """A result for machines: JSON or YAML."""
    if output is Output.YAML:
        import yaml  # noqa: PLC0415 - most commands never need it, and it costs start-up time

        say(yaml.safe_dump(value, sort_keys=False, allow_unicode=True).rstrip())
    else:
        say(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def table(headings: list[str], rows: list[list[str]]) -> None:
    """Columns as kubectl prints them: three blanks apart, left aligned."""
    widths = [max(len(row[index]) for row in [headings, *rows]) for index in range(len(headings))]
    for row in [headings, *rows]:
        say("   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def complain(error: SegueError) -> int:
    """Print an error with its place and remedy; returns its exit code."""
    place = f"{error.place}: " if error.place and str(error.place) else ""
    text = _wrapped(f"error: {place}{error.message}")
    if coloured(sys.stderr):
        text = text.replace("error:", "\033[31merror:\033[0m", 1)
    note(text)
    for line in error.remedy.splitlines():
        note(_wrapped(f"  {line}"))
    return error.exit_code


def _wrapped(text: str) -> str:
    """Broken between words where a terminal would break within them."""
    if not sys.stderr.isatty():
        return text
    return "\n".join(
        textwrap.fill(line, width(), subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
        for line in text.splitlines()
    )
