"""What a drill does, as values: a closed union of steps. Performing them is a body's work."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from segue.load.plan import Mode
from segue.model.objects import Obj


@dataclass(frozen=True, slots=True, kw_only=True)
class Apply:
    """Create objects, or change them to be like this."""

    objects: tuple[Obj, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitReady:
    """Until exactly so many pods of the Deployment's current template are ready, none is leaving, and the data plane
    sends to all of them: a load that starts earlier measures the start, not the drill."""

    replicas: int
    limit_s: float = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class StartLoad:
    """Begin the load."""

    rate: float
    duration_s: float
    mode: Mode = Mode.NEW
    connections: int = 16
    paths: tuple[str, ...] = ("/",)
    slow: int = 0
    slow_path: str = "/slow"


@dataclass(frozen=True, slots=True, kw_only=True)
class Until:
    """Wait until so long after the load began."""

    load_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DeletePod:
    """Delete the oldest ready pod; `grace_s` None leaves the pod's own grace."""

    grace_s: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchDeployment:
    """Change the Deployment with a strategic merge patch; `why` names the act for people."""

    patch: Obj
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitRollout:
    """Until the Deployment is at its new template and no pod of an older one is left, the leaving ones included."""

    limit_s: float = 180.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Segue:
    """Run a segue command in mid-load, as a person would: `argv` without the program; {MANIFEST} names `manifest`."""

    argv: tuple[str, ...]
    manifest: tuple[Obj, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StopLoad:
    """Wait until each request has ended. `early` stops a load before its time, `cool_s` after the step before."""

    early: bool = False
    cool_s: float = 0.0


Step: TypeAlias = Apply | WaitReady | StartLoad | Until | DeletePod | PatchDeployment | WaitRollout | Segue | StopLoad

# Steps that change what serves: the exposure begins with the first one under load.
ACTS = (DeletePod, PatchDeployment, Segue)


def says(step: Step) -> str:
    """A step in words."""
    match step:
        case Apply(objects=objects):
            return "apply " + ", ".join(f"{obj['kind']} {obj['metadata']['name']}" for obj in objects)
        case WaitReady(replicas=replicas):
            return f"wait until {replicas} pods are ready and get traffic"
        case StartLoad(rate=rate, duration_s=duration_s, mode=mode):
            return f"load: {rate:g} requests per second for up to {duration_s:g} s ({mode.value} connections)"
        case Until(load_s=load_s):
            return f"wait until {load_s:g} s of load"
        case DeletePod(grace_s=grace_s):
            return "delete a pod" if grace_s is None else f"delete a pod with --grace-period={grace_s}"
        case PatchDeployment(why=why):
            return why
        case WaitRollout():
            return "wait until the rollout is over and no old pod is left"
        case Segue(argv=argv):
            return "segue " + " ".join(word if word != "{MANIFEST}" else "the next version" for word in argv)
        case StopLoad():
            return "wait until each request has ended"


def with_environment(deployment: Obj, environment: Mapping[str, str]) -> Obj:
    """A strategic merge patch that adds variables to the first container."""
    container = deployment["spec"]["template"]["spec"]["containers"][0]["name"]
    variables = [{"name": name, "value": value} for name, value in environment.items()]
    return {"spec": {"template": {"spec": {"containers": [{"name": container, "env": variables}]}}}}
