"""The laws against planted faults: what a programmer's mistake would do to the engine, some law must notice.

Each scenario is a short run of commands in a world in virtual time. Without a fault no law is broken in it; with the
fault at least one of the laws that `faults.py` names for it is. A fault that nobody notices means that a law is
missing, or that a scenario is not sharp enough.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest

from segue.analysis.values import Hook
from segue.cluster.manager import Settings
from segue.drain.judge import Policy, Receiver, Verdict, Watch
from segue.drain.samples import Connection, Sample
from segue.drive.command import retire, scale, undo
from segue.drive.proposing import prepare
from segue.model.errors import Conflict, SegueError
from segue.model.http import JSON_PATCH, STRATEGIC_PATCH, ApiRequest, ApiResponse
from segue.model.manifest import parse
from segue.model.objects import Obj, is_terminating, labels_of, name_of
from segue.model.workloads import HASH_LABEL
from segue.release.decision import Done
from segue.release.laws import Bounds, all_first_bounds, let_go_bounds
from segue.release.laws import ramped_bounds as ramped
from segue.release.plan import Approach
from segue.release.snapshot import Checked
from tests.laws.faults import FAULTS, LAWS, Fault
from tests.laws.release_world import World, driver, manifest
from tests.laws.town import DEPLOYMENT, QUIET_S, SERVICE, Endless, Noticed, Scenario, Town, Trial

# -- scenarios ---------------------------------------------------------------------------------------------------------


def a_release(trial: Trial) -> None:
    trial.release()
    trial.settles_at("v2")


def an_old_pod_is_in_use(trial: Trial) -> None:
    """Somebody is connected to one old pod for longer than a Lease lasts."""
    trial.world.held = {trial.old[-1]: 1}
    since_s = trial.world.clock.at_s
    trial.once(lambda: trial.world.clock.at_s > since_s + 16.0, trial.world.held.clear)
    a_release(trial)


def a_release_behind_a_policy(trial: Trial) -> None:
    """A NetworkPolicy lets clients in to what bears the label, so a connection lives as long as the label does."""

    def look(_: World) -> None:
        for pod in trial.world.store.all_of("pods", "default"):
            if name_of(pod) in trial.old and not is_terminating(pod) and labels_of(pod).get("app/name") != "test":
                trial.notice("a policy holds", f"{name_of(pod)} has left it")

    trial.world.watch.append(look)
    a_release(trial)


def it_dies_under_the_brake(trial: Trial) -> None:
    trial.dies("change the template")
    trial.world.run_for(7.0)
    a_release(trial)


def it_dies_in_the_switch_and_is_aborted(trial: Trial) -> None:
    trial.dies("remember on the Deployment that the new pods serve", "switch Service")
    trial.world.run_for(2.0)
    trial.abort()
    trial.settles_at("v1", history=frozenset({"v1"}))


def it_is_aborted_after_the_switch(trial: Trial) -> None:
    trial.dies("switch Service")
    trial.world.run_for(2.0)
    trial.abort()
    trial.settles_at("v1", history=frozenset({"v1"}))


def it_dies_while_old_pods_leave_and_is_aborted(trial: Trial) -> None:
    trial.dies("take pod")
    trial.world.run_for(2.0)
    trial.abort()
    trial.settles_at("v1", history=frozenset({"v1"}))


def it_is_aborted_when_an_old_pod_is_new(trial: Trial) -> None:
    """The old pods are silent, and one of them has just been deleted: another one comes up in its place."""
    trial.dies("switch Service")
    trial.world.run_for(4.0)
    trial.world.call("DELETE", f"/api/v1/namespaces/default/pods/{trial.old[0]}")
    trial.world.run_for(0.5)
    trial.abort()
    trial.settles_at("v1", history=frozenset({"v1"}))


def it_cannot_start_and_is_aborted(trial: Trial) -> None:
    outcome = trial.drive(trial.flow("broken", timeout_s=2.0))
    assert outcome is not None
    if isinstance(outcome.end, Done):
        trial.notice("it ends", "pods that never start cannot be released")
    trial.abort()
    trial.settles_at("v1", history=frozenset({"v1"}))


def a_ramped_release_is_aborted(trial: Trial) -> None:
    trial.dies("give the Deployment room")
    trial.world.run_for(3.0)
    trial.abort()
    trial.settles_at("v1", history=frozenset({"v1"}))


def it_holds_and_is_promoted(trial: Trial) -> None:
    trial.must_end(trial.drive(trial.flow()), held=True)
    trial.world.run_for(2.0)
    if trial.world.deployment()["metadata"]["annotations"].get("segue.dev/release"):
        trial.must_end(trial.say("promote"))
    trial.settles_at("v2")


def somebody_says_pause(trial: Trial) -> None:
    """Between the run's last look and its patch of the template: neither may undo what the other wrote."""
    said: list[str] = []

    def refuse(request: ApiRequest) -> ApiResponse | None:
        if not said and "dryRun" not in request.query and "/spec/template" in str(request.body):
            said.append("pause")
            trial.say("pause")
        return None

    trial.world.refuse = refuse
    trial.must_end(trial.drive(trial.flow()), held=True)
    assert said
    trial.me = "second"
    trial.abort()
    trial.settles_at("v1", history=frozenset({"v1"}))


