"""The named drills as values, and what they expect."""

from __future__ import annotations

import pytest

from segue.drill.experiments import EXPERIMENTS, Ask, experiment
from segue.drill.oracle import ExpectsCause, ExpectsErrors, ExpectsNone, judge
from segue.drill.steps import (
    Apply,
    DeletePod,
    PatchDeployment,
    Segue,
    StartLoad,
    StopLoad,
    Until,
    WaitReady,
    says,
)
from segue.load.plan import Mode
from segue.model.errors import UsageError
from segue.model.objects import Obj
from segue.proof.causes import CauseKind


def deployment(version: str = "v1", replicas: int = 4) -> Obj:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "test"},
        "spec": {
            "replicas": replicas,
            "template": {
                "metadata": {"labels": {"app": "test"}},
                "spec": {"containers": [{"name": "service", "image": f"grace:{version}"}]},
            },
        },
    }


def ask(**changes: object) -> Ask:
    values: dict[str, object] = {"objects": (deployment(),), "next_objects": (deployment("v2"),)}
    return Ask(**{**values, **changes})  # type: ignore[arg-type]  # the values are named just above


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_drill_applies_waits_loads_and_ends_its_load(name: str) -> None:
    steps = experiment(name, ask()).steps
    kinds = [type(step) for step in steps]

    assert kinds[0] is Apply
    assert kinds.index(WaitReady) < kinds.index(StartLoad)
    assert kinds.count(StartLoad) == kinds.count(StopLoad) == 1
    assert kinds[-1] is StopLoad
    assert all(says(step) for step in steps)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_moments_of_a_drill_never_go_back(name: str) -> None:
    moments = [step.load_s for step in experiment(name, ask()).steps if isinstance(step, Until)]

    assert moments == sorted(moments)


@pytest.mark.parametrize("deletes", [1, 2, 5, 9])
def test_deletions_are_spread_over_the_load_and_leave_time_to_see_the_end(deletes: int) -> None:
    steps = experiment("delete", ask(deletes=deletes, for_s=20.0)).steps
    last = max(step.load_s for step in steps if isinstance(step, Until))

    assert sum(isinstance(step, DeletePod) for step in steps) == deletes
    assert last <= 17.0


def test_only_what_kubernetes_does_by_itself_may_lose_requests() -> None:
    def expects(name: str, *, segue: bool = False) -> type:
        return type(experiment(name, ask(segue=segue)).oracle)

    assert {expects(name) for name in ("delete", "restart", "scale", "undo")} == {ExpectsErrors}
    assert {expects(name) for name in ("baseline", "release", "cure", "slow")} == {ExpectsNone}
    assert {expects(name, segue=True) for name in ("scale", "undo")} == {ExpectsNone}


def test_a_release_drill_hands_the_next_version_to_segue() -> None:
    act = next(step for step in experiment("release", ask()).steps if isinstance(step, Segue))

    assert act.argv == ("release", "-f", "{MANIFEST}")
    assert act.manifest == (deployment("v2"),)


def test_an_undo_goes_back_from_the_next_version() -> None:
    steps = experiment("undo", ask()).steps
    applied = [step.objects for step in steps if isinstance(step, Apply)]
    patch = next(step for step in steps if isinstance(step, PatchDeployment))

    assert applied == [(deployment(replicas=0),), (deployment("v2"),)]
    assert patch.patch["spec"]["template"] == deployment()["spec"]["template"]


def test_a_readiness_that_lies_has_no_probe_and_starts_late() -> None:
    patch = next(s for s in experiment("readiness-lies", ask()).steps if isinstance(s, PatchDeployment)).patch
    container = patch["spec"]["template"]["spec"]["containers"][0]

    assert container["readinessProbe"] is None
    assert container["env"] == [{"name": "START_DELAY_S", "value": "2"}]


def test_an_application_deaf_to_sigterm_is_applied_and_the_manifest_stays_as_it_was() -> None:
    asked = ask()
    applied = next(step for step in experiment("sigkill", asked).steps if isinstance(step, Apply))
    pod = applied.objects[0]["spec"]["template"]["spec"]

    assert pod["containers"][0]["env"] == [{"name": "IGNORE_TERM", "value": "1"}]
    assert "env" not in asked.deployment()["spec"]["template"]["spec"]["containers"][0]


def test_a_drill_nobody_knows_is_refused_with_the_list() -> None:
    with pytest.raises(UsageError) as refused:
        experiment("nonsense", ask())

    assert "readiness-lies" in refused.value.remedy


def test_a_manifest_without_a_deployment_is_refused() -> None:
    with pytest.raises(UsageError):
        experiment("delete", ask(objects=()))


@pytest.mark.parametrize("name", ["release", "undo", "cure"])
def test_without_a_next_version_there_is_nothing_to_go_to(name: str) -> None:
    with pytest.raises(UsageError) as refused:
        experiment(name, ask(next_objects=()))

    assert "--to" in refused.value.remedy


def receipt(lost: int, *, outside: int = 0, cause: str = "killed", sent: int = 1000) -> Obj:
    causes = [{"cause": cause, "count": lost}] if lost else []
    return {"sent": sent, "lost": lost, "lostOutsideExposure": outside, "causes": causes}


def test_none_expected_and_none_lost_holds() -> None:
    assert judge(ExpectsNone(), receipt(0)).holds


@pytest.mark.parametrize(("lost", "outside"), [(1, 0), (0, 1)])
def test_none_expected_but_some_lost_is_a_loss_wherever_it_was(lost: int, outside: int) -> None:
    judged = judge(ExpectsNone(), receipt(lost, outside=outside))

    assert (judged.holds, judged.lost_against_none) == (False, True)


def test_errors_expected_and_none_seen_does_not_hold_but_is_no_loss() -> None:
    judged = judge(ExpectsErrors(at_least=1), receipt(0))

    assert (judged.holds, judged.lost_against_none) == (False, False)


def test_with_kept_connections_deletions_may_lose_nothing() -> None:
    oracle = experiment("delete", ask(mode=Mode.KEEP_ALIVE)).oracle

    assert judge(oracle, receipt(0)).holds
    assert not judge(experiment("delete", ask()).oracle, receipt(0)).holds


@pytest.mark.parametrize(("cause", "holds"), [("killed", True), ("overload", False)])
def test_a_cause_expected_must_be_among_those_seen(cause: str, *, holds: bool) -> None:
    assert judge(ExpectsCause(cause=CauseKind.KILLED), receipt(3, cause=cause)).holds is holds


def test_without_requests_nothing_holds() -> None:
    assert not judge(ExpectsNone(), receipt(0, sent=0)).holds
