"""Laws of StatefulSets, DaemonSets and Jobs: whatever pods, nodes and people do, in any order.

The numbers of the laws are recomputed here from what the user wrote, never borrowed from the code they judge.
"""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from segue.cluster.manager import Manager
from segue.cluster.writes import Create, Delete, Write
from segue.model.objects import Obj, Ref, is_ready, name_of, rfc3339
from tests.unit.cluster.controllers.small_world import Dice, World, deployment, image_of

STATEFUL, DAEMONS, JOBS = "statefulsets.apps", "daemonsets.apps", "jobs.batch"
ENDED = ("Succeeded", "Failed")


class Judged(RuleBasedStateMachine):
    """A world whose controllers' writes are judged before they are performed, and a kubelet without a plan."""

    resource = ""
    name = "web"
    world: World

    def make(self, nodes: int, seed: int, obj: Obj) -> None:
        """A fresh world with one object, none of its writes judged yet."""
        self.world = World(nodes=nodes, seed=seed)
        self.world.manager.close()
        self.world.manager = Manager(self.world.store, self, Dice(seed))
        self.world.registry.create(self.resource, obj)
        self.world.settle()

    def perform(self, write: Write) -> None:
        """Judge what a controller wants written, then let the registry do it."""
        if isinstance(write, Create) and write.resource == "pods":
            self.judge_making(write.obj)
        if isinstance(write, Delete) and write.ref.resource == "pods":
            self.judge_deletion(self.world.get("pods", write.ref.name))
        self.world.registry.perform(write)

    def judge_making(self, pod: Obj) -> None:
        """What a law says of a new pod."""

    def judge_deletion(self, pod: Obj) -> None:
        """What a law says of a pod that a controller deletes."""

    def pick(self, pods: list[Obj], number: int) -> Obj:
        return pods[number % len(pods)]

    def spec(self) -> Obj:
        found: Obj = self.world.get(self.resource, self.name)["spec"]
        return found

    @precondition(lambda self: self.world.live_pods())
    @rule(number=st.integers(0, 9))
    def a_pod_gets_ready(self, number: int) -> None:
        self.world.report(self.pick(self.world.live_pods(), number), ready=True)

    @precondition(lambda self: self.world.ready_pods())
    @rule(number=st.integers(0, 9))
    def a_pod_is_ready_no_more(self, number: int) -> None:
        self.world.report(self.pick(self.world.ready_pods(), number), ready=False)

    @rule(count=st.integers(1, 3))
    def pods_that_leave_are_gone(self, count: int) -> None:
        self.world.end(count)

    @precondition(lambda self: self.world.live_pods())
    @rule(number=st.integers(0, 9))
    def somebody_deletes_a_pod(self, number: int) -> None:
        self.world.delete("pods", name_of(self.pick(self.world.live_pods(), number)))

    @rule(seconds=st.sampled_from([1, 11, 700]))
    def time_passes(self, seconds: int) -> None:
        self.world.pass_time(seconds)

    def come_to_rest(self) -> None:
        for _ in range(6):  # a back-off holds a pod that is to be made
            self.world.kubelet()
            self.world.pass_time(700)
        self.world.kubelet()


