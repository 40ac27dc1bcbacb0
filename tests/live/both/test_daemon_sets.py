"""One pod on each node: W3, W20 to W27. Both clusters have one node; more of them are among the unit tests."""

from __future__ import annotations

import pytest

from segue.model.objects import Obj
from tests.live.both import manifests, rollouts
from tests.live.both.rollouts import wait_until
from tests.live.both.world import Place, Watched, is_ready

pytestmark = pytest.mark.live

STATEMENTS = {
    "W3": "A DaemonSet makes a node's next pod when the containers of the one before have ended; with maxSurge it makes"
    " the next one first, and the old one goes when that is available.",
    "W20": "A DaemonSet's pod is made for one node by an affinity to its name, and tolerates what befalls nodes: it"
    " comes to a cordoned node, too.",
    "W21": "The template's nodeSelector chooses nodes; a node that is no longer chosen loses its pod.",
    "W22": "status counts nodes: those that are to have a pod, have one, have one that is Ready, available, updated.",
    "W23": "minReadySeconds hold the old pod of a surge.",
    "W24": "OnDelete updates a node's pod when somebody deletes it, and only then.",
    "W25": "kubectl rollout status, history, undo and restart work on a DaemonSet; the API counts its templates.",
    "W26": "A deleted DaemonSet takes pods and revisions along.",
    "W28": "kubectl drain refuses a node with a DaemonSet's pods, or leaves them there where it is told to.",
    "W27": "maxSurge and maxUnavailable: exactly one of them is not 0.",
}
NOT_COVERED: dict[str, str] = {}
DIFFERENCES = {
    "W25": "The hash in the name of a DaemonSet's revision differs (ours hashes its JSON, upstream a dump of the Go"
    " value); a StatefulSet's is the same on both.",
    "W29": "embedded replaces a failed pod of a DaemonSet one second after it was made at the soonest; real at once the"
    " first time, then after ever longer, which it remembers in no object.",
}
GENERATION = "deprecated.daemonset.template.generation"
COUNTS = (
    "desiredNumberScheduled",
    "currentNumberScheduled",
    "numberReady",
    "numberAvailable",
    "updatedNumberScheduled",
)


def daemon_set(**more: object) -> Obj:
    """A DaemonSet `agent` whose pods stay Ready on a machine that is too busy to answer each probe in time."""
    probe = manifests.http("ready", failures=5, timeoutSeconds=5)
    return manifests.daemon_set("agent", readinessProbe=probe, **more)


def rolling(unavailable: int | str, surge: int | str) -> Obj:
    """A spec's part: a rolling update with these numbers."""
    numbers = {"maxUnavailable": unavailable, "maxSurge": surge}
    return {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": numbers}}


def complete(place: Place) -> Obj:
    """Wait until the node's pod is available and of the present template; the DaemonSet."""

    def done() -> Obj:
        found = place.get("daemonsets", "agent")
        status = found["status"]
        seen = status.get("observedGeneration") == found["metadata"]["generation"]
        return found if seen and [status.get(key, 0) for key in COUNTS] == [1] * len(COUNTS) else {}

    return wait_until(done, what="agent to be complete")


def started(place: Place, **more: object) -> Obj:
    """Create the DaemonSet and wait until it is complete."""
    place.create(daemon_set(**more))
    return complete(place)


def roll(place: Place, version: str = "v2", strings: str = "") -> None:
    """Another version."""
    place.patch("daemonsets", "agent", {"spec": rollouts.template(version, strings=strings)})


def versions(place: Place) -> list[str]:
    """The image tags of the pods that stay."""
    found = [pod for pod in place.all("pods") if "deletionTimestamp" not in pod["metadata"]]
    return sorted(pod["spec"]["containers"][0]["image"].rpartition(":")[2] for pod in found)


def story(told: Watched) -> list[tuple[str, str]]:
    """What happened to pods of which version, each thing once."""
    seen: dict[tuple[str, str], None] = {}
    for each in list(told.happenings):
        version = each.object["spec"]["containers"][0]["image"].rpartition(":")[2]
        leaving = "deletionTimestamp" in each.object["metadata"]
        what = "gone" if each.type == "DELETED" else "leaving" if leaving else "made"
        seen[("ready" if what == "made" and is_ready(each.object) else what, version)] = None
    return list(seen)


@pytest.mark.states("W20", "W22")
def test_the_node_gets_a_pod_that_is_made_for_it(place: Place) -> None:
    made = started(place)
    (pod,) = place.all("pods")

    affinity = pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    (term,) = affinity["nodeSelectorTerms"]
    assert term == {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [place.world.node]}]}
    assert pod["spec"]["tolerations"] == [
        {"key": f"node.kubernetes.io/{trouble}", "operator": "Exists", "effect": effect}
        for trouble, effect in (
            ("not-ready", "NoExecute"),
            ("unreachable", "NoExecute"),
            ("disk-pressure", "NoSchedule"),
            ("memory-pressure", "NoSchedule"),
            ("pid-pressure", "NoSchedule"),
            ("unschedulable", "NoSchedule"),
        )
    ]
    (revision,) = place.all("controllerrevisions")
    digest = revision["metadata"]["labels"]["controller-revision-hash"]
    assert revision["metadata"]["name"] == f"agent-{digest}"
    labels = {"app": "agent", "controller-revision-hash": digest, "pod-template-generation": "1"}
    assert pod["metadata"]["labels"] == labels
    assert made["status"] == {**dict.fromkeys(COUNTS, 1), "numberMisscheduled": 0, "observedGeneration": 1}
    row = place.kubectl("get", "ds", "agent", "--no-headers").split()
    assert row[:7] == ["agent", "1", "1", "1", "1", "1", "<none>"]


