"""The cluster that a test of this folder is given: a namespace of its own on the embedded cluster or on a real one.

`SEGUE_CLUSTER=real` takes the running test bed; else an embedded cluster is started, one per test process. What a test
may do is the same on both: kubectl and segue, plain API calls, watches, sockets in the client's network.
Rule: a test never asks which cluster it has; where one cannot show a fact, the marker `only` says so and why.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from segue.host.state import Running
from segue.model.objects import Obj
from tests.live.both.manifests import PORT
from tests.live.console import BIN, Console
from tests.waiting import wait_until

HERE = Path(__file__).resolve().parent
_GROUPS = {
    "deployments": "/apis/apps/v1",
    "replicasets": "/apis/apps/v1",
    "statefulsets": "/apis/apps/v1",
    "daemonsets": "/apis/apps/v1",
    "controllerrevisions": "/apis/apps/v1",
    "jobs": "/apis/batch/v1",
    "endpointslices": "/apis/discovery.k8s.io/v1",
    "leases": "/apis/coordination.k8s.io/v1",
    "poddisruptionbudgets": "/apis/policy/v1",
    "horizontalpodautoscalers": "/apis/autoscaling/v2",
}
_STRATEGIC = "application/strategic-merge-patch+json"


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A running cluster and what all tests of one process share: a door to its client network, a way to its API."""

    label: str  # embedded | real-1.37
    state: Path
    kubeconfig: Path
    running: Running
    door: socket.socket  # hands out sockets of the client's network
    api_port: int  # of a `kubectl proxy` on loopback
    node: str
    stop_kubelet: Callable[[bool], None]  # stops it without ending it (True), or lets it go on
    kill_kubelet: Callable[[], None]  # it is started again

    @property
    def node_ip(self) -> str:
        """Where NodePorts answer for the client."""
        return self.running.node_ip

    def call(self, method: str, path: str, body: object = None, content_type: str = "") -> tuple[int, Obj]:
        """One API call: status code and body."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.api_port, timeout=30)) as way:
            headers = {"Content-Type": content_type or "application/json"} if body is not None else {}
            way.request(method, path, None if body is None else json.dumps(body), headers)
            answer = way.getresponse()
            return answer.status, json.loads(answer.read() or b"{}")

    def socket(self, kind: socket.SocketKind = socket.SOCK_STREAM) -> socket.socket:
        """A socket in the client's network."""
        self.door.sendall(b"u" if kind == socket.SOCK_DGRAM else b"t")
        _, descriptors, _, _ = socket.recv_fds(self.door, 1, 1)
        return socket.socket(fileno=descriptors[0])

    @contextmanager
    def silent_kubelet(self) -> Iterator[None]:
        """While the block runs the kubelet does and says nothing; containers and connections are left alone."""
        self.stop_kubelet(True)
        try:
            yield
        finally:
            self.stop_kubelet(False)

    @contextmanager
    def cordoned(self) -> Iterator[None]:
        """While the block runs the node takes no more pods."""
        self._let_in(False)
        try:
            yield
        finally:
            self.uncordon()

    def uncordon(self) -> None:
        """The node takes pods again."""
        self._let_in(True)

    def annotate_node(self, key: str, value: str | None) -> None:
        """Write an annotation of the node, or take it off."""
        self._patch_node({"metadata": {"annotations": {key: value}}})

    def _let_in(self, wanted: bool) -> None:
        self._patch_node({"spec": {"unschedulable": None if wanted else True}})

    def _patch_node(self, patch: Obj) -> None:
        code, told = self.call("PATCH", f"/api/v1/nodes/{self.node}", patch, "application/merge-patch+json")
        assert code == 200, told


@contextmanager
def doors(state: Path, kubeconfig: Path) -> Iterator[tuple[socket.socket, int]]:
    """The client's door and the API's, as processes that end with this block."""
    ours, theirs = socket.socketpair()
    enter = [sys.executable, "-m", "segue.host.network.enter", "--state", str(state), "--"]
    keeper = [sys.executable, str(HERE / "client_door.py"), str(theirs.fileno())]
    proxy = [str(BIN / "kubectl"), "--kubeconfig", str(kubeconfig), "proxy", "--port", "0"]
    with (
        ours,
        subprocess.Popen([*enter, *keeper], pass_fds=[theirs.fileno()]) as house,
        subprocess.Popen(proxy, stdout=subprocess.PIPE, text=True) as api,
    ):
        theirs.close()
        try:
            assert api.stdout is not None
            said = api.stdout.readline()
            found = re.search(r":(\d+)\s*$", said)
            assert found, f"kubectl proxy said {said!r}"
            yield ours, int(found[1])
        finally:
            ours.close()
            house.terminate()
            api.terminate()