class StatefulSets(Judged):
    """Order: a pod is made when all below it are Ready, and the highest goes first, one after the other."""

    resource = STATEFUL

    @initialize(
        replicas=st.integers(0, 4), unavailable=st.integers(1, 3), parallel=st.booleans(), seed=st.integers(0, 9)
    )
    def begin(self, replicas: int, unavailable: int, parallel: bool, seed: int) -> None:
        self.parallel, self.unavailable = parallel, unavailable
        made = deployment()
        made["spec"] |= {
            "replicas": replicas,
            "podManagementPolicy": "Parallel" if parallel else "OrderedReady",
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": unavailable}},
        }
        self.make(1, seed, made)

    def judge_making(self, pod: Obj) -> None:
        ordinal = ordinal_of(pod)
        below = {ordinal_of(each) for each in self.world.ready_pods()}

        assert 0 <= ordinal < self.spec()["replicas"]
        assert self.parallel or set(range(ordinal)) <= below

    def judge_deletion(self, pod: Obj) -> None:
        replicas, ordinal = self.spec()["replicas"], ordinal_of(pod)
        if ordinal >= replicas or not is_ready(pod) or pod["status"]["phase"] in ENDED:
            if not self.parallel and ordinal >= replicas:
                assert ordinal == max(ordinal_of(each) for each in self.world.pods())
            return
        away = replicas - sum(1 for each in self.world.ready_pods() if ordinal_of(each) < replicas)
        assert image_of(pod) != self.image(), "a Ready pod of the present version goes for no update"
        assert away < self.unavailable

    def image(self) -> str:
        return image_of(self.spec()["template"])

    @rule(replicas=st.integers(0, 4))
    def somebody_scales(self, replicas: int) -> None:
        self.world.edit(self.resource, self.name, lambda obj: obj["spec"].update(replicas=replicas))

    @rule(image=st.sampled_from(["v1", "v2", "v3"]))
    def somebody_updates(self, image: str) -> None:
        def change(obj: Obj) -> None:
            obj["spec"]["template"]["spec"]["containers"][0]["image"] = image

        self.world.edit(self.resource, self.name, change)

    @precondition(lambda self: self.world.live_pods())
    @rule(number=st.integers(0, 9))
    def a_pod_fails(self, number: int) -> None:
        self.world.report(self.pick(self.world.live_pods(), number), phase="Failed", ready=False)

    @invariant()
    def no_more_revisions_than_templates(self) -> None:
        assert len(self.world.store.all_of("controllerrevisions.apps")) <= 3

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        for pod in self.world.pods():  # an ordered scale-down waits for these for ever (W10), as on a real cluster
            there = name_of(pod) in self.world.names("pods")  # with one gone, the controller deletes the next
            if there and pod["status"]["phase"] in ENDED and ordinal_of(pod) >= self.spec()["replicas"]:
                self.world.delete("pods", name_of(pod))
        self.come_to_rest()
        replicas, status = self.spec()["replicas"], self.world.get(self.resource, self.name)["status"]
        pods = self.world.live_pods()
        assert [name_of(pod) for pod in pods] == [f"web-{ordinal}" for ordinal in range(replicas)]
        assert {image_of(pod) for pod in pods} <= {self.image()}
        counts = [status.get(key, 0) for key in ("replicas", "readyReplicas", "updatedReplicas", "currentReplicas")]
        assert counts == [replicas] * 4
        assert status["currentRevision"] == status["updateRevision"]


class DaemonSets(Judged):
    """One pod on each node, and as many away or more as was allowed."""

    resource = DAEMONS

    @initialize(nodes=st.integers(1, 4), surge=st.integers(0, 2), seed=st.integers(0, 9))
    def begin(self, nodes: int, surge: int, seed: int) -> None:
        self.surge, self.unavailable = surge, 0 if surge else 1
        made = deployment()
        del made["spec"]["replicas"]
        numbers = {"maxSurge": surge, "maxUnavailable": self.unavailable}
        made["spec"]["updateStrategy"] = {"type": "RollingUpdate", "rollingUpdate": numbers}
        self.make(nodes, seed, made)

    def judge_making(self, pod: Obj) -> None:
        node = target_of(pod)
        there = [each for each in self.world.live_pods() if target_of(each) == node]

        assert len(there) <= min(1, self.surge)

    def judge_deletion(self, pod: Obj) -> None:
        if not is_ready(pod) or self.surge or pod["status"]["phase"] in ENDED:
            return
        nodes = len(self.world.store.all_of("nodes"))
        assert image_of(pod) != image_of(self.spec()["template"])
        assert nodes - len({target_of(each) for each in self.world.ready_pods()}) < self.unavailable

    @rule(image=st.sampled_from(["v1", "v2", "v3"]))
    def somebody_updates(self, image: str) -> None:
        def change(obj: Obj) -> None:
            obj["spec"]["template"]["spec"]["containers"][0]["image"] = image

        self.world.edit(self.resource, self.name, change)

    @precondition(lambda self: self.world.live_pods())
    @rule(number=st.integers(0, 9))
    def a_pod_fails(self, number: int) -> None:
        self.world.report(self.pick(self.world.live_pods(), number), phase="Failed", ready=False)

    @precondition(lambda self: len(self.world.store.all_of("nodes")) < 5)
    @rule(number=st.integers(10, 99))
    def a_node_comes(self, number: int) -> None:
        if self.world.store.get(Ref(resource="nodes", namespace="", name=f"node-{number}")) is None:
            self.world.add_node(f"node-{number}")
            self.world.settle()

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        self.come_to_rest()
        nodes = [name_of(node) for node in self.world.store.all_of("nodes")]
        pods = self.world.live_pods()
        assert sorted(pod["spec"]["nodeName"] for pod in pods) == sorted(nodes)
        assert {image_of(pod) for pod in pods} == {image_of(self.spec()["template"])}
        status = self.world.get(self.resource, self.name)["status"]
        keys = ("desiredNumberScheduled", "numberReady", "numberAvailable", "updatedNumberScheduled")
        assert [status.get(key, 0) for key in keys] == [len(nodes)] * 4


