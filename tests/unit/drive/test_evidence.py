"""Evidence comes from the first source that answers, and says which."""

from __future__ import annotations

from segue.drain.judge import Policy
from segue.drive.evidence import Collector
from segue.drive.flow import Answer, Ask, Calls, Flow, ReadPods
from segue.model.http import ApiResponse
from segue.model.objects import Obj
from segue.model.workloads import Deployment, Pod, Service
from segue.release.snapshot import Snapshot

PROC = """Tcp: RtoAlgorithm PassiveOpens
Tcp: 1 {opens}
  sl  local_address rem_address   st
"""
POD: Obj = {
    "metadata": {"name": "web-1", "labels": {"app": "web", "pod-template-hash": "a"}},
    "spec": {"nodeName": "n", "containers": [{"name": "web", "ports": [{"name": "http", "containerPort": 80}]}]},
    "status": {"podIP": "10.0.0.2", "conditions": [{"type": "Ready", "status": "True"}]},
}
SERVICE: Obj = {
    "metadata": {"name": "web"},
    "spec": {"selector": {"app": "web"}, "ports": [{"port": 1, "targetPort": "http"}]},
}


def snapshot(pod: Obj = POD) -> Snapshot:
    return Snapshot(
        now_s=0.0,
        me="me",
        deployment=Deployment(obj={"metadata": {"name": "web"}, "spec": {}}),
        sets=(),
        pods=(Pod(obj=pod),),
        services=(Service(obj=SERVICE),),
        endpoints={},
    )


class Sources:
    """A cluster that offers these sources; it counts what it is asked."""

    def __init__(self, *, node_path: bool, text: str | None) -> None:
        self.node_path, self.text = node_path, text
        self.asked: list[str] = []
        self.opens = 0

    def run(self, flow: Flow[float], now_s: float) -> float:
        try:
            asked = next(flow)
            while True:
                asked = flow.send(self._answer(asked, now_s))
        except StopIteration as end:
            at_s: float = end.value
            return at_s

    def _answer(self, asked: Ask, now_s: float) -> Answer:
        match asked:
            case Calls(requests=requests):
                self.asked.append("node path")
                good = ApiResponse(code=200, body={"passiveOpens": self.opens, "connections": []})
                bad = ApiResponse(code=404, body={"message": "404 page not found"})
                return Answer(now_s=now_s, responses=tuple(good if self.node_path else bad for _ in requests))
            case ReadPods(pods=pods):
                self.asked.append("exec" if pods else "nothing")
                text = None if self.text is None else self.text.format(opens=self.opens)
                return Answer(now_s=now_s, texts={name: text for name, _ in pods})
            case _:
                raise AssertionError(asked)


def watch(sources: Sources, pod: Obj = POD) -> Collector:
    """Twelve seconds at ten looks per second; traffic of 100 per second until second 10."""
    collector = Collector(namespace="shop", policy=Policy())
    seen = snapshot(pod)
    for tick in range(123):
        now_s = tick / 10
        sources.opens = min(tick, 100) * 10
        sources.run(collector.sample(seen.pods, seen, now_s), now_s)
    return collector


def test_the_node_path_is_asked_first() -> None:
    sources = Sources(node_path=True, text=PROC)
    found = watch(sources).evidence(12.2, 10.0)["web-1"]

    assert set(sources.asked) == {"node path"}
    assert (found.source, found.verdict) == ("node path", "quiet")


def test_without_it_an_exec_in_the_pod_tells() -> None:
    sources = Sources(node_path=False, text=PROC)
    found = watch(sources).evidence(12.2, 10.0)["web-1"]

    assert sources.asked.count("node path") == 1
    assert (found.source, found.verdict) == ("exec", "quiet")


def test_where_the_image_has_no_shell_nothing_is_known_and_nobody_asks_again() -> None:
    sources = Sources(node_path=False, text=None)
    found = watch(sources).evidence(12.2, 10.0)["web-1"]

    assert sources.asked.count("exec") == 1
    assert (found.source, found.verdict) == ("timer", "not enough evidence")


def test_the_counters_of_a_host_network_pod_are_the_nodes_and_not_asked() -> None:
    sources = Sources(node_path=True, text=PROC)
    collector = watch(sources, {**POD, "spec": {**POD["spec"], "hostNetwork": True}})

    assert sources.asked == []
    assert collector.evidence(12.2, 10.0) == {}
