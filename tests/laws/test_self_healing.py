"""Self-healing: the tool dies at an action boundary and never comes back, and what it left behind keeps serving.

Pods that the native controllers replace or add get traffic as their version should; a month changes nothing; what
somebody does to the Deployment leaves the Service with proved pods. The last has an exception: a Service that is pinned
to a version in the Deployment's hands serves as long as nobody changes the template (under the brake even then, as long
as nobody takes that off). `windows()` measures how long that is in a run that nobody disturbs, and
`python -m tests.laws.test_self_healing` prints it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache

import pytest

from segue.drive.flow import Answer, Ask, Calls, Progress
from segue.drive.steering import steer
from segue.model.http import JSON_PATCH, STRATEGIC_PATCH
from segue.model.objects import (
    Obj,
    annotations_of,
    controller_of,
    copy_of,
    is_ready,
    is_terminating,
    labels_of,
    name_of,
    namespace_of,
)
from segue.model.workloads import HASH_LABEL, without_hash
from segue.release.memory import RAMPED
from tests.laws.release_world import CALL_S, Killed, World, manifest
from tests.laws.test_release_interference import scale_to
from tests.laws.test_what_others_lost import (
    DEPLOYMENT,
    DETACHED,
    HOLDING,
    LEAVE,
    MIXING,
    SWITCH,
    SWITCHING,
    TEMPLATE,
    WAYS,
    Stage,
    enumerated,
)

MONTH_S = 30 * 86_400.0
REVISION = "deployment.kubernetes.io/revision"
SHORT_S = 2.0
SLOW_CALL_S = 0.05
CLOSE = "give the Deployment no room"
PINNED = {False: ("pin Service", DETACHED, SWITCH), True: (TEMPLATE, LEAVE, CLOSE)}


@dataclass
class Ledger(Stage):
    """A stage that writes down what was done, by the number of writes before it, and how long a call takes."""

    call_s: float = CALL_S
    calls: int = 0  # round trips; one may carry several requests
    done: list[tuple[int, str]] = field(default_factory=list)

    def answer(self, asked: Ask) -> Answer:
        answer = super().answer(asked)
        if isinstance(asked, Progress) and asked.action:
            self.done.append((self.requests, asked.action))
        if isinstance(asked, Calls):
            self.calls += 1
            self.run_for(self.call_s - CALL_S)
            return replace(answer, now_s=self.clock.at_s)
        return answer

    @property
    def switched(self) -> bool:
        return any(action.startswith(SWITCH) for _, action in self.done)


@dataclass(frozen=True, slots=True, kw_only=True)
class Boundary:
    """The tool dies before this write of the command, or of the promotion that follows where that holds."""

    promoted: bool
    kill_at: int
    after: str  # the last thing it did

    def __str__(self) -> str:
        who = "the promotion" if self.promoted else "the command"
        return f"{who} died before its write {self.kill_at}, after: {self.after or 'nothing'}"


def serving(way: str, *, call_s: float = CALL_S) -> Ledger:
    """v1 serves, and v0 has before it: there is something to undo to."""
    world = Ledger(way=way, call_s=call_s)
    world.apply(manifest("v0"))
    set_image("v1")(world)
    world.run_for(6.0)
    assert world.images() == {"v1"}
    world.lost = 0.0
    return world


def begin(world: Ledger, kill_at: int | None = None) -> None:
    world.drive(world.command("v2", "first"), kill_at=kill_at)


def promote(world: Ledger, kill_at: int | None = None) -> None:
    world.drive(steer("default", "test", "promote", world.driver("somebody")), kill_at=kill_at)


@cache
def boundaries(way: str) -> tuple[Boundary, ...]:
    """All of them, by a run that nobody disturbs."""
    return tuple(_boundaries(way))


def pinned(way: str) -> Iterator[Boundary]:
    """The first one after each kind of action that leaves the objects in another state."""
    for action in PINNED[way in RAMPED]:
        yield next(at for at in boundaries(way) if at.after.startswith(action))


def _boundaries(way: str) -> Iterator[Boundary]:
    world = serving(way)
    for promoted, flow in enumerate([begin, promote] if way in HOLDING else [begin]):
        before = world.done[-1][1] if world.done else ""
        world.done.clear()
        flow(world)
        for kill_at in range(world.requests):
            told = [action for requests, action in world.done if requests <= kill_at]
            yield Boundary(promoted=bool(promoted), kill_at=kill_at, after=told[-1] if told else before)


def died(way: str, at: Boundary) -> Ledger:
    """A world at which nobody is at the wheel any more."""
    world = serving(way)
    if at.promoted:
        begin(world)
    with pytest.raises(Killed):
        (promote if at.promoted else begin)(world, at.kill_at)
    world.run_for(2.0)
    assert world.lost == 0, at
    return world


def due(world: Ledger) -> frozenset[str]:
    """The Ready pods that should serve, by what the user can know: both versions where they mix, else the old one to
    the switch and the new one from there. Pods that were taken out of traffic bear other labels."""
    tags = {"v1", "v2"} if world.way in RAMPED else {"v2" if world.switched else "v1"}
    return frozenset(
        name_of(pod) for pod in world.pods() if is_ready(pod) and not is_terminating(pod) and _tag(pod) in tags
    )


def _tag(pod: Obj) -> str:
    return str(pod["spec"]["containers"][0]["image"]).rpartition(":")[2]


def exposed(world: World) -> str:
    """The version that the Service is pinned to while it is in the Deployment's hands, "" where that is not so."""
    pin = str(world.service()["spec"]["selector"].get(HASH_LABEL, ""))
    sets = [one for one in world.store.all_of("replicasets.apps", "default") if labels_of(one)[HASH_LABEL] == pin]
    return pin if any(controller_of(one) for one in sets) else ""


