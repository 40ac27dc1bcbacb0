"""Docs that can be run are run: the blocks of a page, one after the other, each in a shell of its own.

In a `console` block a line `$ command` is executed, and the lines below it are what it prints; a line `...` stands for
any lines, `...` inside a line for any text. An `sh` block is run as a whole and must succeed, whatever it prints; one
that calls `make` is left to the tests of those commands. A page that holds `<!-- full -->` takes long and runs in
`make test-full` only; one that holds `<!-- real -->` runs in `make test-real`, against the running test bed, in a
namespace of its own, and where it calls `python -m testbed`, with a bed of its own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command of a page with what it is said to print."""

    page: Path
    line: int
    text: str
    expected: tuple[str, ...] | None  # None: anything, as long as it succeeds


def commands_of(page: Path) -> list[Command]:
    """The commands of a page in order."""
    found: list[Command] = []
    lines = page.read_text().splitlines()
    fence = ""
    for number, line in enumerate(lines, 1):
        if line.startswith("```"):
            fence = "" if fence else line
            if fence == "```sh":
                found.append(Command(page=page, line=number, text="set -e", expected=None))
        elif fence == "```sh":
            found[-1] = replace(found[-1], text=f"{found[-1].text}\n{line}")
        elif fence == "```console" and line.startswith("$ "):
            found.append(Command(page=page, line=number, text=line[2:], expected=()))
        elif fence == "```console" and found:
            found[-1] = replace(found[-1], expected=(*(found[-1].expected or ()), line))
    return [command for command in found if "\nmake " not in command.text]


def matches(expected: tuple[str, ...], printed: str) -> bool:
    """Whether the output is what the page says."""
    pattern = "".join(r"(?:.*\n)*?" if line == "..." else _line_pattern(line) for line in expected)
    text = printed if not printed or printed.endswith("\n") else printed + "\n"
    return re.fullmatch(pattern, text) is not None


def _line_pattern(line: str) -> str:
    return r"[^\n]*".join(re.escape(piece) for piece in line.rstrip().split("...")) + r"[ ]*\n"
