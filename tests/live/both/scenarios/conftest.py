"""`stage`: a place whose every change is recorded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.both.scenarios.stage import Stage, opened
from tests.live.both.world import Place


@pytest.fixture
def stage(place: Place, tmp_path: Path) -> Iterator[Stage]:
    """A namespace of the scenario's own, watched from before its first act."""
    with opened(place, tmp_path) as made:
        yield made
