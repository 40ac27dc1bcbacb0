"""Moments of a pod's life: what its puppet told, when its process died, what the cluster said about it.

Rule: a moment is taken where it happens (the puppet's clock, a connection's end), never from a poll of the API.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPException

from segue.model.objects import Obj
from tests.live.both.manifests import PORT, http
from tests.live.both.world import Place
from tests.waiting import wait_until


def begin(place: Place, *objects: Obj) -> str:
    """Create objects, the last of them a pod; its address, once it is Ready and answers.

    Without a readiness probe a pod is Ready before its program listens (P3).
    """
    place.create(*objects)
    name = objects[-1]["metadata"]["name"]
    place.wait_ready(name)
    return address(place, name)


def address(place: Place, pod: str) -> str:
    """A pod's address, once it answers there."""
    ip = wait_until(lambda: place.get("pods", pod)["status"].get("podIP"), limit_s=30, what=f"{pod} to have an address")
    wait_until(lambda: answers(place, ip), limit_s=30, what=f"{pod} to answer")
    return str(ip)


def told_by(place: Place, ip: str, port: int = PORT) -> list[Obj]:
    """What a puppet that still answers has told since its start."""
    told: list[Obj] = json.loads(place.ask(ip, port, "/events")[1])
    return told


def answers(place: Place, ip: str, port: int = PORT) -> bool:
    """Whether a pod takes connections."""
    try:
        place.connect(ip, port).close()
    except OSError:
        return False
    return True


def probed(**liveness: object) -> Obj:
    """A liveness probe that fails at the first bad answer, but not because the machine is slow or the program starts.

    Without the startup probe it would also kill programs that do not listen yet.
    """
    patient: Obj = {"timeoutSeconds": 5}
    return {
        "startupProbe": http("startup", failures=60) | patient,
        "livenessProbe": http("health") | patient | liveness,
    }


def hook(path: str) -> Obj:
    """A container's `lifecycle` with a preStop that asks its puppet for this path."""
    return {"preStop": asks(path)}


def asks(path: str, *, port: int = PORT, host: str = "") -> Obj:
    """A hook's or probe's handler: GET this of the puppet, or of another host."""
    get: Obj = {"path": f"/{path}", "port": port}
    return {"httpGet": get | ({"host": host} if host else {})}


def moment(told: list[Obj], what: str, nth: int = 0) -> float:
    """When this happened, waited for; `nth` of several."""

    def happened() -> list[float]:
        return [float(each["t"]) for each in list(told) if each["what"] == what]

    wait_until(lambda: len(happened()) > nth, limit_s=60, what=f"{what} in a puppet's log")
    return happened()[nth]


def moments(told: list[Obj], what: str, **more: str) -> list[float]:
    """When this has happened so far; `more` must be told with it."""
    return [
        float(each["t"])
        for each in list(told)
        if each["what"] == what and all(each.get(name) == value for name, value in more.items())
    ]


@contextmanager
def lifeline(place: Place, ip: str, port: int = PORT) -> Iterator[socket.socket]:
    """An idle connection to a pod: it is cut when the process that holds it dies."""
    with place.connect(ip, port) as held:
        yield held


def cut_s(held: socket.socket, limit_s: float = 30.0) -> float:
    """When the other side ended this connection, waited for."""
    held.settimeout(limit_s)
    with suppress(ConnectionResetError):
        said = held.recv(1)
        assert not said, f"the other side says {said!r}"
    return time.time()


def leave(place: Place, ip: str, code: int, *, port: int = PORT) -> float:
    """Let a puppet exit with this code; when it was gone."""
    with suppress(OSError, HTTPException):
        place.ask(ip, port, f"/exit?code={code}")
    return time.time()


def said_about(place: Place, pod: str, reason: str) -> list[Obj]:
    """The cluster's events about a pod."""
    events = [each for each in place.all("events") if each["involvedObject"].get("name") == pod]
    return [each for each in events if each["reason"] == reason]


def wait_said(place: Place, pod: str, reason: str) -> Obj:
    """The first event about a pod with this reason."""
    found = wait_until(lambda: said_about(place, pod, reason), limit_s=60, what=f"event {reason} about {pod}")
    return found[0]


def restarts(pod: Obj, container: int = 0) -> int:
    """How often a container was started again."""
    statuses = pod.get("status", {}).get("containerStatuses") or []
    return int(statuses[container]["restartCount"]) if statuses else 0
