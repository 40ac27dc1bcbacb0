"""Links of the docs lead somewhere, and each picture that a page shows is one that the program makes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tools.make_pictures import DRILLS, PICTURES

ROOT = Path(__file__).resolve().parents[3]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"(!?)\[[^\]]*\]\(([^)#\s]+)(?:#[^)]*)?\)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"(?s)```.*?```", "", page.read_text())
    targets = [target for _, target in LINK.findall(text) if "://" not in target]
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_every_picture_is_shown_and_every_shown_one_is_made() -> None:
    made = {PICTURES / f"{name}-pods.svg" for name in DRILLS}
    shown = {
        (page.parent / target).resolve()
        for page in (ROOT / "docs" / "questions").glob("*.md")
        for bang, target in LINK.findall(page.read_text())
        if bang
    }
    assert shown == made == set(PICTURES.iterdir())
