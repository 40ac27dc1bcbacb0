"""Configuration pinned per version: each reads its own copy, an undo finds the old one, the history owns them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from segue.analysis.values import Hook
from segue.drive.command import abort, release, undo
from segue.drive.driver import Driver
from segue.drive.flow import Flow
from segue.drive.loop import Outcome
from segue.drive.proposing import Preparation, prepare
from segue.model.manifest import parse
from segue.model.objects import Obj, Ref, annotations_of, name_of
from segue.release.config_pins import PINNED_FROM, copy_name, references
from segue.release.decision import Done
from segue.release.plan import Approach
from segue.release.snapshot import Checked
from tests.laws.release_world import Killed, World, driver, manifest

PINS = Approach(pins_config=True)
HOLDS = Approach(pins_config=True, strategy="blue-green", waits=False)
TRIES = Approach(pins_config=True, checks=(Hook(kind="command", text="false"),))


def config(colour: str) -> str:
    return f"""
apiVersion: v1
kind: ConfigMap
metadata:
  name: settings
data:
  colour: {colour}
"""


def text(tag: str, colour: str) -> str:
    read = "      containers:\n"
    env = "        envFrom:\n        - configMapRef:\n            name: settings\n"
    pods = manifest(tag).replace("        ports:\n", f"{env}        ports:\n")
    assert read in pods
    return f"{config(colour)}---{pods}"


class Trial:
    """v1 serves and reads the ConfigMap itself."""

    def __init__(self, approach: Approach = PINS) -> None:
        self.world = World()
        self.approach = approach
        kinds = {"ConfigMap": "/api/v1/namespaces/default/configmaps", "Service": "/api/v1/namespaces/default/services"}
        for document in parse(text("v1", "red"), file="test.yaml"):
            path = kinds.get(document.kind, "/apis/apps/v1/namespaces/default/deployments")
            self.world.call("POST", path, document.obj)
        self.world.run_for(6.0)

    def driver(self, me: str = "first") -> Driver:
        return replace(driver(me, dead=frozenset({"first"} - {me})), approach=self.approach)

    def prepare(self, tag: str, colour: str, me: str = "first") -> Flow[Preparation]:
        return prepare(parse(text(tag, colour), file="test.yaml"), "default", self.driver(me))

    def flow(self, tag: str, colour: str, me: str) -> Flow[tuple[Outcome, ...]]:
        preparation = yield from self.prepare(tag, colour, me)
        return (yield from release(preparation, self.driver(me)))

    def release(self, tag: str, colour: str, *, me: str = "first", kill_at: int | None = None) -> Outcome:
        return self.world.drive(self.flow(tag, colour, me), kill_at=kill_at)[-1]

    def copies(self) -> dict[str, Obj]:
        found = self.world.store.all_of("configmaps", "default")
        return {str(one["data"]["colour"]): one for one in found if PINNED_FROM in annotations_of(one)}

    def reads(self) -> str:
        (named,) = references(self.world.deployment()["spec"]["template"])
        return named[1]

    def owners(self, copy: Obj) -> set[str]:
        sets = {one["metadata"]["uid"]: one for one in self.world.store.all_of("replicasets.apps", "default")}
        owners = copy["metadata"].get("ownerReferences") or []
        return {sets[one["uid"]]["spec"]["template"]["spec"]["containers"][0]["image"][-2:] for one in owners}

    def plain(self) -> Obj:
        found = self.world.store.get(Ref(resource="configmaps", namespace="default", name="settings"))
        assert found is not None
        return found


def test_each_version_reads_its_own_copy_and_what_was_there_stays_as_it_was() -> None:
    trial = Trial()
    before = trial.plain()
    outcome = trial.release("v2", "blue")
    (copy,) = trial.copies().values()

    assert isinstance(outcome.end, Done)
    assert (copy["data"], copy["immutable"], trial.owners(copy)) == ({"colour": "blue"}, True, {"v2"})
    assert trial.reads() == name_of(copy)
    assert trial.plain() == before
    assert trial.world.lost == 0


def test_an_undo_reads_what_the_older_version_has_read() -> None:
    trial = Trial()
    for tag, colour in (("v2", "blue"), ("v3", "green")):
        trial.release(tag, colour)
        trial.world.run_for(3.0)
    trial.world.drive(undo("default", "test", None, trial.driver()))
    copies = trial.copies()

    assert trial.reads() == name_of(copies["blue"])
    assert {colour: trial.owners(copy) for colour, copy in copies.items()} == {"blue": {"v2"}, "green": {"v3"}}


def test_versions_with_the_same_configuration_share_a_copy() -> None:
    trial = Trial()
    trial.release("v2", "blue")
    trial.world.run_for(3.0)
    trial.release("v3", "blue")
    (copy,) = trial.copies().values()

    assert trial.owners(copy) == {"v2", "v3"}


def test_a_copy_goes_with_the_last_version_of_the_history_that_read_it() -> None:
    trial = Trial()
    patch: Obj = {"spec": {"revisionHistoryLimit": 1}}
    path = "/apis/apps/v1/namespaces/default/deployments/test"
    trial.world.call("PATCH", path, patch, "application/merge-patch+json")
    for tag, colour in (("v2", "blue"), ("v3", "green"), ("v4", "white")):
        trial.release(tag, colour)
        trial.world.run_for(3.0)
    trial.world.run_for(5.0)

    assert sorted(trial.copies()) == ["green", "white"]


def test_an_abort_takes_the_copy_away_with_its_version() -> None:
    trial = Trial(HOLDS)
    trial.release("v2", "blue")
    held = sorted(trial.copies())
    trial.world.drive(abort("default", "test", trial.driver()))

    assert held == ["blue"]
    assert trial.copies() == {}
    assert trial.reads() == "settings"


def test_a_failed_check_takes_the_copy_away_too() -> None:
    trial = Trial(TRIES)
    trial.world.verdict = Checked(passed=False, said="exit code 1")
    trial.release("v2", "blue")

    assert trial.copies() == {}
    assert trial.reads() == "settings"


def test_configuration_that_changes_under_both_versions_is_warned_of() -> None:
    trial = Trial(Approach())
    preparation = trial.world.drive(trial.prepare("v2", "blue"))
    plan = preparation.deployments[0].plan

    assert plan is not None
    assert [one for one in plan.warnings if one.startswith("ConfigMap settings changes in place")]


def test_the_name_of_a_copy_tells_its_content() -> None:
    first, same, other = (
        {"metadata": {"name": "settings"}, "data": {"colour": colour}} for colour in ("red", "red", "blue")
    )

    assert copy_name(first) == copy_name(same) != copy_name(other)


@pytest.mark.parametrize("step", [4, pytest.param(1, marks=pytest.mark.full)])
def test_killed_before_any_write_the_same_command_ends_the_same(step: int) -> None:
    whole = Trial()
    whole.release("v2", "blue")
    for kill_at in range(0, whole.world.requests, step):
        trial = Trial()
        with pytest.raises(Killed):
            trial.release("v2", "blue", kill_at=kill_at)
        trial.world.run_for(12.0)
        outcome = trial.release("v2", "blue", me="second")
        (copy,) = trial.copies().values()

        assert isinstance(outcome.end, Done), f"killed before write {kill_at}"
        assert trial.owners(copy) == {"v2"}, f"killed before write {kill_at}"
        assert trial.reads() == name_of(copy)
        assert trial.world.lost == 0
