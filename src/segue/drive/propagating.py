"""`segue measure`: small pods of its own are taken out of a Service and put back, and callers on the nodes tell when.

Rule 1: only what carries the label of this run, or of a run whose process is gone, is ever changed or deleted.
Rule 2: the load is light: each caller makes `rate` small calls a second, and there are `nodes_max` callers at most.
Rule 3: a change is done when every caller has heard of it, so that no two changes mix.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from segue.drain.longest import Longest
from segue.drain.propagation import Found, Heard, gone_s, there_s
from segue.drive.flow import Flow, Progress, Sleep, ask, body_of, get
from segue.drive.traffic import LOOK_EVERY_S, Eyes
from segue.model.errors import SegueError, Unfinished
from segue.model.http import MERGE_PATCH, ApiRequest
from segue.model.objects import Obj, annotations_of, condition_of, is_ready, is_terminating, name_of

WAYS = ("labels", "readiness", "delete")
RUN, HOLDER, ROLE, PORT = "segue.dev/measure", "segue.dev/measured-by", "segue.dev/measure-role", 8080
INSIDE = "segue.dev/measure-inside"
POLL_S = 0.1
READY_LIMIT_S = 90.0
SPARE_S = 30  # beyond the limit: deleted pods are ended by us, once nobody calls them any more
CLEAN_LIMIT_S = 30.0
Sign = Callable[[Heard, str, float], float | None]
_NEVER = frozenset({"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "CrashLoopBackOff"})
_TAINTED = ({"operator": "Exists"},)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What to measure, and with what. `program` is the text of `segue.app.propagating`."""

    namespace: str
    run: str  # names this run's objects
    holder: str
    image: str
    program: str
    ways: tuple[str, ...] = WAYS
    repeats: int = 5
    rate: float = 20.0
    nodes_max: int = 8
    limit_s: float = 120.0

    def at(self, namespace: str) -> Wanted:
        """The same in another namespace."""
        return replace(self, namespace=namespace)


@dataclass(slots=True, kw_only=True)
class Measured:
    """What came of it."""

    found: list[Found] = field(default_factory=list)
    nodes: int = 0  # that are there
    callers: int = 0
    failed: int = 0  # calls that nobody answered
    error_s: float = 0.0  # how wrong a clock may be


