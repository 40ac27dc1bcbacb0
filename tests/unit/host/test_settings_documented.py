"""Every setting of the cluster has its row in the reference."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

from segue.host.settings import ClusterSettings

PAGE = Path(__file__).resolve().parents[3] / "docs" / "reference" / "embedded-cluster.md"
BY_OPTION = {"mode", "image_maps"}  # have an option of their own


def test_the_reference_lists_every_setting() -> None:
    listed = {
        name for row in PAGE.read_text().splitlines() if row.startswith("| `") for name in re.findall(r"`(\w+)`", row)
    }

    assert {field.name for field in fields(ClusterSettings)} - BY_OPTION <= listed
