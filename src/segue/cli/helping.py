"""How help looks: plain columns, wrapped with a hanging indent, the same on a terminal and in the docs.

Only draws what cyclopts has collected; imported when help is asked for.
"""

from __future__ import annotations

import io
import textwrap

from cyclopts.help import HelpEntry, HelpPanel
from rich.console import Console, ConsoleOptions, RenderableType
from rich.text import Text

from segue.cli.output import WIDTH_MAX

GAP = 2
LEFT_MAX = 30
WIDE = 10_000
_TITLES = {"Parameters": "Options"}
_METAVARS = {"INT": "N", "FLOAT": "N", "PATH": "FILE", "CHOICE": "FORM", "STR": "TEXT"}
_SELF_EVIDENT = {"False", '""', "None"}


class Columns:
    """The help formatter of all commands."""

    def __call__(self, console: Console, options: ConsoleOptions, panel: HelpPanel) -> None:
        """One panel: a title and its rows."""
        if not panel.entries:
            return
        title = _plain(panel.title)
        rows = [(_left(entry, panel.format), _right(entry)) for entry in panel.entries]
        left = min(LEFT_MAX, max(len(name) for name, _ in rows)) + GAP
        _print(console, f"\n{_TITLES.get(title, title)}:")
        for name, text in rows:
            _print(console, _row(name, text, left, min(console.width, WIDTH_MAX)))

    def render_usage(self, console: Console, options: ConsoleOptions, usage: RenderableType) -> None:
        """The first line."""
        text = _plain(usage).strip()
        _print(console, (text if text.startswith("Usage:") else f"Usage: {text}"))

    def render_description(self, console: Console, options: ConsoleOptions, description: RenderableType) -> None:
        """What the command does, with its examples."""
        text = _plain(description)
        if text:
            _print(console, "\n" + _described(text, min(console.width, WIDTH_MAX)))


def _print(console: Console, text: str) -> None:
    console.print(text, highlight=False, markup=False, soft_wrap=True)


def _plain(what: RenderableType | None) -> str:
    """Without style; wide enough that nothing is wrapped yet."""
    if isinstance(what, str | Text):
        return str(what)
    if what is None:
        return ""
    sheet = Console(file=io.StringIO(), width=WIDE, no_color=True, force_terminal=False)
    with sheet.capture() as captured:
        sheet.print(what, end="")
    return "\n".join(line.rstrip() for line in captured.get().splitlines()).rstrip()


def _left(entry: HelpEntry, kind: str) -> str:
    if kind == "command":
        return ", ".join((*entry.positive_names, *entry.positive_shorts))
    names = ", ".join((*entry.positive_shorts, *entry.positive_names))
    if entry.positional_label:
        return entry.positional_label
    metavar = (entry.metavar or "").removesuffix("...")
    return f"{names} {_METAVARS.get(metavar, metavar)}".rstrip()


def _right(entry: HelpEntry) -> str:
    said = [_plain(entry.description)]
    if entry.default is not None and entry.default not in _SELF_EVIDENT:
        said.append(f"(default {entry.default.removesuffix('.0')})")
    if entry.required and not entry.positional_label:
        said.append("(required)")
    return " ".join(part for part in said if part)


def _row(name: str, text: str, left: int, width: int) -> str:
    lines = textwrap.wrap(text, max(20, width - left - GAP), break_on_hyphens=False) or [""]
    if len(name) + GAP > left:
        lines.insert(0, "")
    shown = [" " * GAP + name.ljust(left) + lines[0], *(" " * (GAP + left) + line for line in lines[1:])]
    return "\n".join(line.rstrip() for line in shown)


def _described(text: str, width: int) -> str:
    """Paragraphs filled; the examples, one per line, are left as they are."""
    prose, _, examples = text.partition("Examples\n")
    paragraphs = [textwrap.fill(" ".join(part.split()), width, break_on_hyphens=False) for part in prose.split("\n\n")]
    shown = "\n\n".join(part for part in paragraphs if part)
    if not examples:
        return shown
    lines = [line.strip() for line in examples.splitlines() if line.strip(" -")]
    return shown + "\n\nExamples:\n" + "\n".join(f"  {line}" for line in lines)