class _Bench:
    """The pods of one run, and what their callers have heard."""

    def __init__(self, wanted: Wanted) -> None:
        self.wanted = wanted
        self.heard: dict[str, Heard] = {}  # by the caller's pod
        self.now_s = 0.0

    # -- making ------------------------------------------------------------------------------------------------------

    def set_up(self) -> Flow[int]:
        """The targets, their Service and a caller per node; how many nodes there are."""
        yield Progress(action=f"create Deployment, Service and callers {self.wanted.run}", because="P is measured")
        yield from self._create("/apis/apps/v1", "deployments", _targets(self.wanted))
        service = yield from self._create("/api/v1", "services", _service(self.wanted))
        yield from self._until(self._targets_ready, READY_LIMIT_S, "its two targets to be Ready")
        nodes = yield from self._nodes()
        address = f"{service['spec']['clusterIP']}:80"
        for index, node in enumerate(nodes[: self.wanted.nodes_max] or [""]):
            yield from self._create("/api/v1", "pods", _caller(self.wanted, index, node, address))
        yield from self._until(self._callers_ready, READY_LIMIT_S, "its callers to be Ready")
        yield from self._until(self._both_answer, READY_LIMIT_S, "the Service to be reached from every node")
        for one in self.heard.values():
            one.failed = 0  # nobody could be reached before
        return len(nodes)

    def _create(self, group: str, plural: str, obj: Obj) -> Flow[Obj]:
        path = f"{group}/namespaces/{self.wanted.namespace}/{plural}"
        _, (made,) = yield from ask(ApiRequest(method="POST", path=path, body=obj))
        return body_of(made, f"creating {obj['kind']} {name_of(obj)}")

    def _nodes(self) -> Flow[list[str]]:
        """Nodes that take pods, in an order that spreads those which are chosen; none where we may not see them."""
        _, (found,) = yield from ask(get("/api/v1/nodes"))
        if found.code in {401, 403}:
            yield Progress(because="nodes may not be listed, so one caller stands for all of them")
            return []
        nodes = [one for one in found.body.get("items") or [] if not one["spec"].get("unschedulable")]
        names = sorted(name_of(one) for one in nodes if (condition_of(one, "Ready") or {}).get("status") == "True")
        step = max(1, len(names) // max(1, self.wanted.nodes_max))
        return names[::step] + [name for index, name in enumerate(names) if index % step]

    def pods(self, role: str) -> Flow[list[Obj]]:
        """This run's pods of one role that are not being deleted."""
        labels = f"{RUN}={self.wanted.run},{ROLE}={role}"
        _, (found,) = yield from ask(get(self._path("pods"), labelSelector=labels))
        items = body_of(found, "listing pods").get("items") or []
        return sorted((one for one in items if not is_terminating(one)), key=name_of)

    def _targets_ready(self) -> Flow[bool]:
        pods = yield from self.pods("target")
        self._check_starting(pods)
        return sum(is_ready(one) for one in pods) == 2

    def _callers_ready(self) -> Flow[bool]:
        pods = yield from self.pods("caller")
        self._check_starting(pods)
        if not all(is_ready(one) for one in pods):
            return False
        self.heard = {name_of(one): Heard(node=str(one["spec"].get("nodeName") or "")) for one in pods}
        return True

    def _check_starting(self, pods: Sequence[Obj]) -> None:
        """SegueError where one cannot start, which no waiting mends."""
        for pod in pods:
            for one in (pod.get("status") or {}).get("containerStatuses") or []:
                waiting = (one.get("state") or {}).get("waiting") or {}
                if waiting.get("reason") in {
                    "ErrImagePull",
                    "ImagePullBackOff",
                    "InvalidImageName",
                    "CrashLoopBackOff",
                }:
                    said = f"pod {name_of(pod)} does not start: {waiting['reason']} {waiting.get('message') or ''}"
                    raise SegueError(said.strip(), remedy="--image names an image with python3")

    def _both_answer(self) -> Flow[bool]:
        yield from self.listen()
        answered = [{who for _, who in one.since(self.now_s - 3.0)} for one in self.heard.values()]
        targets = {name_of(one) for one in (yield from self.pods("target"))}
        return all(targets <= each for each in answered)

    # -- listening ---------------------------------------------------------------------------------------------------

    def listen(self) -> Flow[None]:
        """What the callers have heard since."""
        for name, heard in self.heard.items():
            asked_s = (yield Sleep(for_s=0)).now_s
            path = f"{self._path('pods')}/{name}:{PORT}/proxy/calls"
            self.now_s, (told,) = yield from ask(get(path, after=str(heard.next)))
            heard.take(body_of(told, f"asking caller {name}"), asked_s, self.now_s)

    def _until(self, wanted: Callable[[], Flow[bool]], limit_s: float, what: str) -> Flow[None]:
        began_s = (yield Sleep(for_s=0)).now_s
        while not (yield from wanted()):
            self.now_s = (yield Sleep(for_s=POLL_S)).now_s
            if self.now_s - began_s > limit_s:
                raise Unfinished(f"waited {limit_s:g} s for {what}", remedy="kubectl describe shows what keeps it")

    def heard_by_all(
        self, one: Callable[[Heard, str, float], float | None], pod: str, since_s: float
    ) -> Flow[list[float]]:
        """Until every caller has heard of a change: by caller, how long that took."""
        limit_s = self.wanted.limit_s
        while None in (found := [one(heard, pod, since_s) for heard in self.heard.values()]):
            if self.now_s - since_s > limit_s:
                late = [heard.node for heard, each in zip(self.heard.values(), found, strict=True) if each is None]
                raise Unfinished(
                    f"{limit_s:g} s after a change of {pod}, {late[0] or 'a node'} has not heard of it",
                    remedy="a data plane that is slower than that: raise --limit",
                )
            yield Sleep(for_s=POLL_S)
            yield from self.listen()
        return [each for each in found if each is not None]

    def forget(self) -> None:
        """What was heard of changes that are done."""
        for one in self.heard.values():
            one.forget(self.now_s - 1.0)

    # -- changing ----------------------------------------------------------------------------------------------------

    def now(self) -> Flow[float]:
        """The moment before a change is asked for."""
        return (yield Sleep(for_s=0)).now_s

    def inside(self, pod: str, wanted: str) -> Flow[float]:
        """Whether the Service selects the pod; since when that was asked for."""
        since_s = yield from self.now()
        body: Obj = {"metadata": {"labels": {INSIDE: wanted}}}
        path = f"{self._path('pods')}/{pod}"
        _, (done,) = yield from ask(ApiRequest(method="PATCH", path=path, body=body, content_type=MERGE_PATCH))
        body_of(done, f"labelling pod {pod}")
        return since_s

    def readiness(self, pod: str, *, wanted: bool) -> Flow[float]:
        """Switched, and believed by the kubelet; since when it can have been told to anybody."""
        since_s = yield from self.now()
        path = f"{self._path('pods')}/{pod}"
        _, (done,) = yield from ask(get(f"{path}:{PORT}/proxy/{'on' if wanted else 'off'}"))
        body_of(done, f"asking pod {pod}")
        while True:
            asked_s = yield from self.now()
            _, (found,) = yield from ask(get(path))
            if is_ready(body_of(found, f"reading pod {pod}")) is wanted:
                return since_s
            since_s = asked_s
            yield Sleep(for_s=POLL_S / 2)

    def delete(self, pod: str, **query: str) -> Flow[float]:
        """Deleted; since when that was asked for."""
        since_s = yield from self.now()
        _, (done,) = yield from ask(ApiRequest(method="DELETE", path=f"{self._path('pods')}/{pod}", query=query))
        if done.code != 404:
            body_of(done, f"deleting pod {pod}")
        return since_s

    def replaced(self, other: str, gone: str) -> Flow[tuple[str, float]]:
        """The pod that came for one that was deleted, and since when it has been Ready at the earliest."""
        began_s = since_s = yield from self.now()
        while since_s - began_s < READY_LIMIT_S:
            asked_s = yield from self.now()
            fresh = [one for one in (yield from self.pods("target")) if name_of(one) not in {other, gone}]
            if fresh and is_ready(fresh[0]):
                return name_of(fresh[0]), since_s
            since_s = asked_s
            yield Sleep(for_s=POLL_S / 2)
        raise Unfinished(f"waited {READY_LIMIT_S:g} s for a pod in the place of {gone}")

    def _path(self, plural: str) -> str:
        return f"/api/v1/namespaces/{self.wanted.namespace}/{plural}"


def measure(wanted: Wanted) -> Flow[Measured]:
    """Measure; what was made is taken away by `clean`, whatever comes of this."""
    bench = _Bench(wanted)
    result = Measured()
    result.nodes = yield from bench.set_up()
    result.callers = len(bench.heard)
    total = len(wanted.ways) * wanted.repeats
    for number in range(total):
        way = wanted.ways[number % len(wanted.ways)]
        yield Progress(because=f"change {number + 1} of {total}: {way}")
        pods = [name_of(one) for one in (yield from bench.pods("target"))]
        pod = pods[number // len(wanted.ways) % 2]
        gone, there = yield from _changed(bench, way, pod, next(one for one in pods if one != pod))
        nodes = [heard.node for heard in bench.heard.values()]
        result.found += [
            Found(way=way, node=node, gone_s=gone_s_, there_s=there_s_)
            for node, gone_s_, there_s_ in zip(nodes, gone, there, strict=True)
        ]
        bench.forget()
    result.failed = sum(one.failed for one in bench.heard.values())
    result.error_s = max(one.error_s for one in bench.heard.values())
    return result


def _changed(bench: _Bench, way: str, pod: str, other: str) -> Flow[tuple[list[float], list[float]]]:
    """One pod out and one in again: by caller, how long each took."""
    match way:
        case "labels":
            gone = yield from bench.heard_by_all(gone_s, pod, (yield from bench.inside(pod, "no")))
            there = yield from bench.heard_by_all(there_s, pod, (yield from bench.inside(pod, "yes")))
        case "readiness":
            gone = yield from bench.heard_by_all(gone_s, pod, (yield from bench.readiness(pod, wanted=False)))
            there = yield from bench.heard_by_all(there_s, pod, (yield from bench.readiness(pod, wanted=True)))
        case _:
            since_s = yield from bench.delete(pod)
            fresh, ready_s = yield from bench.replaced(other, pod)
            there = yield from bench.heard_by_all(there_s, fresh, ready_s)
            gone = yield from bench.heard_by_all(gone_s, pod, since_s)
            yield from bench.delete(pod, gracePeriodSeconds="0")
    return gone, there


def watched(namespace: str, kind: str, name: str, for_s: float) -> Flow[Longest]:
    """The longest requests that a workload's pods were seen to answer in so long."""
    eyes, longest = Eyes(namespace=namespace, kind=kind, name=name), Longest()
    began_s: float | None = None
    while True:
        now_s = (yield from eyes.look()).at_s
        began_s = now_s if began_s is None else began_s
        for pod in eyes.pods:
            watch = eyes.collector.watches.get(pod.name)
            if watch is not None and watch.last is not None:
                longest.look(pod.name, watch.whole_s, watch.served())
        if now_s - began_s >= for_s:
            return longest
        yield Sleep(for_s=max(0.02, min(LOOK_EVERY_S, began_s + for_s - now_s)))


def clean(namespace: str, is_over: Callable[[str], bool], run: str = "") -> Flow[list[str]]:
    """Take away what this run has made, and what runs left behind whose holder `is_over`; names of what went.

    A ReplicaSet that still lives makes new pods for those that are ended: so again, until nothing is left.
    """
    kinds = {"deployments": "/apis/apps/v1", "replicasets": "/apis/apps/v1", "services": "/api/v1", "pods": "/api/v1"}
    paths = [f"{group}/namespaces/{namespace}/{plural}" for plural, group in kinds.items()]
    went: dict[str, None] = {}
    began_s = now_s = (yield Sleep(for_s=0)).now_s
    while now_s - began_s < CLEAN_LIMIT_S:
        now_s, answers = yield from ask(*(get(path, labelSelector=RUN) for path in paths))
        requests = []
        for path, answer in zip(paths, answers, strict=True):
            for one in body_of(answer, f"listing {path.rpartition('/')[2]}").get("items") or []:
                mine = run and one["metadata"]["labels"][RUN] == run
                if mine or is_over(annotations_of(one).get(HOLDER, "")):
                    how = {"gracePeriodSeconds": "0"} if path.endswith("/pods") else {"propagationPolicy": "Background"}
                    requests.append(ApiRequest(method="DELETE", path=f"{path}/{name_of(one)}", query=how))
                    went[f"{path.rpartition('/')[2]}/{name_of(one)}"] = None
        if not requests:
            return list(went)
        yield from ask(*requests)
        yield Sleep(for_s=POLL_S)
    raise Unfinished(
        f"not all of {', '.join(went)} is gone after {CLEAN_LIMIT_S:g} s",
        remedy=f"kubectl -n {namespace} delete deployments,services,pods -l {RUN}",
    )


# -- manifests -------------------------------------------------------------------------------------------------------


def _metadata(wanted: Wanted, role: str) -> Obj:
    labels = {RUN: wanted.run, ROLE: role, **({INSIDE: "yes"} if role == "target" else {})}
    return {"labels": labels, "annotations": {HOLDER: wanted.holder}}


def _targets(wanted: Wanted) -> Obj:
    selected = {RUN: wanted.run, ROLE: "target"}
    linger_s = int(wanted.limit_s) + SPARE_S
    told = {"SEGUE_LINGER": f"{linger_s}"}
    spec = {**_pod_spec(wanted, told), "terminationGracePeriodSeconds": linger_s + 1}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": wanted.run, **_metadata(wanted, "targets")},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": selected},
            "template": {"metadata": _metadata(wanted, "target"), "spec": spec},
        },
    }


