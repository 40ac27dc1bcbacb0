"""`segue measure` finds the delay that a data plane was given: 0, 1 and 8 s, each on a cluster of its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from segue.host import embedded
from segue.host.settings import ClusterSettings
from segue.model.objects import Obj
from tests.live.conftest import start_cluster

pytestmark = [pytest.mark.live, pytest.mark.full, pytest.mark.own]
FLOOR_S = 1.0  # rules are written at most once a second (K5)
BUSY_S = 1.0  # what a machine that is busy with other tests may take besides


@pytest.mark.parametrize("delay_s", [0.0, 1.0, 8.0])
def test_the_delay_that_is_there_is_the_one_that_is_measured(tmp_path: Path, delay_s: float) -> None:
    cluster = start_cluster(tmp_path / "default", ClusterSettings(data_plane_delay_s=delay_s))
    try:
        cluster.kubectl("create", "namespace", "scratch")
        argv = ("-n", "scratch", "--image", "host.org/segue/agent:v1", "--repeats", "2", "-o", "json")
        done = cluster.run("segue", "measure", *argv, limit_s=240)
        assert done.returncode == 0, done.stderr
        found: Obj = json.loads(done.stdout)
    finally:
        embedded.stop(cluster.state)

    gone_s = [one["goneSeconds"] for one in found["changes"]]
    assert delay_s <= found["propagationSeconds"] <= delay_s + FLOOR_S + BUSY_S
    # Of two pods, chance hides the end by a call or two, and that is never the largest
    assert min(gone_s) >= delay_s - 0.3
