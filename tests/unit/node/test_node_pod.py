from __future__ import annotations

from itertools import groupby, pairwise

import pytest

from segue.cluster.node.effects import RunProbe, StartContainer, WatchListeners, WriteStatus
from segue.cluster.node.settings import NodeSettings
from segue.lifecycle.backoff import BackoffRules
from segue.model.objects import Obj, condition_of, copy_of, is_ready
from segue.model.timeline import What
from tests.unit.node.node_sim import START_S, Behaviour, NodeSim, container, pod, probe

HOOK: Obj = {"preStop": {"sleep": {"seconds": 5}}}


def started(sim: NodeSim, *, containers: list[Obj] | None = None, **spec: object) -> NodeSim:
    sim.put(pod("web", containers=containers, **spec))
    sim.run_for(1.0)
    return sim


def test_a_pod_without_probes_is_ready_as_soon_as_it_runs() -> None:
    sim = NodeSim()
    sim.put(pod())
    sim.run_for(0.1)

    assert is_ready(sim.pods["web"])
    assert sim.when(What.POD_READY) == [0.03]


def test_its_status_is_what_a_kubelet_writes() -> None:
    sim = started(NodeSim())
    status = sim.status()

    assert status["phase"] == "Running"
    assert status["podIP"] == "10.1.0.7"
    assert status["podIPs"] == [{"ip": "10.1.0.7"}]
    assert status["hostIP"] == "127.0.0.1"
    assert status["qosClass"] == "BestEffort"
    assert sim.container()["state"]["running"]
    assert sim.container()["containerID"] == "segue://uid-web.app.0"
    assert {one["type"]: one["status"] for one in status["conditions"]} == {
        "PodScheduled": "True",
        "PodReadyToStartContainers": "True",
        "Initialized": "True",
        "ContainersReady": "True",
        "Ready": "True",
    }


def test_before_it_runs_its_containers_are_being_created() -> None:
    sim = NodeSim(behaviour=Behaviour(start_s=5.0))
    sim.put(pod())
    sim.run_for(1.0)

    assert sim.status()["phase"] == "Pending"
    assert sim.container()["state"] == {"waiting": {"reason": "ContainerCreating"}}


def test_pods_of_other_nodes_are_left_alone() -> None:
    sim = started(NodeSim(), nodeName="node-2")

    assert sim.effects == []


def test_the_seed_becomes_ready_at_the_first_tick_after_its_initial_delay() -> None:
    """P2, P6: period 10, delay 1: ready at the tick ten seconds after admission, unless poked later (P4)."""
    sim = NodeSim()
    sim.put(pod(containers=[container(readinessProbe=probe(initialDelaySeconds=1, failureThreshold=1))]))

    assert sim.run_until(lambda: is_ready(sim.pods["web"])) == pytest.approx(10.0, abs=0.06)


def test_without_a_delay_the_poke_makes_it_ready_long_before_the_tick() -> None:
    sim = NodeSim()
    sim.put(pod(containers=[container(readinessProbe=probe())]))

    assert sim.run_until(lambda: is_ready(sim.pods["web"])) < 1.0


def test_a_readiness_that_never_passes_never_makes_it_ready() -> None:
    sim = NodeSim(behaviour=Behaviour(probe=lambda _probe, _now_s: False))
    sim.put(pod(containers=[container(readinessProbe=probe(periodSeconds=1))]))
    sim.run_for(30.0)

    ready = condition_of(sim.pods["web"], "Ready")
    assert ready is not None
    assert (ready["status"], ready["reason"]) == ("False", "ContainersNotReady")
    assert ready["message"] == "containers with unready status: [app]"
    assert "Unhealthy" in sim.reasons()


def test_a_probe_that_lies_is_a_drill_setting() -> None:
    sim = NodeSim(NodeSettings(readiness_lies=True), Behaviour(probe=lambda _probe, _now_s: False))
    started(sim, containers=[container(readinessProbe=probe())])

    assert is_ready(sim.pods["web"])


