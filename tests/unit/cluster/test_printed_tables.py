"""kubectl's tables: states of pods, ages, ports."""

from __future__ import annotations

import pytest

from segue.cluster.kinds import KINDS, kind_of
from segue.cluster.table_rows import human_duration, pod_status
from segue.cluster.tables import table_of
from segue.model.objects import Obj, rfc3339

NOW_S = 1_790_000_000.0
PORT: Obj = {"port": 80, "nodePort": 30080, "protocol": "TCP"}


def pod(phase: str = "Running", *states: Obj, **metadata: object) -> Obj:
    statuses = [{"state": state, "ready": "running" in state, "restartCount": 0} for state in states]
    return {"metadata": metadata, "spec": {}, "status": {"phase": phase, "containerStatuses": statuses}}


@pytest.mark.parametrize(
    ("obj", "word"),
    [
        (pod("Pending"), "Pending"),
        (pod("Running", {"running": {}}), "Running"),
        (pod("Pending", {"waiting": {"reason": "ContainerCreating"}}), "ContainerCreating"),
        (pod("Running", {"waiting": {"reason": "CrashLoopBackOff"}}), "CrashLoopBackOff"),
        (pod("Failed", {"terminated": {"exitCode": 3}}), "ExitCode:3"),
        (pod("Failed", {"terminated": {"signal": 9}}), "Signal:9"),
        (pod("Succeeded", {"terminated": {"reason": "Completed"}}), "Completed"),
        (pod("Running", {"running": {}}, deletionTimestamp="2026-09-21T14:13:20Z"), "Terminating"),
        (pod("Succeeded", {"terminated": {"reason": "Completed"}}, deletionTimestamp="x"), "Completed"),
        (pod("Running", {"terminated": {"reason": "Completed"}}, {"running": {}}), "NotReady"),
    ],
)
def test_a_pods_state_is_one_word(obj: Obj, word: str) -> None:
    assert pod_status(obj) == word


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "<invalid>"),
        (-1, "0s"),
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (200, "3m20s"),
        (3600, "60m"),
        (10800, "3h"),
        (11100, "3h5m"),
        (90000, "25h"),
        (200000, "2d7h"),
        (864000, "10d"),
        (63072000, "2y"),
        (400000000, "12y"),
    ],
)
def test_ages_read_as_kubectl_writes_them(seconds: float, text: str) -> None:
    assert human_duration(seconds) == text


def test_restarts_tell_when_the_last_one_was() -> None:
    obj = pod("Running", {"running": {}}, name="p", creationTimestamp=rfc3339(NOW_S))
    obj["status"]["containerStatuses"][0] |= {
        "restartCount": 2,
        "lastState": {"terminated": {"finishedAt": rfc3339(NOW_S - 90)}},
    }

    assert table_of(kind_of("pods"), [obj], now_s=NOW_S, include="None")["rows"][0]["cells"][3] == "2 (90s ago)"


@pytest.mark.parametrize(
    ("spec", "cells"),
    [
        (
            {
                "type": "NodePort",
                "clusterIP": "10.96.0.9",
                "ports": [{"port": 80, "nodePort": 30080, "protocol": "TCP"}],
            },
            ["s", "NodePort", "10.96.0.9", "<none>", "80:30080/TCP", "0s"],
        ),
        ({"type": "ClusterIP", "clusterIP": "None"}, ["s", "ClusterIP", "None", "<none>", "<none>", "0s"]),
        ({"type": "ExternalName", "externalName": "a.b"}, ["s", "ExternalName", "<none>", "a.b", "<none>", "0s"]),
        (
            {"type": "LoadBalancer", "clusterIP": "1.2.3.4"},
            ["s", "LoadBalancer", "1.2.3.4", "<pending>", "<none>", "0s"],
        ),
    ],
)
def test_a_service_shows_where_it_is(spec: Obj, cells: list[str]) -> None:
    obj: Obj = {"metadata": {"name": "s", "creationTimestamp": rfc3339(NOW_S)}, "spec": spec}

    assert table_of(kind_of("services"), [obj], now_s=NOW_S, include="None")["rows"][0]["cells"][:6] == cells


def test_many_endpoints_are_cut_short() -> None:
    obj: Obj = {
        "metadata": {"name": "e"},
        "addressType": "IPv4",
        "ports": [{"port": 80}],
        "endpoints": [{"addresses": [f"10.0.0.{number}"]} for number in range(5)],
    }
    table = table_of(kind_of("endpointslices.discovery.k8s.io"), [obj], now_s=NOW_S, include="None")

    assert table["rows"][0]["cells"][3] == "10.0.0.0,10.0.0.1,10.0.0.2 + 2 more..."


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.resource)
def test_every_kind_prints_a_bare_object_with_a_cell_for_each_column(kind: object) -> None:
    obj: Obj = {"metadata": {"name": "x", "creationTimestamp": rfc3339(NOW_S)}}
    table = table_of(kind, [obj], now_s=NOW_S, include="None")  # type: ignore[arg-type]  # ids= loses the type

    assert len(table["rows"][0]["cells"]) == len(table["columnDefinitions"])
