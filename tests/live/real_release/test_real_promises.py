"""What a release promises, held on a real Kubernetes: the seed's ten pods, unchanged, under an open-loop load.

Nothing is lost; ten in a row each with at least 10,000 requests within the exposure window. When the switch came and
when the last old pod went is printed (`make bench BENCH=release CLUSTER=real` holds it against goals): time fails no
test. With an image that can exec and with one that cannot.

The seed's probes restart a container that is silent for one second. On a machine that is that busy with other things a
measurement is void (Kubernetes lost the requests, M2), and is taken again.

Pods whose first probe comes when they already listen are Ready 3 s after they were made, others 10 s later (P2): such a
short window sees fewer than 10,000 requests on two cores. It must lose nothing either, and is not one of the ten.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator

import pytest

from bench.release_real import RATE, bed_site, deploy_afresh
from bench.trial import Measured, Site, release, seed_manifest, trial
from testbed.image_recipes import SAMPLER

pytestmark = [
    pytest.mark.live,
    pytest.mark.alone,
    pytest.mark.real,
]
PINNED_RATE = 300.0  # a machine that is slower than this loses by the seed's own probes
IMAGES = pytest.mark.parametrize(("image", "source"), [("grace", "exec"), ("grace-static", "ephemeral")])
VERSIONS = ("v0.1", "v0.2")
VOID_MAX = 3
SHORT_MAX = 10


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with bed_site("real-promises") as found:
        yield found


def released(site: Site, image: str, version: str, rate: float = RATE) -> Measured:
    """One release under load, taken again while the machine was too slow for the seed's own probes."""
    for _ in range(VOID_MAX):
        act = release(site, seed_manifest(version, image=image), "--sampler-image", SAMPLER)
        measured = asyncio.run(trial(site, act, rate=rate))
        sys.stdout.write(f"{image} {version}: {measured.line()}\n")
        if not measured.restarts:
            return measured
        deploy_afresh(site, seed_manifest(VERSIONS[VERSIONS.index(version) - 1], image=image))
    pytest.fail(f"this machine restarts the seed's containers in every one of {VOID_MAX} measurements")


def hold(measured: Measured, source: str) -> None:
    assert (measured.lost, measured.lost_elsewhere) == (0, 0), measured.line()
    assert measured.peak <= 20, measured.line()
    assert {(pod["reason"], pod["evidenceSource"]) for pod in measured.receipt["pods"]} == {("quiet", source)}


@IMAGES
@pytest.mark.timeout(300)
def test_a_release_loses_nothing_and_says_by_what_evidence(site: Site, image: str, source: str) -> None:
    deploy_afresh(site, seed_manifest("v0.1", image=image))
    hold(released(site, image, "v0.2", PINNED_RATE), source)


@IMAGES
@pytest.mark.full
@pytest.mark.timeout(1500)
def test_ten_releases_in_a_row_lose_nothing(site: Site, image: str, source: str) -> None:
    deploy_afresh(site, seed_manifest("v0.1", image=image))
    counted = 0
    for number in range(10 + SHORT_MAX):
        measured = released(site, image, VERSIONS[(number + 1) % 2])
        hold(measured, source)
        counted += measured.sent >= 10_000
        if counted == 10:
            return
    pytest.fail(f"only {counted} of {10 + SHORT_MAX} releases saw 10,000 requests")
