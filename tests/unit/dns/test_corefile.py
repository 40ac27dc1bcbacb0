"""Corefiles: read, judged, repaired. Whether CoreDNS takes it, tests/live/both/test_coredns_beside.py asks it."""

from __future__ import annotations

import pytest

from segue.dns.corechecks import judged, repaired
from segue.dns.corefile import parsed, written, zone_of
from segue.dns.sizing import sized
from segue.model.errors import ManifestError
from tests import corefiles

SEED = corefiles.SEED.replace("CLUSTER", "cluster.local 10.96.0.0/12")
DEFAULT = """\
.:53 {
    errors
    health {
       lameduck 5s
    }
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
       pods insecure
       fallthrough in-addr.arpa ip6.arpa
       ttl 30
    }
    prometheus :9153
    forward . /etc/resolv.conf {
       max_concurrent 1000
    }
    cache 30 {
       disable success cluster.local
       disable denial cluster.local
    }
    loop
    reload
    loadbalance
}
"""


def messages(text: str) -> dict[str, int]:
    return {one.message: one.line for one in judged(parsed(text))}


def test_blocks_plugins_arguments_and_inner_lines() -> None:
    (block,) = parsed(DEFAULT)
    kubernetes = block.plugin("kubernetes")

    assert (block.keys, block.zones, block.line) == ((".:53",), (".",), 1)
    assert kubernetes is not None
    assert (kubernetes.args, kubernetes.line) == (("cluster.local", "in-addr.arpa", "ip6.arpa"), 7)
    assert (kubernetes.option("pods"), kubernetes.option("ttl"), kubernetes.option("x")) == (
        ("insecure",),
        ("30",),
        None,
    )


@pytest.mark.parametrize(
    "text", [SEED, DEFAULT, 'a.b {\n  template "x y" {\n    answer "a { b" # c\n    deep {\n  z\n }\n }\n}\n']
)
def test_what_is_written_is_read_as_the_same(text: str) -> None:
    def plain(corefile: str) -> list[object]:
        return [(one.keys, [(p.name, p.args, p.inner) for p in one.plugins]) for one in parsed(corefile)]

    assert plain(written(parsed(text))) == plain(text)


@pytest.mark.parametrize(
    ("key", "zone"),
    [(".", "."), (".:53", "."), ("dns://Cluster.Local.:53", "cluster.local"), ("a.b,", "a.b"), ("tls://.", ".")],
)
def test_keys(key: str, zone: str) -> None:
    assert zone_of(key) == zone


@pytest.mark.parametrize(
    ("text", "line"),
    [(". {\n errors\n", 1), ("a.b\nerrors\n", 1), (". {\n cache {\n x\n", 2), ('. {\n log "a\n}\n', 2)],
)
def test_what_does_not_close_is_named_with_its_line(text: str, line: int) -> None:
    with pytest.raises(ManifestError) as caught:
        parsed(text)
    assert caught.value.place is not None
    assert caught.value.place.line == line


def test_the_default_of_kubeadm_is_in_order() -> None:
    assert messages(DEFAULT) == {}


def test_the_seeds_corefile_and_its_repair() -> None:
    """A # begins a comment, so `autopath #kubernetes` has no argument."""
    assert messages(SEED) == {
        "health without lameduck": 3,
        "no prometheus": 11,
        "autopath without an argument": 13,
        "forward without max_concurrent": 14,
    }
    after = repaired(parsed(SEED))

    assert judged(after) == []
    assert "autopath" not in written(after)
    assert "lameduck 12s" in written(after)


def test_autopath_where_it_cannot_work() -> None:
    elsewhere = SEED.replace("autopath #kubernetes", "autopath @kubernetes")
    blind = DEFAULT.replace("    cache 30 {", "    autopath @kubernetes\n    cache 30 {")

    assert messages(elsewhere)["autopath @kubernetes in a block without kubernetes"] == 13
    assert messages(blind) == {"autopath @kubernetes without pods verified": 16}
    assert messages(blind.replace("pods insecure", "pods verified")) == {}
    assert repaired(parsed(blind)) == parsed(blind)


def test_sizes_by_both_laws() -> None:
    size = sized(pods=4000, services=300, queries_per_s=0, autopath=False)

    assert (size["memory_mb_published"], size["memory_mb_fitted"], size["replicas"]) == (58.3, 57.7, 2)
    assert sized(pods=4000, services=300, queries_per_s=0, autopath=True)["memory_mb_published"] == 73.2
    assert sized(pods=1, services=1, queries_per_s=33_669, autopath=False)["replicas"] == 3


def test_a_limit_leaves_room_for_the_start() -> None:
    """With autopath all Pods are held whole while CoreDNS starts: far more than what it needs afterwards."""
    size = sized(pods=45_000, services=5_000, queries_per_s=0, autopath=True)

    assert size["memory_law"]["rss"]["from_mb"] < 201.2 < size["memory_law"]["rss"]["to_mb"]
    assert size["memory_law"]["peak"]["from_mb"] < 470.8 < size["memory_law"]["peak"]["to_mb"]
    assert size["memory_limit_mb"] > size["memory_request_mb"] > size["memory_law"]["rss"]["to_mb"]
    small = sized(pods=10, services=10, queries_per_s=0, autopath=False)
    assert small["memory_limit_mb"] == small["memory_request_mb"]