class Fewest:
    """The smallest number of ready endpoints from now on."""

    def __init__(self, world: World) -> None:
        self.count = len(world.endpoints())
        world.watch.append(self)

    def __call__(self, world: World) -> None:
        self.count = min(self.count, len(world.endpoints()))


# -- what happens to what it left behind -------------------------------------------------------------------------------


def evict_or_delete(world: World, pod: Obj, *, evict: bool) -> None:
    path = f"/api/v1/namespaces/{namespace_of(pod)}/pods/{name_of(pod)}"
    if evict:
        body: Obj = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name_of(pod)}}
        world.call("POST", f"{path}/eviction", body)
    else:
        world.call("DELETE", path)


def set_image(tag: str) -> Callable[[World], None]:
    def act(world: World) -> None:
        container = {"name": "service", "image": f"host.org/images/grace:{tag}"}
        body: Obj = {"spec": {"template": {"spec": {"containers": [container]}}}}
        world.call("PATCH", DEPLOYMENT, body, STRATEGIC_PATCH)

    return act


def undo(world: World) -> None:
    """As kubectl rollout undo: the template of the newest earlier revision among the Deployment's own ReplicaSets."""
    deployment = world.deployment()
    uid = deployment["metadata"]["uid"]
    owned = [
        one
        for one in world.store.all_of("replicasets.apps", "default")
        if (controller_of(one) or {}).get("uid") == uid
        and without_hash(one["spec"]["template"]) != deployment["spec"]["template"]
    ]
    newest = max(owned, key=lambda one: int(annotations_of(one)[REVISION]))
    body: list[Obj] = [
        {"op": "replace", "path": "/spec/template", "value": copy_of(without_hash(newest["spec"]["template"]))}
    ]
    world.call("PATCH", DEPLOYMENT, body, JSON_PATCH)


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """What somebody does, how many pods the Service has at least meanwhile, and whether it empties a Service that is
    pinned to what it replaces."""

    act: Callable[[World], None]
    floor: int
    empties: bool = False

    def __call__(self, world: Ledger, at: Boundary) -> None:
        """The Service keeps proved pods, but where the exception is: there it must be needed."""
        excepted = self.empties and bool(exposed(world)) and not braked(world)
        world.rate = 0.0
        fewest = Fewest(world)
        self.act(world)
        world.run_for(12.0)
        if excepted:
            assert fewest.count == 0, f"no exception is needed any more where {at}"
        else:
            assert fewest.count >= self.floor, at


