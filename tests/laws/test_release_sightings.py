"""What a release saw of its pods: their lives in order, whatever the strategy, and a receipt that follows from it."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from segue.drive.command import release
from segue.drive.flow import Flow
from segue.drive.loop import Outcome
from segue.drive.proposing import prepare
from segue.host.releasing import raw_of
from segue.model.manifest import parse
from segue.model.objects import name_of
from segue.model.timeline import What
from segue.proof.raw import lines_of, read_lines
from segue.proof.receipt import EndReason
from segue.proof.timeline import PodStory, Timeline
from segue.proof.verify import differences
from segue.release.plan import Approach
from segue.report.page import files, story_of
from tests.laws.release_world import World, driver, manifest


def released(strategy: str) -> tuple[World, Outcome, set[str]]:
    world = World()
    world.apply(manifest("v1"))
    world.run_for(3.0)
    before = {name_of(pod) for pod in world.pods()}
    driving = driver("first", approach=Approach(strategy=strategy))

    def flow() -> Flow[tuple[Outcome, ...]]:
        preparation = yield from prepare(parse(manifest("v2"), file="test.yaml"), "default", driving)
        return (yield from release(preparation, driving))

    return world, world.drive(flow())[0], before


STRATEGIES = pytest.mark.parametrize("strategy", ["all-first", "ramped"])


def when(story: PodStory, what: What) -> float:
    found = story.first(what)
    assert found is not None, f"{story.pod} was never seen {what}"
    return found.at_s


@STRATEGIES
def test_each_pod_has_its_life_in_order(strategy: str) -> None:
    world, outcome, before = released(strategy)
    stories = Timeline(outcome.journal.seen.rows).stories
    old = {pod for pod in stories if pod.rpartition("/")[2] in before}
    new = {f"default/{name_of(pod)}" for pod in world.pods()} - old

    assert len(old) == len(new) == 3
    assert new <= set(stories)
    for pod in old:
        story = stories[pod]
        assert when(story, What.POD_CREATED) <= when(story, What.POD_READY) <= when(story, What.POD_DELETION_SET)
    for pod in new:
        story = stories[pod]
        assert when(story, What.POD_CREATED) <= when(story, What.POD_READY) <= when(story, What.ENDPOINT_ADDED)
        assert story.last(What.POD_DELETION_SET) is None
    assert {stories[pod].version for pod in old}.isdisjoint({stories[pod].version for pod in new})


def test_old_pods_lose_traffic_before_they_are_let_go_and_then_end() -> None:
    _, outcome, before = released("all-first")
    stories = Timeline(outcome.journal.seen.rows).stories

    for name in before:
        story = stories[f"default/{name}"]
        assert when(story, What.ENDPOINT_REMOVED) <= when(story, What.POD_LET_GO) < when(story, What.POD_DELETION_SET)


def test_no_new_pod_is_older_than_the_release() -> None:
    """The API tells whole seconds, so by its word a pod may be there before anybody asked for it."""
    _, outcome, before = released("all-first")
    stories = Timeline(outcome.journal.seen.rows).stories
    began_s = outcome.journal.actions[0].at_s

    for story in (stories[pod] for pod in stories if pod.rpartition("/")[2] not in before):
        assert when(story, What.POD_CREATED) >= began_s


def test_pods_that_are_made_only_to_be_ended_are_not_told_of() -> None:
    _, outcome, before = released("all-first")
    stories = Timeline(outcome.journal.seen.rows).stories

    assert len(stories) == 2 * len(before)


@STRATEGIES
def test_its_receipt_follows_from_its_record_and_its_pods_are_drawn(strategy: str) -> None:
    _, outcome, _ = released(strategy)
    raw = raw_of({"command": "release"}, outcome, title="release")
    document = {**raw.receipt(), "record": {"requests": 0, "happenings": len(raw.happenings)}}
    back = read_lines(list(lines_of(raw)), "it")
    drawing = files(story_of(back, document))["pods.svg"]

    assert document["end"] == "done"
    assert {pod["reason"] for pod in document["pods"]} <= {reason.value for reason in EndReason}
    assert all(pod["because"] for pod in document["pods"])
    assert len(document["pods"]) == 3
    assert back.happenings == raw.happenings
    assert differences(document, back) == []
    assert len(list(ElementTree.fromstring(drawing).iter("{http://www.w3.org/2000/svg}text"))) >= 6