def its_check_fails(trial: Trial) -> None:
    trial.world.verdict = Checked(passed=False, said="exit code 1")
    outcome = trial.drive(trial.flow())
    assert outcome is not None
    if isinstance(outcome.end, Done):
        trial.notice("holds where it is told to", outcome.end.message)
    trial.settles_at("v1", history=frozenset({"v1"}))


def its_check_passes(trial: Trial) -> None:
    trial.world.verdict = Checked(passed=True, said="fine")
    a_release(trial)


def its_pin_is_taken_away(trial: Trial) -> None:
    """In the last moment before the old pods are proved quiet; what the data plane has not heard of does not count."""
    body: list[Obj] = [{"op": "remove", "path": f"/spec/selector/{HASH_LABEL}"}]
    trial.once(lambda: 1.94 < trial.silent_s() < 100, lambda: trial.world.call("PATCH", SERVICE, body, JSON_PATCH))
    a_release(trial)


def its_first_writes_are_refused(trial: Trial) -> None:
    """Each object but Lease and Deployment has changed when it is written to for the first time."""
    met: set[str] = set()

    def refuse(request: ApiRequest) -> ApiResponse | None:
        if request.method != "PATCH" or "/pods/" not in request.path or request.path in met:
            return None
        met.add(request.path)
        return ApiResponse(code=409, body={"reason": "Conflict", "message": "the object has been modified"})

    trial.world.refuse = refuse
    an_old_pod_is_in_use(trial)
    assert met


def somebody_changes_the_template(trial: Trial, *, waits_s: float = 20.0) -> None:
    """It stops, and is aborted when the foreign template has been rolled out (or `waits_s` after it has stopped)."""
    container = {"name": "service", "image": "host.org/images/grace:foreign"}
    body: Obj = {"spec": {"template": {"spec": {"containers": [container]}}}}
    since_s = trial.world.clock.at_s
    trial.once(
        lambda: trial.world.clock.at_s > since_s + 0.5,
        lambda: trial.world.call("PATCH", DEPLOYMENT, body, STRATEGIC_PATCH),
    )
    outcome = trial.drive(trial.flow())
    assert outcome is not None
    if isinstance(outcome.end, Done):
        trial.notice("holds where it is told to", "it has released what nobody gave it")
    trial.world.run_for(waits_s)
    trial.abort()
    trial.settles_at("v1", history=frozenset({"v1", "foreign"}))


def somebody_else_drives(trial: Trial) -> None:
    other = driver("other", approach=Approach(waits=False))
    trial.drive(prepare(parse(manifest("v2"), file="test.yaml"), "default", other))
    trial.me = "other"
    trial.dies("pin Service")
    trial.me = "third"
    try:
        trial.release()
    except Conflict:
        trial.me = "other"
    else:
        trial.notice("one drives", "it went on while somebody else drove")
    trial.release()
    trial.settles_at("v2")


