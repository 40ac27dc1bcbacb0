"""Objects for tests of both clusters: small, quick, and the same on either."""

from __future__ import annotations

from segue.model.objects import Obj

PUPPET = "host.org/images/puppet"
PORT = 8080
LABELS = {"app": "puppet"}


def http(path: str, *, period_s: int = 1, failures: int = 1, **more: object) -> Obj:
    """An HTTP probe of the puppet."""
    get = {"path": f"/{path}", "port": PORT}
    return {"httpGet": get, "periodSeconds": period_s, "failureThreshold": failures, **more}


def container(*, version: str = "v1", strings: str = "", **more: object) -> Obj:
    """A container that runs the puppet with these strings."""
    made: Obj = {
        "name": "puppet",
        "image": f"{PUPPET}:{version}",
        "ports": [{"containerPort": PORT}],
        "env": [{"name": "PUPPET", "value": strings}],
    }
    return made | more


def pod(name: str, *, grace_s: int = 5, spec: Obj | None = None, labels: Obj | None = None, **more: object) -> Obj:
    """A pod with one puppet; `more` goes into the container (readinessProbe, lifecycle, strings, ...)."""
    inner = {"terminationGracePeriodSeconds": grace_s, "containers": [container(**more)]}  # type: ignore[arg-type]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels or LABELS},
        "spec": inner | (spec or {}),
    }


def deployment(name: str, replicas: int, *, grace_s: int = 5, spec: Obj | None = None, **more: object) -> Obj:
    """A Deployment of puppets that are probed each second; `spec` is laid over the Deployment's spec."""
    if "readinessProbe" not in more:
        more["readinessProbe"] = http("ready")
    labels = {"app": name}
    template = {
        "metadata": {"labels": labels},
        "spec": {"terminationGracePeriodSeconds": grace_s, "containers": [container(**more)]},  # type: ignore[arg-type]
    }
    made: Obj = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template},
    }
    made["spec"] |= spec or {}
    return made


def replica_set(name: str, replicas: int, **more: object) -> Obj:
    """The same as a bare ReplicaSet."""
    made = deployment(name, replicas, **more)  # type: ignore[arg-type]
    made["kind"] = "ReplicaSet"
    return made


def stateful_set(name: str, replicas: int, **more: object) -> Obj:
    """A StatefulSet of the same pods; its pods are not told from one another by a Service."""
    made = replica_set(name, replicas, **more)
    made["kind"] = "StatefulSet"
    made["spec"].setdefault("serviceName", name)
    return made


def daemon_set(name: str, **more: object) -> Obj:
    """A DaemonSet of the same pods."""
    made = replica_set(name, 0, **more)
    made["kind"] = "DaemonSet"
    del made["spec"]["replicas"]
    return made


def job(name: str, *, restart: str = "Never", spec: Obj | None = None, **more: object) -> Obj:
    """A Job of puppets, which end when they are told (`/exit?code=N`)."""
    made = replica_set(name, 0, spec={}, **more)
    made |= {"apiVersion": "batch/v1", "kind": "Job"}
    made["spec"]["template"]["spec"]["restartPolicy"] = restart
    made["spec"] = {"template": made["spec"]["template"], **(spec or {})}
    return made


def service(name: str = "puppet", *, selector: Obj | None = None, **spec: object) -> Obj:
    """A Service on port 80; a NodePort one with `type="NodePort"`."""
    ports = [{"name": "http", "port": 80, "targetPort": PORT, "protocol": "TCP"}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": selector or LABELS, "ports": ports, **spec},
    }
