"""A canary by a route's weights under load: nothing is lost forward, back, after a killed run and a killed gateway."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from segue.host.isolation import detect
from segue.model.objects import annotations_of
from segue.route.gateway import ANNOTATION
from tests.live.conftest import Cluster
from tests.live.console import BIN
from tests.live.gateway_world import ROUTE, apply, envoys, loaded, loading, rules, serve, wait_accepted
from tests.waiting import wait_until

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(detect().kind != "namespaces", reason="clients have no network of their own in loopback mode"),
]

CANARY = ("release", "web", "--image", "grace=v2", "--strategy", "canary")
RELEASE = (*CANARY, "--route", "httproute/web")
MARGIN = ("--margin", "15")  # for shares near a half: some hundred requests prove one


@contextmanager
def releasing(cluster: Cluster, *argv: str) -> Iterator[subprocess.Popen[str]]:
    """`segue release` by weights, under way."""
    command = [str(BIN / "segue"), *RELEASE, *argv]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, env=cluster.env, text=True, stdout=pipe, stderr=subprocess.STDOUT)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


def weights(cluster: Cluster) -> dict[str, int]:
    """By Service, of the first rule."""
    return {ref["name"]: ref["weight"] for ref in rules(cluster)[0]["backendRefs"]}


def as_before(cluster: Cluster) -> None:
    """The route is what it was, and nothing of the canary is left."""
    assert weights(cluster) == {"web": 1}
    assert ANNOTATION not in annotations_of(cluster.get("httproute", "web"))
    assert [one["metadata"]["name"] for one in cluster.get("services", "-l", "segue.dev/preview-of")["items"]] == []
    names = {one["metadata"]["name"] for one in cluster.get("services")["items"]}
    assert names == {"kubernetes", "web"}


def test_a_canary_loses_nothing_and_goes_on_after_its_run_was_killed(cluster: Cluster) -> None:
    serve(cluster, 1)
    with loading(cluster, "--rate", "300", "--for", "22s", "--keep-alive", "16") as load:
        with releasing(cluster, "--steps", "40,100", *MARGIN) as first:
            wait_until(lambda: weights(cluster) == {"web": 3, "web-canary": 2}, limit_s=30, what="40 % are set")
            first.send_signal(signal.SIGKILL)
            first.communicate()
        done = cluster.run("segue", *RELEASE, "--steps", "40,100", *MARGIN)
        assert load.runs, "it is longer than the release"
    assert done.returncode == 0, done.stderr
    said = done.stdout + done.stderr
    assert "40 % is proved within 15 points" in said
    assert "100 % is proved within 15 points" in said
    assert load.report["lost"] == 0, load.report["outcomes"]
    assert {"v1", "v2"} == set(load.report["versions"])
    as_before(cluster)
    assert loaded(cluster, "--rate", "50", "--for", "1s")["versions"] == {"v2": 50}


@pytest.mark.full
def test_a_whole_canary_with_two_hundred_kept_connections(cluster: Cluster) -> None:
    serve(cluster, 2)
    with loading(cluster, "--rate", "600", "--for", "60s", "--keep-alive", "200") as load:
        done = cluster.run("segue", *RELEASE, "--steps", "1,5,25,50,100", limit_s=70)
        assert load.runs, "it is longer than the release"
    assert done.returncode == 0, done.stdout + done.stderr
    assert load.report["lost"] == 0, load.report["outcomes"]
    as_before(cluster)


@pytest.mark.full
@pytest.mark.parametrize("stop", ["1%", "40%", "100%"])
def test_an_abort_at_each_step_loses_nothing(cluster: Cluster, stop: str) -> None:
    serve(cluster, 2)
    with loading(cluster, "--rate", "500", "--for", "40s", "--keep-alive", "50") as load:
        done = cluster.run("segue", *RELEASE, "--steps", "1,40,100", "--stop", stop, "--no-wait", limit_s=60)
        assert "segue promote web goes on" in done.stdout + done.stderr
        back = cluster.run("segue", "abort", "web", limit_s=60)
        assert load.runs, "it is longer than the way there and back"
    assert back.returncode == 0, back.stderr
    assert load.report["lost"] == 0, load.report["outcomes"]
    as_before(cluster)
    assert loaded(cluster, "--rate", "50", "--for", "1s")["versions"] == {"v1": 50}


@pytest.mark.full
def test_a_killed_gateway_has_its_shares_again_and_the_release_goes_on(cluster: Cluster) -> None:
    serve(cluster, 2)
    with (
        loading(cluster, "--rate", "200", "--for", "40s", "--timeout", "2s") as load,
        releasing(cluster, "--steps", "40,100", "--margin", "8") as first,
    ):
        wait_until(lambda: weights(cluster) == {"web": 3, "web-canary": 2}, limit_s=30, what="40 % are set")
        (pid,) = envoys(cluster)
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: envoys(cluster) not in ([], [pid]), limit_s=10, what="another one serves")
        said, _ = first.communicate(timeout=60)
    assert first.returncode == 0, said
    assert 0 < load.report["lost"] <= 400, "what the kill cost: at most 2 s of it"
    assert set(load.report["outcomes"]) <= {"ok", "connect-refused", "reset-before-answer"}
    as_before(cluster)


@pytest.mark.full
def test_without_requests_the_step_holds_and_a_pinned_user_sees_the_new_version(cluster: Cluster) -> None:
    serve(cluster, 1)
    with releasing(cluster, "--steps", "10,100", "--pin-to-new", "header:X-Try=next") as run:
        wait_until(lambda: len(rules(cluster)) == 2, limit_s=30, what="the pin is set")
        wait_accepted(cluster)
        assert run.poll() is None
        pinned, shared = rules(cluster)
        assert pinned["matches"][0]["headers"] == [{"type": "Exact", "name": "X-Try", "value": "next"}]
        assert [ref["name"] for ref in pinned["backendRefs"]] == ["web-canary"]
        assert [ref["weight"] for ref in shared["backendRefs"]] == [9, 1]
        assert run.stdout is not None
        assert any("no request has been counted" in line for line in run.stdout), "it says why it holds"
        run.send_signal(signal.SIGINT)
        run.communicate(timeout=20)
    assert cluster.run("segue", "abort", "web").returncode == 0
    as_before(cluster)


@pytest.mark.full
def test_what_cannot_be_is_one_clear_error_and_moves_nothing(cluster: Cluster) -> None:
    serve(cluster, 1)

    def refused(*argv: str, route: str = "httproute/web") -> str:
        version = cluster.get("deployment", "web")["metadata"]["resourceVersion"]
        done = cluster.run("segue", *CANARY, "--route", route, *argv)
        assert done.returncode != 0
        assert cluster.get("deployment", "web")["metadata"]["resourceVersion"] == version
        assert len(done.stderr.strip().splitlines()) <= 3, done.stderr
        return done.stderr

    assert "there is none of this name" in refused(route="httproute/other")
    assert "--steps" in refused("--steps", "0,100")
    apply(cluster, ROUTE.replace("{name: web, port: 80}", "{name: web, port: 80, weight: 0}"))
    wait_accepted(cluster)
    assert "sum up to 0" in refused()
    apply(cluster, ROUTE.replace("{name: web, port: 80}", "{name: web, port: 80}, {name: nobody, port: 80}"))
    assert "nobody" in refused()
    apply(cluster, ROUTE.replace("name: door", "name: nowhere"))
    assert "not in effect" in refused() or "no gateway" in refused()
    cluster.kubectl("delete", "httproute", "web")
    cluster.kubectl("apply", "--server-side", "--field-manager", "argocd", "-f", "-", stdin=ROUTE)
    wait_accepted(cluster)
    assert "belongs to argocd" in refused()
