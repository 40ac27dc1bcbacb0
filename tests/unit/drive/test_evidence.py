"""Evidence comes from the first source that answers, and says which; where none does, it says why."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace

import pytest

from segue.drain.judge import Evidence, Policy, ended
from segue.drain.samples import ProcText, Sample
from segue.drive.evidence import Collector
from segue.drive.flow import Answer, Ask, Calls, Flow, Progress, ReadPods
from segue.model.http import ApiRequest, ApiResponse
from segue.model.objects import Obj
from segue.model.services import Service
from segue.model.workloads import Deployment, Pod
from segue.release.memory import ANNOTATION, Memory
from segue.release.snapshot import Snapshot

SNMP = """Tcp: RtoAlgorithm PassiveOpens
Tcp: 1 {opens}
"""
TCP = "  sl  local_address rem_address   st\n"
POD: Obj = {
    "metadata": {"name": "web-1", "namespace": "shop", "labels": {"app": "web", "pod-template-hash": "a"}},
    "spec": {"nodeName": "n", "containers": [{"name": "web", "ports": [{"name": "http", "containerPort": 80}]}]},
    "status": {"podIP": "10.0.0.2", "conditions": [{"type": "Ready", "status": "True"}]},
}
SERVICE: Obj = {
    "metadata": {"name": "web"},
    "spec": {"selector": {"app": "web"}, "ports": [{"port": 1, "targetPort": "http"}]},
}
UNDER_WAY = Memory(id="r", kind="release", digest="d", begun_s=0.0, old_hash="a", new_hash="b", patched=True)
SAMPLER = "host.org/sampler:v1"
RUNNING: Obj = {"name": "segue-sampler", "state": {"running": {}}}


def snapshot(pod: Obj = POD, memory: Memory = UNDER_WAY) -> Snapshot:
    annotations = {ANNOTATION: memory.text()}
    return Snapshot(
        now_s=0.0,
        me="me",
        deployment=Deployment(obj={"metadata": {"name": "web", "annotations": annotations}, "spec": {}}),
        sets=(),
        pods=(Pod(obj=pod),),
        services=(Service(obj=SERVICE),),
        endpoints={},
    )


@dataclass
class Sources:
    """A cluster that offers these sources; it counts what it is asked. `shells` are the containers that have one."""

    node_path: bool = False
    shells: frozenset[str] = frozenset()
    sampler_code: int = 200
    pod: Obj = field(default_factory=lambda: POD)
    asked: list[str] = field(default_factory=list)
    patches: list[ApiRequest] = field(default_factory=list)
    said: list[Progress] = field(default_factory=list)
    opens: int = 0
    whole: int = 0

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
            case Calls(requests=(ApiRequest(method="PATCH"), *_) as requests):
                self.patches += requests
                body: Obj = (
                    {} if self.sampler_code == 200 else {"message": "the server could not find the requested resource"}
                )
                return Answer(now_s=now_s, responses=(ApiResponse(code=self.sampler_code, body=body),))
            case Calls(requests=requests):
                self.asked.append("node path")
                good = ApiResponse(code=200, body={"passiveOpens": self.opens, "connections": []})
                bad = ApiResponse(code=404, body={"message": "404 page not found"})
                return Answer(now_s=now_s, responses=tuple(good if self.node_path else bad for _ in requests))
            case ReadPods(looks=(look,)):
                self.asked.append(look.container)
                if look.container not in self.shells:
                    return Answer(now_s=now_s, texts={look.pod: 'exec: "sh": executable file not found in $PATH'})
                self.whole += look.whole
                files = SNMP + TCP if look.whole else SNMP
                text = ProcText(text=files.format(opens=self.opens), asked_s=now_s, read_s=now_s)
                return Answer(now_s=now_s, texts={look.pod: text})
            case Progress():
                self.said.append(asked)
                return Answer(now_s=now_s)
            case _:
                raise AssertionError(asked)


def watch(sources: Sources, *, image: str = "", memory: Memory = UNDER_WAY, starts_s: float = 1e9) -> Collector:
    """Twelve seconds at ten looks per second; traffic of 100 per second until second 10. A sampler runs from `starts_s`
    on."""
    collector = Collector(namespace="shop", policy=Policy(), sampler_image=image)
    for tick in range(123):
        now_s = tick / 10
        pod = sources.pod
        if sources.patches and now_s >= starts_s:
            status = {**pod["status"], "ephemeralContainerStatuses": [RUNNING]}
            spec = {**pod["spec"], "ephemeralContainers": [{"name": "segue-sampler"}]}
            pod = {**pod, "spec": spec, "status": status}
        seen = snapshot(pod, memory)
        sources.opens = min(tick, 100) * 10
        collector.draining = now_s >= 10.0
        sources.run(collector.sample(seen.pods, seen, now_s), now_s)
    return collector


def found(collector: Collector, at_s: float = 12.2) -> Evidence:
    return collector.evidence(at_s, 10.0)["web-1"]


def test_the_node_path_is_asked_first() -> None:
    sources = Sources(node_path=True, shells=frozenset({"web"}))
    evidence = found(watch(sources))

    assert set(sources.asked) == {"node path"}
    assert (evidence.source, evidence.verdict) == ("node path", "quiet")


def test_without_it_an_exec_in_the_pod_tells() -> None:
    sources = Sources(shells=frozenset({"web"}))
    evidence = found(watch(sources))

    assert sources.asked.count("node path") == 1
    assert sources.whole < 10
    assert (evidence.source, evidence.verdict) == ("exec", "quiet")


def test_another_container_of_the_pod_shares_its_network_and_is_as_good() -> None:
    spec = {**POD["spec"], "containers": [*POD["spec"]["containers"], {"name": "proxy"}]}
    sources = Sources(shells=frozenset({"proxy"}), pod={**POD, "spec": spec})
    evidence = found(watch(sources, image=SAMPLER))

    assert sources.asked.count("web") == 1
    assert sources.patches == []
    assert (evidence.source, evidence.verdict) == ("exec", "quiet")


def test_where_the_image_has_no_shell_nothing_is_known_and_nobody_asks_again() -> None:
    sources = Sources()
    evidence = found(watch(sources))

    assert sources.asked.count("web") == 1
    assert sources.patches == []
    assert (evidence.source, evidence.verdict) == ("timer", "not enough evidence")
    assert "executable file not found" in evidence.trouble
    assert [(one.action, "--sampler-image" in one.because) for one in sources.said] == [
        ("judge 1 old pod by time alone", True)
    ]


def test_with_a_sampler_image_an_ephemeral_container_tells() -> None:
    sources = Sources(shells=frozenset({"segue-sampler"}))
    collector = watch(sources, image=SAMPLER, starts_s=2.0)
    evidence = found(collector)
    (patch,) = sources.patches
    assert isinstance(patch.body, dict)
    (container,) = patch.body["spec"]["ephemeralContainers"]

    assert (evidence.source, evidence.verdict) == ("ephemeral", "quiet")
    assert patch.path == "/api/v1/namespaces/shop/pods/web-1/ephemeralcontainers"
    assert (container["image"], container["imagePullPolicy"]) == (SAMPLER, "IfNotPresent")
    assert [entry.action for entry in collector.journal.actions] == [f"add a container of {SAMPLER} to 1 old pod"]


def test_a_sampler_that_the_cluster_refuses_leaves_the_timer_and_is_told_once() -> None:
    sources = Sources(sampler_code=404)
    collector = watch(sources, image=SAMPLER)
    evidence = found(collector)

    assert len(sources.patches) == 1
    assert (evidence.source, evidence.verdict) == ("timer", "not enough evidence")
    assert "could not find the requested resource" in evidence.trouble
    assert [one.action for one in sources.said] == ["judge 1 old pod by time alone"]
    assert collector.journal.actions == []


def test_a_sampler_that_never_starts_ends_no_pod_before_the_timer() -> None:
    sources = Sources()
    evidence = found(watch(sources, image=SAMPLER))

    assert ended(evidence, now_s=14.9, since_s=10.0, policy=Policy()) is None
    assert ended(evidence, now_s=15.0, since_s=10.0, policy=Policy()) is not None


def test_a_sampler_that_starts_after_the_switch_has_seen_no_traffic_and_proves_nothing() -> None:
    sources = Sources(shells=frozenset({"segue-sampler"}))
    evidence = found(watch(sources, image=SAMPLER, starts_s=10.2))

    assert evidence.source == "ephemeral"
    assert evidence.verdict != "quiet"


def test_a_pod_that_stays_is_given_no_sampler() -> None:
    aborting = UNDER_WAY.but(aborting=True, switched=True)
    for memory in (
        aborting,
        UNDER_WAY.but(old_hash="other"),
        UNDER_WAY.but(kind="scale"),
        UNDER_WAY.but(patched=False),
    ):
        sources = Sources()
        watch(sources, image=SAMPLER, memory=memory)

        assert sources.patches == [], memory


def test_an_earlier_runs_sampler_is_used_again() -> None:
    spec = {**POD["spec"], "ephemeralContainers": [{"name": "segue-sampler"}]}
    pod = {**POD, "spec": spec, "status": {**POD["status"], "ephemeralContainerStatuses": [RUNNING]}}
    sources = Sources(shells=frozenset({"segue-sampler"}), pod=pod)
    evidence = found(watch(sources, image=SAMPLER))

    assert sources.patches == []
    assert (evidence.source, evidence.verdict) == ("ephemeral", "quiet")


def test_a_sampler_that_is_over_is_followed_by_another_one_by_another_name() -> None:
    over: Obj = {"name": "segue-sampler", "state": {"terminated": {"exitCode": 0}}}
    spec = {**POD["spec"], "ephemeralContainers": [{"name": "segue-sampler"}]}
    pod = {**POD, "spec": spec, "status": {**POD["status"], "ephemeralContainerStatuses": [over]}}
    sources = Sources(pod=pod)
    watch(sources, image=SAMPLER)
    (patch,) = sources.patches
    assert isinstance(patch.body, dict)

    assert patch.body["spec"]["ephemeralContainers"][0]["name"] == "segue-sampler-2"


def test_a_source_that_falls_silent_proves_no_silence() -> None:
    collector = watch(Sources(shells=frozenset({"web"})))
    early, late = found(collector, 12.0), found(collector, 16.0)

    assert early.source == "exec"
    assert (late.source, late.verdict) == ("timer", "not enough evidence")
    assert "has not answered for" in late.trouble


def test_the_counters_of_a_host_network_pod_are_the_nodes_and_not_asked() -> None:
    sources = Sources(node_path=True, pod={**POD, "spec": {**POD["spec"], "hostNetwork": True}})
    collector = watch(sources)

    assert sources.asked == []
    assert collector.evidence(12.2, 10.0) == {}


def seen_late(service: Obj) -> Evidence:
    """Of two old pods of a version one was looked at in time, the other half a second after the switch."""
    other: Obj = {**POD, "metadata": {**POD["metadata"], "name": "web-2"}}
    both = replace(
        snapshot(), pods=(Pod(obj=POD), Pod(obj=other)), services=(Service(obj={**SERVICE, "spec": service}),)
    )
    collector = Collector(namespace="shop", policy=Policy(), node_path=False)
    collector.broken = {("web-1", "web"), ("web-2", "web")}
    Sources().run(collector.sample(both.pods, both, 0.0), 0.0)
    for tick in range(125):
        at_s, opens = tick / 10, min(tick, 100) * 10
        for name, begins_s in (("web-1", 0.0), ("web-2", 10.2)):
            if at_s >= begins_s:
                sample = Sample(at_s=at_s, passive_opens=opens, connections=(), source="ephemeral")
                collector.watches[name].note(sample)
    return collector.evidence(12.4, 10.0)["web-2"]


def test_a_pod_seen_after_the_switch_only_is_judged_by_its_siblings_rhythm() -> None:
    assert seen_late(SERVICE["spec"]).verdict == "quiet"


@pytest.mark.parametrize("choice", [{"sessionAffinity": "ClientIP"}, {"clusterIP": "None"}], ids=["sticky", "headless"])
def test_where_clients_keep_to_a_pod_its_siblings_say_nothing_about_it(choice: Obj) -> None:
    assert seen_late({**SERVICE["spec"], **choice}).verdict == "not enough evidence"


AGENT_RUNS: Obj = {"name": "segue-agent", "state": {"running": {}}}


@dataclass
class WithAgent(Sources):
    """A cluster whose pod has the agent; it answers until `gone_s`, then as `gone` says."""

    gone_s: float = 1e9
    gone: str = "cannot look: denied"

    def _answer(self, asked: Ask, now_s: float) -> Answer:
        match asked:
            case ReadPods(looks=(look,)) if look.container == "segue-agent":
                self.asked.append(look.container)
                told: Obj = {"passiveOpens": self.opens} | ({"connections": []} if look.whole else {})
                text = json.dumps(told) if now_s < self.gone_s else self.gone
                return Answer(now_s=now_s, texts={look.pod: ProcText(text=text, asked_s=now_s, read_s=now_s)})
            case _:
                return Sources._answer(self, asked, now_s)


def with_agent() -> Obj:
    return {**POD, "status": {**POD["status"], "initContainerStatuses": [AGENT_RUNS]}}


def test_an_agent_is_asked_before_the_apps_container() -> None:
    sources = WithAgent(shells=frozenset({"web"}), pod=with_agent())
    evidence = found(watch(sources))

    assert set(sources.asked[1:]) == {"segue-agent"}
    assert (evidence.source, evidence.verdict) == ("agent", "quiet")


def test_an_agent_that_fails_is_told_of_and_the_next_source_goes_on_from_there() -> None:
    sources = WithAgent(shells=frozenset({"web"}), pod=with_agent(), gone_s=5.0)
    evidence = found(watch(sources))

    assert (evidence.source, evidence.verdict) == ("exec", "quiet")
    (said,) = sources.said
    assert said.because == "container segue-agent: cannot look: denied"
    assert said.action == "judge by exec in container web instead"


def test_an_agent_that_fails_where_nothing_else_sees_leaves_the_timer() -> None:
    sources = WithAgent(pod=with_agent(), gone_s=11.0)
    collector = watch(sources)

    assert found(collector, at_s=16.0).verdict == "not enough evidence"
    assert ended(found(collector, at_s=14.0), now_s=14.0, since_s=10.0, policy=Policy()) is None
