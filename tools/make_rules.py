"""Generate docs/reference/rules.md and a page per rule, from the rules themselves and their golden pairs.

A test holds the pages equal to what this makes. Usage: python tools/make_rules.py
"""

from __future__ import annotations

import difflib
import re
import textwrap
from functools import lru_cache
from pathlib import Path

from segue.check.facts import FACTS
from segue.check.findings import FAMILIES, Finding, Rule
from segue.check.gathering import Gathered
from segue.check.rulebook import RULES, judge
from segue.check.settings import Settings, settings_of
from segue.check.story import finding_lines
from segue.model.manifest import parse_mapping

ROOT = Path(__file__).parent.parent
PAIRS = ROOT / "tests" / "golden" / "rules"
PAGES = ROOT / "docs" / "reference" / "rules"
TABLE = ROOT / "docs" / "reference" / "rules.md"
STATEMENTS = ROOT / "docs" / "reference" / "statements.md"
MADE = "<!-- made by tools/make_rules.py from the rules and their golden pairs -->"
IGNORED = "```yaml\nmetadata:\n  annotations:\n    segue.dev/ignore-{}: the reason\n```"
HEAD = f"""# Rules

{MADE}

What [`segue check`](../how-to/check-manifests.md) looks for. An **error** loses requests for certain in the event that
its page names; a **warning** likely, or under load, or where a number is assumed and nobody has said it; an **info** is
worth knowing. One rule can find the lesser severity where it is less certain.

*fix* says whether `segue fix` repairs it by itself: **yes** where the repair needs nothing that only you know, *asks*
where it does.

P is the time until nobody sends new connections to a pod that is being ended, Q the longest request, S what preStop
waits, G terminationGracePeriodSeconds, M 2 s, n the effective replicas. [Settings](check-settings.md) has all numbers.
"""


def verdict_of(rule: str, name: str) -> tuple[Finding, ...]:
    """What a file of a golden pair is judged to have."""
    folder = PAIRS / rule
    settings = Settings()
    if (folder / "config.yaml").exists():
        text = (folder / "config.yaml").read_text()
        settings = settings_of(parse_mapping(text, file="config.yaml").obj["check"])
    now, before = Gathered(), Gathered()
    now.add((folder / name).read_text(), file=name)
    if (folder / "before.yaml").exists():
        before.add((folder / "before.yaml").read_text(), file="before.yaml")
    assert not [*now.errors, *before.errors], f"{folder}: {now.errors or before.errors}"
    return judge(now.sources, settings, before.sources).findings


def page(rule: Rule) -> str:
    """The page of one rule."""
    found = next(one for one in verdict_of(rule.id, "bad.yaml") if one.rule.id == rule.id)
    said = "\n".join(finding_lines(found, coloured=False, width=100))
    fix = "`segue fix` repairs it." if rule.is_safe else "`segue fix` asks: only you know the answer."
    parts = [
        f"# {rule.id} {rule.name}",
        MADE,
        f"**{rule.severity}** · {rule.family} · {fix}",
        f"{rule.says[:1].upper()}{rule.says[1:]}.",
        f"## What is lost, and why\n{_filled(rule.why)}",
        f"## What to write instead\n{_filled(rule.instead)}",
        f"## For example\n{_story(rule)}```text\n{said}\n```\n\nWhat changes it:\n\n```diff\n{_diff(rule)}\n```",
        f"## Where it is right as it is\n{IGNORED.format(rule.id)}",
    ]
    if rule.unshown:
        parts.append(f"## No live test\n{_filled(rule.unshown)}")
    if rule.facts:
        lines = [f"- {fact}: {_statement(fact)}" for fact in rule.facts]
        parts.append("## Facts\n" + "\n".join(lines) + "\n\n[What is confirmed, and where](../statements.md).")
    return "\n\n".join(parts) + "\n"


def _filled(text: str) -> str:
    return textwrap.fill(text, 120, break_long_words=False, break_on_hyphens=False)


def _story(rule: Rule) -> str:
    if (PAIRS / rule.id / "config.yaml").exists():
        text = (PAIRS / rule.id / "config.yaml").read_text().strip()
        return f"With these settings:\n\n```yaml\n{text}\n```\n\n"
    if (PAIRS / rule.id / "before.yaml").exists():
        return "Only the difference to what runs shows it: `segue check FILES --compare`, or `--before OLD`.\n\n"
    return ""


def _diff(rule: Rule) -> str:
    bad, good = ((PAIRS / rule.id / name).read_text().splitlines() for name in ("bad.yaml", "good.yaml"))
    return "\n".join(list(difflib.unified_diff(bad, good, lineterm="", n=3))[2:])


@lru_cache(maxsize=1)
def _statements() -> dict[str, str]:
    rows = re.findall(r"(?m)^\| ([A-Z]+\d+) \| (.*?) \| ", STATEMENTS.read_text())
    return dict(rows)


def _statement(fact: str) -> str:
    return FACTS.get(fact) or _statements()[fact]


def table() -> str:
    """The page with all of them."""
    parts = [HEAD]
    for key, family in FAMILIES.items():
        rows = ["| rule | | severity | fix | says |", "|---|---|---|---|---|"]
        rows += [
            f"| [{one.id}](rules/{one.id}.md) | {one.name} | {one.severity} | {'**yes**' if one.is_safe else '*asks*'} "
            f"| {one.says} |"
            for one in RULES.values()
            if one.id[2] == key
        ]
        parts.append(f"## {family}\n\n" + "\n".join(rows) + "\n")
    return "\n".join(parts)


if __name__ == "__main__":
    PAGES.mkdir(exist_ok=True)
    for old in PAGES.glob("*.md"):
        old.unlink()
    for one in RULES.values():
        (PAGES / f"{one.id}.md").write_text(page(one))
    TABLE.write_text(table())
