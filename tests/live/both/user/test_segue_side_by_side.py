"""Two Deployments, one Service, as a user meets them: by version label, step by step, back again, and killed."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from segue.model.objects import Obj
from tests.live.both.user.app import NAME, V1, V2, App, error_of, without_managed_fields
from tests.waiting import wait_until

pytestmark = pytest.mark.live

STATEMENTS = {
    "segue side by side": "Brings each version as a Deployment of its own, NAME-VERSION, with a version label; the "
    "Service goes from one to the other without a loss, the old Deployment stays at 0, and segue undo goes back to it.",
    "segue canary side by side": "Two Deployments with common labels share the traffic; the old one is deleted at the "
    "end, or the new one where that is aborted, without a loss.",
    "segue side by side crashes": "Killed at any step the same command goes on, and an abort goes back without a loss.",
}
NOT_COVERED: dict[str, str] = {}
DIFFERENCES: dict[str, str] = {}
Measured = Callable[[str, float, str], None]
BESIDE = ("--side-by-side", "--version")


def sizes(app: App) -> dict[str, int]:
    """Replicas by Deployment."""
    return {one["metadata"]["name"]: one["spec"]["replicas"] for one in app.place.all("deployments")}


def check_clean(app: App) -> None:
    """Nothing of segue's is left on any object that stays."""
    staying = [each for each in app.objects() if "deletionTimestamp" not in each["metadata"]]
    assert "segue.dev" not in json.dumps([without_managed_fields(each) for each in staying])
    assert "pod-template-hash" not in app.selector()
    assert app.place.all("leases") == []


def endpoints(app: App, service: str = NAME) -> set[str]:
    """Images behind a Service now."""
    slices = [one for one in app.place.all("endpointslices") if one["metadata"]["name"].startswith(service)]
    names = {each["targetRef"]["name"] for one in slices for each in one.get("endpoints") or []}
    pods: list[Obj] = [pod for pod in app.place.all("pods") if pod["metadata"]["name"] in names]
    return {pod["spec"]["containers"][0]["image"].rpartition(":")[2] for pod in pods}


@pytest.mark.states("segue side by side")
def test_each_version_is_a_deployment_of_its_own_and_each_later_run_works_the_same_way(serving: App) -> None:
    third = V2.replace("grace:v0.2", "grace:v0.1")
    with serving.load() as tally:
        planned = serving.done("plan", "-f", serving.file(V2), *BESIDE, "v2")
        first = json.loads(serving.done("release", "-f", serving.file(V2), *BESIDE, "v2", "-o", "json"))
        after_first = (sizes(serving), serving.selector(), serving.versions())
        history = json.loads(serving.done("history", NAME, "-o", "json"))
        again = serving.done("release", "-f", serving.file(V2), *BESIDE, "v2")
        serving.done("release", "-f", serving.file(third, "third.yaml"), *BESIDE, "v3")
        after_second = (sizes(serving), serving.selector()["version"], serving.versions())
        undone = serving.done("undo", NAME)
        after_undo = (sizes(serving), serving.selector()["version"], serving.versions())

    tally.check_none_lost()
    assert "make Deployment test-v2 without pods" in planned
    assert [end["reason"] for end in first["pods"]] == ["quiet"] * 3
    assert after_first == ({"test": 0, "test-v2": 3}, {"app/name": "test", "version": "v2"}, {"v0.2"})
    assert [(row["deployment"], row["version"], row["current"]) for row in history] == [
        ("test", "", False),
        ("test-v2", "v2", True),
    ]
    assert "has 3 Ready pods" in again
    assert after_second == ({"test": 0, "test-v2": 0, "test-v3": 3}, "v3", {"v0.1"})
    assert "Deployment test-v2 serves" in undone
    assert after_undo == ({"test": 0, "test-v2": 3, "test-v3": 0}, "v2", {"v0.2"})
    assert set(tally.found["versions"]) == {"v0.1", "v0.2"}
    check_clean(serving)


@pytest.mark.full
@pytest.mark.states("segue side by side")
def test_the_first_release_of_all_makes_the_versions_deployment_and_the_service(app: App) -> None:
    app.done("release", "-f", app.file(V1), *BESIDE, "v1")

    assert sizes(app) == {"test-v1": 3}
    assert app.selector() == {"app/name": "test", "version": "v1"}
    assert app.versions() == {"v0.1"}
    assert endpoints(app) == {"v0.1"}
    check_clean(app)


@pytest.mark.full
@pytest.mark.states("segue side by side")
def test_it_holds_before_the_switch_with_a_preview_and_goes_on_or_back(serving: App) -> None:
    manner = ("--strategy", "blue-green", "--preview", "next", "--no-wait")
    argv = ("release", "-f", serving.file(V2), *BESIDE, "v2", *manner)
    with serving.load() as tally:
        held = serving.done(*argv)
        seen, tried = endpoints(serving), endpoints(serving, "next")
        status = serving.done("status", NAME)
        back = serving.segue("abort", NAME)
        after_abort = (sizes(serving), serving.selector(), serving.versions())
        check_clean(serving)
        serving.done(*argv)
        serving.done("promote", NAME)

    tally.check_none_lost()
    assert "all 3 new pods are Ready and have no traffic; segue promote test goes on" in held
    assert (seen, tried) == ({"v0.1"}, {"v0.2"})
    assert "all new pods are Ready and have no traffic: segue promote test" in status
    assert "Deployment test-v2: 3 of 3 Ready" in status
    assert back.returncode == 0, back.stderr
    assert after_abort == ({"test": 3}, {"app/name": "test"}, {"v0.1"})
    assert sizes(serving) == {"test": 0, "test-v2": 3}
    assert serving.versions() == {"v0.2"}
    check_clean(serving)


