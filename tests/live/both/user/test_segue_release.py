"""What a user of `segue plan`, `release`, `undo`, `scale` and `abort` sees, and what their objects are afterwards."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from segue.model.objects import Obj
from tests.live.both.user.app import (
    DEPLOYMENT,
    NAME,
    SERVICE,
    UNHEALTHY,
    V1,
    V2,
    App,
    changes,
    error_of,
    users_part,
)
from tests.live.both.world import condition
from tests.waiting import wait_until

pytestmark = pytest.mark.live

STATEMENTS = {
    "segue plan": "Tells steps, pods and time of a release, warns, and changes nothing.",
    "segue release": "Creates what is new, moves what serves without a loss, has nothing to do a second time; takes a "
    "file, a folder or standard input, and another image by option.",
    "segue undo": "Goes back to the revision before, or to a named one, without a loss.",
    "segue restart": "Other pods of the same version, of the same template but for kubectl's stamp, without a loss.",
    "segue scale": "Changes the number of pods, up and down, without a loss.",
    "segue retire": "Replaces one pod, with another one Ready before it leaves, and without a loss.",
    "segue abort": "Takes a release back that stopped; the pods that served are the same ones afterwards.",
    "objects afterwards": "After a release the whole Deployment and Service are what the manifest says: kubectl diff "
    "finds nothing, kubectl apply has nothing to do; only the newest ReplicaSet has pods.",
    "kubectl in mid-release": "rollout status waits and the conditions tell of the new pods only, also while the "
    "old ones serve detached; afterwards all reads as after a native rollout.",
}
NOT_COVERED = {
    "segue up, down, kubeconfig, cluster status": "they start, stop and show the embedded cluster itself",
    "segue demo": "it starts an embedded cluster of its own",
}
DIFFERENCES: dict[str, str] = {}
Measured = Callable[[str, float, str], None]
LAST_APPLIED = "$.deployments.metadata.annotations.kubectl.kubernetes.io/last-applied-configuration"


# -- plan and first release --------------------------------------------------------------------------------------------


@pytest.mark.states("segue plan", "segue release", "segue status")
def test_a_first_release_creates_and_a_second_has_nothing_to_do(app: App) -> None:
    file = app.file(V1)
    planned = app.done("plan", "-f", file)
    nothing = app.done("status")
    released = app.done("release", "-f", file)
    before = app.kept()
    again = app.segue("release", "-f", file)

    assert "it is new: nothing can be lost" in planned
    assert nothing == "no Deployments, StatefulSets or DaemonSets in this namespace\n"
    assert "Deployment test has 3 Ready pods" in released
    assert again.returncode == 0
    assert "Deployment test has 3 Ready pods" in again.stdout
    assert again.stderr == ""  # no action, no warning
    assert app.kept() == before
    assert app.versions() == {"v0.1"}


@pytest.mark.states("segue plan")
def test_a_plan_tells_steps_and_changes_nothing(serving: App) -> None:
    before = serving.kept()
    (told,) = json.loads(serving.done("plan", "-f", serving.file(V2), "-o", "json"))
    text = serving.done("plan", "-f", serving.file(V2))
    odd = V2.replace("replicas: 3", "replicas: 2").replace(
        "terminationGracePeriodSeconds: 120", "restartPolicy: Always"
    )
    warned = serving.done("plan", "-f", "-", stdin=odd.replace("readinessProbe", "startupProbe"))

    assert (told["peakPods"], told["floorPods"], told["strategy"], told["warnings"]) == (6, 3, "all-first", [])
    assert told["services"] == [NAME]
    assert len(told["steps"]) == sum(f"  {number}. " in text for number in range(1, 12))
    assert "pods: 3 now, 3 at the end, at most 6, at least 3 serving" in text
    assert "warning: container service has no readinessProbe" in warned
    assert "warning: replicas change from 3 to 2" in warned
    assert serving.kept() == before


# -- the whole way, under load -----------------------------------------------------------------------------------------


@pytest.mark.states("segue release", "segue undo", "segue scale", "objects afterwards")
def test_a_release_an_undo_and_a_scale_lose_nothing_and_leave_no_trace(serving: App, measured: Measured) -> None:
    place = serving.place
    before = {kind: users_part(place.get(kind, NAME)) for kind in ("deployments", "services")}
    with serving.load() as tally:
        released = json.loads(serving.done("release", "-f", serving.file(V2), "-o", "json"))
        assert serving.versions() == {"v0.2"}
        serving.check_clean()
        undone = serving.done("undo", NAME)
        assert serving.versions() == {"v0.1"}
        serving.check_clean()
        down = serving.done("scale", NAME, "2")
        assert serving.versions(2) == {"v0.1"}
        up = serving.done("scale", NAME, "3")
        assert serving.versions(3) == {"v0.1"}

    after = {kind: users_part(place.get(kind, NAME)) for kind in ("deployments", "services")}
    tally.check_none_lost()
    assert set(tally.found["versions"]) == {"v0.1", "v0.2"}
    assert {end["reason"] for end in released["pods"]} == {"quiet"}, released["pods"]
    assert "at version" in undone
    assert "old pods ended: 3 quiet (evidence: " in undone
    assert "has 2 Ready pods" in down
    assert "has 3 Ready pods" in up
    assert set(changes(before, after)) <= {LAST_APPLIED}  # as after kubectl rollout undo, too
    serving.check_clean()
    measured("requests over a release, an undo and two scalings, none lost", tally.found["requests"], "requests")


@pytest.mark.states("objects afterwards", "kubectl in mid-release")
def test_after_a_release_kubectl_finds_no_difference_to_the_manifest(serving: App) -> None:
    place = serving.place
    native = users_part(place.get("deployments", NAME))
    file = serving.file(V2)
    with serving.load():
        serving.done("release", "-f", file)
    status = serving.deployment()["status"]
    rolled = place.kubectl("rollout", "status", f"deployment/{NAME}", "--timeout", "20s")
    history = place.kubectl("rollout", "history", f"deployment/{NAME}").splitlines()[2:]
    conditions = {kind: condition(serving.deployment(), kind) for kind in ("Available", "Progressing")}
    diff = place.run("kubectl", "diff", "-f", file)
    applied = place.kubectl("apply", "-f", file)
    found = users_part(place.get("deployments", NAME))
    container = native["spec"]["template"]["spec"]["containers"][0]
    container["image"] = container["image"].replace("v0.1", "v0.2")
    sets = {
        each["metadata"]["annotations"]["deployment.kubernetes.io/revision"]: each for each in place.all("replicasets")
    }

    assert (diff.returncode, diff.stdout) == (0, ""), diff.stdout + diff.stderr
    assert "deployment.apps/test unchanged" in applied
    assert "service/test unchanged" in applied
    last = "kubectl.kubernetes.io/last-applied-configuration"
    assert json.loads(found["metadata"]["annotations"].pop(last))["spec"]["template"]["spec"]["containers"]
    native["metadata"]["annotations"].pop(last)
    assert changes(native, found) == {}
    assert {name: each["spec"]["replicas"] for name, each in sets.items()} == {"1": 0, "2": 3}
    assert all(each["metadata"]["ownerReferences"][0]["name"] == NAME for each in sets.values())
    assert conditions == {"Available": "True", "Progressing": "True"}
    assert (status["replicas"], status["updatedReplicas"], status["readyReplicas"]) == (3, 3, 3)
    assert "unavailableReplicas" not in status
    assert "successfully rolled out" in rolled
    assert [line.split()[0] for line in history if line.strip()] == ["1", "2"]


@pytest.mark.full
@pytest.mark.states("segue release")
def test_a_folder_standard_input_and_another_image_are_taken(serving: App) -> None:
    folder = serving.home / "deploy"
    folder.mkdir()
    (folder / "deployment.yaml").write_text(DEPLOYMENT)
    (folder / "service.yml").write_text(SERVICE)
    with serving.load() as tally:
        serving.done("release", "-f", str(folder), "--image", "grace=v0.2", "--receipt", "receipt.json")
        tagged = serving.versions()
        serving.done("release", "-f", "-", "--image", "service=host.org/images/grace:v0.1", stdin=V1)

    assert (tagged, serving.versions()) == ({"v0.2"}, {"v0.1"})
    tally.check_none_lost()
    receipt = json.loads((serving.home / "receipt.json").read_text())
    assert receipt["format"] == "segue.dev/receipt/v0"
    (kept,) = (serving.home / "segue" / "receipts").glob("*.json")
    assert kept.name.startswith("release-")


@pytest.mark.states("segue restart", "segue release", "objects afterwards")
def test_a_restart_and_another_image_change_nothing_else(serving: App) -> None:
    place = serving.place
    before = {kind: users_part(place.get(kind, NAME)) for kind in ("deployments", "services")}
    pods = {pod["metadata"]["uid"] for pod in place.all("pods")}
    with serving.load() as tally:
        said = serving.done("restart", f"deployment/{NAME}")
        restarted = {kind: users_part(place.get(kind, NAME)) for kind in ("deployments", "services")}
        assert serving.versions() == {"v0.1"}
        here = (pod["metadata"] for pod in place.all("pods"))
        assert pods.isdisjoint(pod["uid"] for pod in here if "deletionTimestamp" not in pod)
        serving.check_clean()
        planned = serving.done("plan", NAME, "--image", "grace=v0.2")
        serving.done("release", NAME, "--image", "grace=v0.2")

    tally.check_none_lost()
    assert "at version" in said
    assert "all-first" in planned
    assert serving.versions() == {"v0.2"}
    assert list(changes(before, restarted)) == ["$.deployments.spec.template.metadata.annotations"]
    after = {kind: users_part(place.get(kind, NAME)) for kind in ("deployments", "services")}
    assert [path.rpartition(".")[2] for path in changes(restarted, after)] == ["image"]
    serving.check_clean()


@pytest.mark.states("segue retire", "objects afterwards")
def test_a_retired_pod_is_replaced_and_nothing_is_lost(serving: App) -> None:
    place = serving.place
    before = {kind: users_part(place.get(kind, NAME)) for kind in ("deployments", "services")}
    victim, *others = sorted(pod["metadata"]["name"] for pod in place.all("pods"))
    with serving.load() as tally:
        said = serving.done("retire", f"pod/{victim}")

    left = {pod["metadata"]["name"] for pod in place.all("pods") if "deletionTimestamp" not in pod["metadata"]}
    tally.check_none_lost()
    assert f"pod {victim} is gone, 3 pods are Ready" in said
    assert victim not in left
    assert set(others) < left
    assert {kind: users_part(place.get(kind, NAME)) for kind in ("deployments", "services")} == before
    assert "not found" in serving.refused("retire", victim, code=1)
    serving.check_clean()


@pytest.mark.full
@pytest.mark.states("segue undo")
def test_undo_goes_to_a_named_revision(serving: App) -> None:
    with serving.load() as tally:
        serving.done("release", "-f", serving.file(V2))
        for _ in range(2):  # back to revision 1, which becomes 3; then to 2 by its number
            said = serving.done("undo", NAME, *(["--to-revision", "2"] if serving.versions() == {"v0.1"} else []))
            assert "at version" in said
    rows = json.loads(serving.done("history", NAME, "-o", "json"))

    assert serving.versions() == {"v0.2"}
    tally.check_none_lost()
    assert [(row["revision"], row["current"], row["replicas"]) for row in rows] == [(3, False, 0), (4, True, 3)]


# -- releases that stop ------------------------------------------------------------------------------------------------


def stopped(app: App) -> str:
    """A release whose pods never become Ready has stopped; its error."""
    file = app.file(UNHEALTHY, "unhealthy.yaml")
    going = app.start("release", "-f", file)
    # However slow the machine is: the limit is set when the probes have failed
    wait_until(
        lambda: "statuscode: 404" in app.place.kubectl("get", "events"), limit_s=60, every_s=0.2, what="a failed probe"
    )
    going.process.terminate()
    assert going.end()[0] == 130
    return error_of(app.segue("release", "-f", file, "--timeout", "1"), 8)


@pytest.mark.states("segue abort", "segue release")
def test_a_release_that_stopped_says_why_and_an_abort_brings_the_same_pods_back(serving: App) -> None:
    old = {pod["metadata"]["name"] for pod in serving.pods()}
    before = users_part(serving.deployment())
    with serving.load() as tally:
        said = stopped(serving)
        status = serving.status()
        aborted = serving.done("abort", NAME)

    assert "0 of 3 new pods are Ready after 1 s" in said
    assert "statuscode: 404" in said
    assert "the 3 old pods keep serving" in said
    assert "segue abort" in said
    assert "the old version serves" in status["release"]
    assert (status["ready"], status["replicas"], status["drivenBy"]) == (3, 3, None)
    assert "nothing is left to take back" in aborted
    assert {pod["metadata"]["name"] for pod in serving.pods()} == old
    assert changes(before, users_part(serving.deployment())) == {}
    tally.check_none_lost()
    assert list(tally.found["versions"]) == ["v0.1"]
    serving.check_clean()


@pytest.mark.full
@pytest.mark.states("segue release")
def test_a_repaired_manifest_takes_the_stopped_release_back_and_goes_on(serving: App) -> None:
    stopped(serving)
    with serving.load() as tally:
        serving.done("release", "-f", serving.file(V2))

    assert serving.versions() == {"v0.2"}
    tally.check_none_lost()
    serving.check_clean()


# -- what kubectl tells meanwhile --------------------------------------------------------------------------------------


def waiting_release(app: App) -> Obj:
    """The Deployment while its old pods serve detached and none of the new ones is Ready."""
    wait_until(lambda: (app.memory() or {}).get("new_hash"), limit_s=30, what="the old ReplicaSet to be detached")

    def counted() -> bool:
        found = app.deployment()
        # While the brake is on there is no deadline, and a real controller then takes this condition away
        settled = condition(found, "Progressing") and found["status"].get("replicas") == 3
        return bool(settled) and found["status"].get("updatedReplicas") == 3

    wait_until(counted, limit_s=30, what="the counts of the new pods")
    return app.deployment()


@pytest.mark.states("kubectl in mid-release")
def test_kubectl_tells_the_truth_while_the_old_pods_serve_detached(serving: App) -> None:
    place = serving.place
    going = serving.start("release", "-f", serving.file(UNHEALTHY), "--timeout", "60")
    found = waiting_release(serving)
    rollout = place.run("kubectl", "rollout", "status", f"deployment/{NAME}", "--timeout", "1s")
    listed = place.kubectl("get", "deployment,replicaset,service")
    status = serving.status()
    going.process.terminate()
    code, _, told = going.end()
    serving.done("abort", NAME)
    settled = place.kubectl("rollout", "status", f"deployment/{NAME}", "--timeout", "20s")

    assert rollout.returncode == 1
    assert "0 of 3 updated replicas are available" in rollout.stdout
    assert condition(found, "Available") == "False"  # it owns no pod that is; those that serve are not its own now
    assert condition(found, "Progressing") == "True"
    assert found["status"].get("readyReplicas", 0) == 0
    assert listed.count("replicaset.apps/test-") == 2
    assert "the old version serves" in status["release"]
    assert status["ready"] == 3
    assert code == 130
    assert "what runs keeps serving" in told
    assert "successfully rolled out" in settled


@pytest.mark.full
@pytest.mark.states("kubectl in mid-release")
def test_a_native_undo_works_after_a_release(serving: App) -> None:
    place = serving.place
    with serving.load():
        serving.done("release", "-f", serving.file(V2))
    native = place.kubectl("rollout", "undo", f"deployment/{NAME}")
    place.kubectl("rollout", "status", f"deployment/{NAME}", "--timeout", "60s")

    assert "rolled back" in native
    assert serving.versions() == {"v0.1"}
