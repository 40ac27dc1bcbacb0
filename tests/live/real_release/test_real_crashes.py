"""Killed, aborted and taken up again on a real Kubernetes, under load: nothing is lost and nothing stays behind."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator

import pytest

from bench.release_real import bed_site, deploy_afresh
from bench.trial import BIN, NAME, Act, Acted, Measured, Site, seed_manifest, trial
from segue.model.objects import Obj
from testbed.image_recipes import SAMPLER
from tests.waiting import wait_until

pytestmark = [
    pytest.mark.live,
    pytest.mark.alone,
    pytest.mark.real,
    pytest.mark.timeout(180),
]
RATE = 300.0
IMAGES = pytest.mark.parametrize("image", ["grace", "grace-static"])
# What segue says when it has just done it; it is killed before it can do more.
MOMENTS = [
    "remember on",
    "pin Service",
    "change the template",
    "detach",
    "take the brake off",
    "switch Service",
    "are quiet",
]


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with bed_site("real-crashes") as found:
        yield found


def manifest(version: str, image: str) -> str:
    text = seed_manifest(version, image=image, replicas=3)
    return text.replace("failureThreshold: 1", "failureThreshold: 3\n            periodSeconds: 1")


def killed_then(site: Site, file: str, moment: str, *argv: str, ends_old: bool) -> Act:
    """`segue release`, killed when it has said `moment`, and another command after a while."""

    async def act() -> Acted:
        at_s = time.time()
        await asyncio.to_thread(kill_at, site, file, moment)
        await asyncio.sleep(1.0)
        again = await asyncio.to_thread(site.run, "segue", *argv)
        assert again.returncode == 0, again.stderr
        told = again.stderr.splitlines()
        return Acted(at_s=at_s, receipt={"progress": told}, ends_old=ends_old)

    return act


def kill_at(site: Site, file: str, moment: str) -> None:
    argv = [str(BIN / "segue"), "release", "-f", file, "-n", site.namespace, "--sampler-image", SAMPLER]
    with subprocess.Popen(argv, env=site.env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None, "the pipe was asked for"
        said = []
        for line in process.stderr:
            said.append(line)
            if moment in line:
                break
        else:
            pytest.fail(f"it never said {moment!r}: {said}")
        process.send_signal(signal.SIGKILL)


def measured(site: Site, act: Act) -> Measured:
    return asyncio.run(trial(site, act, rate=RATE))


def check_nothing_stays(site: Site) -> None:
    deployment = site.get("deployment", NAME)
    assert "segue.dev/release" not in deployment["metadata"].get("annotations", {})
    assert "pod-template-hash" not in site.get("service", NAME)["spec"]["selector"]
    assert deployment["spec"].get("minReadySeconds", 0) == 0
    assert site.get("leases")["items"] == []


def serving(site: Site) -> list[Obj]:
    pods: list[Obj] = [pod for pod in site.get("pods")["items"] if "deletionTimestamp" not in pod["metadata"]]
    return pods


def images(site: Site) -> set[str]:
    return {str(pod["spec"]["containers"][0]["image"]).rpartition(":")[2] for pod in serving(site)}


@IMAGES
@pytest.mark.parametrize(
    "moment", [pytest.param(one, marks=[] if one == "detach" else pytest.mark.full) for one in MOMENTS]
)
def test_a_killed_release_goes_on_with_the_same_command(site: Site, image: str, moment: str) -> None:
    deploy_afresh(site, manifest("v0.1", image))
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(manifest("v0.2", image))
        file.flush()
        again = ("release", "-f", file.name, "--sampler-image", SAMPLER)
        found = measured(site, killed_then(site, file.name, moment, *again, ends_old=True))

    assert (found.lost, found.lost_elsewhere) == (0, 0), (found.line(), found.receipt["progress"])
    assert images(site) == {"v0.2"}
    check_nothing_stays(site)


@IMAGES
@pytest.mark.parametrize(
    "moment", [pytest.param(one, marks=[] if one == "switch Service" else pytest.mark.full) for one in MOMENTS]
)
def test_a_killed_release_is_aborted_without_a_loss(site: Site, image: str, moment: str) -> None:
    deploy_afresh(site, manifest("v0.1", image))
    before = site.get("deployment", NAME)["spec"]
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(manifest("v0.2", image))
        file.flush()
        back = ("abort", f"deployment/{NAME}")
        found = measured(site, killed_then(site, file.name, moment, *back, ends_old=False))
    wait_until(lambda: len(site.get("pods")["items"]) == 3, limit_s=30, every_s=0.5, what="the new pods to go")

    assert (found.lost, found.lost_elsewhere) == (0, 0), (found.line(), found.receipt["progress"])
    assert images(site) == {"v0.1"}
    assert site.get("deployment", NAME)["spec"] == before
    assert len(site.get("replicasets")["items"]) == 1
    check_nothing_stays(site)


def test_nothing_runs_on_in_pods_that_were_looked_into(site: Site) -> None:
    """The pods that an aborted release leaves serving have no command of segue in them any more."""
    deploy_afresh(site, manifest("v0.1", "grace"))
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(manifest("v0.2", "grace"))
        file.flush()
        kill_at(site, file.name, "switch Service")
    aborted = site.run("segue", "abort", NAME)
    assert aborted.returncode == 0, aborted.stderr
    commands = [site.kubectl("exec", pod["metadata"]["name"], "--", "ps", "axo", "args") for pod in serving(site)]

    assert len(commands) == 3
    assert not [text for text in commands if "/proc/net" in text]


def test_a_release_of_pods_without_a_shell_and_without_a_sampler_waits_for_the_timer(site: Site) -> None:
    deploy_afresh(site, manifest("v0.1", "grace-static"))
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(manifest("v0.2", "grace-static"))
        file.flush()
        done = site.run("segue", "release", "-f", file.name, "-o", "json")
    assert done.returncode == 0, done.stderr
    receipt = json.loads(done.stdout)

    assert {(pod["reason"], pod["evidenceSource"]) for pod in receipt["pods"]} == {("timer", "timer")}
    assert "judge 3 old pods by time alone" in done.stderr
    assert "--sampler-image" in done.stderr


def test_a_sampler_image_that_does_not_exist_is_told_and_the_timer_stands_in(site: Site) -> None:
    deploy_afresh(site, manifest("v0.1", "grace-static"))
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(manifest("v0.2", "grace-static"))
        file.flush()
        done = site.run("segue", "release", "-f", file.name, "--sampler-image", "host.org/none:v1", "-o", "json")
    assert done.returncode == 0, done.stderr
    receipt = json.loads(done.stdout)

    assert {(pod["reason"], pod["evidenceSource"]) for pod in receipt["pods"]} == {("timer", "timer")}
    assert "add a container of host.org/none:v1 to 3 old pods" in done.stderr
    for pod in receipt["pods"]:
        assert "the container of host.org/none:v1 has not started" in pod["because"] or "ErrImagePull" in pod["because"]
