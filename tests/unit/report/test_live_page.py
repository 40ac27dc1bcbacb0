"""What the live page is told: phases of pods, which words can be said now and why not, and unknown as unknown."""

from __future__ import annotations

import pytest

from segue.drive.standing import standing_of
from segue.model.objects import Obj
from segue.model.services import Endpoint
from segue.model.workloads import ORPHAN_OF
from segue.release.memory import ANNOTATION, Memory
from segue.release.snapshot import Snapshot
from segue.report.live import PHASES, WORDS, Seen, buttons, live_page
from tests.unit.release.test_plan import Cluster, deployment, pod, replica_set

MEMORY = Memory(id="x", kind="release", digest="x", begun_s=1.0, old_set="web-a", old_hash="a", services=("web",))
HOSTILE = "<img src=x onerror=alert(1)>"


def free(memory: Memory | None, *, driven: bool = True, revisions: int = 2) -> set[str]:
    """The words that can be said."""
    return {row["word"] for row in buttons(memory, driven=driven, revisions=revisions) if row["why"] is None}


@pytest.mark.parametrize(
    ("memory", "words"),
    [
        (None, {"undo"}),
        (MEMORY, {"pause", "abort"}),
        (MEMORY.but(paused=True), {"resume", "promote", "abort"}),
        (MEMORY.but(stops=(1,)), {"pause", "promote", "abort"}),
        (MEMORY.but(aborting=True), {"abort"}),
        (MEMORY.but(kind="scale"), {"abort"}),
    ],
)
def test_a_button_can_be_pressed_where_its_command_would_not_refuse(memory: Memory | None, words: set[str]) -> None:
    assert free(memory) == words


def test_who_has_no_earlier_revision_cannot_undo_and_what_nobody_drives_can_be_resumed() -> None:
    assert free(None, revisions=1) == set()
    assert "resume" in free(MEMORY, driven=False)
    assert all(row["why"] != "" for row in buttons(None, driven=False, revisions=1))
    assert tuple(row["word"] for row in buttons(None, driven=False, revisions=1)) == WORDS


def living(name: str, version: str, *, ready: bool = True, orphaned: bool = False, ends: bool = False) -> Obj:
    labels = {"pod-template-hash": version} | ({ORPHAN_OF: "web"} if orphaned else {"app": "web"})
    one = pod(name, **labels)
    one["metadata"] |= {"deletionTimestamp": "2026-01-01T00:00:00Z"} if ends else {}
    one["status"] = {"phase": "Running", "conditions": [{"type": "Ready", "status": str(ready)}]}
    return one


def page(*pods: Obj, memory: Memory | None = MEMORY) -> Obj:
    live = deployment()
    live["metadata"]["annotations"] = {ANNOTATION: memory.text()} if memory else {}
    cluster = Cluster(deployment=live, sets=[replica_set("a"), replica_set("b")], pods=list(pods))
    seen = cluster.snapshot()
    snapshot = Snapshot(
        now_s=seen.now_s, me="", deployment=seen.deployment, sets=seen.sets, pods=seen.pods, services=seen.services,
        endpoints={"web": (Endpoint(pod="serving", ready=True, serving=True, terminating=False, address="10.0.0.2"),)},
    )  # fmt: skip
    return live_page(Seen(standing=standing_of(snapshot), snapshot=snapshot, namespace="shop"))


def test_each_pod_is_told_with_its_version_and_its_phase() -> None:
    told = page(
        living("serving", "a"),
        living("draining", "a", orphaned=True),
        living("ending", "a", ends=True),
        living("ready", "b"),
        living("starting", "b", ready=False),
    )
    found = {(one["version"], row["name"]): row["phase"] for one in told["versions"] for row in one["pods"]}

    assert found == {
        ("a", "serving"): "serving", ("a", "draining"): "draining", ("a", "ending"): "ending",
        ("b", "ready"): "ready", ("b", "starting"): "starting",
    }  # fmt: skip
    assert set(found.values()) <= set(PHASES)
    assert [(one["version"], one["role"], one["serving"]) for one in told["versions"]] == [
        ("a", "old", 1),
        ("b", "new", 0),
    ]


def test_what_nobody_can_see_is_null_and_never_0() -> None:
    (version, *_) = page(living("serving", "a"))["versions"]

    assert (version["open"], version["arrivals"]) == (None, None)
    assert (version["pods"][0]["open"], version["pods"][0]["live"]) == (None, None)


def test_hostile_words_stay_the_words_they_are() -> None:
    """What they are put into is the page's business: it knows text only, see tests/live/test_live_page_chromium.py."""
    late = living("late", "b", ready=False)
    late["status"]["containerStatuses"] = [{"state": {"waiting": {"reason": HOSTILE, "message": HOSTILE}}}]
    told = page(living("serving", "a"), late)

    assert told["versions"][1]["pods"][0]["trouble"] == f"{HOSTILE}: {HOSTILE}"
