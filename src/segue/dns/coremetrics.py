"""CoreDNS' own numbers (Prometheus text) before and after, as what happened in between."""

from __future__ import annotations

import re
from collections.abc import Iterable

from segue.model.objects import Obj

_LINE = re.compile(r"^(coredns_\w+)(?:\{(.*)\})? (\S+)")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_COUNTERS = {
    "requests": ("coredns_dns_requests_total", {}),
    "nonexistent": ("coredns_dns_responses_total", {"rcode": "NXDOMAIN"}),
    "failed": ("coredns_dns_responses_total", {"rcode": "SERVFAIL"}),
    "cache_hits": ("coredns_cache_hits_total", {}),
    "cache_misses": ("coredns_cache_misses_total", {}),
    "forwarded": ("coredns_proxy_request_duration_seconds_count", {}),
    "forwarded_s": ("coredns_proxy_request_duration_seconds_sum", {}),
    "served_s": ("coredns_dns_request_duration_seconds_sum", {}),
    "served": ("coredns_dns_request_duration_seconds_count", {}),
    "rejected": ("coredns_forward_max_concurrent_rejects_total", {}),
    "panics": ("coredns_panics_total", {}),
}

Counted = dict[str, float]


def counted(texts: Iterable[str]) -> Counted:
    """The counters that matter, over all pods."""
    found = dict.fromkeys(_COUNTERS, 0.0)
    for text in texts:
        for line in text.splitlines():
            seen = _LINE.match(line)
            if seen is None:
                continue
            labels = dict(_LABEL.findall(seen[2] or ""))
            for key, (name, wanted) in _COUNTERS.items():
                if seen[1] == name and wanted.items() <= labels.items():
                    found[key] += float(seen[3])
    return found


def between(before: Counted, after: Counted) -> Obj:
    """What the servers did meanwhile, other clients' questions too."""
    change = {key: max(0.0, after[key] - before[key]) for key in after}
    looked = change["cache_hits"] + change["cache_misses"]
    return {
        **{key: int(change[key]) for key in ("requests", "nonexistent", "failed", "forwarded", "rejected", "panics")},
        "cache_hit_share": round(change["cache_hits"] / looked, 3) if looked else None,
        "served_ms_mean": round(change["served_s"] / change["served"] * 1000, 3) if change["served"] else None,
        "forwarded_ms_mean": (
            round(change["forwarded_s"] / change["forwarded"] * 1000, 3) if change["forwarded"] else None
        ),
    }
