"""Typed, read-only views of where traffic goes: Service and its endpoints.

Rule: a view holds what it was made from (`obj`) and never changes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from segue.model.objects import Obj, selects
from segue.model.views import ObjectView
from segue.model.workloads import HASH_LABEL

PREVIEW_OF = "segue.dev/preview-of"  # on a Service that is only there for a release


@dataclass(frozen=True, slots=True, kw_only=True)
class Service(ObjectView):
    """One Service."""

    @property
    def selector(self) -> dict[str, str]:
        """spec.selector as it is."""
        return cast("dict[str, str]", self.obj["spec"].get("selector") or {})

    @property
    def plain_selector(self) -> dict[str, str]:
        """spec.selector without a pin."""
        return {key: value for key, value in self.selector.items() if key != HASH_LABEL}

    @property
    def pinned_to(self) -> str:
        """The hash it is pinned to, "" where it is not."""
        return self.selector.get(HASH_LABEL, "")

    @property
    def ports(self) -> list[Obj]:
        """spec.ports."""
        return cast("list[Obj]", self.obj["spec"].get("ports") or [])

    @property
    def spreads(self) -> bool:
        """Whether each new connection may go to any of its ready pods: no affinity (K9), and no client that chooses."""
        spec = self.obj["spec"]
        return bool(spec.get("sessionAffinity", "None") == "None" and spec.get("clusterIP") != "None")

    def selects_pod(self, labels: Mapping[str, str]) -> bool:
        """Whether it selects a pod with these labels now."""
        return selects(self.selector, labels)

    def selects_version(self, labels: Mapping[str, str]) -> bool:
        """Whether it selects pods with these labels, whatever their version."""
        return selects(self.plain_selector, labels)

    def target_ports(self, pod: Obj) -> frozenset[int]:
        """The pod's ports that it sends to."""
        found: set[int] = set()
        for port in self.ports:
            target = port.get("targetPort", port["port"])
            if isinstance(target, int):
                found.add(target)
                continue
            for container in pod.get("spec", {}).get("containers") or []:
                found.update(int(p["containerPort"]) for p in container.get("ports") or [] if p.get("name") == target)
        return frozenset(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One endpoint of a Service; nil conditions are read as E2 says."""

    pod: str
    address: str
    ready: bool
    serving: bool
    terminating: bool


def endpoints_of(slices: list[Obj]) -> tuple[Endpoint, ...]:
    """All endpoints of a Service's EndpointSlices."""
    found = []
    for obj in slices:
        for endpoint in obj.get("endpoints") or []:
            conditions = endpoint.get("conditions") or {}
            target = endpoint.get("targetRef") or {}
            ready = conditions.get("ready")
            serving = conditions.get("serving")
            found.append(
                Endpoint(
                    pod=str(target.get("name") or ""),
                    address=str((endpoint.get("addresses") or [""])[0]),
                    ready=ready is None or bool(ready),
                    serving=serving is None or bool(serving),
                    terminating=bool(conditions.get("terminating")),
                )
            )
    return tuple(found)
