"""Cluster addresses and node ports of Services: which are taken, and the next free one. Never writes an object.

What is taken is read from the Services in the store each time, so a deleted Service has released its own by being gone.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from segue.cluster.refusals import Cause, forbidden_field, invalid_value
from segue.cluster.store import Store
from segue.model.objects import Obj, name_of, namespace_of
from segue.ports import Chance

NODE_PORTS = range(30000, 32768)
_TYPES_WITH_NODE_PORTS = {"NodePort", "LoadBalancer"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What other Services hold: addresses, and (port, protocol) pairs."""

    addresses: frozenset[str]
    node_ports: frozenset[tuple[int, str]]


class Allocator:
    """Gives a Service its addresses as the API server does: what it asks for if free, else a free one by chance."""

    def __init__(self, store: Store, chance: Chance, service_cidr: str) -> None:
        self._store = store
        self._chance = chance
        self._network = ipaddress.ip_network(service_cidr)

    @property
    def first(self) -> str:
        """The address of the Service `kubernetes`."""
        return str(self._network[1])

    def assign(self, service: Obj, before: Obj | None) -> list[Cause]:
        """Fill addresses and node ports into `service`; what cannot be had is returned as causes."""
        spec = service["spec"]
        if spec.get("type") == "ExternalName":
            for key in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"):
                spec.pop(key, None)
            return []
        spec.setdefault("ipFamilyPolicy", "SingleStack")
        spec.setdefault("ipFamilies", ["IPv4"])
        taken = self._taken_by_others(service)
        old = (before or {}).get("spec", {})
        return self._cluster_ip(spec, old, taken) + self._node_ports(spec, old, taken)

    def _taken_by_others(self, service: Obj) -> Taken:
        own = namespace_of(service), name_of(service)
        others = [one["spec"] for one in self._store.all_of("services") if (namespace_of(one), name_of(one)) != own]
        return Taken(
            addresses=frozenset(one.get("clusterIP") or "" for one in others),
            node_ports=frozenset(
                (port["nodePort"], port.get("protocol", "TCP"))
                for one in others
                for port in one.get("ports") or []
                if port.get("nodePort")
            ),
        )

    def _cluster_ip(self, spec: Obj, old: Obj, taken: Taken) -> list[Cause]:
        was = old.get("clusterIP")
        if not spec.get("clusterIP"):
            listed = spec.get("clusterIPs") or []
            spec["clusterIP"] = listed[0] if listed else (was or self._free_address(taken))
        wanted = spec["clusterIP"]
        if was and wanted != was and old.get("type") != "ExternalName":
            return [invalid_value("spec.clusterIPs[0]", [wanted], "may not change once set")]
        spec["clusterIPs"] = [wanted]
        if wanted == "None":
            return []
        try:
            inside = ipaddress.ip_address(wanted) in self._network
        except ValueError:
            detail = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
            return [invalid_value("spec.clusterIPs[0]", wanted, detail)]
        if not inside:
            detail = (
                f"failed to allocate IP {wanted}: the provided IP ({wanted}) is not in the valid range. "
                f"The range of valid IPs is {self._network}"
            )
            return [invalid_value("spec.clusterIPs", [wanted], detail)]
        if wanted in taken.addresses:
            detail = f"failed to allocate IP {wanted}: provided IP is already allocated"
            return [invalid_value("spec.clusterIPs", [wanted], detail)]
        return []

    def _free_address(self, taken: Taken) -> str:
        size = self._network.num_addresses
        # The lower part is left to those who ask for an address by number, as Kubernetes leaves it.
        low = min(max(16, size // 16), 256)
        start = self._chance.below(size - low - 1)
        for step in range(size - low - 1):
            address = str(self._network[low + (start + step) % (size - low - 1)])
            if address not in taken.addresses:
                return address
        raise AssertionError("65,000 Services are more than one machine holds")

    def _node_ports(self, spec: Obj, old: Obj, taken: Taken) -> list[Cause]:
        ports = spec.get("ports") or []
        if spec.get("type") not in _TYPES_WITH_NODE_PORTS:
            # A type changed away from NodePort gives its ports back without being asked to name them.
            were = {port.get("nodePort") for port in old.get("ports") or []}
            for port in ports:
                if port.get("nodePort") in were:
                    port.pop("nodePort", None)
            return [
                forbidden_field(f"spec.ports[{index}].nodePort", "may not be used when `type` is 'ClusterIP'")
                for index, port in enumerate(ports)
                if port.get("nodePort")
            ]
        held = {_port_key(port): port["nodePort"] for port in old.get("ports") or [] if port.get("nodePort")}
        used: set[tuple[int, str]] = {(port["nodePort"], port["protocol"]) for port in ports if port.get("nodePort")}
        causes: list[Cause] = []
        for index, port in enumerate(ports):
            path = f"spec.ports[{index}].nodePort"
            wanted = port.get("nodePort")
            if wanted:
                if wanted not in NODE_PORTS:
                    valid = f"{NODE_PORTS[0]}-{NODE_PORTS[-1]}"
                    detail = f"provided port is not in the valid range. The range of valid ports is {valid}"
                    causes.append(invalid_value(path, wanted, detail))
                elif (wanted, port["protocol"]) in taken.node_ports:
                    causes.append(invalid_value(path, wanted, "provided port is already allocated"))
                continue
            kept = held.get(_port_key(port))
            if kept is None or (kept, port["protocol"]) in used:
                kept = self._free_port(taken, used)
            port["nodePort"] = kept
            used.add((kept, port["protocol"]))
        return causes

    def _free_port(self, taken: Taken, used: set[tuple[int, str]]) -> int:
        numbers = {number for number, _ in taken.node_ports | used}
        start = self._chance.below(len(NODE_PORTS))
        for step in range(len(NODE_PORTS)):
            port = NODE_PORTS[(start + step) % len(NODE_PORTS)]
            if port not in numbers:
                return port
        raise AssertionError("2,768 node ports are more than one machine uses")


def drop_fields_of_old_type(service: Obj, before: Obj) -> None:
    """A Service whose type changes loses what only its old type may have, unless the caller has set it anew."""
    spec, old = service.get("spec") or {}, before.get("spec", {})
    if spec.get("type", "ClusterIP") not in _TYPES_WITH_NODE_PORTS:
        for key in ("externalTrafficPolicy", "healthCheckNodePort"):
            if key in spec and spec[key] == old.get(key):
                del spec[key]
    if spec.get("type") != "LoadBalancer" and old.get("type") == "LoadBalancer":
        spec.pop("allocateLoadBalancerNodePorts", None)
    if spec.get("type") != "ExternalName" and old.get("type") == "ExternalName":
        spec.pop("externalName", None)


def _port_key(port: Obj) -> tuple[str, int, str]:
    return port.get("name") or "", port.get("port", 0), port.get("protocol", "TCP")