@pytest.mark.states("W20")
def test_a_cordoned_node_gets_its_pod_all_the_same(place: Place) -> None:
    with place.world.cordoned():
        started(place)


@pytest.mark.states("W21", "W22")
def test_a_selector_chooses_nodes_while_it_holds(place: Place) -> None:
    key = place.namespace
    inner = daemon_set()["spec"]["template"]
    inner["spec"]["nodeSelector"] = {key: "yes"}
    place.create(daemon_set(spec={"template": inner}))
    wait_until(lambda: place.get("daemonsets", "agent")["status"].get("observedGeneration"), what="a look")
    assert place.get("daemonsets", "agent")["status"]["desiredNumberScheduled"] == 0

    try:
        _label_node(place, key, "yes")
        complete(place)
    finally:
        _label_node(place, key, None)
    wait_until(lambda: not versions(place), what="the pod to go")
    wait_until(lambda: place.get("daemonsets", "agent")["status"]["currentNumberScheduled"] == 0, what="the count")


@pytest.mark.states("W3")
def test_an_update_makes_the_next_pod_when_the_one_before_has_ended(place: Place) -> None:
    """The object of the one before may still be there."""
    started(place, strings="term=1")
    (old,) = [pod["metadata"]["name"] for pod in place.all("pods")]
    with place.watch("pods") as told:
        roll(place)
        complete(place)
        told.wait(lambda each: each.type == "DELETED")

    ended = told.wait(lambda each: each.name == old and (each.type == "DELETED" or _has_ended(each.object)))
    made = told.wait(lambda each: each.name != old)
    assert told.happenings.index(made) > told.happenings.index(ended)


@pytest.mark.states("W3")
def test_a_surge_makes_the_next_pod_first(place: Place) -> None:
    started(place, spec=rolling(0, 1))
    with place.watch("pods") as told:
        roll(place)
        complete(place)
        told.wait(lambda each: each.type == "DELETED")

    assert story(told)[1:] == [("made", "v2"), ("ready", "v2"), ("leaving", "v1"), ("gone", "v1")]


@pytest.mark.states("W3")
def test_a_surge_that_does_not_get_ready_keeps_the_old_pod_until_that_fails_too(place: Place) -> None:
    started(place, spec=rolling(0, 1))
    (old,) = place.all("pods")
    roll(place, strings="ready=503")
    wait_until(lambda: versions(place) == ["v1", "v2"], what="a new pod")

    rollouts.set_ready(place, [old], 503)
    wait_until(lambda: versions(place) == ["v2"], what="the old pod to go")


