"""Laws of the native controllers: whatever pods and people do, in any order.

The numbers of the laws are recomputed here from what the user wrote, never borrowed from the code they judge.
"""

from __future__ import annotations

import math

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from segue.cluster.manager import Manager
from segue.cluster.writes import Create, Delete, Update, Write
from segue.model.objects import Obj, is_ready, is_terminating, name_of
from tests.unit.cluster.controllers.small_world import DEPLOYMENTS, SETS, Dice, World, image_of, ref_of, rolling

FENCES = [(1, 0), (0, 1), (2, 1), ("25%", "25%"), ("100%", 0), ("50%", "50%"), (0, "25%")]


def floor_and_ceiling(replicas: int, surge: int | str, unavailable: int | str) -> tuple[int, int]:
    """How many pods must stay available, and how many may be wanted in all."""

    def share(amount: int | str) -> float:
        return amount if isinstance(amount, int) else int(amount.rstrip("%")) * replicas / 100

    above, below = math.ceil(share(surge)), math.floor(share(unavailable))
    if above == below == 0:
        below = 1
    return replicas - min(below, replicas), replicas + above


class Rollouts(RuleBasedStateMachine):
    """One Deployment, a kubelet without a plan, and people who change their mind."""

    @initialize(replicas=st.integers(1, 7), fences=st.sampled_from(FENCES), seed=st.integers(0, 9))
    def begin(self, replicas: int, fences: tuple[int | str, int | str], seed: int) -> None:
        self.world = World(nodes=2, seed=seed)
        self.world.manager.close()
        self.world.manager = Manager(self.world.store, self, Dice(seed))
        self.replicas, self.fences = replicas, fences
        self.image = "v1"
        self.scaling = False
        self.world.deploy(replicas=replicas, strategy=rolling(*fences))
        self.world.kubelet()

    def perform(self, write: Write) -> None:
        """Judge what a controller wants written, then let the registry do it."""
        if isinstance(write, Delete) and write.ref.resource == "pods":
            self.judge_deletion(write)
        if isinstance(write, Create | Update) and write.resource == SETS:
            self.judge_size(write)
        self.world.registry.perform(write)

    def judge_deletion(self, write: Delete) -> None:
        """D6: the controllers never take an available pod that the floor needs."""
        victim = self.world.get("pods", write.ref.name)
        if is_terminating(victim) or not is_ready(victim) or self.scaling:
            return
        floor, _ = floor_and_ceiling(self.replicas, *self.fences)
        assert len(self.world.ready_pods()) - 1 >= floor

    def judge_size(self, write: Create | Update) -> None:
        """D3: no ReplicaSet is raised above the ceiling of all of them."""
        if isinstance(write, Update) and write.status:
            return
        sizes = {name_of(item): item["spec"]["replicas"] for item in self.world.sets()}
        raised = write.obj["spec"]["replicas"] > sizes.get(name_of(write.obj), 0)
        sizes[name_of(write.obj)] = write.obj["spec"]["replicas"]
        _, ceiling = floor_and_ceiling(self.replicas, *self.fences)
        assert not raised or self.scaling or sum(sizes.values()) <= ceiling

    def some(self, pods: list[Obj], number: int) -> Obj:
        return pods[number % len(pods)]

    @precondition(lambda self: len(self.world.live_pods()) > len(self.world.ready_pods()))
    @rule(number=st.integers(0, 99))
    def a_pod_becomes_ready(self, number: int) -> None:
        self.world.report(self.some([pod for pod in self.world.live_pods() if not is_ready(pod)], number), ready=True)

    @precondition(lambda self: bool(self.world.ready_pods()))
    @rule(number=st.integers(0, 99))
    def a_pod_stops_being_ready(self, number: int) -> None:
        self.world.report(self.some(self.world.ready_pods(), number), ready=False)

    @precondition(lambda self: bool(self.world.live_pods()))
    @rule(number=st.integers(0, 99))
    def a_pod_fails(self, number: int) -> None:
        self.world.report(self.some(self.world.live_pods(), number), phase="Failed", ready=False)

    @precondition(lambda self: bool(self.world.live_pods()))
    @rule(number=st.integers(0, 99))
    def somebody_deletes_a_pod(self, number: int) -> None:
        self.world.delete("pods", name_of(self.some(self.world.live_pods(), number)))

    @precondition(lambda self: any(is_terminating(pod) for pod in self.world.pods()))
    @rule(number=st.integers(0, 99))
    def a_pod_leaves(self, number: int) -> None:
        going = [pod for pod in self.world.pods() if is_terminating(pod)]
        self.world.registry.perform(Delete(ref=ref_of(self.some(going, number)), grace_s=0))
        self.world.settle()

    @rule(image=st.sampled_from(["v1", "v2", "v3"]))
    def the_template_changes(self, image: str) -> None:
        self.image = image
        self.world.set_image(image)

    @rule(replicas=st.integers(0, 7))
    def somebody_scales(self, replicas: int) -> None:
        self.replicas = replicas
        self.scaling = True
        self.world.scale(replicas)
        self.scaling = False

    @rule(seconds=st.integers(1, 400))
    def time_passes(self, seconds: int) -> None:
        self.world.pass_time(seconds)

    @invariant()
    def all_sets_together_stay_below_the_ceiling(self) -> None:
        _, ceiling = floor_and_ceiling(self.replicas, *self.fences)

        assert sum(self.world.sizes()) <= ceiling

    @invariant()
    def every_set_has_as_many_live_pods_as_it_wants(self) -> None:
        wanted = {image_of(item["spec"]["template"]): item["spec"]["replicas"] for item in self.world.sets()}

        assert {image: len(self.world.live_pods(image)) for image in wanted} == wanted

    def teardown(self) -> None:
        """With a kubelet that works, every story ends with the wanted pods of the newest template and no other."""
        if not hasattr(self, "world"):
            return
        self.world.kubelet()
        status = self.world.get(DEPLOYMENTS, "web")["status"]

        assert len(self.world.ready_pods(self.image)) == len(self.world.live_pods()) == self.replicas
        assert status.get("availableReplicas", 0) == status.get("updatedReplicas", 0) == self.replicas
        assert self.world.condition("Progressing")["reason"] == "NewReplicaSetAvailable"
        assert status["observedGeneration"] == self.world.get(DEPLOYMENTS, "web")["metadata"]["generation"]


TestRollouts = Rollouts.TestCase
TestRollouts.settings = settings(
    max_examples=40, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
