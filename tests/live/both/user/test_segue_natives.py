"""segue on StatefulSets and DaemonSets, as a user meets it: what their native controllers allow, and no more."""

from __future__ import annotations

import json

import pytest

from segue.model.objects import Obj
from tests.live.both.user.app import NAME, V1, App, changes, error_of, users_part, without_managed_fields
from tests.live.both.world import Watched

pytestmark = pytest.mark.live

STATEMENTS = {
    "segue statefulset": "Releases a StatefulSet one ordinal after the other from the top, by its partition, without a"
    " loss where pods have a preStop hook; killed anywhere the same command goes on, and the user's updateStrategy is"
    " back at the end.",
    "segue statefulset abort": "A pod that does not get Ready stops it where it is; an abort ends that pod first and"
    " then goes up.",
    "segue daemonset": "Releases a DaemonSet node by node under OnDelete, or beside the old pod where the user's own"
    " maxSurge lets two pods be on a node: then without a loss, also with a single node.",
}
NOT_COVERED: dict[str, str] = {}
DIFFERENCES: dict[str, str] = {}
KINDS = "statefulsets,daemonsets,controllerrevisions,pods,services,leases"
DEPLOYMENT, _, SERVICE = V1.partition("---\n")
_STRATEGY = """  strategy:
    type: RollingUpdate
    rollingUpdate:
      maxSurge: 1
      maxUnavailable: 0
"""
HOOK = "          lifecycle: {preStop: {sleep: {seconds: 3}}}\n"
SURGES = "  updateStrategy: {type: RollingUpdate, rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}\n"


def stateful(version: str = "v0.1") -> str:
    """The seed's pods as a StatefulSet behind its Service."""
    return _manifest("StatefulSet", version, "  serviceName: test\n")


def daemon(version: str = "v0.1", strategy: str = "") -> str:
    """The seed's pod on each node."""
    return _manifest("DaemonSet", version, strategy).replace("  replicas: 3\n", "")


def _manifest(kind: str, version: str, head: str) -> str:
    assert _STRATEGY in DEPLOYMENT
    text = DEPLOYMENT.replace("kind: Deployment", f"kind: {kind}").replace(_STRATEGY, head)
    text = text.replace("grace:v0.1\n", f"grace:{version}\n{HOOK}")
    return f"{text}---\n{SERVICE}"


def serving(app: App, text: str, count: int = 3) -> Obj:
    """Bring it by kubectl and wait for its pods; the workload as its user has it."""
    app.place.kubectl("apply", "-f", app.file(text, "v1.yaml"))
    app.pods(count)
    return users_part(app.place.get(plural_of(text), NAME))


def plural_of(text: str) -> str:
    """Where the API keeps the workload of a manifest."""
    return "statefulsets" if "kind: StatefulSet" in text else "daemonsets"


def check_clean(app: App) -> None:
    """Nothing of segue's is left on any object that stays."""
    found = json.loads(app.place.kubectl("get", KINDS, "-o", "json"))["items"]
    staying = [without_managed_fields(each) for each in found if "deletionTimestamp" not in each["metadata"]]
    assert "segue" not in json.dumps([each for each in staying if each["kind"] != "Pod"])
    assert app.place.all("leases") == []


def check_arrived(app: App, text: str, count: int = 3) -> None:
    """v0.2 alone is there, all objects are the user's, and the file says what there is."""
    assert app.versions(count) == {"v0.2"}
    check_clean(app)
    done = app.place.run("kubectl", "diff", "-f", app.file(text))
    assert (done.returncode, done.stdout) == (0, "")


def leaving(told: Watched) -> list[str]:
    """Which pods began to end, in this order."""
    names = [each.name for each in list(told.happenings) if "deletionTimestamp" in each.object["metadata"]]
    return list(dict.fromkeys(names))


# -- StatefulSet -------------------------------------------------------------------------------------------------------


@pytest.mark.states("segue statefulset")
def test_a_stateful_set_goes_one_ordinal_after_the_other_without_a_loss(app: App) -> None:
    before = serving(app, stateful())
    planned = json.loads(app.done("plan", "-f", app.file(stateful("v0.2")), "-o", "json"))[0]
    with app.load() as tally, app.place.watch("pods") as told:
        released = json.loads(app.done("release", "-f", app.file(stateful("v0.2")), "-o", "json"))
        after = users_part(app.place.get("statefulsets", NAME))

    tally.check_none_lost()
    assert (planned["strategy"], planned["peakPods"], planned["floorPods"]) == ("ordinals", 3, 2)
    assert any("its preStop hook waits 3 s" in said for said in planned["warnings"])
    assert leaving(told) == ["test-2", "test-1", "test-0"]
    lowered = [each["action"] for each in released["actions"] if "partition to" in each["action"]]
    assert lowered == [f"lower the partition to {place}: test-{place} goes next" for place in (2, 1, 0)]
    assert set(changes(before["spec"], after["spec"])) == {"$.template.spec.containers[0].image"}
    check_arrived(app, stateful("v0.2"))