def test_startup_holds_the_other_probes_back() -> None:
    """P4."""
    sim = NodeSim(behaviour=Behaviour(probe=lambda one, now_s: one.kind != "startup" or now_s > START_S + 5))
    probes: Obj = {
        "startupProbe": probe(periodSeconds=1, failureThreshold=30),
        "readinessProbe": probe(periodSeconds=1),
    }
    sim.put(pod(containers=[container(**probes)]))
    ready_s = sim.run_until(lambda: is_ready(sim.pods["web"]))
    first = {kind: next(at_s for at_s, one in sim.effects if isinstance(one, RunProbe) and one.kind == kind)
             for kind in ("startup", "readiness")}  # fmt: skip

    assert first["startup"] < START_S + 2
    assert first["readiness"] > START_S + 5
    assert 6 <= ready_s <= 7


def test_a_readiness_gate_keeps_it_unready_until_somebody_sets_it() -> None:
    """E6, G1."""
    sim = started(NodeSim(), readinessGates=[{"conditionType": "example.org/in"}])
    assert not is_ready(sim.pods["web"])
    changed = copy_of(sim.pods["web"])
    changed["status"]["conditions"].append({"type": "example.org/in", "status": "True"})
    sim.put(changed)
    sim.run_for(0.1)

    assert is_ready(sim.pods["web"])
    assert condition_of(sim.pods["web"], "example.org/in") is not None


def test_deletion_goes_signal_exit_network_status_object() -> None:
    """T4."""
    sim = started(NodeSim())
    sim.delete("web")
    sim.run_for(2.0)

    assert sim.pods == {}
    order = [one.what for one in sim.happenings if one.at_s > START_S + 0.9]
    assert order == [What.SIGTERM_SENT, What.CONTAINER_EXITED, What.SANDBOX_REMOVED, What.POD_UNREADY]
    assert sim.forgotten == ["uid-web"]


def test_a_pod_that_ignores_sigterm_is_killed_when_its_grace_is_over() -> None:
    sim = started(NodeSim(behaviour=Behaviour(stops_after_s=None)))
    sim.delete("web", grace_s=7)
    sim.run_for(20.0)

    assert sim.when(What.SIGTERM_SENT) == [1.0]
    assert sim.when(What.SIGKILL_SENT) == [8.0]
    exited = next(one for one in sim.happenings if one.what is What.CONTAINER_EXITED)
    assert exited.data["signal"] == 9


def test_prestop_comes_first_and_costs_of_the_same_grace() -> None:
    """T6."""
    sim = NodeSim(behaviour=Behaviour(hook_s=5.0, stops_after_s=None))
    started(sim, containers=[container(lifecycle=HOOK)])
    sim.delete("web", grace_s=30)
    sim.run_for(60.0)

    assert sim.when(What.PRESTOP_STARTED) == [1.0]
    assert sim.when(What.PRESTOP_ENDED) == [6.0]
    assert sim.when(What.SIGTERM_SENT) == [6.0]
    assert sim.when(What.SIGKILL_SENT) == [31.0]


def test_a_failing_prestop_is_told_and_changes_nothing_else() -> None:
    """T9."""
    sim = NodeSim(behaviour=Behaviour(hook_s=0.1, hook_succeeds=False))
    started(sim, containers=[container(lifecycle=HOOK)])
    sim.delete("web")
    sim.run_for(5.0)

    assert "FailedPreStopHook" in sim.reasons()
    assert sim.when(What.SIGTERM_SENT) == [1.1]
    assert sim.when(What.SIGKILL_SENT) == []


def test_a_prestop_that_hangs_is_overtaken_when_the_grace_ends() -> None:
    """T7, T8."""
    sim = NodeSim(behaviour=Behaviour(hook_s=None, stops_after_s=None))
    started(sim, containers=[container(lifecycle=HOOK)])
    sim.delete("web", grace_s=5)
    sim.run_for(20.0)

    assert sim.when(What.SIGTERM_SENT) == [6.0]
    assert sim.when(What.SIGKILL_SENT) == [8.0]


