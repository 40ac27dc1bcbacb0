"""A whole cluster without a machine: store, registry and manager, and a kubelet that does what the test tells it.

Time and chance are the test's. Nothing here judges; it only lets the world go on.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from segue.cluster.controllers.autoscaler.samples import PodUsages
from segue.cluster.manager import Manager, Settings
from segue.cluster.registry import Registry
from segue.cluster.store import Store
from segue.cluster.writes import Delete, Update
from segue.model.objects import (
    Obj,
    Ref,
    annotations_of,
    controller_of,
    copy_of,
    is_ready,
    is_terminating,
    labels_of,
    name_of,
    namespace_of,
    rfc3339,
    uid_of,
)

START_S = 1_800_000_000.0
SETS, DEPLOYMENTS, SLICES = "replicasets.apps", "deployments.apps", "endpointslices.discovery.k8s.io"


class Dice:
    """Chance from a seed."""

    def __init__(self, seed: int = 1) -> None:
        self._random = random.Random(seed)

    def uid(self) -> str:
        digits = f"{self._random.getrandbits(128):032x}"
        return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))

    def suffix(self, length: int) -> str:
        return "".join(self._random.choice("bcdfghjklmnpqrstvwxz2456789") for _ in range(length))

    def below(self, bound: int) -> int:
        return self._random.randrange(bound)


class Watch:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.at_s = START_S

    def now_s(self) -> float:
        return self.at_s


class World:
    """One cluster; its nodes are Ready and take pods, and `kubelet` makes pods Ready unless a test says otherwise."""

    def __init__(
        self, *, nodes: int = 1, settings: Settings | None = None, seed: int = 1, usages: PodUsages | None = None
    ) -> None:
        dice = Dice(seed)
        self.clock = Watch()
        self.store = Store()
        self.registry = Registry(self.store, self.clock, dice)
        self.manager = Manager(self.store, self.registry, dice, settings, usages)
        self.next_ip = 10
        self.wake_in_s: float | None = None
        for number in range(nodes):
            self.add_node(f"node-{number}")
        self.settle()

    # -- time -------------------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Let the controllers do all that is due now."""
        for _ in range(1000):
            self.wake_in_s = self.manager.step(self.clock.now_s())
            if self.wake_in_s != 0.0:
                return
        raise AssertionError("the controllers never come to rest")

    def pass_time(self, seconds: float) -> None:
        """Let time pass, with every timer of the controllers going off at its moment."""
        end_s = self.clock.at_s + seconds
        self.settle()
        while self.wake_in_s is not None and self.clock.at_s + self.wake_in_s <= end_s:
            self.clock.at_s += self.wake_in_s
            self.settle()
        self.clock.at_s = end_s
        self.settle()

    # -- what people do ---------------------------------------------------------------------------------------------

    def add_node(self, name: str, *, ready: bool = True, **spec: object) -> None:
        conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
        node: Obj = {"metadata": {"name": name, "labels": {"name": name}}, "spec": spec}
        made = self.registry.create("nodes", node)
        self.registry.perform(Update(resource="nodes", obj={**made, "status": {"conditions": conditions}}, status=True))

    def deploy(self, name: str = "web", *, image: str = "v1", fields: Obj | None = None, **spec: object) -> Obj:
        made = self.registry.create(DEPLOYMENTS, deployment(name, image=image, fields={**spec, **(fields or {})}))
        self.settle()
        return made

    def serve(
        self, name: str = "web", *, labels: dict[str, str] | None = None, fields: Obj | None = None, **spec: object
    ) -> Obj:
        service: Obj = {
            "metadata": {"name": name, "namespace": "default", "labels": labels or {}},
            "spec": {"selector": {"app": name}, "ports": [{"port": 80, "targetPort": 8080}], **spec, **(fields or {})},
        }
        made = self.registry.create("services", service)
        self.settle()
        return made

    def edit(self, resource: str, name: str, change: Callable[[Obj], object]) -> Obj:
        """Change an object as `kubectl edit` would, and let the controllers follow."""
        obj = copy_of(self.get(resource, name))
        change(obj)
        changed = self.registry.update(resource, obj, namespace=namespace_of(obj))
        self.settle()
        return changed

    def set_image(self, image: str, name: str = "web") -> None:
        self.edit(DEPLOYMENTS, name, lambda obj: obj["spec"]["template"]["spec"]["containers"][0].update(image=image))

    def scale(self, replicas: int, name: str = "web") -> None:
        self.edit(DEPLOYMENTS, name, lambda obj: obj["spec"].update(replicas=replicas))

    def relabel(self, resource: str, name: str, **labels: str) -> None:
        self.edit(resource, name, lambda obj: obj["metadata"]["labels"].update(labels))

    def annotate(self, resource: str, name: str, key: str, text: str) -> None:
        self.edit(resource, name, lambda obj: obj["metadata"].setdefault("annotations", {}).update({key: text}))

    def delete(self, resource: str, name: str, **how: object) -> None:
        namespace = "" if resource in {"nodes", "namespaces"} else "default"
        self.registry.delete(Ref(resource=resource, namespace=namespace, name=name), **how)  # type: ignore[arg-type]  # a test's shorthand
        self.settle()

    # -- what the kubelet does --------------------------------------------------------------------------------------

    def report(self, pod: Obj, *, phase: str = "Running", ready: bool | None = None, settle: bool = True) -> None:
        """Write a pod's status as a kubelet would."""
        before = self.get("pods", name_of(pod))
        status = copy_of(before.get("status") or {})
        status["phase"] = phase
        if ready is not None and ready != is_ready(before):
            others = [item for item in status.get("conditions") or [] if item["type"] != "Ready"]
            fresh = {"type": "Ready", "status": str(ready), "lastTransitionTime": rfc3339(self.clock.now_s())}
            status["conditions"] = [*others, fresh]
        if phase == "Running" and not status.get("podIP"):
            self.next_ip += 1
            ip = f"10.1.{self.next_ip // 250}.{self.next_ip % 250 + 1}"
            status |= {"podIP": ip, "podIPs": [{"ip": ip}]}
        self.registry.perform(Update(resource="pods", obj={**before, "status": status}, status=True))
        if settle:
            self.settle()

    def start(self, count: int | None = None, *, image: str = "") -> int:
        """Make pods Ready that are not, oldest name first; how many were."""
        waiting = [pod for pod in self.live_pods() if not is_ready(pod)]  # what has ended never starts again
        waiting = [pod for pod in waiting if not image or image_of(pod) == image][:count]
        for pod in waiting:
            self.report(pod, ready=True, settle=False)
        self.settle()
        return len(waiting)

    def end(self, count: int | None = None) -> int:
        """Let pods that are terminating be gone; how many were."""
        going = [pod for pod in self.pods() if is_terminating(pod)][:count]
        for pod in going:
            self.registry.perform(Delete(ref=ref_of(pod), grace_s=0))
        self.settle()
        return len(going)

    def kubelet(self) -> None:
        """Start and end pods until nothing changes any more."""
        for _ in range(1000):
            if not self.start() + self.end():
                return
        raise AssertionError("pods start and end for ever")

    # -- what there is ----------------------------------------------------------------------------------------------

    def get(self, resource: str, name: str) -> Obj:
        namespace = "" if resource in {"nodes", "namespaces"} else "default"
        return self.registry.read(Ref(resource=resource, namespace=namespace, name=name))

    def names(self, resource: str) -> list[str]:
        return [name_of(obj) for obj in self.store.all_of(resource, "default")]

    def pods(self, image: str = "") -> list[Obj]:
        return [pod for pod in self.store.all_of("pods", "default") if not image or image_of(pod) == image]

    def live_pods(self, image: str = "") -> list[Obj]:
        ended = ("Succeeded", "Failed")
        return [
            pod
            for pod in self.pods(image)
            if not is_terminating(pod) and pod.get("status", {}).get("phase") not in ended
        ]

    def ready_pods(self, image: str = "") -> list[Obj]:
        return [pod for pod in self.live_pods(image) if is_ready(pod)]

    def sets(self) -> list[Obj]:
        """ReplicaSets, by revision."""
        return sorted(self.store.all_of(SETS, "default"), key=revision_of)

    def set_of(self, image: str) -> Obj:
        return next(item for item in self.sets() if image_of(item["spec"]["template"]) == image)

    def sizes(self) -> list[int]:
        """Every ReplicaSet's wanted pods, by revision."""
        return [item["spec"]["replicas"] for item in self.sets()]

    def condition(self, kind: str, name: str = "web") -> Obj:
        conditions = self.get(DEPLOYMENTS, name)["status"]["conditions"]
        return next((item for item in conditions if item["type"] == kind), {})

    def told(self, reason: str = "") -> list[str]:
        """The messages of Event objects, in the order of coming."""
        events = self.store.all_of("events")
        events.sort(key=lambda event: int(event["metadata"]["resourceVersion"]))
        return [event["message"] for event in events if not reason or event["reason"] == reason]

    def endpoints(self, service: str = "web") -> dict[str, Obj]:
        """Endpoints of a Service by pod name."""
        return {
            endpoint["targetRef"]["name"]: endpoint for item in self.slices(service) for endpoint in item["endpoints"]
        }

    def slices(self, service: str = "web") -> list[Obj]:
        found = self.store.all_of(SLICES, "default")
        return [item for item in found if labels_of(item).get("kubernetes.io/service-name") == service]


def deployment(name: str = "web", *, image: str = "v1", fields: Obj | None = None) -> Obj:
    """A Deployment of one container; `fields` overrides those of its spec."""
    return {
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "replicas": 3,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "main", "image": image, "ports": [{"containerPort": 8080}]}]},
            },
            **(fields or {}),
        },
    }


def rolling(surge: int | str, unavailable: int | str) -> Obj:
    """A strategy."""
    return {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}


def image_of(pod: Obj) -> str:
    image: str = pod["spec"]["containers"][0]["image"]
    return image


def ref_of(pod: Obj) -> Ref:
    return Ref(resource="pods", namespace=namespace_of(pod), name=name_of(pod))


def revision_of(obj: Obj) -> int:
    return int(annotations_of(obj).get("deployment.kubernetes.io/revision", "0"))


def owner_uid(obj: Obj) -> str:
    owner = controller_of(obj)
    return owner["uid"] if owner is not None else ""


def owner_is(obj: Obj, owner: Obj) -> bool:
    return owner_uid(obj) == uid_of(owner)
