"""Collects evidence about pods, through the Kubernetes API only. The first source that answers is used:

    word        of the app itself or of a Prometheus, where the pod's template says so (`words`)
    node path   of the embedded cluster
    agent       one long exec in the agent that `segue inject` put beside the app; it sees bytes, too
    exec        one long exec per pod, in the first of its containers that has a shell; reads /proc/net
    ephemeral   the same in an ephemeral container of a given image; only in pods that will be ended anyway
    timer       nothing can be seen: the drain waits for the propagation time

Which source a pod's evidence came from is in the evidence. Rule: a source that fails for a pod that exists is not asked
again for it, and a failing source never ends a pod early.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from segue.drain.judge import NOTHING_SEEN, Evidence, Policy, Receiver, Watch
from segue.drain.samples import (
    AGENT,
    AGENT_CONTAINER,
    EPHEMERAL,
    EXEC,
    ProcText,
    Sample,
    count_from,
    from_agent,
    from_node_path,
    from_proc,
)
from segue.drive.flow import Flow, Look, Progress, ReadPods, ask, get
from segue.drive.journal import ActionEntry, Journal
from segue.drive.words import Words
from segue.model.http import ApiResponse
from segue.model.objects import Obj, annotations_of
from segue.model.workloads import Pod
from segue.release.actions import SAMPLER, AddSampler
from segue.release.requests import request_of
from segue.release.snapshot import Snapshot

_NO_SHELL = re.compile(r'exec: "sh": .*')
FULL_RATE_S = 0.1
SLOW_RATE_S = 0.5
AFTER_SWITCH_S = 0.2
WHOLE_EVERY_S = 2.0
WHO_EVERY_S = 0.5  # of draining pods that somebody came to, or is connected to
STREAMING = "segue.dev/streaming"  # ports of which an open connection is live, whatever moves on it
SAMPLERS_MAX = 3  # per pod: each of them stays in the pod's spec


@dataclass(slots=True, kw_only=True)
class Collector:
    """Watches pods of one release."""

    namespace: str
    policy: Policy
    sampler_image: str = ""
    journal: Journal = field(default_factory=Journal)
    node_path: bool | None = None  # None until it has been tried
    watches: dict[str, Watch] = field(default_factory=dict)
    broken: set[tuple[str, str]] = field(default_factory=set)  # (pod, container)
    blind: dict[str, str] = field(default_factory=dict)  # by pod: why its own containers cannot be asked
    failed: dict[str, str] = field(default_factory=dict)  # by pod: why its sampler does not help
    sampled: set[str] = field(default_factory=set)  # pods that were given a sampler
    told: set[str] = field(default_factory=set)
    words: Words = field(init=False)
    sampled_s: float = 0.0
    draining: bool = False  # the pods that are looked at have lost their traffic: now it matters who still comes

    def __post_init__(self) -> None:
        self.words = Words(namespace=self.namespace)

    def due(self, now_s: float, since_s: float | None) -> bool:
        """Whether it is time for another look at pods that nobody waits for yet.

        At once after their traffic went (`since_s`): what came before, and has not been seen, would be taken for newer.
        """
        every_s = SLOW_RATE_S if since_s is None else AFTER_SWITCH_S
        return now_s - self.sampled_s >= every_s or (since_s is not None and self.sampled_s < since_s)

    def next_in_s(self, now_s: float) -> float:
        """How long to wait for the next look at pods that drain: what a look takes is part of the rhythm."""
        return min(FULL_RATE_S, max(0.0, self.sampled_s + FULL_RATE_S - now_s))

    def sample(self, pods: Iterable[Pod], snapshot: Snapshot, now_s: float) -> Flow[float]:
        """Look once at each of these pods; the time at the end of the look."""
        watched = [pod for pod in pods if pod.alive and pod.ip and not pod.host_network]
        self.sampled_s = now_s
        for pod in watched:
            if pod.name not in self.watches:
                receiver = replace(receiver_of(pod, snapshot), outgoing=self.policy.outgoing)
                self.watches[pod.name] = Watch(receiver=receiver)
        if watched:
            now_s, watched = yield from self.words.listen(watched, self.watches, now_s)
        if watched and self.node_path is not False:
            now_s = yield from self._by_node_path(watched, now_s)
        if watched and self.node_path is False:
            now_s = yield from self._by_exec(watched, now_s)
            now_s = yield from self._add_samplers([pod for pod in watched if _will_end(pod, snapshot)], now_s)
        return now_s

    def _by_node_path(self, pods: list[Pod], asked_s: float) -> Flow[float]:
        now_s, responses = yield from ask(
            *(get(f"/apis/segue.dev/v1/namespaces/{self.namespace}/pods/{pod.name}/traffic") for pod in pods)
        )
        for pod, response in zip(pods, responses, strict=True):
            if response.code == 200 and "passiveOpens" in response.body:
                self.node_path = True
                self._note(pod, from_node_path(response.body, asked_s, now_s))
        if self.node_path is None:
            self.node_path = False
        return now_s

    def _by_exec(self, pods: list[Pod], now_s: float) -> Flow[float]:
        """Ask each pod where it has a shell; one that turns out to have none is asked in its next container."""
        left = pods
        while left:
            ways = {pod.name: (pod, *way) for pod in left if (way := self._way(pod))}
            if not ways:
                break
            looks = tuple(
                Look(pod=name, container=container, whole=self._must_see_all(self.watches[name], now_s))
                for name, (_, container, _) in ways.items()
            )
            answer = yield ReadPods(namespace=self.namespace, looks=looks)
            now_s = answer.now_s
            left = []
            for name, (pod, container, source) in ways.items():
                match answer.texts.get(name):
                    case str(trouble):
                        self.broken.add((name, container))
                        failed = self.failed if source == EPHEMERAL else self.blind
                        failed[name] = f"container {container}: {_in_short(trouble)}"
                        left.append(pod)
                        yield from self._tell_of_agent(pod, source)
                    case ProcText() as text if source == AGENT and from_agent(text) is None:
                        self.broken.add((name, container))
                        self.blind[name] = f"container {container}: {_in_short(text.text.strip())}"
                        left.append(pod)
                        yield from self._tell_of_agent(pod, source)
                    case ProcText() as text:
                        if self._note_text(pod, text, source):
                            left.append(pod)
                    case None:
                        continue
        return now_s

    def _tell_of_agent(self, pod: Pod, source: str) -> Flow[None]:
        """Say once for each reason that an agent is gone, and what is asked in its place."""
        reason = self.blind.get(pod.name, "").replace(pod.name, "...")
        way = self._way(pod)
        if source == AGENT and way is not None and reason not in self.told:
            self.told.add(reason)
            yield Progress(because=reason, action=f"judge by {way[1]} in container {way[0]} instead")

    def _must_see_all(self, watch: Watch, now_s: float) -> bool:
        """Whether counting does not do: nothing is known yet, somebody is connected, somebody came and went again."""
        since_s = now_s - watch.whole_s
        if watch.last is None or watch.last.counts != "kernel" or since_s >= WHOLE_EVERY_S:
            return True
        return self.draining and since_s >= WHO_EVERY_S and (watch.nameless or bool(watch.served()))

    def _note_text(self, pod: Pod, text: ProcText, source: str) -> bool:
        """Take it in; True where it has counted somebody and asks for another look at once, to see who."""
        watch = self.watches[pod.name]
        told = from_agent(text) if source == AGENT else from_proc(text, source)
        if isinstance(told, Sample):
            watch.note(told)
            return False
        count = told or count_from(text)
        if count is None or watch.last is None:
            return False
        watch.count(count)
        return self._must_see_all(watch, count.read_s)

    def _way(self, pod: Pod) -> tuple[str, str] | None:
        """The container to look from, and the name of that source."""
        states = pod.obj.get("status", {}).get("initContainerStatuses") or []
        agent: Obj = next((one for one in states if one.get("name") == AGENT_CONTAINER), {})
        if "running" in (agent.get("state") or {}) and (pod.name, AGENT_CONTAINER) not in self.broken:
            return AGENT_CONTAINER, AGENT
        for container in pod.obj.get("spec", {}).get("containers") or []:
            if (pod.name, container["name"]) not in self.broken:
                return str(container["name"]), EXEC
        for status in _samplers(pod):
            name = str(status["name"])
            if "running" in (status.get("state") or {}) and (pod.name, name) not in self.broken:
                return name, EPHEMERAL
        return None

    def _add_samplers(self, pods: list[Pod], now_s: float) -> Flow[float]:
        """Give those that cannot be looked into a container that can; say so, and where that does not help either."""
        blind = [pod for pod in pods if self._way(pod) is None]
        new = [action for pod in blind if (action := self._sampler_for(pod))]
        if new:
            began_s = now_s
            now_s, responses = yield from ask(*(request_of(action) for action in new))
            added = [action for action, one in zip(new, responses, strict=True) if self._is_added(action, one)]
            if added:
                what = f"add a container of {self.sampler_image} to {_old_pods(len(added))}"
                because = "no container of theirs can be looked from"
                yield Progress(because=because, action=what)
                self.journal.actions.append(
                    ActionEntry(at_s=began_s, ended_s=now_s, action=what, because=because, barrier="")
                )
        for pod in blind:
            self._learn_failure(pod)
        yield from self._tell(blind)
        return now_s

    def _sampler_for(self, pod: Pod) -> AddSampler | None:
        names = [str(one["name"]) for one in pod.obj.get("spec", {}).get("ephemeralContainers") or []]
        ours = [name for name in names if name.startswith(SAMPLER)]
        live = {str(one["name"]) for one in _samplers(pod) if "terminated" not in (one.get("state") or {})}
        states = {str(one["name"]) for one in _samplers(pod)}
        waits = [name for name in ours if (name in live or name not in states) and (pod.name, name) not in self.broken]
        if not self.sampler_image or pod.name in self.sampled or waits or len(ours) >= SAMPLERS_MAX:
            return None
        name = SAMPLER if SAMPLER not in names else f"{SAMPLER}-{len(ours) + 1}"
        return AddSampler(pod=pod, name=name, image=self.sampler_image)

    def _is_added(self, action: AddSampler, response: ApiResponse) -> bool:
        self.sampled.add(action.pod.name)
        if response.code < 400:
            return True
        self.failed[action.pod.name] = f"{action.image}: {response.body.get('message') or f'HTTP {response.code}'}"
        return False

    def _learn_failure(self, pod: Pod) -> None:
        """Why a sampler does not run, in the kubelet's words."""
        for status in _samplers(pod):
            state = status.get("state") or {}
            why: Obj = state.get("waiting") or state.get("terminated") or {}
            if why.get("reason") not in {None, "ContainerCreating", "PodInitializing"}:
                said = [str(why["reason"]), str(why.get("message") or "")]
                self.failed[pod.name] = f"container {status['name']}: {': '.join(part for part in said if part)}"

    def _tell(self, blind: list[Pod]) -> Flow[None]:
        """Say once for each reason that pods can only be judged by time."""
        reasons = self.failed if self.sampler_image else self.blind
        hopeless = [reasons[pod.name].replace(pod.name, "...") for pod in blind if pod.name in reasons]
        for reason in sorted(set(hopeless) - self.told):
            self.told.add(reason)
            hint = "" if self.sampler_image else "; --sampler-image names an image to look from"
            count = hopeless.count(reason)
            yield Progress(because=reason + hint, action=f"judge {_old_pods(count)} by time alone")

    def _note(self, pod: Pod, sample: Sample) -> None:
        self.watches[pod.name].note(sample)

    def evidence(self, now_s: float, since_s: float | None) -> dict[str, Evidence]:
        """The evidence of every watched pod."""
        since = now_s if since_s is None else since_s
        return {name: self._judged(name, watch, now_s, since) for name, watch in self.watches.items()}

    def _siblings_s(self, watch: Watch, since_s: float) -> float:
        """The longest silence that a sibling's senders need; infinite where there is none that knows."""
        mine = watch.receiver.siblings
        others = [one for one in self.watches.values() if one is not watch and one.receiver.siblings == mine != ""]
        known = [window_s for one in others if (window_s := one.window_s(since_s, self.policy)) is not None]
        return max(known, default=math.inf)

    def _judged(self, name: str, watch: Watch, now_s: float, since_s: float) -> Evidence:
        if watch.last is None:
            return replace(NOTHING_SEEN, trouble=self._trouble(name))
        stale_s = now_s - watch.last.at_s
        if stale_s > watch.last.fresh_s and now_s - since_s > watch.last.fresh_s:
            why = self._trouble(name) or f"{watch.last.source} has not answered for {stale_s:.0f} s"
            # What lived when it was last seen is not over because nobody can look any more.
            known = watch.judge(watch.last.at_s, since_s, self.policy)
            return replace(NOTHING_SEEN, trouble=why, live=known.live, peers=known.peers, unseen_s=stale_s)
        own_s = watch.window_s(since_s, self.policy)
        siblings_s = self._siblings_s(watch, since_s) if own_s is None else math.inf
        return replace(watch.judge(now_s, since_s, self.policy, siblings_s), trouble=self.words.lost.get(name, ""))

    def _trouble(self, name: str) -> str:
        own = self.failed.get(name) or (
            f"the container of {self.sampler_image} has not started"
            if name in self.sampled
            else self.blind.get(name, "")
        )
        return "; ".join(part for part in (self.words.lost.get(name, ""), own) if part)


