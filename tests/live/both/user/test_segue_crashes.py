"""`segue release` killed, stopped and doubled: the same command again comes to the same end, and nothing is lost."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest

from tests.live.both.user.app import NAME, UNHEALTHY, V2, App, changes, error_of, users_part
from tests.waiting import wait_until

pytestmark = pytest.mark.live

STATEMENTS = {
    "kill -9": "A release that is killed at any step goes on with the same command, at once, to the same end; what "
    "serves keeps serving.",
    "Ctrl-C": "Ctrl-C and SIGTERM stop a release at once with exit code 130 and tell the command that goes on.",
    "one at a time": "While a release runs, another release, abort, undo or scale of the same Deployment is refused "
    "with exit code 6 and changes nothing.",
}
NOT_COVERED: dict[str, str] = {}
DIFFERENCES: dict[str, str] = {}
Measured = Callable[[str, float, str], None]
# What it prints of each step, in their order
STEPS = [
    "take the Lease",
    "pin Service",
    "change the template",
    "detach ReplicaSet",
    "take the brake off",
    "remember on the Deployment that the new",
    "switch Service",
    "take pod",
    "scale ReplicaSet",
    "attach ReplicaSet",
    "unpin Service",
    "take the memory off",
]


def check_arrived(app: App) -> None:
    """The end is the one of a release that nobody disturbed."""
    assert app.versions() == {"v0.2"}
    app.check_clean()
    assert sorted(each["spec"]["replicas"] for each in app.place.all("replicasets")) == [0, 3]
    assert all(each["metadata"].get("ownerReferences") for each in app.place.all("replicasets"))
    done = app.place.run("kubectl", "diff", "-f", str(app.home / "app.yaml"))
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.states("kill -9")
def test_a_release_killed_at_each_of_its_steps_in_turn_still_arrives(serving: App, measured: Measured) -> None:
    file = serving.file(V2)
    killed = []
    with serving.load() as tally:
        for step in STEPS:
            going = serving.start("release", "-f", file)
            if going.until(step):
                going.kill()
                killed.append(step)
            else:  # that step had been done already
                assert going.end()[0] == 0, going.told
        serving.done("release", "-f", file)

    # From the switch on all is done within half a second: a kill that comes late has missed the steps that follow. Each
    # step by itself is enumerated in virtual time, and killed here one by one in the full tier.
    assert len(killed) >= 3, killed
    tally.check_none_lost()
    check_arrived(serving)
    measured("kills in one release, nothing lost", len(killed), "kills")


@pytest.mark.states("kill -9")
@pytest.mark.parametrize(
    "step",
    [pytest.param(step, marks=[] if step == "detach ReplicaSet" else [pytest.mark.full]) for step in STEPS],
)
def test_a_release_killed_once_goes_on_with_the_same_command(serving: App, step: str) -> None:
    file = serving.file(V2)
    with serving.load() as tally:
        going = serving.start("release", "-f", file)
        assert going.until(step), going.told
        going.kill()
        assert len(serving.place.all("pods")) >= 3
        standing = serving.status()
        serving.done("release", "-f", file)

    assert standing["drivenBy"] is None
    tally.check_none_lost()
    check_arrived(serving)


@pytest.mark.states("kill -9", "segue abort")
@pytest.mark.parametrize("step", ["detach ReplicaSet", pytest.param("switch Service", marks=pytest.mark.full)])
def test_a_killed_release_can_be_aborted(serving: App, step: str) -> None:
    before = users_part(serving.deployment())
    old = {pod["metadata"]["name"] for pod in serving.pods()}
    with serving.load() as tally:
        going = serving.start("release", "-f", serving.file(V2))
        assert going.until(step), going.told
        going.kill()
        serving.done("abort", NAME)

    assert {pod["metadata"]["name"] for pod in serving.pods()} == old
    assert changes(before, users_part(serving.deployment())) == {}
    tally.check_none_lost()
    serving.check_clean()


@pytest.mark.states("Ctrl-C")
@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.full)])
def test_a_release_that_is_stopped_tells_how_to_go_on(serving: App, number: signal.Signals) -> None:
    file = serving.file(V2)
    with serving.load() as tally:
        going = serving.start("release", "-f", file)
        assert going.until("switch Service"), going.told
        going.process.send_signal(number)
        code, _, told = going.end(10)
        serving.done("release", "-f", file)

    assert code == 130
    assert f"stopped; what runs keeps serving. Go on with: segue release -f {file}" in told
    assert "Traceback" not in told
    tally.check_none_lost()
    check_arrived(serving)


@pytest.mark.states("one at a time", "segue status")
def test_whoever_comes_second_is_refused(serving: App) -> None:
    file = serving.file(UNHEALTHY, "unhealthy.yaml")
    going = serving.start("release", "-f", file, "--timeout", "90")
    wait_until(lambda: (serving.memory() or {}).get("new_hash"), limit_s=30, what="the first release to be under way")
    status = serving.status()
    answers = [
        serving.segue(*words)
        for words in (
            ["release", "-f", file],
            ["release", "-f", serving.file(V2)],
            ["abort", NAME],
            ["scale", NAME, "1"],
            ["undo", NAME],
        )
    ]
    still = going.process.poll()
    going.process.terminate()
    going.end(20)
    serving.done("abort", NAME)

    assert "under way for" in status["release"]
    assert status["drivenBy"].startswith("segue@")
    assert still is None
    for answer in answers:
        assert "another segue drives Deployment test now" in error_of(answer, 6)
    assert serving.versions() == {"v0.1"}
    serving.check_clean()
