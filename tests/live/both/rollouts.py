"""What tests of rollouts ask of a Deployment: its ReplicaSets by revision, their sizes, and the story of both.

Rule: a story is read from a watch after the fact; nothing here polls for a state that may pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from segue.model.objects import Obj
from tests import waiting
from tests.live.both import manifests
from tests.live.both.manifests import PORT, container, http
from tests.live.both.world import Happening, Place, Watched, is_ready

REVISION = "deployment.kubernetes.io/revision"
HASH = "pod-template-hash"
T = TypeVar("T")


def wait_until(condition: Callable[[], T], *, limit_s: float = 60.0, what: str = "") -> T:
    """Wait as tests/waiting.py does, but long enough for a machine that runs other tests beside these."""
    return waiting.wait_until(condition, limit_s=limit_s, what=what)


def deployment(name: str, replicas: int, **more: object) -> Obj:
    """A Deployment whose pods stay Ready on a machine that is too busy to answer each probe in time."""
    probe = http("ready", failures=5, timeoutSeconds=5)
    return manifests.deployment(name, replicas, readinessProbe=probe, **more)  # type: ignore[arg-type]


def strategy(surge: int | str, unavailable: int | str) -> Obj:
    """A rolling update with these bounds, as a part of a Deployment's spec."""
    return {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}}


def template(version: str = "v2", strings: str = "", **more: object) -> Obj:
    """A change of the template, as a patch of the spec: another version, other strings."""
    return {"template": {"spec": {"containers": [container(version=version, strings=strings, **more)]}}}


def held(version: str = "v2") -> Obj:
    """A template whose pods run but are not Ready until their string `ready` is pulled."""
    return template(version, strings="ready=503")


def roll(place: Place, name: str, *changes: Obj) -> Obj:
    """Patch a Deployment's spec, all changes in one write."""
    merged: Obj = {}
    for each in changes:
        merged |= each
    return place.patch("deployments", name, {"spec": merged})


def ready(place: Place, *deployments: Obj) -> None:
    """Create Deployments and wait until each is complete."""
    place.create(*deployments)
    for each in deployments:
        complete(place, each["metadata"]["name"])


def complete(place: Place, name: str, limit_s: float = 90.0) -> Obj:
    """Wait until the Deployment is complete: its own status says so for its present spec (D14)."""
    return wait_until(lambda: is_complete(place, name), limit_s=limit_s, what=f"{name} to be complete")


def is_complete(place: Place, name: str) -> Obj:
    """The Deployment where it is complete, else nothing."""
    found = place.get("deployments", name)
    wanted = found["spec"]["replicas"]
    status = found.get("status") or {}
    counts = [status.get(key, 0) for key in ("replicas", "updatedReplicas", "availableReplicas")]
    seen = status.get("observedGeneration") == found["metadata"]["generation"]
    return found if seen and counts == [wanted] * 3 else {}


def sets(place: Place, name: str) -> list[Obj]:
    """A Deployment's ReplicaSets, lowest revision first; those that it let go of are none of it."""
    uid = place.get("deployments", name)["metadata"]["uid"]
    mine = [each for each in place.all("replicasets") if uid in {owner["uid"] for owner in owners(each)}]
    return sorted(mine, key=revision)


def owners(thing: Obj) -> list[Obj]:
    """Its owner references."""
    found: list[Obj] = thing["metadata"].get("ownerReferences") or []
    return found


def revision(thing: Obj) -> int:
    """The revision annotation; 0 where there is none yet."""
    return int((thing["metadata"].get("annotations") or {}).get(REVISION, "0"))


def sizes(place: Place, name: str) -> list[int]:
    """spec.replicas of a Deployment's ReplicaSets, lowest revision first."""
    return [int(each["spec"]["replicas"]) for each in sets(place, name)]


def wait_sizes(place: Place, name: str, *wanted: int, limit_s: float = 60.0) -> list[Obj]:
    """Wait until the ReplicaSets have these sizes; the ReplicaSets."""
    wait_until(lambda: sizes(place, name) == list(wanted), limit_s=limit_s, what=f"{name} at {wanted}")
    return sets(place, name)


def hash_of(replica_set: Obj) -> str:
    """Its pod-template-hash."""
    return str(replica_set["metadata"]["labels"][HASH])


def pods_of(place: Place, replica_set: Obj) -> list[Obj]:
    """Its pods that are not on their way out."""
    found = place.all("pods", f"{HASH}={hash_of(replica_set)}")
    return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]


def running(place: Place, replica_set: Obj, count: int) -> list[Obj]:
    """Wait until so many of its pods listen and can be pulled at; the pods."""

    def listening() -> list[Obj]:
        pods = [pod for pod in pods_of(place, replica_set) if _started(pod)]
        return pods if len(pods) == count else []

    pods = wait_until(listening, limit_s=60.0, what=f"{count} running pods")
    for pod in pods:
        wait_until(lambda ip=pod["status"]["podIP"]: _listens(place, ip), what="a puppet to listen")  # type: ignore[misc]
    return pods


def set_ready(place: Place, pods: Iterable[Obj], status: int = 200) -> None:
    """Pull the string `ready` of these pods and wait until they are, or are no longer, Ready."""
    pods = list(pods)
    for pod in pods:
        place.pull(pod["status"]["podIP"], ready=str(status))
    for pod in pods:
        name = pod["metadata"]["name"]
        wait_until(lambda name=name: is_ready(place.get("pods", name)) == (status == 200), what=f"{name}: {status}")  # type: ignore[misc]


def story(told: Watched, *names: str) -> list[tuple[int, ...]]:
    """How the sizes of these ReplicaSets went on, with the available pods of the last one, since all are there.

    `(4, 4, 1)` of two names: the first wants 4, the second wants 4 and has 1 available.
    """
    wants: dict[str, int] = {}
    available = 0
    steps: list[tuple[int, ...]] = []
    for each in list(told.happenings):
        if each.name not in names:
            continue
        wants[each.name] = int(each.object["spec"]["replicas"])
        if each.name == names[-1]:
            available = int((each.object.get("status") or {}).get("availableReplicas") or 0)
        step = (*(wants.get(name, 0) for name in names), available)
        if len(wants) == len(names) and (not steps or steps[-1] != step):
            steps.append(step)
    return steps


def caught_up(place: Place, told: Watched, resource: str) -> None:
    """Wait until the watch has told what the API shows now: an answer may be ahead of it."""
    for thing in place.all(resource):
        name, seen = thing["metadata"]["name"], int(thing["metadata"]["resourceVersion"])
        told.wait(lambda each, name=name, seen=seen: each.name == name and version(each) >= seen, what="the watch")  # type: ignore[misc]


def version(each: Happening) -> int:
    """The write that it tells of: writes of one cluster are in one order, whichever watch told them."""
    return int(each.object["metadata"]["resourceVersion"])


def deleted(told: Watched) -> list[str]:
    """Names of pods in the order in which their deletion was asked for."""
    names: dict[str, None] = {}
    for each in list(told.happenings):
        if each.type == "DELETED" or "deletionTimestamp" in each.object["metadata"]:
            names[each.name] = None
    return list(names)


def _started(pod: Obj) -> bool:
    states = pod.get("status", {}).get("containerStatuses") or []
    return bool(pod["status"].get("podIP")) and all("running" in (each.get("state") or {}) for each in states)


def _listens(place: Place, ip: str) -> bool:
    try:
        return place.ask(ip, PORT)[0] == 200
    except OSError:
        return False
