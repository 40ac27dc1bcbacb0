"""A receipt in a terminal: verdict, causes, and a small timeline in block characters. Strings only; prints nothing."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass

from segue.model.objects import Obj

BLOCKS = " ▁▂▃▄▅▆▇█"
LATE_SHARE_MAX = 0.05  # a few late ones change nothing; beyond this the stated rate was not the load's
CODES = {"red": "31", "green": "32", "dim": "2", "bold": "1"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Screen:
    """How wide it is and whether it knows colours (only where a person looks at a terminal)."""

    width: int = 100
    colours: bool = False

    def paint(self, text: str, colour: str) -> str:
        """Text in a colour, or as it is."""
        return f"\033[{CODES[colour]}m{text}\033[0m" if self.colours else text


def lines_of(receipt: Obj, judgement: str, screen: Screen) -> list[str]:
    """The whole result, line by line."""
    lost = bool(receipt["lost"] or receipt["lostOutsideExposure"])
    mark = screen.paint("✗", "red") if lost else screen.paint("✓", "green")
    lines = [f"{mark} {screen.paint(str(receipt['verdict']), 'bold')}", f"  {judgement}"]
    lines += ["", *timeline(receipt, screen)]
    if receipt["causes"]:
        lines += ["", *causes(receipt, screen)]
    if receipt["ownFaults"]:
        lines += ["", f"  {receipt['ownFaults']:,} requests failed on this side and count as not sent"]
    share = receipt["late"] / max(1, receipt["sent"])
    if share > LATE_SHARE_MAX:
        lines += ["", f"  {share:.0%} of the requests left more than 50 ms late: this machine could not keep the rate"]
    return lines


def timeline(receipt: Obj, screen: Screen) -> list[str]:
    """A row per version and one for losses, a column per second (or several, where seconds are many)."""
    seconds = [row for row in receipt["seconds"] if row["second"] >= 0]
    if not seconds:
        return []
    last = max(row["second"] for row in seconds)
    each = max(1, -(-(last + 1) // max(10, screen.width - 24)))
    columns = last // each + 1
    names = [*receipt["versions"], "lost"]
    label = max(len(name) for name in names) + 2
    rows: list[str] = []
    sums = {name: [0] * columns for name in names}
    for row in seconds:
        for key, count in row.items():
            if key in {"second", "!own-fault"}:
                continue
            sums["lost" if key.startswith("!") else key][row["second"] // each] += count
    highest = max((max(sums[name]) for name in receipt["versions"]), default=1) or 1
    rows += ["  " + name.ljust(label) + spark(sums[name], highest) for name in receipt["versions"]]
    marks = "".join("•" if count else " " for count in sums["lost"])
    if marks.strip():
        rows.append("  " + "lost".ljust(label) + screen.paint(marks.rstrip(), "red"))
    rows.append("  " + " " * label + screen.paint(f"0 s{f'{last + 1} s':>{max(4, columns - 3)}}", "dim"))
    return rows


def spark(values: list[int], highest: int) -> str:
    """One block character per value; whatever is above 0 shows."""
    assert highest > 0
    return "".join(BLOCKS[0 if not value else max(1, round(value / highest * (len(BLOCKS) - 1)))] for value in values)


def causes(receipt: Obj, screen: Screen) -> list[str]:
    """The table of causes, each with one of its errors in words."""
    lines = [screen.paint(f"  {'LOST':>6}  CAUSE", "dim")]
    for row in receipt["causes"]:
        count = f"{row['count']:>6,}"
        lines.append(f"  {screen.paint(count, 'red')}  {row['cause']}: {row['what']}")
        for text in (f"for example: {row['example']}", f"what helps: {row['remedy']}"):
            wrapped = textwrap.wrap(text, max(40, screen.width - 10), subsequent_indent="  ")
            lines += [screen.paint(f"          {line}", "dim") for line in wrapped]
    return lines