def a_scale_down(trial: Trial) -> None:
    trial.must_end(trial.drive(scale("default", "test", 2, trial.driver())))
    trial.settles_at("v1", history=frozenset({"v1"}), replicas=2)


def a_retirement(trial: Trial) -> None:
    trial.must_end(trial.drive(retire("default", trial.old[0], trial.driver())))
    trial.settles_at("v1", history=frozenset({"v1"}))


def an_undo(trial: Trial) -> None:
    for tag in ("v2", "v3"):
        trial.release(tag)
        trial.world.run_for(3.0)
    trial.must_end(trial.drive(undo("default", "test", None, trial.driver())))
    trial.settles_at("v2", history=frozenset({"v1", "v2", "v3"}))


def slow_starts() -> Town:
    return Town(stagger_s=0.3)


def slow_deployments() -> Town:
    return Town(busy=Settings(deployment_delay_s=0.3))


def slow_counts() -> Town:
    return Town(busy=Settings(replica_set_delay_s=0.3))


def slow_news() -> Town:
    return Town(lag_s=1.0)


def behind_a_policy(lag_s: float = 0.1) -> Town:
    """The embedded API has no such policies: the lists of them are answered in its place."""
    town = Town(lag_s=lag_s)
    policy: Obj = {"metadata": {"name": "clients"}, "spec": {"podSelector": {"matchLabels": {"app/name": "test"}}}}
    found = ApiResponse(code=200, body={"items": [policy]})
    town.refuse = lambda request: found if request.path.endswith("/networkpolicies") else None
    return town


def a_second_node() -> Town:
    return Town(late_s=8.0)


def nothing_to_see() -> Town:
    return Town(lag_s=1.0, sources=False)


def slow_pods() -> Town:
    return Town(start_s=2.0)


RAMPED = Approach(strategy="ramped", step=1, waits=False)
CANARY = Approach(strategy="canary", step=1, stops=("1",), waits=False)
HANDOVER = Approach(strategy="handover", waits=False)
RECREATE = Approach(strategy="recreate")
TRIED = Approach(strategy="blue-green", preview="test-preview", checks=(Hook.of("true"),), waits=False)
# recreate ends what serves, and says so before it does.
COSTS = frozenset({"floor", "served", "nothing lost", "silent before its end", "no live connection ended"})
# A second template makes a third version's pods, and a moment before them there are none.
MEDDLED = frozenset({"ceiling", "detached alone"})

