"""Each law breaks on the world it forbids: a law that cannot fail proves nothing."""

from __future__ import annotations

from dataclasses import replace

from segue.model.objects import Obj
from segue.release.actions import BRAKE_S
from segue.release.laws import Seen, all_first_bounds, check_ends, check_moment, check_traces

LABELS = {"app": "web"}


def pod(name: str, version: str, *, ready: bool = True, leaving: bool = False) -> Obj:
    metadata: Obj = {"name": name, "labels": {**LABELS, "pod-template-hash": version}}
    if leaving:
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    return {"metadata": metadata, "status": {"conditions": [{"type": "Ready", "status": "True" if ready else "False"}]}}


def replica_set(version: str, *, owned: bool = True, replicas: int = 1) -> Obj:
    owners = [{"uid": "d", "controller": True}] if owned else []
    template: Obj = {"metadata": {"labels": {**LABELS, "pod-template-hash": version}}, "spec": {"image": version}}
    labels = {**LABELS, "pod-template-hash": version}
    return {
        "metadata": {"name": f"web-{version}", "labels": labels, "ownerReferences": owners},
        "spec": {"replicas": replicas, "template": template},
    }


def seen(**changes: object) -> Seen:
    template: Obj = {"metadata": {"labels": LABELS}, "spec": {"image": "new"}}
    spec: Obj = {"selector": {"matchLabels": LABELS}, "template": template}
    base = Seen(
        at_s=1.0,
        deployment={"kind": "Deployment", "metadata": {"name": "web", "uid": "d"}, "spec": spec},
        replica_sets=[replica_set("old"), replica_set("new")],
        pods=[pod("a", "old"), pod("b", "new")],
        services=[{"metadata": {"name": "web"}, "spec": {"selector": {**LABELS, "pod-template-hash": "old"}}}],
        endpoints={"web": frozenset({"a"})},
    )
    return replace(base, **changes)  # type: ignore[arg-type]  # a test table


def broken(now: Seen) -> list[str]:
    return [one.law for one in check_moment(now, all_first_bounds(1, 1))]


def braked(now: Seen) -> Seen:
    spec = {**now.deployment["spec"], "minReadySeconds": BRAKE_S}
    return replace(now, deployment={**now.deployment, "spec": spec})


def test_a_lawful_moment_breaks_nothing() -> None:
    assert broken(seen()) == []


def test_a_serving_pod_that_is_not_ready_breaks_the_floor() -> None:
    assert broken(seen(pods=[pod("a", "old", ready=False), pod("b", "new")])) == ["floor"]


def test_a_leaving_pod_serves_nobody_and_still_counts_to_the_ceiling() -> None:
    pods = [pod("a", "old"), pod("b", "new"), pod("c", "old", leaving=True)]

    assert broken(seen(pods=pods)) == ["ceiling"]
    assert broken(seen(pods=[pod("a", "old", leaving=True), pod("b", "new")])) == ["floor"]


def test_an_empty_service_is_not_served() -> None:
    assert broken(seen(endpoints={"web": frozenset()})) == ["served"]


def test_switched_under_the_brake_is_broken() -> None:
    to_new = [{"metadata": {"name": "web"}, "spec": {"selector": {**LABELS, "pod-template-hash": "new"}}}]

    assert broken(seen(services=to_new)) == []
    assert broken(braked(seen(services=to_new))) == ["never switched and braked"]
    assert broken(braked(seen())) == []


def test_detached_while_nothing_matches_is_broken() -> None:
    assert broken(seen(replica_sets=[replica_set("old", owned=False), replica_set("new")])) == []
    assert broken(seen(replica_sets=[replica_set("old", owned=False)])) == ["detached alone"]


def test_ending_a_live_connection_is_broken_until_the_cap() -> None:
    before = seen(live={"a": 2})
    after = replace(before, pods=[pod("a", "old", leaving=True), pod("b", "new")], at_s=20.0)

    assert [one.law for one in check_ends(before, after, cap_s=30, switched_s=1.0)] == ["no live connection ended"]
    assert check_ends(before, replace(after, at_s=31.0), cap_s=30, switched_s=1.0) == []
    assert check_ends(replace(before, live={}), after, cap_s=30, switched_s=1.0) == []


def test_every_trace_is_found() -> None:
    unpinned = [{"metadata": {"name": "web"}, "spec": {"selector": LABELS}}]
    clean = seen(services=unpinned)
    template: Obj = {"metadata": {}, "spec": {"schedulingGates": [{"name": "segue.dev/held-back"}]}}
    marked = {
        "metadata": {"name": "web-x", "annotations": {"segue.dev/release": "{}"}, "ownerReferences": []},
        "spec": {"template": template},
    }
    leases: list[Obj] = [{"metadata": {"name": "segue-web"}}]

    assert check_traces(clean, []) == []
    assert len(check_traces(seen(), [])) == 1
    assert len(check_traces(clean, leases)) == 1
    assert len(check_traces(braked(clean), [])) == 1
    assert len(check_traces(replace(clean, replica_sets=[marked]), [])) == 3
