"""Pods with names that stay: W1, W2, W10 to W19."""

from __future__ import annotations

import pytest

from segue.model.objects import Obj
from tests.live.both import manifests, rollouts
from tests.live.both.rollouts import wait_until
from tests.live.both.world import Place, Watched, is_ready

pytestmark = pytest.mark.live

STATEMENTS = {
    "W1": "A StatefulSet is updated from the highest ordinal down, one pod at a time, each deleted before its next one"
    " is made and Ready before the one below goes; what lies below the partition stays, also when it is deleted.",
    "W2": "With Parallel, an update takes pods that are not Ready first, and these cost nothing of maxUnavailable.",
    "W10": "OrderedReady makes a pod when all below it are Ready and available, and deletes from the top, one by one;"
    " of those that are too many and not Ready it deletes the lowest alone, so two that failed need a hand.",
    "W11": "Parallel makes and deletes pods without waiting for one another.",
    "W12": "A pod's name, hostname and labels follow from the set's name and the ordinal; there is never a"
    " second pod of a name: the next one is made when the object before it is gone.",
    "W13": "maxUnavailable of a StatefulSet is rounded down and at least 1; so many pods go at a time, from the top.",
    "W14": "OnDelete updates a pod when somebody deletes it, and only then.",
    "W15": "Each template has one ControllerRevision, its name a hash of it; going back gives it a new number.",
    "W16": "kubectl rollout status, history, undo and restart work on a StatefulSet.",
    "W17": "A deleted StatefulSet takes pods and revisions along; orphaned pods are taken up by the next.",
    "W18": "Selector, serviceName and podManagementPolicy of a StatefulSet stand.",
}
NOT_COVERED: dict[str, str] = {}
DIFFERENCES = {
    "W19": "volumeClaimTemplates are refused by embedded: it has no persistent volumes.",
}
INDEX, NAME = "apps.kubernetes.io/pod-index", "statefulset.kubernetes.io/pod-name"
REVISION = "controller-revision-hash"


def stateful_set(replicas: int, **more: object) -> Obj:
    """A StatefulSet `web` whose pods stay Ready on a machine that is too busy to answer each probe in time."""
    probe = manifests.http("ready", failures=5, timeoutSeconds=5)
    return manifests.stateful_set("web", replicas, readinessProbe=probe, **more)


