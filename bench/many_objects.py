"""An API server of synthetic Services, EndpointSlices, Pods and Namespaces: enough for a CoreDNS to read them all.

Objects are as large as those of a real cluster and leave in the form that CoreDNS asks for: protobuf, as a watch that
begins with everything there is and a bookmark behind it (WatchList). Rule: a body is made once and sent from a file,
so that each start of a CoreDNS is told the same bytes and costs this process nothing.
"""

from __future__ import annotations

import os
import socket
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

HOME = "127.0.0.1"
NAMESPACES = 50
_SLICE_ENDS = 100  # so many endpoints the controller puts into one slice
_PORT = 8080
_PATHS = {
    "/api/v1/namespaces": ("v1", "Namespace"),
    "/api/v1/services": ("v1", "Service"),
    "/apis/discovery.k8s.io/v1/endpointslices": ("discovery.k8s.io/v1", "EndpointSlice"),
    "/api/v1/pods": ("v1", "Pod"),
}

Field = tuple[int, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Amount:
    """How much there is: pods are spread evenly over the Services."""

    services: int
    pods: int

    @property
    def objects(self) -> int:
        """Pods and Services, as the published formulas count."""
        return self.services + self.pods


# --- protobuf: number and value; text, whole numbers, and lists of fields for what is nested -----------------------


def encoded(fields: Iterable[Field]) -> bytes:
    """The wire form."""
    out = bytearray()
    for number, value in fields:
        if isinstance(value, int):
            out += _varint(number << 3) + _varint(value)
            continue
        data = value.encode() if isinstance(value, str) else value if isinstance(value, bytes) else None
        if data is None:
            assert isinstance(value, list)
            data = encoded(value)
        out += _varint(number << 3 | 2) + _varint(len(data)) + data
    return bytes(out)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _pairs(number: int, told: Mapping[str, str]) -> list[Field]:
    return [(number, [(1, key), (2, value)]) for key, value in told.items()]


# --- objects as a real cluster has them ----------------------------------------------------------------------------


def _meta(name: str, namespace: str, number: int, *more: Field) -> list[Field]:
    uid = f"8f4c1d2e-5b6a-4c3d-9e8f-{number:012x}"
    stamp: list[Field] = [(1, 1_790_000_000 + number)]
    managed = b'{"f:metadata":{"f:labels":{".":{},"f:app":{}}},"f:spec":{"f:containers":{"k:{}":{".":{}}}}}' * 8
    who: list[Field] = [(1, "controller"), (2, "Update"), (3, "v1"), (4, stamp), (6, "FieldsV1"), (7, [(1, managed)])]
    place: list[Field] = [(3, namespace)] if namespace else []
    return [(1, name), *place, (5, uid), (6, str(1_000_000 + number)), (8, stamp), *more, (17, who)]


def _names(at: int) -> tuple[str, str]:
    return f"service-{at:05d}", f"team-{at % NAMESPACES:02d}"


def _ip(base: int, at: int) -> str:
    return f"{base}.{64 + (at >> 16)}.{at >> 8 & 255}.{at & 255}"


def _service(at: int) -> list[Field]:
    name, namespace = _names(at)
    port: list[Field] = [(1, "http"), (2, "TCP"), (3, 80), (4, [(1, 0), (2, _PORT), (3, "")])]
    ip = _ip(10, 1 << 20 | at)
    spec = [(1, port), *_pairs(2, {"app": name}), (3, ip), (4, "ClusterIP"), (7, "None"), (18, ip), (19, "IPv4")]
    return [(1, _meta(name, namespace, at, *_pairs(11, {"app": name}))), (2, spec), (3, [])]


def _pod_name(service: int, pod: int) -> str:
    return f"{_names(service)[0]}-6b8f7d9c5f-{pod:05x}"


def _slice(service: int, part: int, pods: range) -> list[Field]:
    name, namespace = _names(service)
    labels = {"app": name, "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"}
    labels |= {"kubernetes.io/service-name": name}
    ends: list[Field] = []
    for pod in pods:
        target: list[Field] = [(1, "Pod"), (2, namespace), (3, _pod_name(service, pod)), (4, f"{pod:032x}")]
        conditions: list[Field] = [(1, 1), (2, 1), (3, 0)]
        node = f"node-{pod % 500:03d}"
        ends.append((2, [(1, _ip(11, pod)), (2, conditions), (4, target), (6, node), (7, "zone-a")]))
    meta = _meta(f"{name}-{part:05x}", namespace, service, *_pairs(11, labels))
    return [(1, meta), *ends, (3, [(1, "http"), (2, "TCP"), (3, _PORT)]), (4, "IPv4")]


def _pod(service: int, pod: int) -> list[Field]:
    name, namespace = _names(service)
    labels = {"app": name, "pod-template-hash": "6b8f7d9c5f", "team": namespace}
    owner: list[Field] = [(1, "ReplicaSet"), (3, f"{name}-6b8f7d9c5f"), (4, f"{service:032x}"), (5, "apps/v1"), (6, 1)]
    env: list[Field] = [(7, [(1, f"SETTING_{at}"), (2, f"the value of setting {at}")]) for at in range(8)]
    mount: list[Field] = [(1, "kube-api-access"), (2, 1), (3, "/var/run/secrets/kubernetes.io/serviceaccount")]
    container = [(1, "app"), (2, f"registry.internal/{namespace}/{name}:v1.2.3"), *env, (9, mount)]
    ip = _ip(11, pod)
    said: list[Field] = [
        (2, [(1, kind), (2, "True"), (4, [(1, 1_790_000_000)])])
        for kind in ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")
    ]
    meta = _meta(_pod_name(service, pod), namespace, pod, *_pairs(11, labels), (13, owner))
    spec: list[Field] = [(2, container), (3, "Always"), (6, "ClusterFirst"), (8, "default"), (10, f"node-{pod % 500}")]
    return [(1, meta), (2, spec), (3, [(1, "Running"), *said, (5, "10.0.0.1"), (6, ip), (12, [(1, ip)])])]


def _objects(kind: str, amount: Amount) -> Iterator[list[Field]]:
    if kind == "Namespace":
        for at in range(NAMESPACES):
            yield [(1, _meta(f"team-{at:02d}", "", at))]
    elif kind == "Service":
        yield from (_service(at) for at in range(amount.services))
    else:
        for service in range(amount.services):
            first = amount.pods * service // amount.services
            end = amount.pods * (service + 1) // amount.services
            if kind == "Pod":
                yield from (_pod(service, pod) for pod in range(first, end))
                continue
            for part, begin in enumerate(range(first, max(end, first + 1), _SLICE_ENDS)):
                yield _slice(service, part, range(begin, min(begin + _SLICE_ENDS, end)))


def _event(what: str, version: str, kind: str, fields: list[Field]) -> bytes:
    """One frame of a watch, as a chunk of HTTP."""
    unknown = b"k8s\0" + encoded([(1, [(1, version), (2, kind)]), (2, encoded(fields)), (3, ""), (4, "")])
    frame = encoded([(1, what), (2, [(1, unknown)])])
    frame = len(frame).to_bytes(4) + frame
    return b"%x\r\n%b\r\n" % (len(frame), frame)


# --- the server ----------------------------------------------------------------------------------------------------


@contextmanager
def serving(amount: Amount) -> Iterator[int]:
    """The port of an API server with so much; every watch begins with all of it."""
    with serving_these({kind: _objects(kind, amount) for _, kind in _PATHS.values()}) as port:
        yield port


@contextmanager
def serving_these(objects: Mapping[str, Iterable[list[Field]]]) -> Iterator[int]:
    """The same with the objects of each kind as they are given."""
    with tempfile.TemporaryDirectory() as folder, socket.create_server((HOME, 0), backlog=64) as listener:
        bodies = {path: Path(folder) / kind for path, (_, kind) in _PATHS.items()}
        for path, (version, kind) in _PATHS.items():
            end: list[Field] = [(6, "9000000"), *_pairs(12, {"k8s.io/initial-events-end": "true"})]
            with bodies[path].open("wb") as file:
                for fields in objects.get(kind, ()):
                    file.write(_event("ADDED", version, kind, fields))
                file.write(_event("BOOKMARK", version, kind, [(1, end)]))
        threading.Thread(target=_accept, args=(listener, bodies), daemon=True).start()
        try:
            yield int(listener.getsockname()[1])
        finally:
            listener.shutdown(socket.SHUT_RDWR)


def namespace(name: str) -> list[Field]:
    """One of this name."""
    return [(1, _meta(name, "", 1))]


def service(name: str, of: str, ips: tuple[str, ...]) -> list[Field]:
    """One with these addresses, in the namespace `of`."""
    port: list[Field] = [(1, "http"), (2, "TCP"), (3, 80), (4, [(1, 0), (2, _PORT), (3, "")])]
    families: list[Field] = [(19, "IPv6" if ":" in ip else "IPv4") for ip in ips]
    addresses: list[Field] = [(18, ip) for ip in ips]
    return [(1, _meta(name, of, 1)), (2, [(1, port), (3, ips[0]), (4, "ClusterIP"), *addresses, *families]), (3, [])]


def pod(name: str, of: str, ip: str) -> list[Field]:
    """A running one at this address."""
    return [(1, _meta(name, of, 1)), (2, []), (3, [(1, "Running"), (6, ip), (12, [(1, ip)])])]


def _accept(listener: socket.socket, bodies: Mapping[str, Path]) -> None:
    while True:
        try:
            way, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=_serve, args=(way, bodies), daemon=True).start()


def _serve(way: socket.socket, bodies: Mapping[str, Path]) -> None:
    """One connection: a watch lasts until the client goes."""
    with way, way.makefile("rb") as lines:
        while line := lines.readline():
            target = line.split()[1].decode()
            while lines.readline().strip():
                pass
            path, _, query = target.partition("?")
            if path not in bodies or "watch=true" not in query or "sendInitialEvents=true" not in query:
                body = b'{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","code":404}'
                head = (
                    f"HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
                )
                way.sendall(head.encode() + body)
                continue
            kind = "application/vnd.kubernetes.protobuf;stream=watch"
            way.sendall(f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
            with bodies[path].open("rb") as file:
                sent, size = 0, os.fstat(file.fileno()).st_size
                while sent < size:
                    sent += os.sendfile(way.fileno(), file.fileno(), sent, size - sent)
            lines.read()
            return
