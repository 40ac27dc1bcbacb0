"""Gateways of class `segue`: what the specification says of weights, matches, backends that cannot be, conditions."""

from __future__ import annotations

import json

import pytest

from segue.host.isolation import detect
from tests.live.conftest import Cluster
from tests.live.gateway_world import (
    GATEWAY,
    ROUTE,
    apply,
    conditions,
    loaded,
    loading,
    serve,
    wait_accepted,
)
from tests.waiting import wait_until

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(detect().kind != "namespaces", reason="clients have no network of their own in loopback mode"),
]

SECOND = """
apiVersion: v1
kind: Service
metadata: {name: next}
spec:
  selector: {app: next}
  ports: [{port: 80, targetPort: 10002}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: next}
spec:
  replicas: 1
  selector: {matchLabels: {app: next}}
  template:
    metadata: {labels: {app: next}}
    spec:
      containers:
        - name: server
          image: host.org/images/grace:v2
          readinessProbe: {httpGet: {path: /health, port: 10002}, periodSeconds: 1}
"""


def route(backends: str, match: str = "") -> str:
    matches = f"matches: [{match}], " if match else ""
    return ROUTE.replace("- backendRefs: [{name: web, port: 80}]", f"- {{{matches}backendRefs: [{backends}]}}")


def test_weights_matches_and_what_cannot_be(cluster: Cluster) -> None:
    serve(cluster, 1)
    apply(cluster, SECOND)
    cluster.wait_ready(1, "app=next")
    assert conditions(cluster, "gatewayclass", "segue")["Accepted"] == ("True", "Accepted")
    assert conditions(cluster, "gateway", "door")["Programmed"] == ("True", "Programmed")
    assert loaded(cluster, "--rate", "100", "--for", "1s")["versions"] == {"v1": 100}

    apply(cluster, route("{name: web, port: 80, weight: 1}, {name: next, port: 80, weight: 3}"))
    wait_accepted(cluster)
    report = loaded(cluster, "--rate", "500", "--for", "2s", "--keep-alive", "8")
    assert report["lost"] == 0
    assert 680 <= report["versions"]["v2"] <= 820, "75 % of 1000, 5 standard deviations"

    # A backend that is not there keeps its weight, and answers 500.
    apply(cluster, route("{name: web, port: 80}, {name: nobody, port: 80}"))
    wait_until(
        lambda: conditions(cluster, "httproute", "web").get("ResolvedRefs") == ("False", "BackendNotFound"),
        limit_s=10,
        what="the missing Service is told",
    )
    report = loaded(cluster, "--rate", "100", "--for", "2s")
    assert 60 <= report["lost"] <= 140, report["outcomes"]

    # Weights that sum up to 0 answer 500, too; more headers match before fewer.
    apply(cluster, route("{name: web, port: 80, weight: 0}"))
    wait_accepted(cluster)
    assert loaded(cluster, "--rate", "50", "--for", "1s")["ok"] == 0


def test_a_port_has_one_gateway_and_a_route_names_a_listener(cluster: Cluster) -> None:
    serve(cluster, 1)
    apply(cluster, GATEWAY.replace("door", "second"))
    wait_until(
        lambda: conditions(cluster, "gateway", "second").get("Accepted") == ("False", "ListenersNotValid"),
        limit_s=10,
        what="the port is taken",
    )
    listener = cluster.get("gateway", "second")["status"]["listeners"][0]
    told = {one["type"]: one["reason"] for one in listener["conditions"]}
    assert told["Accepted"] == "PortUnavailable"
    apply(cluster, ROUTE.replace("{name: door}", "{name: door, sectionName: other}"))
    wait_until(
        lambda: conditions(cluster, "httproute", "web").get("Accepted") == ("False", "NoMatchingParent"),
        limit_s=10,
        what="there is no such listener",
    )
    refused = cluster.run("kubectl", "apply", "-f", "-", stdin=route("{name: web}"))
    assert "Must have port for Service reference" in refused.stderr
    assert cluster.run("kubectl", "patch", "httproute", "web", "-p", json.dumps({"spec": {}})).returncode != 0


@pytest.mark.full
def test_one_percent_of_a_hundred_thousand_requests(cluster: Cluster) -> None:
    serve(cluster, 1)
    apply(cluster, SECOND)
    cluster.wait_ready(1, "app=next")
    apply(cluster, route("{name: web, port: 80, weight: 99}, {name: next, port: 80, weight: 1}"))
    wait_accepted(cluster)
    report = loaded(cluster, "--rate", "700", "--for", "143s", "--keep-alive", "32")
    assert report["requests"] >= 100_000
    assert report["lost"] == 0
    share = report["versions"]["v2"] / report["ok"]
    print(f"share of the canary: {share:.4%} of {report['ok']}")  # noqa: T201 - a figure for whoever runs it
    assert abs(share - 0.01) <= 0.002


@pytest.mark.full
def test_a_change_of_weights_takes_effect_within_a_second(cluster: Cluster) -> None:
    serve(cluster, 1)
    apply(cluster, SECOND)
    cluster.wait_ready(1, "app=next")
    apply(cluster, route("{name: web, port: 80, weight: 1}, {name: next, port: 80, weight: 0}"))
    wait_accepted(cluster)
    records = cluster.state / "records.jsonl"
    with loading(cluster, "--rate", "200", "--for", "6s", "--keep-alive", "8", "--records", str(records)) as load:
        wait_until(lambda: records.exists() or not load.runs, limit_s=10, what="the load runs")
        apply(cluster, route("{name: web, port: 80, weight: 0}, {name: next, port: 80, weight: 1}"))
        generation = cluster.get("httproute", "web")["metadata"]["generation"]
        assert generation == 3
        wait_accepted(cluster)
    assert load.report["lost"] == 0
    assert set(load.report["versions"]) <= {"v1", "v2"}
    assert load.report["versions"]["v2"] > 0
