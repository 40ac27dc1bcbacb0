"""Whole StatefulSets, DaemonSets and Jobs, field by field, with their revisions, pods and events.

As test_whole_objects does it: `whole_workloads.json` is written by a real cluster alone, with SEGUE_RECORD=1
SEGUE_CLUSTER=real, in a normal form without times, addresses, identities and chosen names.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from difflib import unified_diff
from pathlib import Path

import pytest

from segue.model.objects import Obj
from tests.live.both import manifests, rollouts
from tests.live.both.rollouts import wait_until
from tests.live.both.test_whole_objects import Names, normal
from tests.live.both.world import Place

pytestmark = pytest.mark.live

STATEMENTS = {
    "whole-workloads": "StatefulSets, DaemonSets, Jobs, their revisions and their pods hold the same fields and values."
}
EXPECTED = Path(__file__).parent / "whole_workloads.json"
RESOURCES = ("statefulsets", "daemonsets", "jobs", "controllerrevisions", "pods")
_IDENTITY = re.compile(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")
_TIMES = ("completionTime", "lastProbeTime")


class ChosenNames(Names):
    """Chosen names by what they stand for; the hash of a DaemonSet's revision, too, which is another text there."""

    def __init__(self, place: Place) -> None:
        super().__init__([])
        revisions = place.all("controllerrevisions")
        mine = [each for each in revisions if each["metadata"]["ownerReferences"][0]["kind"] == "DaemonSet"]
        in_order = sorted(mine, key=lambda each: int(each["revision"]))
        self._revisions = {
            str(each["metadata"]["labels"]["controller-revision-hash"]): f"HASH{number}"
            for number, each in enumerate(in_order, start=1)
        }
        self._revisions[place.world.node] = "NODE"  # a DaemonSet's pod names it in its affinity

    def said(self, text: str) -> str:
        for known, name in self._revisions.items():
            text = text.replace(known, name)
        text = _IDENTITY.sub("UID", text)
        return re.sub(r"\b(agent|work)-(?!HASH)[a-z0-9]{5}\b", r"\1-RANDOM", text)


def seen(place: Place) -> dict[str, object]:
    """All objects of the namespace in their normal form; equal ones once, because which was first is chance."""
    names = ChosenNames(place)
    found: dict[str, object] = {}
    for resource in RESOURCES:
        texts = {
            json.dumps(_without_times(normal(each, resource, names)), sort_keys=True) for each in place.all(resource)
        }
        found[resource] = [json.loads(text) for text in sorted(texts)]
    found["events"] = sorted(
        {
            names.said(f"{each['involvedObject']['kind']} {each['type']} {each['reason']}: {each['message']}")
            for each in place.all("events")
            if each["involvedObject"]["kind"] != "Pod"
        }
    )
    return found


@pytest.mark.states("whole-workloads")
def test_whole_workloads_are_as_a_real_cluster_has_them(place: Place) -> None:
    shown: dict[str, object] = {}
    probe = manifests.http("ready", failures=5, timeoutSeconds=5)
    objects = (
        manifests.stateful_set("web", 2, readinessProbe=probe),
        manifests.daemon_set("agent", readinessProbe=probe),
        manifests.job("work", readinessProbe=probe),
    )
    for made in objects:
        place.kubectl("apply", "-f", "-", stdin=json.dumps(made))
    wait_until(lambda: _all_ready(place), what="all pods to be counted as Ready")
    shown["complete"] = seen(place)
    for resource, name in (("statefulsets", "web"), ("daemonsets", "agent")):
        place.patch(resource, name, {"spec": rollouts.template("v2", strings="ready=503")})
    with pytest.raises(OSError):  # the pod ends before it answers
        place.ask(_address(place), manifests.PORT, "/exit?code=0")
    wait_until(lambda: _half_way(place), what="new pods that are not Ready, and a finished Job")
    shown["half-way"] = seen(place)

    if os.environ.get("SEGUE_RECORD") == "1" and place.world.label.startswith("real"):
        EXPECTED.write_text(_lines(shown))
    apart = list(unified_diff(EXPECTED.read_text().splitlines(), _lines(shown).splitlines(), "real", "here", n=6))
    assert not apart, "\n".join(apart)


def _status(place: Place, resource: str, name: str) -> Obj:
    found: Obj = place.get(resource, name)["status"]
    return found


def _all_ready(place: Place) -> bool:
    ready: list[Callable[[], bool]] = [
        lambda: _status(place, "statefulsets", "web").get("availableReplicas") == 2,
        lambda: _status(place, "daemonsets", "agent").get("numberAvailable") == 1,
        lambda: _status(place, "jobs", "work").get("ready") == 1,
    ]
    return all(each() for each in ready)


def _half_way(place: Place) -> bool:
    pods = place.all("pods")
    old_alone = not any("deletionTimestamp" in pod["metadata"] for pod in pods)
    running = [pod for pod in pods if pod["spec"]["containers"][0]["image"].endswith(":v2") and _runs(pod)]
    web, agent = _status(place, "statefulsets", "web"), _status(place, "daemonsets", "agent")
    counted = (web.get("updatedReplicas"), web.get("readyReplicas"), web.get("replicas"))
    return (
        old_alone
        and len(running) == 2
        and counted == (1, 1, 2)
        and (agent.get("updatedNumberScheduled"), agent["numberReady"]) == (1, 0)
        and "completionTime" in _status(place, "jobs", "work")
    )


def _runs(pod: Obj) -> bool:
    states = pod["status"].get("containerStatuses") or [{}]
    return "running" in (states[0].get("state") or {})


def _address(place: Place) -> str:
    (pod,) = place.all("pods", "job-name=work")
    return str(pod["status"]["podIP"])


def _without_times(value: object) -> object:
    if isinstance(value, dict):
        return {key: "*" if key in _TIMES else _without_times(item) for key, item in value.items()}
    return [_without_times(item) for item in value] if isinstance(value, list) else value


def _lines(shown: dict[str, object]) -> str:
    return json.dumps(shown, indent=1, sort_keys=True) + "\n"
