"""A real CoreDNS beside the cluster's own DNS: it reads the cluster by a repaired Corefile, and says the same."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from segue.dns.corechecks import judged, repaired
from segue.dns.corefile import Block, parsed, written
from testbed.building import folder_of, programs
from testbed.versions import RELEASES
from tests import dns_asking
from tests.corefiles import SEED
from tests.dns_asking import Said
from tests.live.both.test_names import asked, full, headless, service
from tests.live.both.world import Place
from tests.waiting import wait_until

pytestmark = [pytest.mark.live, pytest.mark.full]

STATEMENTS = {
    "CoreDNS beside": "A CoreDNS of the test bed's version loads the repaired Corefile, reads the cluster's API, and "
    "answers as the cluster's own DNS does: codes, records, and what stands beside them.",
}
NOT_COVERED: dict[str, str] = {}
DIFFERENCES: dict[str, str] = {}
HOME = "127.0.0.1"


def binary() -> Path:
    """The test bed's CoreDNS, where it was built."""
    for release in RELEASES.values():
        found = next(folder_of(one) for one in programs(release) if one.name == "coredns") / "coredns"
        if found.exists():
            return found
    pytest.skip("no CoreDNS is built: python -m testbed up builds it")


def free_port() -> int:
    with socket.create_server((HOME, 0)) as taken:
        return int(taken.getsockname()[1])


def at_home(block: Block, port: int, kubeconfig: Path) -> Block:
    """The same on this machine's loopback: ports that are free, and whom to ask for objects."""
    places = {"health": free_port(), "ready": free_port(), "prometheus": free_port()}
    plugins = [
        replace(one, args=(f"{HOME}:{places[one.name]}",)) if one.name in places else one
        for one in block.plugins
        if one.name != "loop"  # it would find this machine's resolver
    ]
    plugins = [
        replace(one, inner=(*one.inner, ("kubeconfig", str(kubeconfig)), ("pods", "insecure")))
        if one.name == "kubernetes"
        else one
        for one in plugins
    ]
    keys = tuple(f"{key.replace('CLUSTER', 'cluster.local')}:{port}" for key in block.keys)
    return replace(block, keys=keys, plugins=tuple(plugins))


@contextmanager
def coredns(folder: Path, corefile: str) -> Iterator[subprocess.Popen[bytes]]:
    """It runs, and ends with the block."""
    file = folder / "Corefile"
    file.write_text(corefile)
    with (folder / "coredns.log").open("wb") as log:
        process = subprocess.Popen([binary(), "-conf", file], stdout=log, stderr=log)
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def from_coredns(port: int, name: str, kind: str) -> Said | None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as way:
        way.settimeout(2)
        way.connect((HOME, port))
        try:
            way.send(dns_asking.packet(name, kind, edns=1232))
            return dns_asking.said(way.recv(65535))
        except OSError:
            return None


def knows(port: int, name: str) -> bool:
    """Whether it has heard of the name."""
    found = from_coredns(port, name, "A")
    return found is not None and bool(found.answers)


def essence(said: Said) -> tuple[str, list[tuple[str, str, str]], list[str], list[tuple[str, str, str]]]:
    """What must be alike: not the order, the TTL (a setting) or the serial."""
    rows = sorted((name, kind, text) for name, kind, _, text in said.answers)
    return said.code, rows, [row[1] for row in said.authority], sorted((n, k, t) for n, k, _, t in said.more)


@pytest.mark.states("CoreDNS beside")
def test_a_core_dns_that_reads_the_cluster_says_the_same(place: Place, tmp_path: Path) -> None:
    port = free_port()
    blocks = repaired(parsed(SEED))
    assert judged(blocks) == []
    corefile = written(tuple(at_home(block, port, place.world.kubeconfig) for block in blocks))
    place.create(service("web"))
    headless(place)
    with coredns(tmp_path, corefile) as process:
        name = full(place, "web")
        log = tmp_path / "coredns.log"
        wait_until(lambda: process.poll() is not None or knows(port, name), limit_s=30.0, what="CoreDNS to know it")
        assert process.poll() is None, log.read_text()
        db = full(place, "db")
        for asked_for in (
            *((name, kind) for kind in ("A", "AAAA", "SRV", "TXT", "SOA")),
            *((db, kind) for kind in ("A", "AAAA", "SRV")),
            *((f"{label}.{db}", "A") for label in ("db-0", "10-244-99-2", "10-244-99-3", "nobody")),
            *((f"_http._tcp.{one}", kind) for one in (name, db) for kind in ("A", "SRV")),
            *((one, "A") for one in ("svc.cluster.local", "pod.cluster.local", "x.cluster.local", "cluster.local")),
            *((f"{label}.{place.namespace}.pod.cluster.local", "A") for label in ("10-1-2-3", "hello")),
            (f"{place.namespace}.svc.cluster.local", "A"),
            ("nowhere.svc.cluster.local", "A"),
            ("dns-version.cluster.local", "TXT"),
            (f"a.b.c.{name}", "A"),
        ):
            theirs = from_coredns(port, *asked_for)
            assert theirs is not None, asked_for
            assert essence(asked(place, *asked_for)) == essence(theirs), asked_for
