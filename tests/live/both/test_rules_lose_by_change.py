"""Errors that show when something is applied over what runs: the bad change loses requests, the good one none.

The other pairs are in test_rules_lose_requests; the last test here says which rule has none.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest
import yaml
from _pytest.mark.structures import ParameterSet

from segue.check.findings import Severity
from segue.check.gathering import Gathered
from segue.check.repair import repaired
from segue.check.rulebook import RULES, judge
from segue.check.settings import Settings
from segue.model.objects import Obj, copy_of
from tests.live.both import rollouts
from tests.live.both.manifests import PORT
from tests.live.both.test_rules_lose_requests import (
    EVENTS_MAX,
    PAIRS,
    budget,
    door,
    drain,
    inner,
    lost_of_many,
    sleeps,
    web,
)
from tests.live.both.world import Place
from tests.waiting import wait_until

pytestmark = pytest.mark.live


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What runs, what is applied over it, and what is asked meanwhile."""

    rule: str
    before: list[Obj] = field(default_factory=list)  # nothing: the set itself, for the first time
    bad: list[Obj]
    good: Callable[[list[Obj]], None] | None = None  # None: segue repairs it
    event: Callable[[Place, list[Obj]], None]
    measure: Callable[[Place, Callable[[Place], None]], int] = lost_of_many
    pods: int = 2


def _json(*objects: Obj) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})


def apply(place: Place, objects: list[Obj]) -> list[Obj]:
    """kubectl apply of each file in its order; what was refused."""
    done = [(one, place.run("kubectl", "apply", "-f", "-", stdin=_json(one))) for one in objects]
    return [one for one, said in done if said.returncode]


# -- events ------------------------------------------------------------------------------------------------------------


def forced(place: Place, objects: list[Obj]) -> None:
    """Apply; delete and make anew what is refused, as kubectl replace --force does. Until the old pods are gone."""
    old = [pod["metadata"]["name"] for pod in place.all("pods", "app=web")]
    for refused in apply(place, objects):
        place.kubectl("replace", "--force", "-f", "-", stdin=_json(refused))
    rollouts.complete(place, "web")
    for name in old:
        place.wait_gone("pods", name, limit_s=60)


def applied(place: Place, objects: list[Obj]) -> None:
    """kubectl apply of files that all are taken, the Service first, and wait for the rollout."""
    old = [pod["metadata"]["name"] for pod in place.all("pods", "app=web")]
    assert apply(place, sorted(objects, key=lambda one: one["kind"] != "Service")) == []
    rollouts.complete(place, "web")
    for name in old:
        place.wait_gone("pods", name, limit_s=60)


def applied_again(place: Place, objects: list[Obj]) -> None:
    """kubectl apply of what is applied already; until the Service has the endpoints that are left of it."""
    assert apply(place, objects) == []
    wanted = int(place.get("deployments", "web")["spec"]["replicas"])

    def settled() -> bool:
        return sum(bool(each["ready"]) for each in place.endpoints("web").values()) <= wanted

    wait_until(settled, what="the endpoints to be as many")


def drained(place: Place, _objects: list[Obj]) -> None:
    """The node of the pods is drained."""
    drain(place)


# -- what is counted ---------------------------------------------------------------------------------------------------

ROOM, MANY, SCALED = 16, 36, 6


def _who(place: Place, ip: str, port: int, seen: set[str]) -> str:
    who = place.ask(ip, port)[1].split()[-1]
    seen.add(who)
    return who


def lost_of_a_crowd(place: Place, event: Callable[[Place], None]) -> int:
    """How many of a crowd of requests find no room: more than 2 pods can take, and not half of what 6 can."""
    ip, port = place.world.node_ip, place.node_port("web")
    seen: set[str] = set()
    wait_until(lambda: len(seen | {_who(place, ip, port, seen)}) >= SCALED, limit_s=30, what="all pods to be asked")
    event(place)
    with ThreadPoolExecutor(MANY) as crowd:
        asked = [crowd.submit(place.ask, ip, port, "/slow?s=3", limit_s=10) for _ in range(MANY)]
        return sum(one.exception() is not None or one.result()[0] != 200 for one in asked)


# -- pairs -------------------------------------------------------------------------------------------------------------


def _slow() -> list[Obj]:
    """Pods that serve for less long when they end than they need to start."""
    return [web(2, lifecycle=sleeps(2), strings="listen_s=4"), door()]


