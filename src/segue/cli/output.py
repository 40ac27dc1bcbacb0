"""How every command speaks: results on stdout, progress and errors on stderr, colours only on terminals.

Never decides anything; takes values and prints them.
"""

from __future__ import annotations

import sys
from enum import StrEnum

import msgspec

from segue.model.errors import SegueError
from segue.model.objects import Obj


class Output(StrEnum):
    """The value of `-o`."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


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

        say(yaml.safe_dump(value, sort_keys=False).rstrip())
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
    red, plain = ("\033[31m", "\033[0m") if sys.stderr.isatty() else ("", "")
    note(f"{red}error:{plain} {place}{error.message}")
    if error.remedy:
        note(f"  {error.remedy}")
    return error.exit_code