class Jobs(Judged):
    """Never more pods than parallelism, each end counted once, and an end of the whole."""

    resource = JOBS
    name = "work"

    @initialize(
        completions=st.integers(1, 4), parallelism=st.integers(1, 3), limit=st.integers(0, 3), seed=st.integers(0, 9)
    )
    def begin(self, completions: int, parallelism: int, limit: int, seed: int) -> None:
        self.completions, self.parallelism, self.limit = completions, parallelism, limit
        self.succeeded: set[str] = set()
        template = deployment(name="work")["spec"]["template"]
        template["spec"]["restartPolicy"] = "Never"
        spec = {"completions": completions, "parallelism": parallelism, "backoffLimit": limit, "template": template}
        self.make(1, seed, {"metadata": {"name": "work", "namespace": "default"}, "spec": spec})

    def judge_making(self, pod: Obj) -> None:
        active = len(self.world.live_pods())

        assert active < self.parallelism
        assert active + len(self.succeeded) < self.completions

    @precondition(lambda self: self.world.live_pods())
    @rule(number=st.integers(0, 9), phase=st.sampled_from(ENDED))
    def a_pod_ends(self, number: int, phase: str) -> None:
        pod = self.world.get("pods", name_of(self.pick(self.world.live_pods(), number)))
        if phase == "Succeeded":
            self.succeeded.add(name_of(pod))
        ended = {"terminated": {"exitCode": 0, "finishedAt": rfc3339(self.world.clock.now_s())}}
        status = {**pod["status"], "containerStatuses": [{"name": "main", "state": ended}]}
        self.world.registry.update("pods", {**pod, "status": status}, subresource="status")
        self.world.report(pod, phase=phase, ready=False)

    @invariant()
    def each_success_is_counted_once(self) -> None:
        if hasattr(self, "world"):
            status = self.world.get(self.resource, self.name)["status"]
            assert status.get("succeeded", 0) == len(self.succeeded)
            assert status["uncountedTerminatedPods"] == {}

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        for _ in range(20):
            for pod in self.world.live_pods():
                self.a_pod_ends(0, "Succeeded")
                assert pod
            self.world.end()
            self.world.pass_time(700)
        status = self.world.get(self.resource, self.name)["status"]
        ends = {each["type"] for each in status["conditions"] if each["status"] == "True"}
        enough = len(self.succeeded) >= self.completions
        assert ends == ({"SuccessCriteriaMet", "Complete"} if enough else {"FailureTarget", "Failed"})
        assert enough or status["failed"] > self.limit
        assert status.get("active", 0) == 0
        assert not any("finalizers" in pod["metadata"] for pod in self.world.pods())


def ordinal_of(pod: Obj) -> int:
    """The number behind a pod's name."""
    return int(name_of(pod).rpartition("-")[2])


def target_of(pod: Obj) -> str:
    """The node that a DaemonSet's pod is made for."""
    required = pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    node: str = required["nodeSelectorTerms"][0]["matchFields"][0]["values"][0]
    return node


_SETTINGS = settings(max_examples=60, stateful_step_count=25, suppress_health_check=[HealthCheck.too_slow])
TestStatefulSets = StatefulSets.TestCase
TestDaemonSets = DaemonSets.TestCase
TestJobs = Jobs.TestCase
TestStatefulSets.settings = _SETTINGS
TestDaemonSets.settings = _SETTINGS
TestJobs.settings = _SETTINGS