@dataclass(frozen=True, slots=True, kw_only=True)
class Happening:
    """One event of a watch and when it was seen here (wall clock, as the puppets' own)."""

    at_s: float
    type: str  # ADDED | MODIFIED | DELETED
    object: Obj

    @property
    def name(self) -> str:
        """Of the object."""
        return str(self.object["metadata"]["name"])


@dataclass(slots=True, kw_only=True)
class Watched:
    """What a watch has told so far."""

    happenings: list[Happening] = field(default_factory=list)

    def of(self, name: str) -> list[Happening]:
        """Those of one object."""
        return [each for each in list(self.happenings) if each.name == name]

    def wait(self, wanted: Callable[[Happening], object], *, limit_s: float = 20.0, what: str = "") -> Happening:
        """The first happening like this, past ones included."""
        found = wait_until(
            lambda: next((each for each in list(self.happenings) if wanted(each)), None),
            limit_s=limit_s,
            what=what or "a happening in a watch",
        )
        assert found
        return found


@dataclass(slots=True, kw_only=True)
class Place(Console):
    """A namespace of a test's own."""

    world: World
    namespace: str
    env: dict[str, str]

    # -- commands ----------------------------------------------------------------------------------------------------

    def from_client(self, *argv: str) -> list[str]:
        """The command line that runs `argv` in the client's network."""
        return [sys.executable, "-m", "segue.host.network.enter", "--state", str(self.world.state), "--", *argv]

    # -- the API -----------------------------------------------------------------------------------------------------

    def path(self, resource: str, name: str = "", sub: str = "") -> str:
        """The URL path of objects of this namespace."""
        parts = [_GROUPS.get(resource, "/api/v1"), "namespaces", self.namespace, resource, name, sub]
        return "/".join(part for part in parts if part)

    def create(self, *objects: Obj) -> None:
        """Create objects; AssertionError where one is refused."""
        for each in objects:
            code, told = self.world.call("POST", self.path(each["kind"].lower() + "s"), each)
            assert code == 201, told.get("message")

    def get(self, resource: str, name: str) -> Obj:
        """One object; empty where there is none."""
        code, found = self.world.call("GET", self.path(resource, name))
        return found if code == 200 else {}

    def all(self, resource: str, selector: str = "") -> list[Obj]:
        """All objects of the namespace, or those that the label selector takes."""
        code, found = self.world.call("GET", self.path(resource) + (f"?labelSelector={selector}" if selector else ""))
        assert code == 200, found
        items: list[Obj] = found["items"]
        return items

    def patch(self, resource: str, name: str, patch: object, *, kind: str = _STRATEGIC, sub: str = "") -> Obj:
        """Patch an object, strategically unless told otherwise."""
        code, told = self.world.call("PATCH", self.path(resource, name, sub), patch, kind)
        assert code == 200, told
        return told

    def delete(self, resource: str, name: str, grace_s: int | None = None) -> Obj:
        """Delete as kubectl does; what the API answers."""
        body = {"propagationPolicy": "Background"} | ({} if grace_s is None else {"gracePeriodSeconds": grace_s})
        code, told = self.world.call("DELETE", self.path(resource, name), body)
        assert code in (200, 202), told
        return told

    def evict(self, pod: str) -> None:
        """Ask for an eviction as kubectl drain does; AssertionError where it is refused."""
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod}}
        code, told = self.world.call("POST", self.path("pods", pod, "eviction"), eviction)
        assert code == 201, told

    @contextmanager
    def watch(self, resource: str) -> Iterator[Watched]:
        """Everything that happens to objects of this namespace while the block runs, those that exist as ADDED."""
        told = Watched()
        way = http.client.HTTPConnection("127.0.0.1", self.world.api_port, timeout=600)
        way.request("GET", self.path(resource) + "?watch=true")
        answer = way.getresponse()
        assert answer.status == 200, answer.read()

        def read() -> None:
            with suppress(OSError, ValueError, AttributeError, http.client.HTTPException):  # the block has ended
                while line := answer.readline():
                    event = json.loads(line)
                    told.happenings.append(Happening(at_s=time.time(), type=event["type"], object=event["object"]))

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        try:
            yield told
        finally:
            if way.sock is not None:
                way.sock.shutdown(socket.SHUT_RDWR)
            reader.join()
            way.close()

    # -- pods --------------------------------------------------------------------------------------------------------

    def wait_ready(self, name: str, limit_s: float = 30.0) -> Obj:
        """Wait until the pod is Ready; the pod."""
        wait_until(lambda: is_ready(self.get("pods", name)), limit_s=limit_s, what=f"{name} to be Ready")
        return self.get("pods", name)

    def wait_gone(self, resource: str, name: str, limit_s: float = 30.0) -> None:
        """Wait until the object is gone."""
        wait_until(lambda: not self.get(resource, name), limit_s=limit_s, what=f"{name} to be gone")

    def wait_ready_pods(self, count: int, selector: str = "", limit_s: float = 40.0) -> list[Obj]:
        """Wait until exactly so many pods are Ready and none of these is leaving; the pods."""

        def staying() -> list[Obj]:
            pods = self.all("pods", selector)
            return [pod for pod in pods if is_ready(pod) and "deletionTimestamp" not in pod["metadata"]]

        wait_until(lambda: len(staying()) == count, limit_s=limit_s, what=f"{count} ready pods")
        return staying()

    def events_of(self, pod: str) -> list[Obj]:
        """What a puppet has told in its log."""
        return [json.loads(line) for line in self.kubectl("logs", pod).splitlines() if line.startswith("{")]

    @contextmanager
    def following(self, pod: str, container: str = "") -> Iterator[list[Obj]]:
        """What a puppet tells while the block runs and until its end: its log outlives the pod here."""
        told: list[Obj] = []
        argv = [str(BIN / "kubectl"), "logs", "-f", pod, *(["-c", container] if container else [])]
        with subprocess.Popen(argv, env=self.env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as logs:

            def read() -> None:
                assert logs.stdout is not None
                told.extend(json.loads(line) for line in logs.stdout if line.startswith("{"))

            reader = threading.Thread(target=read, daemon=True)
            reader.start()
            wait_until(lambda: told, what=f"the log of {pod}")
            try:
                yield told
            finally:
                with suppress(subprocess.TimeoutExpired):  # it ends with the pod; else it is ended here
                    logs.wait(0.5)
                logs.terminate()
                reader.join()

    def pull(self, pod_ip: str, **strings: str) -> None:
        """Pull strings of a puppet."""
        self.ask(pod_ip, PORT, "/set?" + "&".join(f"{name}={value}" for name, value in strings.items()))

    # -- the network -------------------------------------------------------------------------------------------------

    def connect(self, ip: str, port: int, *, limit_s: float = 5.0) -> socket.socket:
        """A TCP connection from the client's network; OSError as connect(2) has it."""
        made = self.world.socket()
        made.settimeout(limit_s)
        try:
            made.connect((ip, port))
        except BaseException:
            made.close()
            raise
        return made

    def ask(self, ip: str, port: int, path: str = "/", *, limit_s: float = 5.0) -> tuple[int, str]:
        """One HTTP request over a connection of its own: status and body."""
        with closing(http.client.HTTPConnection(ip, port)) as way:
            way.sock = self.connect(ip, port, limit_s=limit_s)
            way.request("GET", path, headers={"Connection": "close"})
            answer = way.getresponse()
            return answer.status, answer.read().decode()

    @contextmanager
    def datagram(self, ip: str, port: int) -> Iterator[socket.socket]:
        """A connected UDP socket of the client's network."""
        with self.world.socket(socket.SOCK_DGRAM) as made:
            made.connect((ip, port))
            yield made

    def cluster_ip(self, service: str = "puppet") -> str:
        """The Service's address."""
        return str(self.get("services", service)["spec"]["clusterIP"])

    def node_port(self, service: str = "puppet") -> int:
        """The Service's first node port."""
        return int(self.get("services", service)["spec"]["ports"][0]["nodePort"])

    def endpoints(self, service: str = "puppet") -> dict[str, Obj]:
        """Conditions by pod name, of all slices of the Service."""
        slices = self.all("endpointslices", f"kubernetes.io/service-name={service}")
        return {
            each["targetRef"]["name"]: each["conditions"]
            for one in slices
            for each in one.get("endpoints") or []
            if "targetRef" in each
        }

    def leave(self) -> None:
        """Take the namespace away, its pods quickly; not waited for."""
        self.world.call("DELETE", f"/api/v1/namespaces/{self.namespace}")
        for each in self.all("pods"):  # one that is gone meanwhile answers 404
            self.world.call("DELETE", self.path("pods", each["metadata"]["name"]), {"gracePeriodSeconds": 0})


def is_ready(pod: Obj) -> bool:
    """Whether the pod's condition Ready is True."""
    return condition(pod, "Ready") == "True"


def condition(thing: Obj, kind: str) -> str:
    """A condition's status; "" where it is not there."""
    conditions = thing.get("status", {}).get("conditions") or []
    return next((str(each["status"]) for each in conditions if each["type"] == kind), "")


def client_env(kubeconfig: Path, state: Path) -> dict[str, str]:
    """The environment of commands against a place."""
    return {**os.environ, "SEGUE_HOME": str(state.parent), "KUBECONFIG": str(kubeconfig), "NO_COLOR": "1"}
