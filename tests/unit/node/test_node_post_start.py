"""postStart hooks (T16): a container is starting until its hook has ended; a failed one has it stopped as any other."""

from __future__ import annotations

from segue.cluster.node.effects import RunHook
from segue.model.objects import Obj, is_ready
from segue.model.timeline import What
from tests.unit.node.node_sim import Behaviour, NodeSim, container, pod

HOOKS: Obj = {"postStart": {"sleep": {"seconds": 3}}, "preStop": {"sleep": {"seconds": 5}}}


def began(**behaviour: object) -> NodeSim:
    sim = NodeSim(behaviour=Behaviour(**behaviour))  # type: ignore[arg-type]  # what each test names
    sim.put(pod("web", containers=[container(lifecycle=HOOKS)]))
    return sim


def handlers(sim: NodeSim) -> list[Obj]:
    return [effect.handler for _at_s, effect in sim.effects if isinstance(effect, RunHook)]


def test_a_pod_is_pending_until_its_hook_has_ended() -> None:
    sim = began(hook_s=3.0)
    sim.run_for(2.0)
    before = sim.status()["phase"]
    sim.run_for(2.0)

    assert before == "Pending"
    assert is_ready(sim.pods["web"])


def test_a_hook_that_fails_has_its_container_stopped_and_started_again() -> None:
    sim = began(hook_s=1.0, hook_succeeds=False)
    sim.run_for(4.0)

    assert handlers(sim)[:2] == [HOOKS["postStart"], HOOKS["preStop"]]
    assert sim.when(What.SIGTERM_SENT)[0] >= 2.0
    assert not is_ready(sim.pods["web"])
    assert sim.container()["restartCount"] == 1


def test_a_deletion_waits_for_the_hook() -> None:
    sim = began(hook_s=3.0)
    sim.run_for(1.0)
    sim.delete("web", grace_s=10)
    sim.run_for(1.0)
    early = sim.when(What.PRESTOP_STARTED)
    sim.run_for(2.0)

    assert early == []
    assert sim.when(What.PRESTOP_STARTED) == [3.03]


def test_a_container_that_exits_during_its_hook_is_started_again() -> None:
    sim = began(hook_s=3.0, exits_after_s=1.0, exit_code=3)
    sim.run_for(5.0)

    assert sim.container()["restartCount"] >= 1
    assert [say for say in sim.sayings if say.reason == "FailedPreStopHook"] == []