@pytest.mark.parametrize("then_s", [3, 0])
def test_a_second_deletion_does_not_hurry_a_stop_that_is_under_way(then_s: int) -> None:
    """T2: the object's grace shrinks, the node goes on with the one it began with."""
    sim = started(NodeSim(behaviour=Behaviour(stops_after_s=None)))
    sim.delete("web", grace_s=20)
    sim.run_for(1.0)
    sim.delete("web", grace_s=then_s)
    sim.run_for(30.0)

    assert sim.when(What.SIGKILL_SENT) == [21.0]


def test_a_forced_deletion_still_ends_the_process_with_one_second_of_grace() -> None:
    """T13: the object is gone at once; what runs gets SIGTERM and, by the floor, SIGKILL after two seconds."""
    sim = started(NodeSim(behaviour=Behaviour(stops_after_s=None)))
    sim.delete("web", grace_s=0)
    sim.run_for(5.0)

    assert sim.when(What.SIGTERM_SENT) == [1.0]
    assert sim.when(What.SIGKILL_SENT) == [3.0]
    assert sim.forgotten == ["uid-web"]


def test_a_pod_deleted_before_it_started_never_starts() -> None:
    sim = NodeSim(behaviour=Behaviour(attach_s=3.0))
    sim.put(pod())
    sim.delete("web")
    sim.run_for(10.0)

    assert sim.pods == {}
    assert not [one for _, one in sim.effects if isinstance(one, StartContainer)]


def test_readiness_goes_on_while_the_pod_ends_and_liveness_does_not() -> None:
    """P10."""
    sim = NodeSim(behaviour=Behaviour(stops_after_s=None))
    probes: Obj = {"livenessProbe": probe(periodSeconds=1), "readinessProbe": probe(periodSeconds=1)}
    started(sim, containers=[container(**probes)])
    sim.behaviour.probe = lambda _probe, now_s: now_s < START_S + 3
    sim.delete("web", grace_s=20)
    sim.run_for(10.0)
    kinds = {one.kind for at_s, one in sim.effects if isinstance(one, RunProbe) and at_s > START_S + 2}

    assert kinds == {"readiness"}
    assert not is_ready(sim.pods["web"])
    assert sim.when(What.POD_UNREADY) != []


def test_a_failed_liveness_kills_the_container_while_the_pod_stays_ready() -> None:
    """L1 to L3: preStop, signal, exit; Ready falls with the exit and not before."""
    alive = {"until_s": START_S + 20}
    sim = NodeSim(behaviour=Behaviour(hook_s=5.0))
    sim.behaviour.probe = lambda one, now_s: one.kind == "readiness" or now_s < alive["until_s"]
    probes: Obj = {
        "livenessProbe": probe(periodSeconds=1, failureThreshold=1),
        "readinessProbe": probe(periodSeconds=1),
        "lifecycle": HOOK,
    }
    sim.put(pod(containers=[container(**probes)]))
    sim.run_for(22.0)

    assert is_ready(sim.pods["web"])
    assert "deletionTimestamp" not in sim.pods["web"]["metadata"]
    assert sim.when(What.LIVENESS_FAILED) == [20.005]
    alive["until_s"] = START_S + 1000
    sim.run_for(10.0)
    assert sim.when(What.PRESTOP_STARTED) == [20.005]
    assert sim.when(What.SIGTERM_SENT) == [25.005]
    assert sim.when(What.CONTAINER_EXITED) == [25.505]
    assert sim.when(What.POD_UNREADY) == [25.505]
    assert sim.container()["restartCount"] == 1
    assert sim.container()["lastState"]["terminated"]["exitCode"] == 0


