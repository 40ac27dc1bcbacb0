"""The names of a cluster: what its Services, EndpointSlices and namespaces are called in DNS (specification 1.1.0).

    SERVICE.NAMESPACE.svc.DOMAIN             A, AAAA: the ClusterIPs; of a headless Service its ready endpoints; SRV
    _PORT._PROTOCOL.SERVICE.NAMESPACE.svc... SRV, and the addresses, as CoreDNS has it
    HOST.SERVICE.NAMESPACE.svc.DOMAIN        one endpoint: HOST is its hostname, else its address with dashes
    1-2-3-4.NAMESPACE.pod.DOMAIN             that address (CoreDNS: pods insecure)
    4.3.2.1.in-addr.arpa                     PTR

A Service's names are made anew when it or one of its slices changes, and nothing else is. Changed in place: one owner.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from segue.dns.wire import Answer, Code, Record, Type, address_bytes, name_bytes, soa_bytes, srv_bytes, text_bytes
from segue.model.objects import Obj, name_of, namespace_of

TTL_S = 5
VERSION = "1.1.0"
SERVICES, SLICES, NAMESPACES = "services", "endpointslices.discovery.k8s.io", "namespaces"
RESOURCES = (SERVICES, SLICES, NAMESPACES)
_SERVICE_LABEL = "kubernetes.io/service-name"
_SERVER = "kube-dns.kube-system"
_CHAIN_MAX = 8  # CNAMEs in the zone that lead to each other
_REVERSE = (".in-addr.arpa", ".ip6.arpa")
_TARGET_AT: dict[int, int] = {Type.SRV: 6, Type.NS: 0}  # where a record's data has a name
_DASHED = re.compile(r"\d{1,3}(-\d{1,3}){3}")

Data = dict[int, list[bytes]]
Key = tuple[str, str]  # namespace, name


@dataclass(slots=True, kw_only=True)
class Named:
    """What one Service is called: names relative to its own ("" is that), and who its addresses belong to."""

    names: dict[str, Data] = field(default_factory=dict)
    targets: dict[str, list[str]] = field(default_factory=dict)  # address -> full names, for PTR


@dataclass(slots=True)
class Zone:
    """All names, and the answer to a question about one of them."""

    domain: str = "cluster.local"
    ttl_s: int = TTL_S
    serial: int = 1
    _services: dict[Key, Obj] = field(default_factory=dict)
    _slices: dict[Key, dict[str, Obj]] = field(default_factory=dict)  # Service -> slices
    _owner: dict[Key, Key] = field(default_factory=dict)  # slice -> Service
    _namespaces: set[str] = field(default_factory=set)
    _named: dict[Key, Named] = field(default_factory=dict)
    _pointers: dict[str, dict[Key, list[str]]] = field(default_factory=dict)  # address -> Service -> names

    def put(self, resource: str, obj: Obj) -> None:
        """An object is there, or has changed."""
        self.serial += 1
        key = namespace_of(obj), name_of(obj)
        if resource == NAMESPACES:
            self._namespaces.add(key[1])
        elif resource == SERVICES:
            self._services[key] = obj
            self._name(key)
        elif resource == SLICES:
            self._forget_slice(key)
            service = str((obj["metadata"].get("labels") or {}).get(_SERVICE_LABEL) or "")
            if service:
                self._owner[key] = key[0], service
                self._slices.setdefault((key[0], service), {})[key[1]] = obj
                self._name((key[0], service))

    def remove(self, resource: str, namespace: str, name: str) -> None:
        """An object is gone."""
        self.serial += 1
        if resource == NAMESPACES:
            self._namespaces.discard(name)
        elif resource == SERVICES:
            self._services.pop((namespace, name), None)
            self._name((namespace, name))
        elif resource == SLICES:
            self._forget_slice((namespace, name))

    def holds(self, name: str) -> bool:
        """Whether the zone is where to look; what is not goes upstream."""
        if name == self.domain or name.endswith(f".{self.domain}"):
            return True
        return name.endswith(_REVERSE) and _address_of(name) in self._pointers

    def find(self, name: str, kind: int) -> Answer:
        """The answer to a question about a name that the zone holds, in lower case."""
        if name.endswith(_REVERSE):
            return self._pointing(name, kind)
        records: list[Record] = []
        for _ in range(_CHAIN_MAX):
            data = self._data(name)
            if data is None:
                return self._nothing(Code.NOERROR if records else Code.NXDOMAIN, records)
            alias = data.get(Type.CNAME)
            if alias and kind in (Type.A, Type.AAAA):
                records.append(self._record(name, Type.CNAME, alias[0]))
                name = _alias_of(alias[0])
                if not self.holds(name):
                    return Answer(records=records)
                continue
            found = data.get(kind)
            if not found:
                return self._nothing(Code.NOERROR, records)
            records += [self._record(name, kind, one) for one in found]
            return Answer(records=records, more=self._beside(kind, found))
        return self._nothing(Code.SERVFAIL, [])

    def listed(self) -> dict[str, frozenset[str]]:
        """Every name of Services and namespaces with the address types it has: what a lookup can find."""
        found = {f"{namespace}.svc.{self.domain}": frozenset[str]() for namespace in self._namespaces}
        found[self.domain] = frozenset()
        for namespace, service in self._services:
            for relative, data in self._named[namespace, service].names.items():
                own = f"{service}.{namespace}.svc.{self.domain}"
                kinds = {"A", "AAAA"} if Type.CNAME in data else {Type(one).name for one in data} & {"A", "AAAA"}
                found[f"{relative}.{own}" if relative else own] = frozenset(kinds)
        return found

    def _data(self, name: str) -> Data | None:
        """What a name of the domain has: None where there is no such name."""
        labels = name.removesuffix(self.domain).rstrip(".").split(".")
        match labels[::-1]:
            case [""]:
                soa = soa_bytes(self.domain, self.serial, self.ttl_s)
                return {Type.SOA: [soa], Type.NS: [name_bytes(f"{_SERVER}.svc.{self.domain}")]}
            case ["dns-version"]:
                return {Type.TXT: [text_bytes(VERSION)]}
            case ["dns", "ns"]:
                return self._server()
            case ["svc" | "pod"]:
                return {}
            case ["svc" | "pod", namespace]:
                return {} if namespace in self._namespaces else None
            case ["pod", namespace, dashed]:
                return _dashed(dashed) if namespace in self._namespaces else None
            case ["svc", namespace, service, *rest]:
                named = self._named.get((namespace, service))
                return None if named is None else named.names.get(".".join(reversed(rest)))
            case _:
                return None

    def _server(self) -> Data | None:
        named = self._named.get(("kube-system", "kube-dns"))
        return named.names.get("") if named else {}

    def _pointing(self, name: str, kind: int) -> Answer:
        names = [one for some in self._pointers.get(_address_of(name), {}).values() for one in some]
        if kind != Type.PTR or not names:
            return self._nothing(Code.NOERROR if names else Code.NXDOMAIN, [])
        return Answer(records=[self._record(name, Type.PTR, name_bytes(one)) for one in names])

    def _nothing(self, code: Code, records: list[Record]) -> Answer:
        """No such name or no such record: with the SOA, so that it may be remembered."""
        soa = Record(
            name=self.domain, type=Type.SOA, ttl_s=self.ttl_s, data=soa_bytes(self.domain, self.serial, self.ttl_s)
        )
        return Answer(code=code, records=records, authority=(soa,))

    def _record(self, name: str, kind: int, data: bytes) -> Record:
        return Record(name=name, type=kind, ttl_s=self.ttl_s, data=data)

    def _beside(self, kind: int, found: list[bytes]) -> list[Record]:
        """The addresses of what SRV and NS records point to."""
        before = _TARGET_AT.get(kind)
        if before is None:
            return []
        records = []
        for target in dict.fromkeys(_alias_of(one[before:]) for one in found):
            for address, all_of_it in (self._data(target) or {}).items():
                if address in (Type.A, Type.AAAA):
                    records += [self._record(target, address, one) for one in all_of_it]
        return records

    # --- what a Service is called -------------------------------------------------------------------------------------

    def _forget_slice(self, key: Key) -> None:
        service = self._owner.pop(key, None)
        if service is not None:
            self._slices[service].pop(key[1], None)
            self._name(service)

    def _name(self, key: Key) -> None:
        """Make the names of one Service anew."""
        before = self._named.pop(key, None)
        for address in before.targets if before else ():
            del self._pointers[address][key]
            if not self._pointers[address]:
                del self._pointers[address]
        service = self._services.get(key)
        if service is None:
            return
        named = self._named[key] = _named(service, list(self._slices.get(key, {}).values()), self.domain)
        for address, names in named.targets.items():
            self._pointers.setdefault(address, {})[key] = names


def essence(resource: str, obj: Obj) -> Obj:
    """The part of an object from which names are made: nothing else needs to be sent to a server or compared."""
    metadata: Obj = {"namespace": namespace_of(obj), "name": name_of(obj)}
    if resource == SERVICES:
        spec: Obj = obj.get("spec") or {}
        kept = ("type", "clusterIP", "clusterIPs", "ports", "externalName")
        return {"metadata": metadata, "spec": {key: spec[key] for key in kept if key in spec}}
    if resource == SLICES:
        label = (obj["metadata"].get("labels") or {}).get(_SERVICE_LABEL)
        ends = [
            {"addresses": one.get("addresses") or [], "hostname": one.get("hostname") or ""}
            for one in obj.get("endpoints") or []
            if is_ready(one)
        ]
        metadata["labels"] = {_SERVICE_LABEL: label} if label else {}
        return {"metadata": metadata, "endpoints": ends, "ports": obj.get("ports") or []}
    return {"metadata": metadata}


def is_ready(endpoint: Obj) -> bool:
    """Whether DNS tells of it: nil reads as true (E2)."""
    return (endpoint.get("conditions") or {}).get("ready") is not False


def _named(service: Obj, slices: list[Obj], domain: str) -> Named:
    spec: Obj = service.get("spec") or {}
    own = f"{name_of(service)}.{namespace_of(service)}.svc.{domain}"
    named = Named()
    if spec.get("type") == "ExternalName":
        named.names[""] = {Type.CNAME: [name_bytes(str(spec.get("externalName") or ""))]}
        return named
    ends = list(_ends(slices))
    for host, address, _ in ends:
        _add(named.names.setdefault(host, {}), *address_bytes(address))
        if f"{host}.{own}" not in named.targets.setdefault(address, []):
            named.targets[address].append(f"{host}.{own}")
    if spec.get("clusterIP") == "None":
        wanted = [(f"{host}.{own}", address, port) for host, address, ports in ends for port in ports]
        for _, address, _ in ends:  # also where it has no ports at all
            _add(named.names.setdefault("", {}), *address_bytes(address))
    else:
        addresses = [one for one in spec.get("clusterIPs") or [spec.get("clusterIP")] if one]
        wanted = [(own, address, port) for address in addresses for port in spec.get("ports") or []]
        for address in addresses:
            named.targets[address] = [own]
    for target, address, port in wanted:
        _add_port(named.names, target, address, port)
    for data in named.names.values():
        if Type.SRV in data:
            weight = max(1, 100 // len(data[Type.SRV]))
            data[Type.SRV] = [one[:2] + weight.to_bytes(2) + one[4:] for one in data[Type.SRV]]
    return named


def _add_port(names: dict[str, Data], target: str, address: str, port: Obj) -> None:
    """An address and port under the Service's own name and under the port's."""
    kind, data = address_bytes(address)
    srv = srv_bytes(0, int(port.get("port") or 0), target)
    places = [""]
    if port.get("name"):
        places.append(f"_{port['name']}._{str(port.get('protocol') or 'TCP').lower()}".lower())
    for place in places:
        into = names.setdefault(place, {})
        _add(into, kind, data)
        _add(into, Type.SRV, srv)


def _add(into: Data, kind: int, data: bytes) -> None:
    found = into.setdefault(kind, [])
    if data not in found:
        found.append(data)


def _ends(slices: list[Obj]) -> Iterator[tuple[str, str, list[Obj]]]:
    """(host name, address, ports) of every ready endpoint."""
    for piece in slices:
        for one in piece.get("endpoints") or []:
            if not is_ready(one):
                continue
            for address in one.get("addresses") or []:
                host = str(one.get("hostname") or address.replace(".", "-").replace(":", "-")).lower()
                yield host, str(address), piece.get("ports") or []


def _dashed(label: str) -> Data | None:
    """An address that is written as a label."""
    try:
        kind, data = address_bytes(label.replace("-", "." if _DASHED.fullmatch(label) else ":"))
    except ValueError:
        return None
    return {kind: [data]}


def _alias_of(data: bytes) -> str:
    """The name in a CNAME's data."""
    at = 0
    labels: list[str] = []
    while data[at]:
        labels.append(data[at + 1 : at + 1 + data[at]].decode("latin-1"))
        at += 1 + data[at]
    return ".".join(labels).lower()


def _address_of(name: str) -> str:
    """The address that a reverse name stands for, "" where it stands for none."""
    plain, _, rest = name.partition(".in-addr.arpa")
    if not rest and plain.count(".") == 3 and plain != name:
        return ".".join(reversed(plain.split(".")))
    nibbles = name.removesuffix(".ip6.arpa").split(".")
    if name.endswith(".ip6.arpa") and len(nibbles) == 32:
        digits = "".join(reversed(nibbles))
        try:
            return str(ipaddress.ip_address(bytes.fromhex(digits)))
        except ValueError:
            return ""
    return ""
