"""Docs that can be run are run: `console` blocks of a page, one after the other, in a shell of their own.

A line `$ command` is executed, the lines below it are what it prints; a line `...` stands for any lines, `...` inside a
line for any text. A page may hold `<!-- full -->`: then it takes long and runs in `make test-full` only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command of a page with what it is said to print."""

    page: Path
    line: int
    text: str
    expected: tuple[str, ...]


def commands_of(page: Path) -> list[Command]:
    """The commands of a page in order."""
    found: list[Command] = []
    lines = page.read_text().splitlines()
    inside = False
    for number, line in enumerate(lines, 1):
        if line.startswith("```"):
            inside = not inside and line == "```console"
        elif inside and line.startswith("$ "):
            found.append(Command(page=page, line=number, text=line[2:], expected=()))
        elif inside and found:
            last = found[-1]
            found[-1] = Command(page=page, line=last.line, text=last.text, expected=(*last.expected, line))
    return found


def matches(expected: tuple[str, ...], printed: str) -> bool:
    """Whether the output is what the page says."""
    pattern = "".join(r"(?:.*\n)*?" if line == "..." else _line_pattern(line) for line in expected)
    text = printed if not printed or printed.endswith("\n") else printed + "\n"
    return re.fullmatch(pattern, text) is not None


def _line_pattern(line: str) -> str:
    return r"[^\n]*".join(re.escape(piece) for piece in line.rstrip().split("...")) + r"[ ]*\n"
