"""Weights and pins of Gateway API routes: golden, exact, put back; and what is refused before anything is written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from segue.model.errors import Conflict, Refused, SegueError, UsageError
from segue.model.http import ApiRequest
from segue.model.objects import Obj, copy_of
from segue.route.gateway import ANNOTATION, GatewayRoute, rules_of, weighted
from segue.route.shares import WHOLE, Pin, Split, percent, share_of

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "route"
CASES = sorted(path.parent for path in GOLDEN.glob("*/*/route.yaml"))


def split_of(said: Obj) -> Split:
    pins = []
    for text in said.get("pins") or []:
        by, _, rest = text.partition(" ")
        name, _, value = rest.partition("=")
        pins.append(Pin(by=by, name=name, value=value))
    return Split(app="web", stable="web", canary="web-canary", share=share_of(said["share"]), pins=tuple(pins))


def applied(route: Obj, request: ApiRequest) -> Obj:
    """The route after the JSON patch, as a server would keep it, and not yet seen by its gateway."""
    made = copy_of(route)
    assert isinstance(request.body, list)
    for operation in request.body:
        *parents, last = (part.replace("~1", "/") for part in operation["path"].lstrip("/").split("/"))
        where = made
        for part in parents:
            where = where[part]
        if operation["op"] == "test":
            assert where[last] == operation["value"]
        elif operation["op"] == "remove":
            del where[last]
        else:
            where[last] = operation["value"]
    made["metadata"]["generation"] += 1
    return made


@pytest.mark.parametrize("case", CASES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_split_is_the_golden_one(case: Path) -> None:
    route = yaml.safe_load((case / "route.yaml").read_text())
    split = split_of(yaml.safe_load((case / "split.yaml").read_text()))
    way = GatewayRoute(kind=route["kind"])
    try:
        way.check(route, split, forces=False)
        made = applied(route, way.set_shares(route, split))
        said: Obj = {"rules": rules_of(made)}
    except SegueError as error:
        said = {"error": type(error).__name__, "message": error.message, "remedy": error.remedy}
    text = yaml.safe_dump(said, sort_keys=False, width=120)
    if os.environ.get("GOLDEN"):
        (case / "wanted.yaml").write_text(text)
    assert text == (case / "wanted.yaml").read_text(), "GOLDEN=1 writes it anew: look at the difference"


@pytest.mark.parametrize("case", [one for one in CASES if (one / "wanted.yaml").read_text().startswith("rules")])
def test_what_is_set_is_read_back_and_put_back(case: Path) -> None:
    route = yaml.safe_load((case / "route.yaml").read_text())
    split = split_of(yaml.safe_load((case / "split.yaml").read_text()))
    way = GatewayRoute(kind=route["kind"])
    assert way.read_back(route, "web").share is None
    made = applied(route, way.set_shares(route, split))
    reading = way.read_back(made, "web")
    assert (reading.share, reading.changed, reading.in_effect) == (split.share, False, False)
    assert "newest change" in reading.because
    request = way.put_back(made, "web")
    assert request is not None
    back = applied(made, request)
    assert back["spec"] == route["spec"]
    assert ANNOTATION not in back["metadata"]["annotations"]
    assert way.put_back(back, "web") is None


def test_a_change_by_somebody_else_is_seen_and_survives_the_way_back() -> None:
    route = yaml.safe_load((GOLDEN / "httproute/one-percent/route.yaml").read_text())
    way = GatewayRoute()
    made = applied(route, way.set_shares(route, split_of({"share": "1%"})))
    made["spec"]["rules"].append({"backendRefs": [{"name": "files", "port": 80}]})
    assert way.read_back(made, "web").changed
    request = way.put_back(made, "web")
    assert request is not None
    named = [[ref["name"] for ref in rule["backendRefs"]] for rule in applied(made, request)["spec"]["rules"]]
    assert named == [["web"], ["files"]]


def test_a_route_of_somebody_else_is_not_touched() -> None:
    route = yaml.safe_load((GOLDEN / "httproute/one-percent/route.yaml").read_text())
    way, split = GatewayRoute(), split_of({"share": "1%"})
    made = applied(route, way.set_shares(route, split))
    other = Split(app="shop", stable="web", canary="shop-canary", share=100)
    with pytest.raises(Conflict, match="split by a release of web"):
        way.check(made, other, forces=True)
    assert way.put_back(made, "shop") is None
    entry: Obj = {"manager": "argocd", "operation": "Apply", "fieldsV1": {"f:spec": {"f:rules": {}}}}
    route["metadata"]["managedFields"] = [entry]
    with pytest.raises(Refused, match="belongs to argocd"):
        way.check(route, split, forces=False)
    way.check(route, split, forces=True)


def test_a_route_that_no_gateway_takes_is_refused() -> None:
    route = yaml.safe_load((GOLDEN / "httproute/one-percent/route.yaml").read_text())
    accepted = route["status"]["parents"][0]["conditions"][0]
    accepted |= {"status": "False", "reason": "NoMatchingParent", "message": "no such listener"}
    with pytest.raises(Refused, match="NoMatchingParent, no such listener"):
        GatewayRoute().check(route, split_of({"share": "1%"}), forces=False)
    route["status"]["parents"] = []
    with pytest.raises(Refused, match="no gateway has taken it over"):
        GatewayRoute().check(route, split_of({"share": "1%"}), forces=False)


@given(share=st.integers(0, WHOLE), stable=st.integers(1, 50), other=st.integers(0, 50))
def test_shares_are_exact(share: int, stable: int, other: int) -> None:
    refs: list[Obj] = [{"name": "web", "weight": stable}, {"name": "files", "weight": other}]
    split = Split(app="web", stable="web", canary="next", share=share)
    weights = {ref["name"]: ref["weight"] for ref in weighted(refs, split)}
    total = sum(weights.values())
    assert weights["next"] * WHOLE * (stable + other) == total * share * stable
    assert weights["files"] * (stable + other) == total * other


@pytest.mark.parametrize(("text", "share"), [("1", 100), ("0.5%", 50), ("100%", WHOLE), ("0.01", 1), ("0", 0)])
def test_a_percentage_is_read(text: str, share: int) -> None:
    assert share_of(text) == share
    assert percent(share) == f"{float(text.rstrip('%')):g} %"


@pytest.mark.parametrize("text", ["101", "1.234", "-1", "one", "", "100.01"])
def test_what_is_no_percentage_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        share_of(text)