def _in_short(trouble: str) -> str:
    """What a container runtime says, without the names of all that passed it on."""
    found = _NO_SHELL.search(trouble)
    return found.group(0) if found else trouble[:300]


def _old_pods(count: int) -> str:
    return f"{count} old pod{'s' if count != 1 else ''}"


def _samplers(pod: Pod) -> list[Obj]:
    """The states of our containers in a pod."""
    states = pod.obj.get("status", {}).get("ephemeralContainerStatuses") or []
    return [state for state in states if str(state.get("name", "")).startswith(SAMPLER)]


def _will_end(pod: Pod, snapshot: Snapshot) -> bool:
    """Whether what is under way ends this pod, once it is drained."""
    memory = snapshot.memory
    if memory is None:
        return False
    if memory.keeps_version or pod.orphaned:
        return pod.orphaned
    if memory.aborting:
        return memory.switched and pod.pod_hash == memory.new_hash
    return memory.patched and pod.pod_hash == memory.old_hash


def _streaming(pod: Pod) -> frozenset[int]:
    """The ports that its template says carry streams; what is no port there is none here."""
    said = annotations_of(pod.obj).get(STREAMING, "")
    return frozenset(int(one) for one in said.replace(",", " ").split() if one.isdecimal())


def receiver_of(pod: Pod, snapshot: Snapshot) -> Receiver:
    """What its spec and the Services tell of it."""
    # A pod that has left traffic is selected by none of them any more: then all that the release knows count.
    mine = [service for service in snapshot.services if service.selects_version(pod.labels)] or snapshot.services
    ports = frozenset[int]().union(*(service.target_ports(pod.obj) for service in mine))
    # In a mesh or behind a masquerading node clients bear these addresses, too: then only the rhythm tells (C5).
    host = str(pod.obj.get("status", {}).get("hostIP") or "")
    gateway = pod.ip.rpartition(".")[0] + ".1"  # the usual bridge address, which probes come from
    return Receiver(
        ports=ports,
        probe_periods_s=tuple(probe.period_s for probe in pod.probes()),
        node_addresses=frozenset({host, gateway}),
        nodes=max(1, len({one.node for one in snapshot.pods if one.node})),
        udp=any(port.get("protocol") == "UDP" for service in mine for port in service.ports),
        streaming=_streaming(pod),
        siblings=pod.pod_hash if all(service.spreads for service in mine) else "",
    )
