"""From a CoreDNS that runs to the documents of one that is better: its Corefile, its probes, its room.

Rule: only what loses lookups or ends the process is changed; numbers that somebody chose are raised, never lowered.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field

from segue.dns.corefile import Block, Plugin
from segue.model.manifest import Document
from segue.model.objects import Obj, copy_of, name_of

READY, HEALTH = ("ready", 8181), ("health", 8080)
AFTER_LAMEDUCK_S = 10  # CoreDNS closes its listeners within 5 s each
_UNITS = {"": 1, "k": 1e3, "M": 1e6, "G": 1e9, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}
_QUANTITY = re.compile(r"(\d+(?:\.\d+)?)(Ki|Mi|Gi|k|M|G)?")
_SECONDS = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreDns:
    """A CoreDNS as a cluster has it. `config` is the ConfigMap that it reads its Corefile from."""

    deployment: Obj
    config: str  # as its template names it
    origin: str  # the name that this was copied from, for a later version
    key: str
    corefile: str
    others: Obj = field(default_factory=dict)  # what else stands in that ConfigMap

    @property
    def template(self) -> Obj:
        """Of its pods."""
        template: Obj = self.deployment["spec"]["template"]
        return template


def corefile_of(template: Obj) -> tuple[str, str]:
    """The ConfigMap and the key that a template's container reads as its Corefile; ("", "") for none."""
    spec = template["spec"]
    for volume in spec.get("volumes") or []:
        source = volume.get("configMap")
        if not source or not source.get("name"):
            continue
        items = source.get("items") or [{"key": "Corefile", "path": "Corefile"}]
        for item in items:
            if str(item.get("path")).rpartition("/")[2] == "Corefile":
                return str(source["name"]), str(item["key"])
    return "", ""


def changed_template(template: Obj, blocks: tuple[Block, ...], limit_mb: int) -> tuple[Obj, tuple[str, ...]]:
    """The template for this Corefile, and what of it was changed, in words."""
    made, said = copy_of(template), []
    spec = made["spec"]
    container = next((one for one in spec["containers"] if one.get("name") == "coredns"), spec["containers"][0])
    for plugin, kind, more in ((READY, "readinessProbe", {}), (HEALTH, "livenessProbe", _LIVENESS)):
        found = _first(blocks, plugin[0])
        if found is not None and kind not in container:
            port = _port(found, plugin[1])
            container[kind] = {"httpGet": {"path": f"/{plugin[0]}", "port": port}, **more}
            said.append(f"{kind}: asks /{plugin[0]} at port {port}")
    health = _first(blocks, "health")
    lameduck_s = _seconds((health.option("lameduck") or ("",))[0]) if health is not None else 0.0
    least_s = math.ceil(lameduck_s) + AFTER_LAMEDUCK_S
    if lameduck_s and int(spec.get("terminationGracePeriodSeconds", 30)) < least_s:
        spec["terminationGracePeriodSeconds"] = least_s
        said.append(f"terminationGracePeriodSeconds: {least_s}, for lameduck and the end of what is open")
    limits = (container.get("resources") or {}).get("limits") or {}
    if limit_mb and "memory" in limits and quantity(str(limits["memory"])) < limit_mb * 1e6:
        container["resources"]["limits"] = {**limits, "memory": f"{limit_mb}M"}
        said.append(f"limits.memory: {limit_mb}M instead of {limits['memory']}: it takes that much while it starts")
    return made, tuple(said)


_LIVENESS: Obj = {"initialDelaySeconds": 60, "timeoutSeconds": 5, "failureThreshold": 5}


def documents(running: CoreDns, corefile: str, template: Obj) -> tuple[Document, ...]:
    """What a release is told: the ConfigMap by the name that its copies are made of, and the Deployment."""
    metadata = running.deployment["metadata"]
    namespace = str(metadata["namespace"])
    made = copy_of(template)
    for volume in made["spec"].get("volumes") or []:
        if (volume.get("configMap") or {}).get("name") == running.config:
            volume["configMap"]["name"] = running.origin
    config: Obj = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": running.origin, "namespace": namespace},
        "data": {**running.others, running.key: corefile},
    }
    deployment: Obj = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name_of(running.deployment), "namespace": namespace},
        "spec": {"template": made},
    }
    return tuple(
        Document(obj=one, file=f"{one['kind'].lower()}/{name_of(one)}", line=0, lines={}, from_running=True)
        for one in (config, deployment)
    )


def quantity(said: str) -> float:
    """Bytes; 0 for what is no quantity of memory."""
    found = _QUANTITY.fullmatch(said)
    return float(found[1]) * _UNITS[found[2] or ""] if found else 0.0


def _first(blocks: tuple[Block, ...], name: str) -> Plugin | None:
    return next((found for block in blocks if (found := block.plugin(name)) is not None), None)


def _port(plugin: Plugin, usual: int) -> int:
    port = plugin.args[0].rpartition(":")[2] if plugin.args else ""
    return int(port) if port.isdigit() else usual


def _seconds(said: str) -> float:
    found = _SECONDS.fullmatch(said)
    return float(found[1]) * {"ms": 0.001, "m": 60.0}.get(found[2] or "s", 1.0) if found else 0.0
