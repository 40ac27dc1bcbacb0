"""The seed's Corefile; CLUSTER stands for the zones of the cluster."""

from __future__ import annotations

SEED = """\
CLUSTER {
    errors
    health
    kubernetes
    ready
    prometheus :9153
    loop
    reload
    loadbalance
}
. {
    errors
    autopath #kubernetes
    forward . 192.0.2.53
    cache
    loop
}
"""