def _service(wanted: Wanted) -> Obj:
    selector = {RUN: wanted.run, ROLE: "target", INSIDE: "yes"}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": wanted.run, **_metadata(wanted, "service")},
        "spec": {"selector": selector, "ports": [{"port": 80, "targetPort": PORT}]},
    }


def _caller(wanted: Wanted, index: int, node: str, address: str) -> Obj:
    told = {"SEGUE_CALL": address, "SEGUE_RATE": f"{wanted.rate:g}"}
    spec = {**_pod_spec(wanted, told), "restartPolicy": "Never", "terminationGracePeriodSeconds": 0}
    spec |= {"nodeName": node, "tolerations": list(_TAINTED)} if node else {}
    metadata = {"name": f"{wanted.run}-caller-{index}", **_metadata(wanted, "caller")}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def _pod_spec(wanted: Wanted, env: dict[str, str]) -> Obj:
    fields = {"POD_NAME": "metadata.name", "POD_IP": "status.podIP"}
    container: Obj = {
        "name": "measure",
        "image": wanted.image,
        "command": ["python3", "-I", "-S", "-c", wanted.program],
        "env": [
            *({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}} for name, path in fields.items()),
            *({"name": name, "value": value} for name, value in env.items()),
        ],
        "ports": [{"containerPort": PORT}],
        "readinessProbe": {"httpGet": {"path": "/ready", "port": PORT}, "periodSeconds": 1, "failureThreshold": 1},
        "resources": {"requests": {"cpu": "10m", "memory": "24Mi"}, "limits": {"memory": "64Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "runAsUser": 65534,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }
    return {"containers": [container], "automountServiceAccountToken": False, "enableServiceLinks": False}
