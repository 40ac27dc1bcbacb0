"""What is expected of the embedded cluster: what a real one told, but for what is listed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.live.both.scenarios import stage
from tests.live.both.scenarios.differences import DIFFERENCES, as_embedded

EXPECTED = Path(stage.__file__).parent / "expected"
SCRIPTS = "\n".join(file.read_text() for file in Path(stage.__file__).parent.glob("test_*.py"))


def test_every_listed_difference_is_in_what_a_real_cluster_told() -> None:
    for name in DIFFERENCES:
        wanted = (EXPECTED / f"{name}.txt").read_text()

        assert as_embedded(name, wanted) != wanted


def test_what_is_not_listed_is_expected_alike() -> None:
    assert as_embedded("another", "text") == "text"


def test_a_difference_that_is_no_more_is_found() -> None:
    name = next(iter(DIFFERENCES))

    with pytest.raises(AssertionError, match="does not tell"):
        as_embedded(name, "something else")


def test_every_file_of_expectations_belongs_to_a_scenario() -> None:
    strays = [file.stem for file in EXPECTED.glob("*.txt") if f"def test_{file.stem}(stage" not in SCRIPTS]

    assert not strays