@pytest.mark.states("W23")
def test_min_ready_seconds_hold_the_old_pod_of_a_surge(place: Place) -> None:
    started(place, spec=rolling(0, 1) | {"minReadySeconds": 2})
    with place.watch("pods") as told:
        roll(place)
        complete(place)
        old = told.wait(lambda each: "deletionTimestamp" in each.object["metadata"])

    (pod,) = place.all("pods", "pod-template-generation=2")
    ready = told.wait(lambda each: each.name == pod["metadata"]["name"] and is_ready(each.object))
    assert old.at_s - ready.at_s > 0.9  # Ready's time has whole seconds


@pytest.mark.states("W24")
def test_on_delete_updates_what_somebody_deletes(place: Place) -> None:
    started(place, spec={"updateStrategy": {"type": "OnDelete"}})
    roll(place)
    wait_until(lambda: len(place.all("controllerrevisions")) == 2, what="another revision")
    assert versions(place) == ["v1"]
    place.delete("pods", place.all("pods")[0]["metadata"]["name"])

    wait_until(lambda: versions(place) == ["v2"], what="the next pod")


@pytest.mark.states("W25")
def test_a_rollout_can_be_followed_undone_and_restarted(place: Place) -> None:
    started(place)
    roll(place)
    assert "successfully rolled out" in place.kubectl("rollout", "status", "ds/agent", "--timeout=60s")
    assert place.kubectl("rollout", "undo", "ds/agent").strip() == "daemonset.apps/agent rolled back"
    complete(place)

    assert versions(place) == ["v1"]
    assert sorted(each["revision"] for each in place.all("controllerrevisions")) == [2, 3]
    assert "3" in place.kubectl("rollout", "history", "ds/agent").split()
    place.kubectl("rollout", "restart", "ds/agent")
    place.kubectl("rollout", "status", "ds/agent", "--timeout=60s")
    assert place.get("daemonsets", "agent")["metadata"]["annotations"][GENERATION] == "4"


@pytest.mark.states("W26")
def test_a_deleted_one_takes_its_pods_and_revisions_along(place: Place) -> None:
    started(place)
    place.delete("daemonsets", "agent")

    wait_until(lambda: not place.all("pods") and not place.all("controllerrevisions"), what="all to be gone")


@pytest.mark.states("W28")
def test_a_drain_does_not_take_its_pods(place: Place) -> None:
    inner = daemon_set()["spec"]["template"]
    inner["metadata"]["labels"]["drained"] = place.namespace
    started(place, spec={"template": inner})
    drain = ["kubectl", "drain", place.world.node, f"--pod-selector=drained={place.namespace}", "--dry-run=client"]

    refused = place.run(*drain)
    assert refused.returncode != 0
    assert "cannot delete DaemonSet-managed Pods" in refused.stderr
    assert "ignoring DaemonSet-managed Pods" in place.run(*drain, "--ignore-daemonsets").stderr


@pytest.mark.states("W27")
@pytest.mark.parametrize(
    ("unavailable", "surge", "field", "words"),
    [
        (1, 1, "maxSurge", "may not be set when maxUnavailable is non-zero"),
        (0, 0, "maxUnavailable", "cannot be 0 when maxSurge is 0"),
        (0, "101%", "maxSurge", "must not be greater than 100%"),
    ],
    ids=["both", "neither", "more"],
)
def test_numbers_that_do_not_go_together_are_refused(
    place: Place, unavailable: int, surge: int | str, field: str, words: str
) -> None:
    code, told = place.world.call("POST", place.path("daemonsets"), daemon_set(spec=rolling(unavailable, surge)))

    assert (code, told["reason"]) == (422, "Invalid")
    assert [(each["field"], each["message"].rpartition(": ")[2]) for each in told["details"]["causes"]] == [
        (f"spec.updateStrategy.rollingUpdate.{field}", words)
    ]


def _has_ended(pod: Obj) -> bool:
    return pod["status"].get("phase") in {"Succeeded", "Failed"}


def _label_node(place: Place, key: str, value: str | None) -> None:
    patch = {"metadata": {"labels": {key: value}}}
    path = f"/api/v1/nodes/{place.world.node}"
    code, told = place.world.call("PATCH", path, patch, "application/merge-patch+json")
    assert code == 200, told
