"""Which upstream versions a bed is made of. Nothing else: what is built from them is building's business."""

from __future__ import annotations

from dataclasses import dataclass

from segue.model.errors import UsageError

DEFAULT = "1.37"


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """One Kubernetes and what it runs with."""

    name: str  # what a person types: 1.37
    kubernetes: str
    etcd: str = "v3.7.3"
    coredns: str = "v1.15.0"
    containerd: str = "v2.4.2"
    metrics_server: str = "v0.9.0"

    @property
    def staging(self) -> str:
        """The version of k8s.io/api and the others: v1.37.2 is published as v0.37.2."""
        return "v0" + self.kubernetes.removeprefix("v1")


RELEASES = {
    "1.37": Release(name="1.37", kubernetes="v1.37.2"),
    "1.34": Release(name="1.34", kubernetes="v1.34.4"),
}


def release(name: str) -> Release:
    """The release that a person named; UsageError for another."""
    if name not in RELEASES:
        raise UsageError(f"no Kubernetes {name!r} here", remedy=f"use one of {', '.join(RELEASES)}")
    return RELEASES[name]
