"""What many scripts begin with or do: a Deployment with its Service, another version, pods let become Ready."""

from __future__ import annotations

from segue.model.objects import Obj, name_of
from tests.live.both import manifests
from tests.live.both.scenarios.stage import Stage
from tests.live.both.world import is_ready

GENTLE = "term=0.5"  # the listener closes at SIGTERM, the process ends half a second later
HELD = "ready=503,term=0.5"  # it becomes Ready when a script pulls its string


def rolling(surge: int | str, unavailable: int | str) -> Obj:
    """A rolling update's strategy."""
    return {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}


def probed(path: str) -> Obj:
    """A probe each second that only an answer makes fail, however busy the machine is."""
    return manifests.http(path, failures=2, timeoutSeconds=20)


def deployment(
    count: int = 3, *, version: str = "v1", strings: str = GENTLE, spec: Obj | None = None, **more: object
) -> Obj:
    """A Deployment `web` of puppets."""
    more = {"readinessProbe": probed("ready")} | more
    return manifests.deployment("web", count, spec=spec, version=version, strings=strings, **more)  # type: ignore[arg-type]


def service() -> Obj:
    """Its Service."""
    return manifests.service("web", selector={"app": "web"})


def web(stage: Stage, count: int = 3, **more: object) -> None:
    """The first act of most scripts: both, and all pods Ready."""
    stage.act(f"a Deployment of {count} pods and a Service")
    stage.place.create(service(), deployment(count, **more))  # type: ignore[arg-type]
    stage.rolled_out("web", count)


def change(stage: Stage, version: str, strings: str = GENTLE) -> None:
    """Another version, by a patch of image and strings."""
    container = {
        "name": "puppet",
        "image": f"{manifests.PUPPET}:{version}",
        "env": [{"name": "PUPPET", "value": strings}],
    }
    stage.place.patch("deployments", "web", {"spec": {"template": {"spec": {"containers": [container]}}}})


def running(stage: Stage, count: int, version: str) -> None:
    """Wait until so many pods of a version listen."""
    stage.wait(f"{count} pods of {version}", lambda _: len(stage.pods(version)) == count)
    for pod in stage.pods(version):
        stage.pull(pod, seen="1")


def let_one_be_ready(stage: Stage, version: str) -> None:
    """One pod of a version that is held becomes Ready."""
    held = next(pod for pod in stage.pods(version) if not _is_let(pod, stage))
    stage.pull(held, ready="200")
    stage.wait("it to be Ready", lambda view: is_ready(view.one("pods", name_of(held))))


def _is_let(pod: Obj, stage: Stage) -> bool:
    return is_ready(stage.view.one("pods", name_of(pod)))
