"""Whole objects, field by field: what a real cluster stored after a script is what either must store.

`whole_objects.json` holds them in a normal form without times, addresses, identities and chosen names. Only a real
cluster writes it: SEGUE_RECORD=1 SEGUE_CLUSTER=real pytest tests/live/both/test_whole_objects.py
Rule: what may differ is taken out of both by ALLOWED, with its reason; everything else is compared.
"""

from __future__ import annotations

import json
import os
import re
from difflib import unified_diff
from pathlib import Path

import pytest

from segue.model.objects import Obj
from tests.live.both import manifests, rollouts
from tests.live.both.rollouts import complete, held, roll, running, strategy, wait_sizes, wait_until
from tests.live.both.world import Place

pytestmark = pytest.mark.live

STATEMENTS = {"whole-objects": "Deployments, ReplicaSets, pods, slices and Services hold the same fields and values."}
NOT_COVERED: dict[str, str] = {}
_NO_TOKEN = "the embedded cluster gives pods no service account token"
_KUBELET = "a figure of the kubelet's that no release reads"
ALLOWED = {
    "metadata.managedFields": "names the programs that wrote, which are others there (test_server_side_apply)",
    "metadata.annotations.kubectl.kubernetes.io/last-applied-configuration": "holds the namespace's name",
    "metadata.annotations.endpoints.kubernetes.io/last-change-trigger-time": "a time that only real clusters tell",
    "endpointslices.metadata.generation": "counts writes, and how many there are is chance on a busy machine",
    "pods.spec.volumes": _NO_TOKEN,
    "pods.spec.containers[].volumeMounts": _NO_TOKEN,
    "pods.status.containerStatuses[].volumeMounts": _NO_TOKEN,
    "pods.status.containerStatuses[].resources": _KUBELET,
    "pods.status.containerStatuses[].user": _KUBELET,
    "pods.status.resources": _KUBELET,
    "pods.status.observedGeneration": _KUBELET,
    "pods.status.conditions[].observedGeneration": _KUBELET,
    "pods.status.conditions[].lastProbeTime": "always null on a real cluster",
}
DIFFERENCES = {"whole-objects": "; ".join(f"{path}: {why}" for path, why in ALLOWED.items())}
EXPECTED = Path(__file__).parent / "whole_objects.json"
RESOURCES = ("deployments", "replicasets", "pods", "endpointslices", "services")
_CHANCE = {
    "resourceVersion",
    "uid",
    "creationTimestamp",
    "lastTransitionTime",
    "lastUpdateTime",
    "startTime",
    "startedAt",
    "finishedAt",
    "image",
    "imageID",
    "containerID",
    "namespace",
    "addresses",
    "clusterIP",
    "clusterIPs",
    "podIP",
    "podIPs",
    "hostIP",
    "hostIPs",
    "nodeName",
    "nodePort",
}


class Names:
    """Chosen names by what they stand for: hashes by revision, the rest of a generated name left out."""

    def __init__(self, sets: list[Obj]) -> None:
        self._hashes = {rollouts.hash_of(each): f"HASH{number}" for number, each in enumerate(sets, start=1)}

    def said(self, text: str) -> str:
        """The text with the chosen names replaced."""
        for known, name in self._hashes.items():
            text = text.replace(known, name)
        # A conflict of the status' first write swallows the one that follows on a real cluster: chance
        text = re.sub(r'^Created new replica set ("[^"]*")$', r"ReplicaSet \1 is progressing.", text)
        text = "ReplicaSetUpdated" if text == "NewReplicaSetCreated" else text
        return re.sub(r"(HASH\d-|web-)[a-z0-9]{5}\b", r"\1RANDOM", text)


def normal(value: object, path: str, names: Names) -> object:
    """A value without chance and without what may differ."""
    if isinstance(value, dict):
        kept: dict[str, object] = {}
        for key, item in sorted(value.items()):
            below = f"{path}.{key}"
            if below in ALLOWED or below.partition(".")[2] in ALLOWED:
                continue
            made = "*" if key in _CHANCE else normal(item, below, names)
            if made != {} or item == {}:  # a map is gone with the last of its keys that may differ
                kept[names.said(key)] = made
        return kept
    if isinstance(value, list):
        items = [normal(item, f"{path}[]", names) for item in value]
        return sorted(items, key=json.dumps) if path == "endpointslices.endpoints" else items
    return names.said(value) if isinstance(value, str) else value


def seen(place: Place) -> dict[str, object]:
    """All objects of the namespace in their normal form; equal ones once, because which was first is chance."""
    names = Names(rollouts.sets(place, "web"))
    found: dict[str, object] = {}
    for resource in RESOURCES:
        texts = {json.dumps(normal(each, resource, names), sort_keys=True) for each in place.all(resource)}
        found[resource] = [json.loads(text) for text in sorted(texts)]
    found["events"] = sorted(
        {
            names.said(f"{each['involvedObject']['kind']} {each['type']} {each['reason']}: {each['message']}")
            for each in place.all("events")
            if each["involvedObject"]["kind"] != "Pod"
        }
    )
    return found


@pytest.mark.states("whole-objects")
def test_whole_objects_are_as_a_real_cluster_has_them(place: Place) -> None:
    shown: dict[str, object] = {}
    place.create(manifests.service("web", selector={"app": "web"}, type="NodePort"))
    place.kubectl("apply", "-f", "-", stdin=json.dumps(rollouts.deployment("web", 2, spec=strategy(1, 0))))
    complete(place, "web")
    wait_until(lambda: _ready(place) == 2, what="two ready endpoints")
    shown["complete"] = seen(place)
    roll(place, "web", held(), {"minReadySeconds": 1, "progressDeadlineSeconds": 60})
    running(place, wait_sizes(place, "web", 2, 1)[1], 1)
    wait_until(lambda: len(place.endpoints("web")) == 3, what="three endpoints")
    wait_until(lambda: _unavailable(place) == 1, what="its count")
    shown["half-way"] = seen(place)
    place.kubectl("rollout", "undo", "deployment/web")
    complete(place, "web")
    place.kubectl("rollout", "pause", "deployment/web")
    place.kubectl("scale", "deployment/web", "--replicas=1")
    wait_until(lambda: (len(place.all("pods")), _ready(place)) == (1, 1), what="one pod")
    complete(place, "web")
    shown["undone, paused, scaled"] = seen(place)

    if os.environ.get("SEGUE_RECORD") == "1" and place.world.label.startswith("real"):
        EXPECTED.write_text(_lines(shown))
    apart = list(unified_diff(EXPECTED.read_text().splitlines(), _lines(shown).splitlines(), "real", "here", n=6))
    assert not apart, "\n".join(apart)


def _unavailable(place: Place) -> int:
    return int(place.get("deployments", "web")["status"].get("unavailableReplicas", 0))


def _lines(shown: dict[str, object]) -> str:
    return json.dumps(shown, indent=1, sort_keys=True) + "\n"


def _ready(place: Place) -> int:
    return sum(bool(each["ready"]) for each in place.endpoints("web").values())
