"""What `segue measure` said is what check counts with, unless a configuration says otherwise."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from segue.host.checking import read_settings
from segue.model.errors import ManifestError


def test_what_was_measured_is_known_and_a_configuration_counts_more(tmp_path: Path) -> None:
    file, config = tmp_path / "measured.json", tmp_path / "segue.yaml"
    numbers = {"propagationSeconds": 8.1, "longestRequestSeconds": 61}
    file.write_text(json.dumps({"propagationSeconds": 8.1, "nodes": [], "check": numbers}))
    config.write_text("check: {longestRequestSeconds: 90}\n")
    alone, _ = read_settings("", "", str(file))
    both, _ = read_settings(str(config), "", str(file))

    assert (alone.number("propagationSeconds"), alone.number("longestRequestSeconds")) == (8.1, 61)
    assert {"propagationSeconds", "longestRequestSeconds"} == alone.known
    assert (both.number("propagationSeconds"), both.number("longestRequestSeconds")) == (8.1, 90)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{}", "segue measure did not print this"),
        ('{"check": 5}', "segue measure did not print this"),
        ('{"check": {"propagationSeconds": "eight"}}', "propagationSeconds is off"),
        ("[1]", ""),
        ('{"check": ', ""),
    ],
)
def test_a_file_that_is_off_is_named(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "measured.json"
    file.write_text(text)

    with pytest.raises(ManifestError) as caught:
        read_settings("", "", str(file))
    assert said in caught.value.message
    assert caught.value.place is not None
    assert "measured.json" in str(caught.value.place)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ManifestError) as caught:
        read_settings("", "", str(tmp_path / "none.json"))
    assert "none.json" in f"{caught.value.place} {caught.value.message}"
