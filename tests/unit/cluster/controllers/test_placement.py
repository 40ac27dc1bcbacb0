"""Which nodes a pod's selector, affinity and tolerations take."""

from __future__ import annotations

import pytest

from segue.cluster.controllers.placement import chooses, untolerated
from segue.model.objects import Obj

NODE: Obj = {"metadata": {"name": "node-1", "labels": {"zone": "a", "cores": "8"}}}


def required(*terms: Obj) -> Obj:
    """A pod's spec with these terms of required node affinity."""
    needed = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": list(terms)}}
    return {"affinity": {"nodeAffinity": needed}}


def label(key: str, operator: str, *values: str) -> Obj:
    return {"matchExpressions": [{"key": key, "operator": operator, "values": list(values)}]}


@pytest.mark.parametrize(
    ("term", "chosen"),
    [
        (label("zone", "In", "a", "b"), True),
        (label("zone", "NotIn", "a"), False),
        (label("rack", "NotIn", "a"), True),
        (label("zone", "Exists"), True),
        (label("zone", "DoesNotExist"), False),
        (label("cores", "Gt", "7"), True),
        (label("cores", "Gt", "8"), False),
        (label("cores", "Lt", "9"), True),
        (label("zone", "Gt", "1"), False),
        (label("rack", "Lt", "1"), False),
        ({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["node-1"]}]}, True),
        ({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["node-2"]}]}, False),
        ({}, False),
    ],
    ids=str,
)
def test_a_term_takes_a_node_or_does_not(term: Obj, chosen: bool) -> None:
    assert chooses(required(term), NODE) is chosen


def test_one_term_is_enough_and_no_term_takes_nothing() -> None:
    assert chooses(required(label("zone", "In", "b"), label("zone", "In", "a")), NODE)
    assert not chooses(required(), NODE)


def test_selector_and_affinity_must_both_hold() -> None:
    spec = {"nodeSelector": {"zone": "b"}, **required(label("zone", "In", "a"))}

    assert not chooses(spec, NODE)
    assert chooses({**spec, "nodeSelector": {"zone": "a"}}, NODE)


@pytest.mark.parametrize(
    ("toleration", "tolerated"),
    [
        ({"operator": "Exists"}, True),
        ({"key": "k", "operator": "Exists", "effect": "NoSchedule"}, True),
        ({"key": "k", "value": "v"}, True),
        ({"key": "k", "value": "w"}, False),
        ({"key": "k", "operator": "Exists", "effect": "NoExecute"}, False),
    ],
    ids=str,
)
def test_a_toleration_is_for_a_taint_or_is_not(toleration: Obj, tolerated: bool) -> None:
    taint = {"key": "k", "value": "v", "effect": "NoSchedule"}

    assert (untolerated([taint], [toleration]) is None) is tolerated


def test_a_taint_that_only_prefers_keeps_nobody_away() -> None:
    assert untolerated([{"key": "k", "effect": "PreferNoSchedule"}], []) is None
    assert untolerated([{"key": "k", "effect": "NoSchedule"}], [], ("NoExecute",)) is None