def test_a_probe_may_have_a_grace_of_its_own() -> None:
    """T17."""
    sim = NodeSim(behaviour=Behaviour(stops_after_s=None, probe=lambda _probe, now_s: now_s < START_S + 5))
    own = probe(periodSeconds=1, failureThreshold=1, terminationGracePeriodSeconds=4)
    sim.put(pod(containers=[container(livenessProbe=own)]))
    sim.run_for(12.0)

    assert sim.when(What.SIGTERM_SENT)[:1] == [5.005]
    assert sim.when(What.SIGKILL_SENT)[:1] == [9.005]


def test_a_crashing_container_is_restarted_with_growing_back_off() -> None:
    """L5."""
    sim = NodeSim(behaviour=Behaviour(exits_after_s=1.0, exit_code=3))
    sim.put(pod())
    sim.run_for(80.0)
    starts = sim.when(What.CONTAINER_STARTED)
    gaps = [round(b - a - 1.02, 1) for a, b in pairwise(starts)]

    assert gaps == [0.0, 10.0, 20.0, 40.0]
    assert "BackOff" in sim.reasons()


def test_between_restarts_it_waits_in_crash_loop_back_off() -> None:
    sim = NodeSim(behaviour=Behaviour(exits_after_s=1.0, exit_code=3))
    sim.put(pod())
    sim.run_for(5.0)
    waiting = sim.container()["state"]["waiting"]

    assert waiting["reason"] == "CrashLoopBackOff"
    assert waiting["message"].startswith("back-off 10s restarting failed container=app")
    assert sim.container()["lastState"]["terminated"]["exitCode"] == 3
    assert sim.container()["lastState"]["terminated"]["reason"] == "Error"
    assert sim.status()["phase"] == "Running"


def test_the_back_off_can_be_set() -> None:
    sim = NodeSim(NodeSettings(backoff=BackoffRules(base_s=1, cap_s=2)), Behaviour(exits_after_s=1.0))
    sim.put(pod())
    sim.run_for(12.5)

    assert len(sim.when(What.CONTAINER_STARTED)) == 6


@pytest.mark.parametrize(("code", "phase"), [(0, "Succeeded"), (3, "Failed")])
def test_a_pod_that_never_restarts_ends_by_itself(code: int, phase: str) -> None:
    sim = NodeSim(behaviour=Behaviour(exits_after_s=1.0, exit_code=code))
    sim.put(pod(restartPolicy="Never"))
    sim.run_for(5.0)

    assert sim.status()["phase"] == phase
    assert not is_ready(sim.pods["web"])
    assert sim.when(What.CONTAINER_STARTED) == [0.03]
    assert len(sim.when(What.SANDBOX_REMOVED)) == 1


def test_on_failure_restarts_until_it_succeeds() -> None:
    sim = NodeSim(behaviour=Behaviour(exits_after_s=1.0, exit_code=3))
    sim.put(pod(restartPolicy="OnFailure"))
    sim.run_for(1.5)
    sim.behaviour.exit_code = 0
    sim.run_for(20.0)

    assert sim.status()["phase"] == "Succeeded"
    assert sim.container()["restartCount"] == 2


def test_killed_by_a_signal_shows_as_128_and_its_number() -> None:
    sim = started(NodeSim())
    sim.exit("uid-web.app.0", 0, 9)
    sim.run_for(1.0)

    assert sim.container()["lastState"]["terminated"]["exitCode"] == 137


def test_an_image_that_no_map_knows_says_so() -> None:
    sim = NodeSim()
    sim.put(pod(containers=[{"name": "app", "image": "nginx:1.29"}]))
    sim.run_for(0.5)
    waiting = sim.container()["state"]["waiting"]
    assert waiting["reason"] == "ErrImagePull"
    assert '"nginx:1.29"' in waiting["message"]
    assert "image map" in waiting["message"]
    sim.run_for(2.0)

    assert sim.container()["state"]["waiting"]["reason"] == "ImagePullBackOff"
    assert sim.status()["phase"] == "Pending"