@pytest.mark.full
@pytest.mark.states("segue side by side crashes")
def test_killed_at_each_step_it_goes_on_and_comes_back(serving: App) -> None:
    manner = ("--strategy", "blue-green", "--check", "true", "--keep-old", "20")
    argv = ("release", "-f", serving.file(V2), *BESIDE, "v2", *manner)
    killed = []
    with serving.load() as tally:
        for step in ("make Deployment", "let Service", "from 0 to 3", "new pods serve", "version v2", "stand by"):
            going = serving.start(*argv)
            if not going.until(step):
                continue
            going.kill()
            killed.append(step)
        back = serving.segue("abort", NAME)
        after_abort = (sizes(serving), serving.selector(), serving.versions())
        check_clean(serving)
        serving.done(*argv)

    tally.check_none_lost()
    assert len(killed) >= 4, killed
    assert back.returncode == 0, back.stderr
    assert after_abort == ({"test": 3}, {"app/name": "test"}, {"v0.1"})
    assert sizes(serving) == {"test": 0, "test-v2": 3}
    check_clean(serving)


@pytest.mark.full
@pytest.mark.states("segue canary side by side")
def test_two_deployments_share_the_traffic_and_the_old_one_is_deleted(serving: App, measured: Measured) -> None:
    manner = ("--strategy", "canary", "--step", "1", "--stop", "1", "--no-wait")
    argv = ("release", "-f", serving.file(V2), *BESIDE, "v2", *manner)
    with serving.load() as tally:
        held = serving.done(*argv)
        shared = (sizes(serving), serving.selector())
        wait_until(lambda: endpoints(serving) == {"v0.1", "v0.2"}, limit_s=10, what="both versions behind the Service")
        serving.done("abort", NAME)
        after_abort = (sizes(serving), serving.versions())
        check_clean(serving)
        serving.done(*argv)
        ended = json.loads(serving.done("promote", NAME, "-o", "json"))

    tally.check_none_lost()
    assert "1 new pod beside 3 old; segue promote test goes on" in held
    assert shared == ({"test": 3, "test-v2": 1}, {"app/name": "test"})
    assert after_abort == ({"test": 3}, {"v0.1"})
    assert [end["reason"] for end in ended["pods"]] == ["quiet"] * 3
    assert sizes(serving) == {"test-v2": 3}
    assert serving.selector() == {"app/name": "test"}
    assert serving.versions() == {"v0.2"}
    assert set(tally.found["versions"]) == {"v0.1", "v0.2"}
    measured("from promotion to the deletion of the old Deployment", ended["actions"][-1]["atS"], "s")
    check_clean(serving)


@pytest.mark.full
@pytest.mark.states("segue canary side by side", "segue side by side crashes")
def test_a_canary_that_is_killed_goes_on_and_comes_back(serving: App) -> None:
    argv = ("release", "-f", serving.file(V2), *BESIDE, "v2", "--strategy", "ramped", "--step", "1")
    killed = []
    with serving.load() as tally:
        for step in ("from 0 to 1", "out of traffic", "from 3 to 2", "end pod", "from 1 to 2"):
            going = serving.start(*argv)
            if going.until(step):
                going.kill()
                killed.append(step)
        back = serving.segue("abort", NAME)
        after_abort = (sizes(serving), serving.selector(), serving.versions())
        check_clean(serving)
        serving.done(*argv)

    tally.check_none_lost()
    assert len(killed) >= 3, killed
    assert back.returncode == 0, back.stderr
    assert after_abort == ({"test": 3}, {"app/name": "test"}, {"v0.1"})
    assert sizes(serving) == {"test-v2": 3}
    check_clean(serving)


@pytest.mark.states("segue side by side")
def test_what_cannot_be_is_said_before_anything_is_changed(serving: App) -> None:
    no_label = serving.refused("release", "-f", serving.file(V2), "--side-by-side", code=3)
    unneeded = serving.refused("release", "-f", serving.file(V2), "--version", "v2", code=2)
    running = serving.refused("release", NAME, "--image", "service=v0.2", "--side-by-side", code=2)
    scaler: Obj = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "scaler"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": NAME},
            "minReplicas": 3,
            "maxReplicas": 6,
        },
    }
    made = serving.place.run("kubectl", "apply", "-f", serving.file(json.dumps(scaler), "scaler.json"))
    if made.returncode == 0:
        planned = serving.done("plan", "-f", serving.file(V2), *BESIDE, "v2")
        canary = error_of(serving.segue("plan", "-f", serving.file(V2), *BESIDE, "v2", "--strategy", "canary"), 7)

        assert 'kubectl patch hpa scaler -p \'{"spec":{"scaleTargetRef":{"name":"test-v2"}}}\'' in planned
        assert "it would bring back each pod that this release takes away" in canary
    assert "version v0.2 is no DNS label" in no_label
    assert "name it: --version v0-2" in no_label
    assert "--version needs --side-by-side" in unneeded
    assert "--side-by-side needs a manifest" in running