SCENARIOS: dict[str, Scenario] = {
    "release": Scenario(run=a_release, world=slow_starts),
    "release, an old pod in use": Scenario(run=an_old_pod_is_in_use),
    "release behind a policy": Scenario(run=a_release_behind_a_policy, world=behind_a_policy),
    "release behind a policy, an old pod in use": Scenario(run=an_old_pod_is_in_use, world=behind_a_policy),
    "release beside a slow node": Scenario(run=a_release, world=a_second_node),
    "release, nothing to see": Scenario(run=a_release, world=nothing_to_see),
    "release, dies under the brake": Scenario(run=it_dies_under_the_brake),
    "release, its pin taken away": Scenario(
        run=its_pin_is_taken_away, world=partial(behind_a_policy, 1.0), exempt=frozenset({"one version at a time"})
    ),
    "release, told to pause": Scenario(run=somebody_says_pause),
    "release, another template": Scenario(run=somebody_changes_the_template, world=slow_pods, exempt=MEDDLED),
    "release while another drives": Scenario(run=somebody_else_drives),
    "abort of pods that cannot start": Scenario(run=it_cannot_start_and_is_aborted),
    "abort after the switch": Scenario(run=it_is_aborted_after_the_switch, world=slow_news),
    "abort, Deployments slow": Scenario(run=it_is_aborted_after_the_switch, world=slow_deployments),
    "abort, an old pod missing": Scenario(run=it_is_aborted_when_an_old_pod_is_new, world=slow_pods),
    "abort, died while old pods leave": Scenario(
        run=it_dies_while_old_pods_leave_and_is_aborted, bounds=let_go_bounds(3, 3)
    ),
    "abort, died in the switch": Scenario(run=it_dies_in_the_switch_and_is_aborted, world=slow_news),
    "ramped": Scenario(run=a_release, approach=RAMPED, bounds=ramped(3, 1)),
    "ramped, an old pod in use": Scenario(run=an_old_pod_is_in_use, approach=RAMPED, bounds=ramped(3, 1)),
    "ramped, aborted": Scenario(
        run=a_ramped_release_is_aborted, world=slow_counts, approach=RAMPED, bounds=ramped(3, 1)
    ),
    "canary": Scenario(run=it_holds_and_is_promoted, approach=CANARY, bounds=ramped(3, 1)),
    "handover": Scenario(run=an_old_pod_is_in_use, approach=HANDOVER),
    "handover, first writes refused": Scenario(run=its_first_writes_are_refused, approach=HANDOVER),
    "blue-green, check passes": Scenario(run=its_check_passes, approach=TRIED),
    "blue-green, check fails": Scenario(run=its_check_fails, approach=TRIED),
    "recreate": Scenario(
        run=a_release, approach=Approach(strategy="recreate"), bounds=Bounds(floor=0, ceiling=3), exempt=COSTS
    ),
    "scale-down": Scenario(run=a_scale_down, bounds=all_first_bounds(2, 2)),
    "retirement": Scenario(run=a_retirement, bounds=Bounds(floor=3, ceiling=5)),
    "undo": Scenario(run=an_undo),
}


def broken_in(scenario: Scenario, enough: frozenset[str] = frozenset()) -> dict[str, str]:
    """The laws that are broken in a scenario, each with how it was broken at first; no more once `enough` is known."""
    trial = Trial(scenario, enough)
    try:
        scenario.run(trial)
    except Noticed:
        pass
    except (Endless, SegueError) as error:
        trial.notice("it ends", f"{type(error).__name__}: {error}")
    return trial.broken


# -- tests -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SCENARIOS)
def test_without_a_fault_no_law_is_broken(name: str) -> None:
    assert broken_in(SCENARIOS[name]) == {}


def test_each_law_has_a_fault_that_it_must_notice() -> None:
    assert frozenset().union(*(fault.noticed_by for fault in FAULTS)) == LAWS
    assert {fault.scenario for fault in FAULTS} <= SCENARIOS.keys()


@pytest.mark.parametrize("fault", FAULTS, ids=[fault.name for fault in FAULTS])
def test_a_planted_fault_is_noticed(fault: Fault, monkeypatch: pytest.MonkeyPatch) -> None:
    fault.plant(monkeypatch)
    broken = broken_in(SCENARIOS[fault.scenario], fault.noticed_by)

    assert fault.noticed_by & broken.keys(), f"only {broken} would tell"


# -- what the scenarios have found -------------------------------------------------------------------------------------


def test_an_abort_in_the_middle_of_somebody_elses_rollout_loses_nothing() -> None:
    """Pods of the given-up version are available beside those of the foreign one when the old ReplicaSet is attached:
    there are more available pods than wanted, and the controller ends old ones that serve."""

    def run(trial: Trial) -> None:
        somebody_changes_the_template(trial, waits_s=2.0)

    assert broken_in(Scenario(run=run, world=slow_pods, exempt=MEDDLED)) == {}


def test_an_abort_waits_for_pods_of_a_foreign_version_too() -> None:
    """Their ReplicaSet is at 0, but its controller has not got to it: unpinned now, they are sent requests and end."""

    def slow() -> Town:
        return Town(start_s=2.0, busy=Settings(replica_set_delay_s=0.3))

    assert broken_in(Scenario(run=somebody_changes_the_template, world=slow, exempt=MEDDLED)) == {}


