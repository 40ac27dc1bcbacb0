"""A user of segue with a namespace of their own: `app` is empty, in `serving` three pods serve."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.both.user.app import V1, App
from tests.live.both.world import Place


@pytest.fixture
def app(place: Place, tmp_path: Path) -> Iterator[App]:
    """A user with an empty namespace."""
    home = tmp_path / "home"
    home.mkdir()
    made = App(place=place, home=home)
    yield made
    made.leave()


@pytest.fixture
def serving(app: App) -> App:
    """Three pods that serve, brought by kubectl."""
    app.place.kubectl("apply", "-f", app.file(V1, "v1.yaml"))
    app.pods()
    return app
