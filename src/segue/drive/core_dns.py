"""Reads a CoreDNS of a cluster: its Deployment, the ConfigMap that this reads its Corefile from, for how much it is.

Rule: the Deployment says which ConfigMap counts; one that is only named as usual may be that of an earlier version.
"""

from __future__ import annotations

from dataclasses import dataclass

from segue.dns.rollout import CoreDns, corefile_of
from segue.drive.flow import Flow, ask, body_of, get
from segue.model.errors import SegueError
from segue.model.objects import annotations_of
from segue.release.config_pins import PINNED_FROM


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What was read, and what the cluster has."""

    running: CoreDns
    pods: int
    services: int


def read_core_dns(namespace: str, name: str) -> Flow[Found]:
    """All of it; SegueError where there is no such CoreDNS."""
    _, (answer, pods, services) = yield from ask(
        get(f"/apis/apps/v1/namespaces/{namespace}/deployments/{name}"), get("/api/v1/pods"), get("/api/v1/services")
    )
    remedy = "-n says where CoreDNS runs, --deployment what it is called"
    if answer.code == 404:
        raise SegueError(f"there is no Deployment {name} in namespace {namespace}", remedy=remedy)
    deployment = {"apiVersion": "apps/v1", "kind": "Deployment", **body_of(answer, f"reading Deployment {name}")}
    config, key = corefile_of(deployment["spec"]["template"])
    if not config:
        raise SegueError(f"Deployment {name} reads no Corefile from a ConfigMap", remedy=remedy)
    _, (told,) = yield from ask(get(f"/api/v1/namespaces/{namespace}/configmaps/{config}"))
    found = body_of(told, f"reading ConfigMap {config}")
    data = {str(one): str(text) for one, text in (found.get("data") or {}).items()}
    if not data.get(key, "").strip():
        raise SegueError(f"ConfigMap {config} holds no {key}", remedy=remedy)
    running = CoreDns(
        deployment=deployment,
        config=config,
        origin=annotations_of(found).get(PINNED_FROM) or config,
        key=key,
        corefile=data.pop(key),
        others=data,
    )
    return Found(
        running=running,
        pods=len(body_of(pods, "listing pods").get("items") or []),
        services=len(body_of(services, "listing Services").get("items") or []),
    )