def _named(objects: list[Obj], *names: str, target: str) -> list[Obj]:
    inner(objects)["ports"] = [{"name": name, "containerPort": PORT} for name in names]
    objects[1]["spec"]["ports"][0]["targetPort"] = target
    return objects


def _labelled(objects: list[Obj], *, selected: bool) -> list[Obj]:
    spec = objects[0]["spec"]
    spec["template"]["metadata"]["labels"] = {"app": "web", "tier": "front"}
    spec["selector"] = {"matchLabels": {"app": "web"} | ({"tier": "front"} if selected else {})}
    return objects


def scaled() -> list[Obj]:
    """Pods with little room each, and an autoscaler that holds many of them."""
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    bounds: Obj = {"minReplicas": SCALED, "maxReplicas": SCALED, "scaleTargetRef": target}
    kind: Obj = {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler"}
    made = web(2, lifecycle=sleeps(2), strings=f"listen_s=3,room={ROOM}")
    return [made, door(), kind | {"metadata": {"name": "web"}, "spec": bounds}]


def _old_budget() -> Obj:
    return budget("web") | {"apiVersion": "policy/v1beta1"}


def _without_replicas(objects: list[Obj]) -> None:
    del objects[0]["spec"]["replicas"]


def _by_number(objects: list[Obj]) -> None:
    objects[1]["spec"]["ports"][0]["targetPort"] = PORT


def _kept_selector(objects: list[Obj]) -> None:
    _labelled(objects, selected=False)


CHANGES = (
    Change(
        rule="ZD307",
        before=_slow(),
        bad=_labelled(_slow(), selected=True),
        good=_kept_selector,
        event=forced,
    ),
    Change(
        rule="ZD402",
        bad=scaled(),
        good=_without_replicas,
        event=applied_again,
        measure=lost_of_a_crowd,
        pods=SCALED,
    ),
    Change(
        rule="ZD507",
        before=_named(_slow(), "http", target="http"),
        bad=_named(_slow(), "front", target="front"),
        good=_by_number,
        event=applied,
    ),
    Change(
        rule="ZD601",
        bad=[*_slow(), _old_budget()],
        event=drained,
    ),
)
CROSS_SECTION = {"ZD402"}


def _judged(objects: list[Obj], before: list[Obj]) -> set[str]:
    now, earlier = Gathered(), Gathered()
    now.add(yaml.safe_dump_all(objects), file="web.yaml")
    earlier.add(yaml.safe_dump_all(before) if before else "", file="before.yaml")
    found = judge(now.sources, Settings(), earlier.sources).findings
    return {one.rule.id for one in found if one.severity is Severity.ERROR}


def _repaired(change: Change) -> list[Obj]:
    objects = [copy_of(one) for one in change.bad]
    if change.good is not None:
        change.good(objects)
        return objects
    text = repaired({"web.yaml": yaml.safe_dump_all(objects)}, Settings()).texts["web.yaml"]
    return list(yaml.safe_load_all(text))


def _lost(place: Place, change: Change, objects: list[Obj], events: int = 1) -> int:
    """How many are lost in so many events; no more of them once something is."""
    apply(place, change.before or objects)
    wait_until(lambda: len(place.endpoints("web")) >= change.pods, limit_s=60, what="the Service's endpoints")
    rollouts.complete(place, "web")
    lost = 0
    for _ in range(events):
        lost = lost or change.measure(place, lambda here: change.event(here, objects))
    return lost


def _marked(change: Change) -> ParameterSet:
    marks = () if change.rule in CROSS_SECTION else (pytest.mark.full,)
    return pytest.param(change, id=change.rule, marks=marks)


@pytest.mark.parametrize("change", [_marked(change) for change in CHANGES])
def test_a_bad_change_loses_requests(place: Place, change: Change) -> None:
    assert change.rule in _judged(change.bad, change.before)
    assert _lost(place, change, change.bad, 1 if change.before else EVENTS_MAX) >= 1


@pytest.mark.parametrize("change", [_marked(change) for change in CHANGES])
def test_the_good_change_loses_none(place: Place, change: Change) -> None:
    good = _repaired(change)

    assert _judged(good, change.before) == set()
    assert _lost(place, change, good) == 0


def test_every_error_has_a_pair_or_says_on_its_page_why_not() -> None:
    errors = {rule.id for rule in RULES.values() if rule.severity is Severity.ERROR}
    shown = [one.rule for one in (*PAIRS, *CHANGES)]

    assert len(shown) == len(set(shown))
    assert errors - set(shown) == {rule.id for rule in RULES.values() if rule.unshown} == {"ZD501"}