@pytest.mark.full
@pytest.mark.states("segue statefulset")
def test_it_goes_on_where_it_was_killed_and_undoes_and_restarts(app: App) -> None:
    serving(app, stateful())
    argv = ("release", "-f", app.file(stateful("v0.2")))
    with app.load() as tally:
        for step in ("change the template", "lower the partition to 2", "lower the partition to 1"):
            going = app.start(*argv)
            assert going.until(step), going.told
            going.kill()
        assert "2 of 3 pods" in app.done("status", NAME) or "1 of 3 pods" in app.done("status", NAME)
        app.done(*argv)
        check_arrived(app, stateful("v0.2"))
        history = json.loads(app.done("history", f"sts/{NAME}", "-o", "json"))
        app.done("undo", NAME)
        versions = app.versions()
        before = {pod["metadata"]["uid"] for pod in app.pods()}
        app.done("restart", NAME)
        after = {pod["metadata"]["uid"] for pod in app.pods()}

    tally.check_none_lost()
    assert [row["replicas"] for row in history] == [0, 3]
    assert versions == {"v0.1"}
    assert not before & after
    check_clean(app)


@pytest.mark.full
@pytest.mark.states("segue statefulset abort")
def test_a_pod_that_does_not_get_ready_stops_it_and_an_abort_ends_that_one_first(app: App) -> None:
    before = serving(app, stateful())
    unhealthy = stateful("v0.2").replace("path: /health", "path: /nowhere")
    with app.load() as tally, app.place.watch("pods") as told:
        said = error_of(app.segue("release", "-f", app.file(unhealthy), "--timeout", "6"), 8)
        standing = {pod["metadata"]["name"] for pod in app.place.wait_ready_pods(2, "app/name=test")}
        status = json.loads(app.done("status", NAME, "-o", "json"))
        app.done("abort", NAME)
        versions = app.versions()

    tally.check_none_lost()
    assert "pod test-2 is not Ready" in said
    assert standing == {"test-0", "test-1"}
    assert "the partition is at 2" in status["release"]
    assert leaving(told) == ["test-2"]
    assert versions == {"v0.1"}
    assert changes(before, users_part(app.place.get("statefulsets", NAME))) == {}
    check_clean(app)


@pytest.mark.full
@pytest.mark.states("segue statefulset")
def test_a_stop_holds_until_it_is_promoted(app: App) -> None:
    serving(app, stateful())
    manner = ("--strategy", "canary", "--stop", "1", "--no-wait")
    held = app.done("release", "-f", app.file(stateful("v0.2")), *manner)
    images = [pod["spec"]["containers"][0]["image"].rpartition(":")[2] for pod in app.pods()]
    app.done("promote", NAME)

    assert "1 new pod beside 2 old; segue promote test goes on" in held
    assert sorted(images) == ["v0.1", "v0.1", "v0.2"]
    check_arrived(app, stateful("v0.2"))


# -- DaemonSet ---------------------------------------------------------------------------------------------------------


@pytest.mark.full
@pytest.mark.states("segue daemonset")
def test_a_daemon_set_that_may_surge_loses_nothing_on_a_single_node(app: App) -> None:
    before = serving(app, daemon(strategy=SURGES), 1)
    with app.load() as tally:
        app.done("release", "-f", app.file(daemon("v0.2", SURGES)))

    tally.check_none_lost()
    assert set(tally.found["versions"]) == {"v0.1", "v0.2"}
    after = users_part(app.place.get("daemonsets", NAME))
    assert set(changes(before["spec"], after["spec"])) == {"$.template.spec.containers[0].image"}
    check_arrived(app, daemon("v0.2", SURGES), 1)


@pytest.mark.states("segue daemonset")
def test_a_daemon_set_goes_node_by_node_and_comes_back(app: App) -> None:
    before = serving(app, daemon(), 1)
    told = app.done("plan", "-f", app.file(daemon("v0.2")))
    going = app.start("release", "-f", app.file(daemon("v0.2")))
    assert going.until("OnDelete: nothing moves"), going.told
    going.kill()
    assert app.versions(1) == {"v0.1"}
    app.done("release", "-f", app.file(daemon("v0.2")))
    check_arrived(app, daemon("v0.2"), 1)
    app.done("undo", f"daemonset/{NAME}")

    assert "with one pod nothing answers meanwhile" in told
    assert app.versions(1) == {"v0.1"}
    assert before["spec"] == users_part(app.place.get("daemonsets", NAME))["spec"]
    check_clean(app)