def test_a_missing_config_map_is_looked_for_again() -> None:
    sim = NodeSim(behaviour=Behaviour(start_fails="CreateContainerConfigError"))
    sim.put(pod())
    sim.run_for(3.0)
    assert sim.container()["state"]["waiting"]["reason"] == "CreateContainerConfigError"
    sim.behaviour.start_fails = ""
    sim.run_for(3.0)

    assert is_ready(sim.pods["web"])
    assert sim.container()["restartCount"] == 0


def test_a_program_that_cannot_run_counts_as_an_exit() -> None:
    sim = NodeSim(behaviour=Behaviour(start_fails="RunContainerError"))
    sim.put(pod())
    sim.run_for(5.0)

    assert sim.container()["state"]["waiting"]["reason"] == "CrashLoopBackOff"
    assert sim.container()["lastState"]["terminated"]["exitCode"] == 128
    assert sim.container()["lastState"]["terminated"]["reason"] == "StartError"


def test_init_containers_run_one_after_the_other_before_the_rest() -> None:
    sim = NodeSim(behaviour=Behaviour(exits_after_s=2.0))
    sim.put(pod(initContainers=[container("one"), container("two")]))
    sim.run_for(1.0)
    assert sim.status()["phase"] == "Pending"
    assert sim.container()["state"] == {"waiting": {"reason": "PodInitializing"}}
    sim.run_for(2.0)
    sim.behaviour.exits_after_s = None
    sim.run_for(3.0)

    assert [sim.when(What.CONTAINER_STARTED, name)[0] for name in ("one", "two", "app")] == [0.03, 2.05, 4.07]
    assert is_ready(sim.pods["web"])
    assert [one["state"]["terminated"]["reason"] for one in sim.status()["initContainerStatuses"]] == ["Completed"] * 2


def test_a_failing_init_container_of_a_pod_that_never_restarts_fails_the_pod() -> None:
    sim = NodeSim(behaviour=Behaviour(exits_after_s=1.0, exit_code=1))
    sim.put(pod(initContainers=[container("one")], restartPolicy="Never"))
    sim.run_for(5.0)

    assert sim.status()["phase"] == "Failed"
    assert sim.when(What.CONTAINER_STARTED, "app") == []


def test_a_sidecar_starts_first_and_is_signalled_last() -> None:
    """T20, T21."""
    sim = NodeSim()
    sim.put(pod(initContainers=[container("proxy", restartPolicy="Always")]))
    sim.run_for(1.0)
    assert is_ready(sim.pods["web"])
    sim.delete("web")
    sim.run_for(5.0)

    assert sim.when(What.CONTAINER_STARTED, "proxy")[0] < sim.when(What.CONTAINER_STARTED, "app")[0]
    assert sim.when(What.SIGTERM_SENT, "app") == [1.0]
    assert sim.when(What.SIGTERM_SENT, "proxy") == [1.5]
    assert sim.pods == {}


def test_a_sidecar_gives_up_waiting_when_the_grace_is_over() -> None:
    """T22."""
    sim = NodeSim(behaviour=Behaviour(stops_after_s=None))
    sim.put(pod(initContainers=[container("proxy", restartPolicy="Always")]))
    sim.run_for(1.0)
    sim.delete("web", grace_s=5)
    sim.run_for(10.0)

    assert sim.when(What.SIGTERM_SENT, "proxy") == [6.0]
    assert sim.when(What.SIGKILL_SENT, "proxy") == [8.0]


def test_a_pod_past_its_deadline_fails_once_its_containers_are_down() -> None:
    """Until then it stays as it is, Ready included: nobody deleted it."""
    sim = NodeSim(behaviour=Behaviour(stops_after_s=3.0))
    sim.put(pod(activeDeadlineSeconds=10))
    sim.run_for(11.0)
    assert sim.when(What.SIGTERM_SENT) == [10.0]
    assert is_ready(sim.pods["web"])
    sim.run_for(5.0)

    assert sim.status()["phase"] == "Failed"
    assert sim.status()["reason"] == "DeadlineExceeded"
    assert not is_ready(sim.pods["web"])
    sim.delete("web", grace_s=0)
    assert sim.forgotten == ["uid-web"]


