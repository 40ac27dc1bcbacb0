"""Collects evidence about pods, through the Kubernetes API only: the node path of the embedded cluster, else one long
exec per pod that reads /proc/net, else nothing (and the timer stands in).

Which source a pod's evidence came from is in the evidence. Rule: a source that fails once for a pod that exists is
not asked again for it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from segue.drain.judge import Evidence, Policy, Receiver, Watch
from segue.drain.samples import Sample, from_node_path, from_proc
from segue.drive.flow import Flow, ReadPods, ask, get
from segue.model.workloads import Pod
from segue.release.snapshot import Snapshot

FULL_RATE_S = 0.1
SLOW_RATE_S = 0.5


@dataclass(slots=True, kw_only=True)
class Collector:
    """Watches pods of one release."""

    namespace: str
    policy: Policy
    node_path: bool | None = None  # None until it has been tried
    watches: dict[str, Watch] = field(default_factory=dict)
    exec_broken: set[str] = field(default_factory=set)
    sampled_s: float = 0.0

    def due(self, now_s: float) -> bool:
        """Whether it is time for another look at pods that still serve."""
        return now_s - self.sampled_s >= SLOW_RATE_S

    def next_in_s(self, now_s: float) -> float:
        """How long to wait for the next look at pods that drain: what a look takes is part of the rhythm."""
        return min(FULL_RATE_S, max(0.0, self.sampled_s + FULL_RATE_S - now_s))

    def sample(self, pods: Iterable[Pod], snapshot: Snapshot, now_s: float) -> Flow[float]:
        """Look once at each of these pods; the time at the end of the look."""
        watched = [pod for pod in pods if pod.alive and pod.ip and not pod.host_network]
        self.sampled_s = now_s
        for pod in watched:
            if pod.name not in self.watches:
                self.watches[pod.name] = Watch(receiver=_receiver(pod, snapshot))
        if watched and self.node_path is not False:
            now_s = yield from self._by_node_path(watched)
        if watched and self.node_path is False:
            now_s = yield from self._by_exec(watched)
        return now_s

    def _by_node_path(self, pods: list[Pod]) -> Flow[float]:
        now_s, responses = yield from ask(
            *(get(f"/apis/segue.dev/v1/namespaces/{self.namespace}/pods/{pod.name}/traffic") for pod in pods)
        )
        for pod, response in zip(pods, responses, strict=True):
            if response.code == 200 and "passiveOpens" in response.body:
                self.node_path = True
                self._note(pod, from_node_path(response.body, now_s))
        if self.node_path is None:
            self.node_path = False
        return now_s

    def _by_exec(self, pods: list[Pod]) -> Flow[float]:
        wanted = tuple((pod.name, pod.container) for pod in pods if pod.name not in self.exec_broken)
        answer = yield ReadPods(namespace=self.namespace, pods=wanted)
        for pod in pods:
            text = answer.texts.get(pod.name, "")
            if text is None:
                self.exec_broken.add(pod.name)
            elif text:
                sample = from_proc(text, answer.now_s)
                if sample is not None:
                    self._note(pod, sample)
        return answer.now_s

    def _note(self, pod: Pod, sample: Sample) -> None:
        self.watches[pod.name].note(sample)

    def evidence(self, now_s: float, since_s: float | None) -> dict[str, Evidence]:
        """The evidence of every watched pod."""
        since = now_s if since_s is None else since_s
        return {name: watch.judge(now_s, since, self.policy) for name, watch in self.watches.items()}


def _receiver(pod: Pod, snapshot: Snapshot) -> Receiver:
    ports = frozenset[int]().union(*(service.target_ports(pod.obj) for service in snapshot.services))
    # In a mesh or behind a masquerading node clients bear these addresses, too: then only the rhythm tells (C5).
    host = str(pod.obj.get("status", {}).get("hostIP") or "")
    gateway = pod.ip.rpartition(".")[0] + ".1"  # the usual bridge address, which probes come from
    return Receiver(
        ports=ports,
        probe_periods_s=tuple(probe.period_s for probe in pod.probes()),
        node_addresses=frozenset({host, gateway}),
        nodes=max(1, len({one.node for one in snapshot.pods if one.node})),
    )
