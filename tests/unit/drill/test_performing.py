"""What the performer of drills decides from values alone."""

from __future__ import annotations

import pytest

from segue.cli.load import checked_path, checked_rate, checked_url, path_of, seconds_from
from segue.host.drilling import collection_of, exposure_of, is_part_of, native_ends, service_for, url_of
from segue.host.loading import is_inside
from segue.host.state import Running
from segue.load.outcome import Outcome, Phase
from segue.load.record import Record
from segue.model.errors import UsageError
from segue.model.objects import Obj
from segue.model.timeline import Happening, What
from segue.proof.receipt import EndReason
from segue.proof.timeline import Timeline

DEPLOYMENT: Obj = {"spec": {"template": {"metadata": {"labels": {"app": "web", "tier": "front"}}}}}


def test_the_service_of_a_deployment_is_the_one_that_selects_its_pods() -> None:
    other: Obj = {"kind": "Service", "metadata": {"name": "other"}, "spec": {"selector": {"app": "db"}}}
    right: Obj = {"kind": "Service", "metadata": {"name": "web"}, "spec": {"selector": {"app": "web"}}}
    headless: Obj = {"kind": "Service", "metadata": {"name": "none"}, "spec": {}}

    assert service_for([headless, other, right], DEPLOYMENT) == "web"
    assert service_for([headless, other], DEPLOYMENT) == ""


def test_clients_ask_the_node_port_where_there_is_one() -> None:
    port = {"port": 80, "nodePort": 31002}

    assert url_of({"spec": {"ports": [port]}}, "10.9.0.1") == "http://10.9.0.1:31002"
    assert url_of({"spec": {"clusterIP": "10.96.0.7", "ports": [{"port": 80}]}}, "10.9.0.1") == "http://10.96.0.7:80"


@pytest.mark.parametrize(
    ("version", "kind", "expected"),
    [
        ("apps/v1", "Deployment", "/apis/apps/v1/namespaces/here/deployments"),
        ("v1", "Service", "/api/v1/namespaces/here/services"),
        ("v1", "Namespace", "/api/v1/namespaces"),
        ("networking.k8s.io/v1", "Ingress", "/apis/networking.k8s.io/v1/namespaces/here/ingresses"),
    ],
)
def test_objects_know_their_collection(version: str, kind: str, expected: str) -> None:
    assert collection_of({"apiVersion": version, "kind": kind, "metadata": {"name": "x"}}, "here") == expected


def test_defaults_do_not_make_a_template_another_one_but_foreign_variables_do() -> None:
    wanted = {"containers": [{"image": "grace:v1"}]}

    assert is_part_of(wanted, {"containers": [{"image": "grace:v1", "imagePullPolicy": "Always"}], "dnsPolicy": "x"})
    assert not is_part_of(wanted, {"containers": [{"image": "grace:v2"}]})
    assert not is_part_of(wanted, {"containers": [{"image": "grace:v1", "env": [{"name": "IGNORE_TERM"}]}]})
    assert not is_part_of({"containers": [{"readinessProbe": {}}]}, {"containers": [{}]})


def told() -> Timeline:
    pod, ip = "default/web-1", {"service": "default/web", "ip": "10.0.0.5", "node": "node"}
    return Timeline(
        [
            Happening(at_s=90, what=What.POD_CREATED, pod=pod, data={"image": "host.org/web:v3"}),
            Happening(at_s=92, what=What.RULE_ADDED, pod=pod, data=dict(ip)),
            Happening(at_s=105, what=What.POD_DELETION_SET, pod=pod),
            Happening(at_s=106, what=What.SANDBOX_REMOVED, pod=pod),
            Happening(at_s=109, what=What.RULE_REMOVED, pod=pod, data=dict(ip)),
        ]
    )


def test_pods_that_kubernetes_ended_under_load_are_told() -> None:
    (end,) = native_ends(told(), 100.0)

    assert (end.pod, end.version, end.reason, end.at_s) == ("default/web-1", "v3", EndReason.NATIVE, 106)
    assert native_ends(told(), 105.5) == []


def record(at_s: float, outcome: Outcome = Outcome.OK) -> Record:
    return Record(
        index=1,
        planned_s=at_s,
        sent_s=at_s,
        opened_s=at_s,
        connected_s=at_s,
        first_byte_s=at_s,
        done_s=at_s,
        local_ip="",
        local_port=0,
        remote_ip="",
        remote_port=0,
        conn=1,
        nth=1,
        bytes_out=0,
        bytes_in=0,
        status=200,
        errno="",
        phase=Phase.DONE,
        outcome=outcome,
        version="v1",
        path="/",
        request_id="x",
    )


def test_the_exposure_lasts_until_nothing_sends_to_an_old_pod_any_more() -> None:
    timeline, good = told(), [record(101.0), record(140.0)]
    ends = native_ends(timeline, 100.0)

    assert exposure_of(timeline, good, 104.0, ends) == (104.0, 109)
    assert exposure_of(timeline, [*good, record(112.0, Outcome.CONNECT_REFUSED)], 104.0, ends) == (104.0, 112.0)


def test_without_old_pods_the_exposure_is_the_rest_of_the_load() -> None:
    assert exposure_of(told(), [record(101.0), record(140.0)], 104.0, []) == (104.0, 140.0)


@pytest.mark.parametrize(("text", "expected"), [("20", 20), ("20s", 20), ("500ms", 0.5), ("1.5m", 90), ("1h", 3600)])
def test_times_are_read_with_their_unit(text: str, expected: float) -> None:
    assert seconds_from(text, "--for") == pytest.approx(expected)


@pytest.mark.parametrize("text", ["", "s", "-1", "0", "nan", "1d", "ten"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        seconds_from(text, "--for")


@pytest.mark.parametrize("url", ["https://x", "x", "http://", "ftp://x/"])
def test_what_is_no_http_url_is_refused(url: str) -> None:
    with pytest.raises(UsageError):
        checked_url(url)


@pytest.mark.parametrize("path", ["fast", "/a b", "/a\r\nX: y", ""])
def test_a_path_cannot_smuggle_headers(path: str) -> None:
    with pytest.raises(UsageError):
        checked_path(path)


@pytest.mark.parametrize("rate", [0.0, -5.0, 1e6])
def test_a_rate_nobody_can_keep_is_refused(rate: float) -> None:
    with pytest.raises(UsageError):
        checked_rate(rate)


def test_good_urls_paths_and_rates_pass() -> None:
    assert checked_url("http://127.0.0.1:31002/fast") == "http://127.0.0.1:31002/fast"
    assert (path_of("http://h:1/a/b?c"), path_of("http://h")) == ("/a/b?c", "/")
    assert checked_rate(1000.0) == 1000.0


def test_only_the_clusters_own_node_is_asked_from_inside() -> None:
    running = Running(
        pid=1, started="", node_pid=1, mode="namespaces", reason="", api="", node_ip="10.10.0.1", client_netns="/x"
    )

    assert is_inside("http://10.10.0.1:31002/fast", running)
    assert not is_inside("http://127.0.0.1:31002/fast", running)
    assert not is_inside("http://10.10.0.1:31002/fast", None)
