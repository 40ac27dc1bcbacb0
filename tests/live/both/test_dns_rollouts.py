"""CoreDNS itself is replaced while 2,000 lookups a second go on: as kubectl does it, and as segue does."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from segue.dns.corechecks import judged
from segue.dns.corefile import parsed
from segue.model.objects import Obj
from tests.live.both import core_dns
from tests.live.both.core_dns import NAME, Load
from tests.live.both.world import Place

pytestmark = [
    pytest.mark.live,
    pytest.mark.full,
    pytest.mark.skipif(not core_dns.BUILT, reason="no CoreDNS is built: python -m testbed up builds it"),
]

STATEMENTS = {
    "DNS-rollout": "`segue dns apply` replaces a CoreDNS that has no lameduck under 2,000 lookups/s (A and AAAA "
    "each, a socket per lookup) without one that fails or takes a second; `kubectl rollout restart` of it beside.",
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
