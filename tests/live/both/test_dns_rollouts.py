"""CoreDNS itself is replaced while 2,000 lookups a second go on: as kubectl does it, and as segue does."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from contextlib import suppress

import pytest

from segue.dns.corechecks import judged
from segue.dns.corefile import parsed
from segue.drive.keeping_flows import leaving_slice
from segue.model.objects import Obj
from tests import dns_asking
from tests.live.both import core_dns
from tests.live.both.core_dns import NAME, PLAIN, Load
from tests.live.both.world import Place
from tests.waiting import wait_until

pytestmark = [
    pytest.mark.live,
    pytest.mark.full,
    pytest.mark.skipif(not core_dns.BUILT, reason="no CoreDNS is built: python -m testbed up builds it"),
]

STATEMENTS = {
    "DNS-rollout": "`segue dns apply` replaces a CoreDNS that has no lameduck under 2,000 lookups/s (A and AAAA "
    "each, a socket per lookup) without one that fails or takes a second; `kubectl rollout restart` of it beside.",
    "K7: slice": "An EndpointSlice of one's own that calls pods serving and terminating keeps their UDP flows after "
    "they have left the Service's selector, new flows go to the others, and without the slice the kept ones do, too.",
    "DNS-apply": "A second `segue dns apply` finds nothing to change; what it did is in the receipt, and an undo "
    "goes back to the ConfigMap of before.",
}
NOT_COVERED: dict[str, str] = {}
DIFFERENCES: dict[str, str] = {}
RATE, FOR_S = 2_000, 30.0


@pytest.mark.states("DNS-rollout", "DNS-apply")
def test_core_dns_is_replaced_and_no_lookup_waits(place: Place, measured: Callable[[str, float, str], None]) -> None:
    with core_dns.core_dns(place) as ip:
        plain = Load(place, ip, RATE, FOR_S)
        place.kubectl("rollout", "restart", f"deployment/{NAME}")
        place.kubectl("rollout", "status", f"deployment/{NAME}", limit_s=FOR_S + 30)
        _keep("plain", plain.told(), measured)
        place.wait_ready_pods(2, f"app={NAME}")

        load = Load(place, ip, RATE, FOR_S)
        done = place.run("segue", "dns", "apply", "-n", place.namespace, "-o", "json", limit_s=FOR_S + 60)
        told = load.told()
        assert done.returncode == 0, done.stderr
        _keep("apply", told, measured)
        assert (told["failed"], told["over_1s"]) == (0, 0), told

        receipt = json.loads(done.stdout)
        assert receipt["asked"]["command"] == "dns-apply"
        config = core_dns.config_of(place)
        assert config.startswith(f"{NAME}-")
        assert judged(parsed(place.get("configmaps", config)["data"]["Corefile"])) == []
        again = place.run("segue", "dns", "apply", "-n", place.namespace)
        assert (again.returncode, "nothing to change" in again.stderr) == (0, True), again.stderr
        undone = place.run("segue", "undo", NAME, "-n", place.namespace, limit_s=90)
        assert undone.returncode == 0, undone.stderr
        assert core_dns.config_of(place) == NAME


def _keep(what: str, told: Obj, measured: Callable[[str, float, str], None]) -> None:
    measured(f"{what}: lookups that failed", told["failed"], f"of {told['lookups']}")
    measured(f"{what}: lookups above 1 s", told["over_1s"], f"of {told['lookups']}")
    measured(f"{what}: slowest", told["ms"]["max"], "ms")
    measured(f"{what}: p99.9", told["ms"]["p99.9"], "ms")


TTL = PLAIN.replace("pods insecure", "pods insecure\n        ttl 3600").replace("cache 30", "cache 3600")


@pytest.mark.states("K7: slice")
def test_a_slice_keeps_the_udp_flows_of_pods_that_left_the_selector(place: Place) -> None:
    with core_dns.core_dns(place, TTL) as ip, place.datagram(ip, 53) as kept:
        place.create(*core_dns.second(PLAIN))
        place.wait_ready_pods(2, f"app={NAME}-b", limit_s=60.0)
        old = place.all("pods", f"app={NAME}")
        assert is_old(ttl(kept))

        place.create(leaving_slice(place.get("services", NAME), old))
        selector = [{"op": "replace", "path": "/spec/selector", "value": {"app": f"{NAME}-b"}}]
        place.patch("services", NAME, selector, kind="application/json-patch+json")
        wait_until(lambda: not is_old(fresh(place, ip)), what="new flows to go to the new pods")
        since = time.monotonic()
        wait_until(lambda: time.monotonic() - since > 2.5, what="a sync more, at least one a second (K5)")
        assert is_old(ttl(kept))
        assert not is_old(fresh(place, ip))

        place.delete("endpointslices", f"{NAME}-leaving")
        wait_until(lambda: (ttl(kept) or 3600) <= 30, what="the kept flow to go to the new pods")


def ttl(way: socket.socket) -> int | None:
    """Of an answer over this flow: it tells who gave it."""
    way.settimeout(1.0)
    with suppress(OSError):
        way.send(dns_asking.packet("kubernetes.default.svc.cluster.local", "A"))
        return dns_asking.said(way.recv(4096)).answers[0][2]
    return None


def is_old(seconds: int | None) -> bool:
    return (seconds or 0) > 30


def fresh(place: Place, ip: str) -> int | None:
    with place.datagram(ip, 53) as way:
        return ttl(way)