ACTS = {
    "undo": Act(act=undo, floor=2, empties=True),
    "another template": Act(act=set_image("other"), floor=2, empties=True),
    "a template that never works": Act(act=set_image("broken"), floor=2),
    "scaled up": Act(act=scale_to(5), floor=3),
    "scaled down": Act(act=scale_to(2), floor=2),
}


def braked(world: World) -> bool:
    return int(world.deployment()["spec"].get("minReadySeconds") or 0) > MONTH_S


def heals(world: Ledger, at: Boundary) -> None:
    """Every pod goes once, two more are wanted; a month before and a month after."""
    sleep_for_a_month(world, at)
    fewest = Fewest(world)
    world.rate = 0.0  # what dies with an evicted pod is nobody's to save
    for number, pod in enumerate(world.store.all_of("pods", "default")):
        if not is_terminating(pod):
            evict_or_delete(world, pod, evict=number % 2 == 0)
        world.run_for(1.2)
        assert world.endpoints() == due(world), at
    assert fewest.count >= 2, at
    scale_to(5)(world)
    world.run_for(3.0)
    assert world.endpoints() == due(world), at
    # An old version that the Deployment has let go heals, and grows no more: whoever drives again makes it follow.
    # Where versions mix, the room for one more pod may be open.
    wanted = {3} if detached(world) and not world.switched else {5, 6} if world.way in RAMPED else {5}
    assert len(due(world)) in wanted, at
    world.rate = 200.0
    sleep_for_a_month(world, at)


def detached(world: World) -> bool:
    """Whether a ReplicaSet with pods is in nobody's hands."""
    sets = world.store.all_of("replicasets.apps", "default")
    return any(controller_of(one) is None and one["spec"]["replicas"] for one in sets)


def sleep_for_a_month(world: Ledger, at: Boundary) -> None:
    before = world.endpoints()
    lost = world.lost
    world.clock.at_s += MONTH_S
    world.run_for(3.0)
    assert world.endpoints() == before == due(world), at
    assert world.lost == lost, at


# -- the laws ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
def test_what_a_dead_tool_leaves_behind_heals_itself(way: str) -> None:
    for at in pinned(way):
        heals(died(way, at), at)


@pytest.mark.full
@pytest.mark.parametrize("way", WAYS)
def test_what_a_dead_tool_leaves_behind_heals_itself_at_every_boundary(way: str) -> None:
    assert len(boundaries(way)) >= 18
    for at in boundaries(way):
        heals(died(way, at), at)


@pytest.mark.parametrize("way", WAYS)
def test_a_dead_tool_and_another_template_leave_proved_pods(way: str) -> None:
    for at in pinned(way):
        ACTS["another template"](died(way, at), at)


@pytest.mark.full
@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("way", WAYS)
def test_a_dead_tool_and_somebody_else_leave_proved_pods_at_every_boundary(way: str, act: str) -> None:
    for at in boundaries(way):
        ACTS[act](died(way, at), at)


@pytest.mark.full
@pytest.mark.parametrize("way", SWITCHING)
def test_scaled_to_one_by_somebody_else_a_pod_is_left_at_every_boundary(way: str) -> None:
    for at in boundaries(way):
        Act(act=scale_to(1), floor=1)(died(way, at), at)


