"""The normal form of scenarios: equal on what is chance, different on every planted difference."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from segue.model.objects import Obj, copy_of
from tests.live.both.scenarios.normal import tale
from tests.live.both.scenarios.sights import Act, Said, Sight

Change = Callable[[list[Sight]], list[Sight]]


def meta(name: str, version: int, **more: object) -> Obj:
    return {"name": name, "uid": f"uid-{name}", "resourceVersion": str(version), "generation": 1, **more}


def template(tag: str) -> Obj:
    mark = {"app": "web", "pod-template-hash": f"hash{tag}"}
    return {"metadata": {"labels": mark}, "spec": {"containers": [{"name": "puppet", "image": f"puppet:{tag}"}]}}


def deployment(version: int, tag: str = "v1", *, available: str = "True", **spec: object) -> Obj:
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    reason = "MinimumReplicasAvailable" if available == "True" else "MinimumReplicasUnavailable"
    wishes = {"replicas": 1, "strategy": strategy, "progressDeadlineSeconds": 600, "template": template(tag)}
    return {
        "metadata": meta("web", version),
        "spec": wishes | spec,
        "status": {"conditions": [{"type": "Available", "status": available, "reason": reason}]},
    }


def replica_set(version: int, tag: str, replicas: int, *, owner: str = "web") -> Obj:
    owners = [{"name": owner, "uid": f"uid-{owner}"}] if owner else []
    return {
        "metadata": meta(f"web-hash{tag}", version, ownerReferences=owners, labels={"app": "web"}),
        "spec": {"replicas": replicas, "template": template(tag)},
        "status": {},
    }


def pod(version: int, name: str, tag: str, state: Obj | None = None, **metadata: object) -> Obj:
    """A pod: `state` is None while Pending, else its container's status with `ready`."""
    owners = [{"name": f"web-hash{tag}", "uid": f"uid-web-hash{tag}"}]
    ready = bool(state and state.get("ready"))
    return {
        "metadata": meta(name, version, ownerReferences=owners, labels={"app": "web"}, **metadata),
        "spec": {},
        "status": {
            "phase": "Running" if state else "Pending",
            "conditions": [{"type": "Ready", "status": str(ready)}],
            "containerStatuses": [state] if state else [],
        },
    }


def slices(version: int, **ready: bool) -> Obj:
    mark = {"kubernetes.io/service-name": "web"}
    endpoints = [{"targetRef": {"name": f"web-{name}"}, "conditions": {"ready": yes}} for name, yes in ready.items()]
    return {"metadata": meta("web-slice", version, labels=mark), "endpoints": endpoints}


UP: Obj = {"state": {"running": {}}, "restartCount": 0, "ready": True}
STARTING: Obj = {"state": {"running": {}}, "restartCount": 0, "ready": False}
LEAVING: Obj = {"deletionTimestamp": "now", "deletionGracePeriodSeconds": 5}
ENDED: Obj = {"exitCode": 0, "containerID": "c", "startedAt": "then", "finishedAt": "then"}
GONE: Obj = {"state": {"terminated": ENDED}, "restartCount": 0, "ready": False}


def see(resource: str, obj: Obj, kind: str = "MODIFIED") -> Sight:
    return Sight(resource=resource, type=kind, object=obj)


def rollout() -> list[Sight]:
    """One pod of v1 is replaced by one of v2."""
    return [
        see("deployments", deployment(20, "v2")),
        see("replicasets", replica_set(21, "v2", 1), "ADDED"),
        see("pods", pod(22, "web-b", "v2"), "ADDED"),
        see("pods", pod(23, "web-b", "v2", STARTING)),
        see("pods", pod(24, "web-b", "v2", UP)),
        see("endpointslices", slices(25, a=True, b=True)),
        see("replicasets", replica_set(26, "v1", 0)),
        see("pods", pod(27, "web-a", "v1", UP, **LEAVING)),
        see("endpointslices", slices(28, b=True)),
        see("pods", pod(29, "web-a", "v1", GONE, **LEAVING)),
        see("pods", pod(30, "web-a", "v1", GONE, **LEAVING), "DELETED"),
    ]


def began() -> list[Sight]:
    return [
        see("deployments", deployment(10), "ADDED"),
        see("replicasets", replica_set(11, "v1", 1), "ADDED"),
        see("pods", pod(12, "web-a", "v1"), "ADDED"),
        see("pods", pod(13, "web-a", "v1", STARTING)),
        see("pods", pod(14, "web-a", "v1", UP)),
        see("endpointslices", slices(15, a=True), "ADDED"),
    ]


def told(second: list[Sight], said: tuple[str, ...] = ()) -> str:
    acts = [Act(title="begin", sights=began()), Act(title="another version", sights=second)]
    acts[1].said = [Said(argv="segue release", exit_code=0, lines=said)]
    return tale(acts)


def without(index: int) -> Change:
    return lambda sights: [one for place, one in enumerate(sights) if place != index]


def instead(index: int, sight: Sight) -> Change:
    return lambda sights: [sight if place == index else one for place, one in enumerate(sights)]