def test_an_abort_just_after_the_detachment_puts_the_labels_back_first() -> None:
    """The labels are changed, the Deployment has not let go yet: with the old template it makes the old version anew,
    the ReplicaSet that serves stays loose, and the abort never ends."""

    def run(trial: Trial) -> None:
        trial.dies("detach ReplicaSet")
        trial.abort()
        trial.settles_at("v1", history=frozenset({"v1"}))

    assert broken_in(Scenario(run=run, world=slow_deployments)) == {}


def test_a_pod_leaves_traffic_once_however_slowly_its_replica_set_lets_go_of_it() -> None:
    """It is owned for as long as its controller has not got to it; taken for one that serves it would be told to leave
    again and again, and when another seems idler than it, that one leaves, too: two pods for one new one."""
    trial = Trial(SCENARIOS["ramped, aborted"], frozenset())
    left: list[str] = []

    def note(request: ApiRequest) -> ApiResponse | None:
        if request.method == "PATCH" and "orphan-of" in str(request.body):
            left.append(request.path)
        return None

    trial.world.refuse = note
    trial.scenario.run(trial)

    assert left
    assert len(left) == len(set(left))


def test_a_silence_counts_from_the_switch_and_not_from_the_unpin() -> None:
    """The old pods have left the Services by then: whoever was silent since the switch need not be silent again."""
    trial = Trial(Scenario(run=a_release, world=partial(Town, busy=Settings(replica_set_delay_s=0.8))), frozenset())
    outcome = trial.drive(trial.flow())

    assert outcome is not None
    switched, unpinned, ended = (
        next(one for one in outcome.journal.actions if one.action.startswith(begins))
        for begins in ("switch Service", "unpin Service", "end pod")
    )
    assert unpinned.at_s - switched.at_s > 0.5, "else this shows nothing"
    assert ended.at_s - switched.at_s < QUIET_S + 0.5


@pytest.mark.xfail(strict=True, reason="a replacement becomes Ready before slow controllers hear that it is too many")
@pytest.mark.parametrize("name", ["scale-down", "retirement"])
def test_a_replacement_that_becomes_ready_too_soon_is_not_ended_undrained(name: str) -> None:
    """The two controllers together take as long as a pod's start."""

    def slow() -> Town:
        return Town(busy=Settings(deployment_delay_s=0.5, replica_set_delay_s=0.2))

    assert broken_in(replace(SCENARIOS[name], world=slow)) == {}


@pytest.mark.parametrize(
    ("busy_until_s", "rare_after_s"),
    [
        pytest.param(0.3, None, id="its share is of those alone who have fallen silent"),
        pytest.param(0.0, 0.05, id="one arrival just after the switch counts as ten per second"),
    ],
)
def test_a_rare_client_beside_a_busy_one_is_known_to_be_rare(busy_until_s: float, rare_after_s: float | None) -> None:
    """It comes every 3 s, as has been seen three times; the busy one comes for as long as a data plane takes."""
    watch = Watch(receiver=Receiver(ports=frozenset({80})))
    came: list[str] = []
    switched_s, rare_s = 10.0, [-8.95, -5.95, -2.95, *([] if rare_after_s is None else [rare_after_s])]
    for tick in range(126):
        at_s = tick / 10
        came += ["10.9.0.1"] * (5 if at_s <= switched_s + busy_until_s else 0)
        came += ["10.9.0.2" for each in rare_s if at_s - 0.1 < switched_s + each <= at_s]
        rows = tuple(
            Connection(local_port=80, remote=remote, remote_port=20_000 + number, state="TIME_WAIT")
            for number, remote in enumerate(came)
        )
        watch.note(Sample(at_s=at_s, passive_opens=len(rows), connections=rows, source="node path"))
        found = watch.judge(at_s, switched_s, Policy())

        assert at_s <= switched_s or found.verdict is not Verdict.QUIET, f"{at_s - switched_s:.1f} s: {found.because}"
