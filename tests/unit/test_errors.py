"""The error tree, its drawing and its page are one thing."""

from __future__ import annotations

import re
from pathlib import Path

from segue.model import errors

ROOT = Path(__file__).resolve().parents[2]


def _codes() -> dict[str, int]:
    return {
        name: value.exit_code
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.SegueError) and value is not errors.StatusError
    }


def test_the_page_lists_every_error_with_its_exit_code() -> None:
    page = (ROOT / "docs" / "reference" / "exit-codes.md").read_text()
    listed = {name: int(code) for code, name in re.findall(r"^\| (\d+) \| (\w+) \|", page, re.MULTILINE)}

    assert listed == _codes()


def test_the_tree_in_the_docstring_is_the_tree_in_the_code() -> None:
    drawn = dict(re.findall(r"(\w+)\s+(\d+)   ", errors.__doc__ or ""))

    assert {name: int(code) for name, code in drawn.items()} == _codes()


def test_no_two_errors_share_an_exit_code() -> None:
    codes = list(_codes().values())

    assert len(codes) == len(set(codes))