def renamed(sights: list[Sight]) -> list[Sight]:
    """The same with another chosen name for the new pod."""

    def other(obj: Obj) -> Obj:
        made = copy_of(obj)
        if made["metadata"]["name"] == "web-b":
            made["metadata"] |= {"name": "zz", "uid": "other"}
        for each in made.get("endpoints") or []:
            if each["targetRef"]["name"] == "web-b":
                each["targetRef"]["name"] = "zz"
        return made

    return [Sight(resource=one.resource, type=one.type, object=other(one.object)) for one in sights]


def test_the_story_the_lives_and_what_stands_are_told() -> None:
    text = told(rollout())

    assert "   deployment web: template v2\n   replicaset v2: made, replicas 1" in text
    assert "   replicaset v1: replicas 0" in text
    assert "most pods: 2; fewest ready endpoints of web: 1" in text
    assert "   = pods: 1 x v2 Ready" in text
    assert (
        "1 x v1 1: Pending, Running, Ready; 2: leaving within 5 s, exit 0, gone | web: 1: waiting, ready; 2: absent"
        in text
    )
    assert "1 x v2 2: Pending, Running, Ready | web: 2: waiting, ready" in text


@pytest.mark.parametrize(
    "same",
    [
        pytest.param(renamed, id="another name"),
        pytest.param(lambda sights: list(reversed(sights)), id="watches that tell in another order"),
        pytest.param(without(3), id="Pending and Ready told in one write"),
        pytest.param(without(9), id="the exit told with the deletion"),
        pytest.param(lambda sights: [*sights[:5], sights[4], *sights[5:]], id="a write told twice"),
    ],
)
def test_what_is_chance_is_told_alike(same: Change) -> None:
    assert told(same(rollout())) == told(rollout())


@pytest.mark.parametrize(
    ("planted", "shows"),
    [
        (instead(6, see("replicasets", replica_set(20, "v1", 0))), "replicaset v1: replicas 0\n   replicaset v2"),
        (without(6), "replicaset v1: 1 wanted"),
        (
            instead(7, see("pods", pod(27, "web-a", "v1", UP, deletionTimestamp="n", deletionGracePeriodSeconds=9))),
            "within 9",
        ),
        (instead(5, see("endpointslices", slices(25))), "endpoints of web: 0"),
        (instead(8, see("endpointslices", slices(28, a=True, b=True))), "endpoints of web: 1 x v1 ready"),
        (lambda sights: [*sights, see("deployments", deployment(31, "v2", available="False"))], "Available: False"),
        (lambda sights: [*sights, see("deployments", deployment(31, "v2", replicas=2))], "replicas 2"),
        (lambda sights: [*sights, see("deployments", deployment(31, "v2", minReadySeconds=5))], "minReadySeconds 5"),
        (lambda sights: [*sights, see("replicasets", replica_set(31, "v1", 0, owner=""))], "owner nobody"),
        (lambda sights: [*sights, see("pods", pod(31, "web-b", "v2", STARTING))], "not Ready"),
        (lambda sights: [*sights, see("pods", pod(31, "web-b", "v2", UP | {"restartCount": 1}))], "started again (1)"),
        (lambda sights: [*sights, see("pods", pod(31, "web-b", "v2", UP), "DELETED")], "pods: none"),
        (
            instead(
                9, see("pods", pod(29, "web-a", "v1", {**GONE, "state": {"terminated": {**ENDED, "exitCode": 137}}}))
            ),
            "137",
        ),
    ],
    ids=[
        "another order of ReplicaSet steps",
        "a step that is missing",
        "another grace",
        "an endpoint that leaves too early",
        "an endpoint that stays too long",
        "a condition",
        "another size",
        "another knob",
        "an owner that lets go",
        "a pod that is not Ready any more",
        "a restart",
        "a pod deleted too early",
        "another exit code",
    ],
)
def test_a_planted_difference_is_found(planted: Change, shows: str) -> None:
    text = told(planted(rollout()))

    assert text != told(rollout())
    assert shows in text


def test_a_missing_condition_is_found() -> None:
    before = began()
    bare = copy_of(before[0].object)
    bare["status"] = {}
    acts = [Act(title="begin", sights=[see("deployments", bare, "ADDED"), *before[1:]])]

    assert tale(acts) != tale([Act(title="begin", sights=before)])


def test_answers_are_told_without_moments_and_names() -> None:
    first = told(
        rollout(), ("error: 0 of 1 Ready (one of v2: x). Events: a", "scale ReplicaSet web-hashv1 from 1 to 0")
    )
    other = told(rollout(), ("error: 0 of 1 Ready. Events: b", "scale ReplicaSet web-hashv1 from 1 to 0"))

    assert first == other
    assert "scale ReplicaSet v1 from 1 to 0" in first


def test_another_answer_is_found() -> None:
    assert told(rollout(), ("pin Service web to hashv1",)) != told(rollout(), ("pin Service web to hashv2",))
    assert told(rollout(), ("one", "two")) != told(rollout(), ("two", "one"))