@pytest.mark.parametrize("way", MIXING)
def test_scaled_to_one_while_the_room_is_closed_the_service_is_empty_for_one_start(way: str) -> None:
    """A limit (docs/explanation/limits.md): of one replica the one that may be unavailable is all of them."""
    at = next(at for at in boundaries(way) if at.after.startswith(CLOSE))
    world = died(way, at)
    world.rate = 0.0
    empty_s: list[float] = []
    world.watch.append(lambda now: empty_s.append(now.clock.at_s) if not now.endpoints() else None)
    scale_to(1)(world)
    world.run_for(12.0)

    assert empty_s, "no limit any more: say so in docs/explanation/limits.md"
    assert empty_s[-1] - empty_s[0] < world.start_s + 0.2
    assert len(world.endpoints()) == 1


# -- the windows -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """From an action to another, in which a foreign template could empty the Service while nobody drives."""

    way: str
    opened_by: str
    closed_by: str
    lasts_s: float
    calls: int  # round trips to the API between the two


@cache
def windows(call_s: float = CALL_S) -> tuple[Window, ...]:
    """All windows of all strategies, in runs that nobody disturbs, over an API whose calls take that long.

    Read from the objects, not from what the tool says of itself; none of a strategy that never pins."""
    return tuple(window for way in WAYS for window in _windows(way, call_s))


def _windows(way: str, call_s: float) -> list[Window]:
    world = serving(way, call_s=call_s)
    found: list[Window] = []
    opened: list[tuple[str, float, int]] = []
    old = labels_of(world.pods()[0])[HASH_LABEL]

    def look(_: World) -> None:
        pin = exposed(world)
        if opened and opened[0][0] != pin:
            version, at_s, calls = opened.pop()
            words = ("pin", "detach") if version == old else ("switch", "unpin")
            lasts_s = round(world.clock.at_s - at_s, 3)
            found.append(
                Window(way=way, opened_by=words[0], closed_by=words[1], lasts_s=lasts_s, calls=world.calls - calls)
            )
        if pin and not opened:
            opened.append((pin, world.clock.at_s, world.calls))

    world.watch.append(look)
    begin(world)
    if way in HOLDING:
        promote(world)
    assert not opened
    return found


def table(call_s: float = CALL_S, slow_s: float = SLOW_CALL_S) -> str:
    """The windows as Markdown, over a quick API and over a slow one."""
    rows = [
        f"| `{quick.way}` | {quick.opened_by} | {quick.closed_by} | {quick.lasts_s:.2f} s | {slow.lasts_s:.2f} s |"
        for quick, slow in zip(windows(call_s), windows(slow_s), strict=True)
    ]
    rows += [f"| `{way}` | never pins | | none | none |" for way in MIXING]
    head = [
        f"| strategy | from | to | calls of {call_s * 1000:.0f} ms | calls of {slow_s * 1000:.0f} ms |",
        "|---|---|---|---|---|",
    ]
    return "\n".join([*head, *rows, ""])


@enumerated("call_s", CALL_S, SLOW_CALL_S)
def test_the_windows_are_short(call_s: float) -> None:
    found = {(each.way, each.opened_by): each for each in windows(call_s)}

    assert set(found) == {(way, opened_by) for way in SWITCHING for opened_by in ("pin", "switch")}
    assert max(found[way, "pin"].lasts_s for way in SWITCHING) < SHORT_S
    assert max(found[way, "switch"].lasts_s for way in SWITCHING) < SHORT_S


@pytest.mark.full
def test_the_table_of_windows_has_a_row_for_each(capsys: pytest.CaptureFixture[str]) -> None:
    sys.stdout.write(table())
    told = capsys.readouterr().out

    assert all(f"| `{way}` |" in told for way in WAYS)
    assert told.count("\n") == 2 + 2 * len(SWITCHING) + len(MIXING)
    assert "| `handover` | switch | unpin | 0." in told


if __name__ == "__main__":
    sys.stdout.write(table())
