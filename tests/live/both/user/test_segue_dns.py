"""`segue dns` as a user sees it: what the rule says of a pod's lookups is what leaves the pod."""

from __future__ import annotations

import json

import pytest

from segue.model.objects import Obj
from tests.live.both.manifests import http, pod, service
from tests.live.both.world import Place
from tests.waiting import wait_until

pytestmark = pytest.mark.live

STATEMENTS = {
    "dns explain": "The queries of a lookup, predicted from the pod and the cluster's Services, are those captured in "
    "the pod, each with name, type and server.",
    "dns measure": "Lookups of a pod are timed through its C library and on the wire; each query counts, what does not "
    "exist is told apart, and the share of DNS in a request of a new connection is known.",
}
NOT_COVERED: dict[str, str] = {}
DIFFERENCES: dict[str, str] = {}


def explained(place: Place, name: str, of: str) -> Obj:
    done = place.run("segue", "dns", "explain", name, "--pod", of, "--measure", "-o", "json")
    assert done.returncode == 0, done.stderr
    found: Obj = json.loads(done.stdout)
    return found


@pytest.mark.states("dns explain")
def test_what_is_predicted_is_what_leaves_the_pod(place: Place) -> None:
    few = {"dnsConfig": {"options": [{"name": "ndots", "value": "2"}]}}
    aliased = {"hostAliases": [{"ip": "10.9.9.9", "hostnames": ["db.corp.example"]}]}
    place.create(service("web"), pod("plain"), pod("few", spec=few), pod("aliased", spec=aliased))
    for name in ("plain", "few", "aliased"):
        place.wait_ready(name)
    full = f"web.{place.namespace}.svc.cluster.local"
    wait_until(lambda: explained(place, "web", "plain")["measured"]["outcome"] == "FOUND", what="the name to be known")

    for name, of, total in (
        ("web", "plain", 2),
        (f"web.{place.namespace}", "plain", 4),
        (full, "plain", 8),
        (f"{full}.", "plain", 2),
        (full, "few", 2),
        ("db.corp.example", "aliased", 0),
        (f"web.{place.namespace}.svc", "few", None),  # first as it is, which nobody can answer here
        ("nobody", "plain", None),
    ):
        found = explained(place, name, of)
        measured = found["measured"]
        assert (measured["how"], measured["libc"]) == ("capture", "glibc")
        assert measured["agrees"], measured  # the rule, told what servers answered: REFUSED or SERVFAIL outside
        if total is not None:
            assert (found["queries_total"], measured["queries_total"]) == (total, total), (name, of, measured)
            assert measured["outcome"] == "FOUND"


@pytest.mark.states("dns explain")
def test_a_name_that_no_one_can_answer_is_walked_as_the_servers_answers_say(place: Place) -> None:
    place.create(pod("plain"))
    place.wait_ready("plain")

    done = place.run("segue", "dns", "explain", "api.example.com", "--pod", "plain", "--measure")
    assert done.returncode == 0, done.stderr
    assert "as the rule says" in done.stdout
    assert "in the pod (glibc): " in done.stdout


def measured(place: Place, *argv: str) -> Obj:
    done = place.run("segue", "dns", "measure", *argv, "-o", "json")
    assert done.returncode == 0, done.stderr
    found: Obj = json.loads(done.stdout)
    return found


@pytest.mark.states("dns measure")
def test_lookups_are_measured_from_within_a_pod(place: Place) -> None:
    ready = http("ready")
    place.create(service("web"), service("other"), pod("one", readinessProbe=ready))
    place.create(pod("two", labels={"app": "two"}, readinessProbe=ready))
    place.wait_ready("one")
    place.wait_ready("two")
    wait_until(lambda: explained(place, "web", "two")["measured"]["outcome"] == "FOUND", what="the name to be known")

    full = f"other.{place.namespace}.svc.cluster.local"
    wait_until(lambda: explained(place, full, "two")["measured"]["outcome"] == "FOUND", what="the other name")
    found = measured(place, "web", full, "--pod", "two", "--rate", "40", "--for", "2", "--http-port", "80")
    short, long = found["names"]
    assert (found["how"], short["lookups"], long["lookups"], short["failed"] + long["failed"]) == ("capture", 40, 40, 0)
    assert (short["queries_per_lookup"], long["queries_per_lookup"]) == (2, 8)
    assert long["nonexistent_share"] > 0.5 > short["nonexistent_share"]
    assert 0 < short["wire_ms"]["p50"] <= short["libc_ms"]["p50"] < long["libc_ms"]["p99.9"]
    assert found["request"]["requests"] == 80
    assert 0 < found["request"]["dns_share"] < 1
    assert sum(one["queries"] for one in found["servers"]) == 40 * 2 + 40 * 8
    if place.world.label != "embedded":  # a CoreDNS, which counts, too; metrics of others' lookups among them
        assert found["coredns"]["requests"] >= 40 * 10
