"""A kubelet that dies and is started again, as by an update of its node. It concerns everybody on the node."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.live.both import manifests
from tests.live.both.world import Place, is_ready

pytestmark = [pytest.mark.live, pytest.mark.alone]

STATEMENTS = {
    "Kubelet restart": "Containers run on while a kubelet is started again, but it believes no earlier probe: its pods"
    " are not Ready, and out of their Services, until their first probe under the new one.",
}
NOT_COVERED: dict[str, str] = {}
DIFFERENCES = {
    "Kubelet restart": "embedded's node agent lives in the cluster's own process and ends with it; it can fall silent"
    " and go on (B10), which takes nothing out of traffic. A release sees pods that are not Ready for a moment, as"
    " after any failed probe.",
}


@pytest.mark.states("Kubelet restart")
@pytest.mark.only("real", "embedded's node agent is no process of its own")
def test_pods_are_not_ready_until_the_new_kubelet_has_probed_them(
    place: Place, measured: Callable[[str, float, str], None]
) -> None:
    place.create(manifests.pod("web", readinessProbe=manifests.http("ready")))
    before = place.wait_ready("web")
    with place.watch("pods") as watched:
        killed_at_s = time.time()
        place.world.kill_kubelet()
        left = watched.wait(lambda each: not is_ready(each.object), limit_s=30)
        back = watched.wait(lambda each: each.at_s > left.at_s and is_ready(each.object), limit_s=30)

    (container,) = back.object["status"]["containerStatuses"]
    assert container["containerID"] == before["status"]["containerStatuses"][0]["containerID"]
    assert container["restartCount"] == 0
    measured("from the kill to not Ready", left.at_s - killed_at_s, "s")
    measured("not Ready", back.at_s - left.at_s, "s")