def test_a_status_written_over_by_somebody_else_is_written_again() -> None:
    sim = NodeSim(NodeSettings(status_delay_s=0.5))
    sim.put(pod())
    sim.run_for(0.4)
    changed = copy_of(sim.pods["web"])
    changed["metadata"]["labels"] = {"pin": "me"}
    sim.pods["web"] = {**changed, "metadata": {**changed["metadata"], "resourceVersion": "999"}}
    sim._version = 999
    sim.run_for(5.0)

    assert is_ready(sim.pods["web"])
    assert sim.pods["web"]["metadata"]["labels"] == {"pin": "me"}


def test_after_a_restart_of_the_node_pods_start_again() -> None:
    sim = started(NodeSim(), containers=[container(readinessProbe=probe(periodSeconds=1))])
    sim.run_for(2.0)
    assert is_ready(sim.pods["web"])
    sim.restart()
    assert not is_ready(sim.pods["web"])
    sim.run_for(5.0)

    assert is_ready(sim.pods["web"])
    assert sim.container()["restartCount"] == 1
    assert sim.container()["lastState"]["terminated"]["reason"] == "Unknown"


def test_after_a_restart_of_the_node_terminating_pods_are_finished() -> None:
    sim = started(NodeSim(behaviour=Behaviour(stops_after_s=None)))
    sim.delete("web", grace_s=60)
    sim.restart()
    sim.run_for(1.0)

    assert sim.pods == {}


def test_after_a_restart_of_the_node_ended_pods_stay_ended() -> None:
    sim = started(NodeSim(behaviour=Behaviour(exits_after_s=0.1)), restartPolicy="Never")
    before = copy_of(sim.status())
    sim.restart()
    sim.run_for(5.0)

    assert sim.status() == before
    assert len(sim.when(What.CONTAINER_STARTED)) == 1


def test_a_kubelet_that_sees_late_acts_late() -> None:
    sim = NodeSim(NodeSettings(see_delay_s=2.0))
    sim.put(pod())
    sim.run_for(3.0)
    assert sim.when(What.CONTAINER_STARTED) == [2.03]
    sim.delete("web")
    sim.run_for(5.0)

    assert sim.when(What.SIGTERM_SENT) == [5.0]


def test_a_node_may_signal_late() -> None:
    sim = started(NodeSim(NodeSettings(sigterm_delay_s=3.0)))
    sim.delete("web")
    sim.run_for(6.0)

    assert sim.when(What.SIGTERM_SENT) == [4.0]


def test_listeners_are_watched_most_closely_while_the_pod_ends() -> None:
    sim = started(NodeSim())
    sim.run_for(20.0)
    sim.delete("web")
    sim.run_for(5.0)
    paces = [one.every_s for _, one in sim.effects if isinstance(one, WatchListeners)]

    assert [pace for pace, _ in groupby(paces)] == [0.02, 1.0, 0.005, 0.0]


def test_an_exit_is_a_moment_to_look_for_listeners() -> None:
    sim = started(NodeSim())
    sim.run_for(20.0)
    sim.effects.clear()
    sim.exit("uid-web.app.0", 1)
    sim.run_for(0.001)

    assert any(isinstance(one, WatchListeners) for _, one in sim.effects)


def test_an_agent_at_rest_wakes_for_its_probes_only() -> None:
    sim = started(NodeSim(), containers=[container(readinessProbe=probe(periodSeconds=10))])
    sim.run_for(60.0)
    before = len(sim.effects)
    sim.run_for(100.0)

    assert len(sim.effects) - before == 10


def test_an_api_that_spells_a_status_its_own_way_is_not_written_to_for_ever() -> None:
    sim = NodeSim()
    sim.respell = lambda status: {**status, "message": "as the API likes it"}
    started(sim)
    writes = [one for _, one in sim.effects if isinstance(one, WriteStatus)]

    assert is_ready(sim.pods["web"])
    assert len(writes) < 8
