"""A receipt in a terminal: verdict, causes, and a small timeline in block characters. Strings only; prints nothing.

Rule: names and messages come from a cluster or a file, so nothing of them may move a terminal's cursor.
"""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass

from segue.model.objects import Obj
from segue.report.facts import asked_words

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


ACTIONS_MAX = 14  # so that it stays one screen


def screen_of(receipt: Obj, screen: Screen) -> list[str]:
    """A kept receipt for a person: what it was, how it ended, what was lost and why, the steps, the ends of pods."""
    lost = bool(receipt["lost"] or receipt["lostOutsideExposure"])
    stopped = receipt.get("end") not in {None, "", "done", "held"}
    mark = screen.paint("✗", "red") if lost or stopped else screen.paint("✓", "green")
    said = str(receipt.get("endMessage") or receipt["title"])
    window = receipt["exposure"]
    took_s = window["toS"] - window["fromS"]
    head = f"{str(receipt['zeroAt'])[:19].replace('T', ' ')} UTC, {took_s:.1f} s, {asked_words(receipt['asked'])}"
    lines = [f"{mark} {screen.paint(printable(said), 'bold')}", screen.paint(f"  {printable(head)}", "dim")]
    lines += [f"  {receipt['verdict']}"]
    if receipt["sent"]:
        latency = receipt["latencyMs"]
        lines.append(
            f"  latency p50 {latency['p50']:g} ms, p99 {latency['p99']:g} ms, worst {latency['max']:g} ms; "
            f"longest silence {receipt['longestGapMs']:g} ms"
        )
        lines += ["", *timeline(receipt, screen)]
    if receipt["causes"]:
        lines += ["", *causes(receipt, screen)]
    if receipt["actions"]:
        lines += ["", *_steps(receipt, screen)]
    if receipt["pods"]:
        lines += ["", *_ends(receipt, screen)]
    return [printable(line, escapes=screen.colours) for line in lines]


def printable(text: str, *, escapes: bool = False) -> str:
    """Text without characters that a terminal obeys; our own colours stay where `escapes` is said."""
    if not escapes:
        return "".join(char if char.isprintable() else "\ufffd" for char in text)
    own = {f"\033[{code}m" for code in [*CODES.values(), "0"]}
    parts = re.split(r"(\033\[\d+m)", text)
    return "".join(part if part in own else printable(part) for part in parts)


def _steps(receipt: Obj, screen: Screen) -> list[str]:
    """The actions; of many of one kind the first only."""
    rows: list[tuple[float, str, int]] = []
    for row in receipt["actions"]:
        kind = " ".join(str(row["action"]).split()[:2])
        if rows and " ".join(rows[-1][1].split()[:2]) == kind:
            rows[-1] = (rows[-1][0], rows[-1][1], rows[-1][2] + 1)
        else:
            rows.append((row["atS"], str(row["action"]), 1))
    lines = [screen.paint(f"  {'AT':>9}  ACTION", "dim")]
    for at_s, action, count in rows[:ACTIONS_MAX]:
        more = f" (and {count - 1} more)" if count > 1 else ""
        lines.append("  " + _cut(f"{at_s:>7.1f} s  {action}{more}", screen.width - 4))
    if len(rows) > ACTIONS_MAX:
        lines.append(screen.paint(f"  {'':>9}  and {len(rows) - ACTIONS_MAX} more steps", "dim"))
    return lines


def _ends(receipt: Obj, screen: Screen) -> list[str]:
    """How old pods ended, counted; and who was cut off."""
    counts: dict[tuple[str, str], int] = {}
    for pod in receipt["pods"]:
        key = (str(pod["reason"]), str(pod["evidenceSource"]))
        counts[key] = counts.get(key, 0) + 1
    said = ", ".join(f"{count} {reason} (evidence: {source})" for (reason, source), count in sorted(counts.items()))
    lines = [f"  old pods ended: {said}"]
    for pod in receipt["pods"]:
        if pod["reason"] == "capped":
            text = f"    {pod['pod']} was still busy: {pod.get('because') or 'its receipt does not say with whom'}"
            lines.append(screen.paint(_cut(text, screen.width - 2), "red"))
    return lines


def _cut(text: str, width: int) -> str:
    width = max(30, width)
    return text if len(text) <= width else text[: width - 1] + "…"


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