def rolling(**numbers: object) -> Obj:
    """A spec's part: a rolling update with these numbers."""
    return {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": numbers}}


def complete(place: Place) -> Obj:
    """Wait until all pods are available and of the update revision; the set."""

    def done() -> Obj:
        found = place.get("statefulsets", "web")
        status, wanted = found["status"], found["spec"]["replicas"]
        counts = [status.get(key, 0) for key in ("replicas", "readyReplicas", "availableReplicas", "updatedReplicas")]
        seen = status.get("observedGeneration") == found["metadata"]["generation"]
        return found if seen and counts == [wanted] * 4 else {}

    return wait_until(done, what="web to be complete")


def started(place: Place, replicas: int, **more: object) -> Obj:
    """Create the set and wait until it is complete."""
    place.create(stateful_set(replicas, **more))
    return complete(place)


def pods(place: Place) -> dict[str, Obj]:
    """Pods by name, those on their way out, too."""
    return {pod["metadata"]["name"]: pod for pod in place.all("pods")}


def versions(place: Place) -> dict[str, str]:
    """The image tag of each pod that stays."""
    return {
        name: pod["spec"]["containers"][0]["image"].rpartition(":")[2]
        for name, pod in pods(place).items()
        if "deletionTimestamp" not in pod["metadata"]
    }


def roll(place: Place, version: str = "v2", strings: str = "") -> None:
    """Another version."""
    place.patch("statefulsets", "web", {"spec": rollouts.template(version, strings=strings)})


def story(told: Watched) -> list[tuple[str, str]]:
    """What happened to pods, each thing once: made, ready, leaving, gone."""
    seen: list[tuple[str, str]] = []
    uids: dict[str, int] = {}
    for each in list(told.happenings):
        run = uids.setdefault(each.object["metadata"]["uid"], len(uids))
        leaving = "deletionTimestamp" in each.object["metadata"]
        what = "gone" if each.type == "DELETED" else "leaving" if leaving else "made"
        if what == "made" and is_ready(each.object):
            what = "ready"
        if (what, f"{each.name}#{run}") not in seen:
            seen.append((what, f"{each.name}#{run}"))
    return [(what, name.partition("#")[0]) for what, name in seen]


def in_turn(*names: str) -> list[tuple[str, str]]:
    """One whole replacement after the other."""
    return [(what, name) for name in names for what in ("leaving", "gone", "made", "ready")]


@pytest.mark.states("W10", "W12")
def test_pods_come_in_order_each_with_its_name(place: Place) -> None:
    with place.watch("pods") as told:
        made = started(place, 3)
        rollouts.caught_up(place, told, "pods")

    names = ["web-0", "web-1", "web-2"]
    assert story(told) == [(what, name) for name in names for what in ("made", "ready")]
    for ordinal, (name, pod) in enumerate(sorted(pods(place).items())):
        assert (pod["spec"]["hostname"], pod["spec"]["subdomain"]) == (name, "web")
        revision = made["status"]["currentRevision"]
        assert pod["metadata"]["labels"] == {"app": "web", INDEX: str(ordinal), NAME: name, REVISION: revision}
    assert place.kubectl("get", "sts", "web", "--no-headers").split()[:2] == ["web", "3/3"]


@pytest.mark.states("W12")
def test_a_headless_service_tells_pods_apart_by_their_hostnames(place: Place) -> None:
    place.create(manifests.service("web", selector={"app": "web"}, clusterIP="None"))
    started(place, 2)

    def hostnames() -> list[str]:
        slices = place.all("endpointslices", "kubernetes.io/service-name=web")
        found = [each for one in slices for each in one.get("endpoints") or [] if each["conditions"]["ready"]]
        return sorted(each.get("hostname", "") for each in found)

    wait_until(lambda: hostnames() == ["web-0", "web-1"], what="two hostnames")


@pytest.mark.states("W12")
def test_ordinals_begin_where_they_are_told_to(place: Place) -> None:
    started(place, 2, spec={"ordinals": {"start": 7}})

    assert sorted(pods(place)) == ["web-7", "web-8"]


@pytest.mark.states("W12")
def test_the_next_pod_of_a_name_is_made_when_the_one_before_is_gone(place: Place) -> None:
    started(place, 1, strings="term=1")
    with place.watch("pods") as told:
        place.delete("pods", "web-0")
        told.wait(lambda each: each.type == "DELETED")
        complete(place)
        rollouts.caught_up(place, told, "pods")

    assert story(told)[1:] == in_turn("web-0")


@pytest.mark.states("W12")
def test_a_name_on_a_pod_that_was_taken_off_is_put_back(place: Place) -> None:
    started(place, 1)
    place.patch("pods", "web-0", {"metadata": {"labels": {NAME: "somebody"}}})

    wait_until(lambda: pods(place)["web-0"]["metadata"]["labels"][NAME] == "web-0", what="the label")


@pytest.mark.states("W10")
def test_min_ready_seconds_hold_the_next_pod(place: Place) -> None:
    with place.watch("pods") as told:
        place.create(stateful_set(2, spec={"minReadySeconds": 2}))
        first = told.wait(lambda each: each.name == "web-0" and is_ready(each.object))
        second = told.wait(lambda each: each.name == "web-1")

    assert second.at_s - first.at_s > 0.9  # Ready's time has whole seconds


@pytest.mark.states("W10")
def test_a_scale_down_takes_one_after_the_other_from_the_top(place: Place) -> None:
    started(place, 3)
    with place.watch("pods") as told:
        place.kubectl("scale", "sts", "web", "--replicas=1")
        wait_until(lambda: list(pods(place)) == ["web-0"], what="one pod to be left")
        rollouts.caught_up(place, told, "pods")
        told.wait(lambda each: each.type == "DELETED" and each.name == "web-1")

    steps = [step for step in story(told) if step[0] in {"leaving", "gone"}]
    assert steps == [(what, name) for name in ("web-2", "web-1") for what in ("leaving", "gone")]


@pytest.mark.states("W10")
def test_a_scale_down_waits_for_lower_pods_to_be_ready(place: Place) -> None:
    started(place, 3)
    rollouts.set_ready(place, [pods(place)["web-0"]], 503)
    place.patch("statefulsets", "web", {"spec": {"replicas": 1}})
    generation = place.get("statefulsets", "web")["metadata"]["generation"]
    wait_until(
        lambda: place.get("statefulsets", "web")["status"]["observedGeneration"] == generation,
        what="the size to be seen",
    )

    assert len(versions(place)) == 3
    rollouts.set_ready(place, [pods(place)["web-0"]])
    wait_until(lambda: list(pods(place)) == ["web-0"], what="one pod to be left")


@pytest.mark.states("W10")
def test_a_scale_down_waits_for_ever_for_a_lower_pod_that_failed(place: Place) -> None:
    started(place, 2)
    rollouts.set_ready(place, list(pods(place).values()), 503)
    place.patch("statefulsets", "web", {"spec": {"replicas": 0}})
    for name in ("web-0", "web-1"):
        place.patch("pods", name, {"spec": {"activeDeadlineSeconds": 1}})
    for name in ("web-0", "web-1"):
        wait_until(lambda name=name: pods(place)[name]["status"]["phase"] == "Failed", what=f"{name} to fail")  # type: ignore[misc]

    with place.watch("pods") as told:
        place.delete("pods", "web-0")
        lower = told.wait(lambda each: each.type == "DELETED" and each.name == "web-0")
        upper = told.wait(lambda each: each.type == "DELETED" and each.name == "web-1")

    assert rollouts.version(upper) > rollouts.version(lower)


@pytest.mark.states("W11")
def test_parallel_pods_do_not_wait_for_one_another(place: Place) -> None:
    place.create(stateful_set(3, strings="ready=503,term=1", spec={"podManagementPolicy": "Parallel"}))
    wait_until(lambda: len(pods(place)) == 3, what="three pods")

    place.patch("statefulsets", "web", {"spec": {"replicas": 0}})
    wait_until(
        lambda: [pod for pod in pods(place).values() if "deletionTimestamp" in pod["metadata"]] and not versions(place),
        what="all to be leaving",
    )


@pytest.mark.states("W1")
def test_an_update_replaces_one_after_the_other_from_the_top(place: Place) -> None:
    started(place, 3)
    with place.watch("pods") as told:
        told.wait(lambda each: each.name == "web-2")
        before = len(story(told))
        roll(place)
        complete(place)
        rollouts.caught_up(place, told, "pods")

    assert story(told)[before:] == in_turn("web-2", "web-1", "web-0")
    status = place.get("statefulsets", "web")["status"]
    assert status["currentRevision"] == status["updateRevision"]


@pytest.mark.states("W1")
def test_an_update_stops_at_a_pod_that_does_not_get_ready_and_going_back_needs_a_hand(place: Place) -> None:
    started(place, 3)
    roll(place, strings="ready=503")
    wait_until(lambda: versions(place).get("web-2") == "v2", what="the first new pod")
    roll(place, "v1")

    wait_until(lambda: place.get("statefulsets", "web")["status"].get("updatedReplicas") == 2, what="two of v1")
    assert versions(place)["web-2"] == "v2"
    place.delete("pods", "web-2")
    complete(place)
    assert set(versions(place).values()) == {"v1"}


@pytest.mark.states("W1")
def test_a_partition_keeps_what_lies_below_it(place: Place) -> None:
    started(place, 3, spec=rolling(partition=2))
    roll(place)
    wait_until(lambda: place.get("statefulsets", "web")["status"].get("updatedReplicas") == 1, what="an update")
    wait_until(lambda: place.get("statefulsets", "web")["status"].get("readyReplicas") == 3, what="all to be Ready")
    with place.watch("pods") as told:
        place.delete("pods", "web-0")
        told.wait(lambda each: each.type == "DELETED")
    wait_until(lambda: len(versions(place)) == 3, what="web-0 again")

    assert versions(place) == {"web-0": "v1", "web-1": "v1", "web-2": "v2"}
    status = place.get("statefulsets", "web")["status"]
    assert status["currentRevision"] != status["updateRevision"]


@pytest.mark.states("W13")
@pytest.mark.parametrize(("amount", "taken"), [(2, 2), ("60%", 2), ("10%", 1)], ids=str)
def test_an_update_takes_as_many_as_may_be_unavailable(place: Place, amount: int | str, taken: int) -> None:
    started(place, 4, strings="term=1", spec=rolling(maxUnavailable=amount) | {"podManagementPolicy": "Parallel"})
    with place.watch("pods") as told:
        roll(place, strings="ready=503")
        wait_until(lambda: list(versions(place).values()).count("v2") == taken, what=f"{taken} new pods")
        rollouts.caught_up(place, told, "pods")

    leaving = [name for what, name in story(told) if what == "leaving"]
    assert sorted(leaving) == ["web-2", "web-3"][-taken:]


@pytest.mark.states("W2")
def test_a_parallel_update_takes_what_is_not_ready_first(place: Place) -> None:
    started(place, 3, spec={"podManagementPolicy": "Parallel"})
    rollouts.set_ready(place, [pods(place)["web-0"]], 503)
    with place.watch("pods") as told:
        roll(place, strings="ready=503")
        wait_until(lambda: versions(place).get("web-0") == "v2", what="web-0 to be new")
        rollouts.caught_up(place, told, "pods")

    assert [name for what, name in story(told) if what == "leaving"] == ["web-0"]


@pytest.mark.states("W14")
def test_on_delete_updates_what_somebody_deletes(place: Place) -> None:
    started(place, 2, spec={"updateStrategy": {"type": "OnDelete"}})
    roll(place)
    status = wait_until(
        lambda: (
            (found := place.get("statefulsets", "web")["status"])["updateRevision"] != found["currentRevision"]
            and found
        ),
        what="another revision",
    )
    assert status
    place.delete("pods", "web-0")

    wait_until(lambda: versions(place) == {"web-0": "v2", "web-1": "v1"}, what="web-0 to be new")


@pytest.mark.states("W15")
def test_a_revision_is_named_by_its_template_alone(place: Place) -> None:
    """The template holds nothing of the cluster, so its hash is the same on every one."""
    template = {
        "metadata": {"labels": {"app": "db"}},
        "spec": {"terminationGracePeriodSeconds": 1, "containers": [{"name": "main", "image": "host.org/none:v1"}]},
    }
    spec = {"replicas": 0, "selector": {"matchLabels": {"app": "db"}}, "template": template}
    place.create({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db"}, "spec": spec})

    (revision,) = wait_until(lambda: place.all("controllerrevisions"), what="a revision")
    assert revision["metadata"]["name"] == "db-54dc7f44bd"
    assert (revision["revision"], revision["metadata"]["ownerReferences"][0]["kind"]) == (1, "StatefulSet")
    assert revision["metadata"]["labels"] == {"app": "db", "controller.kubernetes.io/hash": "54dc7f44bd"}
    assert revision["data"]["spec"]["template"]["$patch"] == "replace"


@pytest.mark.states("W15", "W16")
def test_a_rollout_can_be_followed_undone_and_restarted(place: Place) -> None:
    first = started(place, 2)["status"]["currentRevision"]
    roll(place)
    assert "complete: 2 new pods" in place.kubectl("rollout", "status", "sts/web", "--timeout=60s")
    assert place.kubectl("rollout", "undo", "sts/web").strip() == "statefulset.apps/web rolled back"
    complete(place)

    assert set(versions(place).values()) == {"v1"}
    numbers = {each["metadata"]["name"]: each["revision"] for each in place.all("controllerrevisions")}
    assert (numbers[first], len(numbers)) == (3, 2)
    history = place.kubectl("rollout", "history", "sts/web").split()
    assert "3" in history
    place.kubectl("rollout", "restart", "sts/web")
    place.kubectl("rollout", "status", "sts/web", "--timeout=60s")
    assert len(place.all("controllerrevisions")) == 3


@pytest.mark.states("W15")
def test_revisions_beyond_the_limit_go(place: Place) -> None:
    place.create(stateful_set(0, spec={"revisionHistoryLimit": 1}))
    for version in ("v2", "v3", "v1"):
        roll(place, version)
        complete(place)

    def numbers() -> list[int]:
        return sorted(each["revision"] for each in place.all("controllerrevisions"))

    wait_until(lambda: len(numbers()) == 2, what="two revisions")
    assert numbers() == [3, 4]


def _owned(place: Place) -> list[Obj]:
    """What still names an owner: one that is orphaned late is taken for garbage by whoever comes by first."""
    found = [*place.all("pods"), *place.all("controllerrevisions")]
    return [each for each in found if each["metadata"].get("ownerReferences")]


@pytest.mark.states("W17")
def test_an_orphaned_pod_is_taken_up_by_the_next_set(place: Place) -> None:
    started(place, 1)
    uid = pods(place)["web-0"]["metadata"]["uid"]
    place.kubectl("delete", "sts", "web", "--cascade=orphan")
    wait_until(lambda: not _owned(place), what="the pod and the revision to be alone")
    made = started(place, 1)

    (pod,) = place.all("pods")
    assert (pod["metadata"]["uid"], pod["metadata"]["ownerReferences"][0]["uid"]) == (uid, made["metadata"]["uid"])
    assert len(place.all("controllerrevisions")) == 1


@pytest.mark.states("W17")
def test_a_deleted_set_takes_its_pods_and_revisions_along(place: Place) -> None:
    started(place, 2)
    place.delete("statefulsets", "web")

    wait_until(lambda: not place.all("pods") and not place.all("controllerrevisions"), what="all to be gone")


@pytest.mark.states("W18")
@pytest.mark.parametrize(
    "change",
    [{"serviceName": "other"}, {"podManagementPolicy": "Parallel"}, {"selector": {"matchLabels": {"a": "b"}}}],
    ids=lambda change: next(iter(change)),
)
def test_what_stands_is_not_changed(place: Place, change: Obj) -> None:
    place.create(stateful_set(0))

    path = place.path("statefulsets", "web")
    code, told = place.world.call("PATCH", path, {"spec": change}, "application/merge-patch+json")

    assert (code, told["reason"]) == (422, "Invalid")
    field = f"spec.{next(iter(change))}"
    messages = {cause["field"]: cause["message"] for cause in told["details"]["causes"]}
    assert messages[field].endswith("field is immutable")


@pytest.mark.states("W18")
@pytest.mark.parametrize(
    ("spec", "field", "words"),
    [
        ({"podManagementPolicy": "Any"}, "podManagementPolicy", "must be 'OrderedReady' or 'Parallel'"),
        ({"updateStrategy": {"type": "Any"}}, "updateStrategy", "must be 'RollingUpdate' or 'OnDelete'"),
        (rolling(maxUnavailable=0), "updateStrategy.rollingUpdate.maxUnavailable", "cannot be 0"),
        (rolling(partition=-1), "updateStrategy.rollingUpdate.partition", "must be greater than or equal to 0"),
        ({"ordinals": {"start": -1}}, "ordinals.start", "must be greater than or equal to 0"),
    ],
    ids=["policy", "type", "unavailable", "partition", "ordinals"],
)
def test_what_cannot_be_is_refused(place: Place, spec: Obj, field: str, words: str) -> None:
    code, told = place.world.call("POST", place.path("statefulsets"), stateful_set(1, spec=spec))

    assert (code, told["reason"]) == (422, "Invalid")
    assert [(each["field"], each["message"].rpartition(": ")[2]) for each in told["details"]["causes"]] == [
        (f"spec.{field}", words)
    ]
