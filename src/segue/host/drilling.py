"""Performs the steps of an experiment against a cluster while a load runs, and collects what happened.

Decides nothing: the steps come from `drill`, causes and receipt from `proof`. Whatever goes wrong, the load it started
ends with it.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import msgspec

from segue import __version__
from segue.drill.experiments import Experiment
from segue.drill.oracle import Judgement, judge
from segue.drill.steps import (
    ACTS,
    Apply,
    DeletePod,
    PatchDeployment,
    Segue,
    StartLoad,
    Step,
    StopLoad,
    Until,
    WaitReady,
    WaitRollout,
    says,
)
from segue.host.clock import SystemClock
from segue.host.firing.child import FiringChild, Progress, read_records
from segue.load.plan import Plan
from segue.load.record import Record
from segue.model.errors import StatusError, Unfinished
from segue.model.http import MERGE_PATCH, STRATEGIC_PATCH, ApiRequest, ApiResponse
from segue.model.objects import Obj, is_ready, is_terminating, name_of, namespace_of, seconds_of
from segue.model.timeline import Happening, What
from segue.model.workloads import Pod
from segue.proof.causes import Explained, explain_all
from segue.proof.raw import Raw
from segue.proof.receipt import ActionEntry, Case, EndReason, PodEnd, receipt
from segue.proof.timeline import Timeline

POLL_S = 0.1
CLEAR_LIMIT_S = 150.0  # the seed's own grace of 120 s, and some
_PLURALS = {"Endpoints": "endpoints", "Ingress": "ingresses", "NetworkPolicy": "networkpolicies"}
_CLUSTER_SCOPED = frozenset({"Namespace", "Node", "ClusterRole", "ClusterRoleBinding", "PersistentVolume"})


class Kube(Protocol):
    """A Kubernetes API."""

    async def request(self, request: ApiRequest) -> ApiResponse:
        """Send one request and return its answer, whatever its code."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where a drill is performed. `node_ip` and `prefix` say how clients reach the Service."""

    namespace: str
    deployment: str
    service: str
    node_ip: str
    prefix: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    cluster: Obj = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Performed:
    """A drill that has been performed. `records` are all of the load's, in order of their end."""

    receipt: Obj
    judgement: Judgement
    timeline: Timeline
    records: list[Record]
    explained: list[Explained]
    zero_s: float
    raw: Raw


class TimelineReader:
    """The embedded cluster's timeline, pulled piece by piece; empty for ever where a cluster has none."""

    def __init__(self, kube: Kube) -> None:
        self._kube = kube
        self._next = 0
        self.rows: list[Happening] = []
        self.exists = True

    async def pull(self) -> None:
        """Fetch what is new."""
        more = self.exists
        while more:
            answer = await self._kube.request(
                ApiRequest(method="GET", path="/apis/segue.dev/v1/timeline", query={"after": str(self._next)})
            )
            if answer.code != 200:
                self.exists = False
                return
            self._next = answer.body["next"]
            self.rows += [
                Happening(at_s=row["atS"], what=What(row["what"]), pod=row["pod"], data=row["data"])
                for row in answer.body["items"]
            ]
            more = bool(answer.body.get("more"))

    async def flows(self, on: bool) -> None:
        """Let the data plane tell of each connection, or no longer."""
        await self._kube.request(ApiRequest(method="PUT", path="/apis/segue.dev/v1/flows", body={"on": on}))


class Drilling:
    """One drill in progress."""

    def __init__(self, kube: Kube, site: Site, *, say: Callable[[str], None], on_progress: Progress) -> None:
        self._kube = kube
        self._site = site
        self._say = say
        self._on_progress = on_progress
        self._clock = SystemClock()
        self._reader = TimelineReader(kube)
        self._actions: list[ActionEntry] = []
        self._ends: list[PodEnd] = []
        self._acted_s = 0.0
        self._child: FiringChild | None = None
        self._plan: Plan | None = None
        self._load_start_s = 0.0
        self._place = Path()

    async def perform(self, experiment: Experiment, asked: Obj) -> Performed:
        """All steps, then the receipt."""
        with tempfile.TemporaryDirectory(prefix="segue-drill-") as place:
            self._place = Path(place)
            try:
                for step in experiment.steps:
                    if not isinstance(step, (Until, *ACTS)):  # an act is told when it is done, with its target
                        self._say(says(step))
                    await self._do(step)
                await self._reader.pull()
            finally:
                if self._child is not None:
                    await self._child.kill()
                    await self._reader.flows(on=False)
            return self._sum_up(experiment, asked)

    async def _do(self, step: Step) -> None:
        if isinstance(step, ACTS) and self._child is not None and not self._acted_s:
            self._acted_s = self._clock.now_s()
        match step:
            case Apply(objects=objects):
                for obj in objects:
                    await self._apply(obj)
            case WaitReady():
                await self._wait_ready("the pods to be ready and to get traffic", step.limit_s, step.replicas)
            case StartLoad():
                await self._start_load(step)
            case Until(load_s=load_s):
                await asyncio.sleep(max(0.0, self._load_start_s + load_s - self._clock.now_s()))
            case DeletePod(grace_s=grace_s):
                await self._delete_pod(grace_s)
            case PatchDeployment(patch=patch, why=why):
                self._note(why, f"deployment/{self._site.deployment}")
                await self._call("PATCH", self._deployment_path(), patch, STRATEGIC_PATCH)
            case WaitRollout(limit_s=limit_s):
                await self._wait_ready("the rollout to end", limit_s, None)
            case Segue():
                await self._segue(step)
            case StopLoad(early=early, cool_s=cool_s):
                await self._stop_load(early, cool_s)

    # -- the cluster -----------------------------------------------------------------------------------------------

    async def _call(
        self, method: str, path: str, body: Obj | None = None, content_type: str = "application/json"
    ) -> Obj:
        answer = await self._kube.request(ApiRequest(method=method, path=path, body=body, content_type=content_type))
        if answer.code >= 400:
            reason, message = str(answer.body.get("reason", "")), str(answer.body.get("message", f"{method} {path}"))
            raise StatusError(code=answer.code, reason=reason, message=message)
        return answer.body

    def _deployment_path(self) -> str:
        return f"/apis/apps/v1/namespaces/{self._site.namespace}/deployments/{self._site.deployment}"

    async def _apply(self, obj: Obj) -> None:
        collection = collection_of(obj, self._site.namespace)
        path = f"{collection}/{name_of(obj)}"
        there = await self._kube.request(ApiRequest(method="GET", path=path))
        if there.code == 404:
            await self._call("POST", collection, obj)
            return
        if obj["kind"] == "Deployment" and not is_part_of(obj["spec"]["template"], there.body["spec"]["template"]):
            # From an earlier drill. A rollout of ten pods takes minutes, a fresh start seconds: drills are no place
            # for patience before the load has even begun.
            await self._call("PATCH", path, {**obj, "spec": {**obj["spec"], "replicas": 0}}, MERGE_PATCH)
            await self._wait_ready("the pods of an earlier drill to go", CLEAR_LIMIT_S, 0)
        await self._call("PATCH", path, obj, MERGE_PATCH)

    async def _pods(self, selector: Obj) -> list[Obj]:
        labels = ",".join(f"{key}={value}" for key, value in (selector.get("matchLabels") or {}).items())
        path = f"/api/v1/namespaces/{self._site.namespace}/pods"
        answer = await self._kube.request(ApiRequest(method="GET", path=path, query={"labelSelector": labels}))
        items: list[Obj] = answer.body.get("items") or []
        return items

    async def _ready(self, wanted: int | None) -> str:
        """Empty once the Deployment is complete and routed; else what is missing, in words."""
        deployment = await self._call("GET", self._deployment_path())
        status, spec = deployment.get("status") or {}, deployment["spec"]
        wanted = spec.get("replicas", 1) if wanted is None else wanted
        if status.get("observedGeneration", 0) < deployment["metadata"].get("generation", 0):
            return "the Deployment controller to look"
        if (status.get("updatedReplicas", 0), status.get("readyReplicas", 0)) != (wanted, wanted):
            return f"{wanted} ready pods of the current version ({status.get('readyReplicas', 0)} are ready)"
        # Leaving pods may take their whole grace: a stop signal in their first milliseconds meets no handler (X6).
        # What matters is that nothing is sent to them, which the rules tell.
        staying = [pod for pod in await self._pods(spec["selector"]) if not is_terminating(pod)]
        if len(staying) != wanted:
            return f"old pods to go ({len(staying)} of {wanted} pods)"
        if wanted == 0:  # until new pods are ready, leaving ones serve (K3)
            return ""
        await self._reader.pull()
        timeline = Timeline(
            (row for row in self._reader.rows if row.what is not What.FLOW), service=self._service_name()
        )
        now_s = self._clock.now_s()
        routed = {name.rpartition("/")[2] for name, story in timeline.stories.items() if story.has_rule(now_s)}
        # No rule that is told of is none yet, and one of a pod that is gone is one too many: rules may be late.
        if routed != {name_of(pod) for pod in staying}:
            return f"the data plane to send to {wanted} pods, and to no others ({len(routed)} so far)"
        return ""

    async def _wait_ready(self, what: str, limit_s: float, wanted: int | None) -> None:
        end_s = self._clock.now_s() + limit_s
        while lacking := await self._ready(wanted):
            if self._clock.now_s() > end_s:
                raise Unfinished(
                    f"waited {limit_s:g} s in vain for {what}: {lacking}{await self._troubles()}",
                    remedy="kubectl describe pods tells more",
                )
            await asyncio.sleep(POLL_S)

    async def _troubles(self) -> str:
        """Why pods are not ready, the first three of them."""
        deployment = await self._call("GET", self._deployment_path())
        pods = [Pod(obj=obj) for obj in await self._pods(deployment["spec"]["selector"])]
        told = [f"{pod.name}: {pod.trouble()}" for pod in pods if not pod.ready]
        return "".join(f"; {text}" for text in told[:3])

    async def _delete_pod(self, grace_s: int | None) -> None:
        deployment = await self._call("GET", self._deployment_path())
        pods = await self._pods(deployment["spec"]["selector"])
        ready = [pod for pod in pods if is_ready(pod) and not is_terminating(pod)]
        if not ready:
            raise Unfinished("no ready pod is left to delete")
        oldest = min(ready, key=lambda pod: (pod["metadata"].get("creationTimestamp", ""), name_of(pod)))
        path = f"/api/v1/namespaces/{self._site.namespace}/pods/{name_of(oldest)}"
        body: Obj | None = None if grace_s is None else {"kind": "DeleteOptions", "gracePeriodSeconds": grace_s}
        self._note("delete pod" if grace_s is None else f"delete pod, grace {grace_s} s", name_of(oldest))
        await self._call("DELETE", path, body)

    def _note(self, action: str, target: str) -> None:
        self._actions.append(
            ActionEntry(at_s=self._clock.now_s(), action=f"{action} {target}", because="the drill says so")
        )
        when = f"{self._clock.now_s() - self._load_start_s:6.1f} s   " if self._load_start_s else ""
        self._say(f"  {when}{action} {target}")

    # -- the load --------------------------------------------------------------------------------------------------

    async def _start_load(self, step: StartLoad) -> None:
        service = await self._call("GET", f"/api/v1/namespaces/{self._site.namespace}/services/{self._site.service}")
        self._plan = Plan(
            url=url_of(service, self._site.node_ip),
            rate=step.rate,
            duration_s=step.duration_s,
            mode=step.mode,
            connections=step.connections,
            paths=step.paths,
            slow=step.slow,
            slow_path=step.slow_path,
            run="drill",
        )
        await self._reader.flows(on=True)
        self._child = await FiringChild.start(
            self._plan, self._place / "records.jsonl", prefix=self._site.prefix, on_progress=self._progress
        )
        await self._child.started.wait()
        self._load_start_s = self._load_start_s or self._clock.now_s()

    def _progress(self, now: Obj) -> None:
        if not self._load_start_s:
            self._load_start_s = float(now["startS"])
        self._on_progress(now)

    async def _stop_load(self, early: bool, cool_s: float) -> None:
        assert self._child is not None, "a drill starts its load before it stops it"
        await asyncio.sleep(cool_s)
        if early:
            self._child.stop()
        summary = await self._child.finish()
        self._load_start_s = float(summary["startS"])

    async def _segue(self, step: Segue) -> None:
        """A command of segue in a process of its own, as a person would type it."""
        manifest = self._place / "next.yaml"
        # JSON is YAML, and one object per document is what a manifest is.
        manifest.write_bytes(b"\n---\n".join(msgspec.json.encode(obj) for obj in step.manifest))
        argv = [str(manifest) if word == "{MANIFEST}" else word for word in step.argv]
        self._note("segue", " ".join(word if word != "{MANIFEST}" else "the next version" for word in step.argv))
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            "from segue.cli.main import main; main()",
            *argv,
            "-n",
            self._site.namespace,
            "-o",
            "json",
            env={**os.environ, **self._site.environment},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for us: it would end this with an error that is none
        )
        try:
            out, errors = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode:
            said = errors.decode(errors="replace").strip().splitlines()[-3:]
            raise Unfinished(f"segue {step.argv[0]} ended with code {process.returncode}: " + " / ".join(said))
        self._learn(out)

    def _learn(self, out: bytes) -> None:
        """Take the engine's own account of its actions and pods, where it gives one."""
        try:
            told = msgspec.json.decode(out, type=Obj)
            zero_s = seconds_of(str(told["zeroAt"]))
        except (msgspec.DecodeError, KeyError, ValueError):
            return
        for row in told.get("actions") or []:
            self._actions.append(
                ActionEntry(
                    at_s=zero_s + float(row["atS"]),
                    action=str(row["action"]),
                    because=str(row.get("because", "")),
                    barrier=str(row.get("barrier", "")),
                    evidence=str(row.get("evidence", "")),
                )
            )
        for row in told.get("pods") or []:
            self._ends.append(
                PodEnd(
                    pod=row["pod"] if "/" in row["pod"] else f"{self._site.namespace}/{row['pod']}",
                    version=str(row.get("version", "")),
                    reason=EndReason(row["reason"]),
                    at_s=zero_s + float(row["atS"]),
                    evidence_source=str(row.get("evidenceSource", "")),
                    because=str(row.get("because", "")),
                )
            )

    # -- the end ---------------------------------------------------------------------------------------------------

    def _service_name(self) -> str:
        return f"{self._site.namespace}/{self._site.service}"

    def _sum_up(self, experiment: Experiment, asked: Obj) -> Performed:
        assert self._plan is not None, "every drill has a load"
        records = list(read_records(self._place / "records.jsonl"))
        timeline = Timeline(self._reader.rows, service=self._service_name())
        explained = explain_all(records, timeline)
        zero_s = self._load_start_s
        ends = self._ends or native_ends(timeline, zero_s)
        exposure = exposure_of(timeline, records, self._acted_s or zero_s, ends if self._acted_s else [])
        case = Case(
            title=experiment.title,
            asked={"drill": experiment.name, "story": experiment.story, **asked},
            zero_s=zero_s,
            exposure=exposure,
            tool_version=__version__,
            plan=self._plan,
            cluster=self._site.cluster,
            actions=tuple(sorted(self._actions, key=lambda entry: entry.at_s)),
            pods=tuple(sorted(ends, key=lambda end: end.at_s)),
        )
        document = receipt(case, records, explained)
        raw = Raw(case=case, service=self._service_name(), happenings=self._reader.rows, records=records)
        return Performed(
            receipt=document,
            judgement=judge(experiment.oracle, document),
            timeline=timeline,
            records=records,
            explained=explained,
            zero_s=zero_s,
            raw=raw,
        )


def exposure_of(
    timeline: Timeline, records: Sequence[Record], from_s: float, ends: Sequence[PodEnd]
) -> tuple[float, float]:
    """From the first act until the last old pod is gone, nothing sends to it any more and nothing is lost any more."""
    last_s = max((record.planned_s for record in records), default=from_s)
    gone = [end.at_s for end in ends]
    for end in ends:
        story = timeline.stories.get(end.pod)
        over = story.rule_over(0.0) if story else None
        gone += [over.at_s] if over else []
    if gone:
        gone += [record.planned_s for record in records if record.outcome.lost]
    return from_s, max(from_s, min(last_s, max(gone, default=last_s)))


def native_ends(timeline: Timeline, since_s: float) -> list[PodEnd]:
    """Pods that Kubernetes' own controllers or a person ended while the load ran."""
    ends: list[PodEnd] = []
    for story in timeline.stories.values():
        deleted = story.first(What.POD_DELETION_SET, since_s)
        if deleted is not None:
            gone = story.last(What.SANDBOX_REMOVED) or story.last(What.POD_REMOVED) or story.last(What.CONTAINER_EXITED)
            ends.append(
                PodEnd(
                    pod=story.pod,
                    version=story.image.rpartition(":")[2],
                    reason=EndReason.NATIVE,
                    at_s=(gone or deleted).at_s,
                    evidence_source="the cluster's timeline",
                )
            )
    return ends


def is_part_of(wanted: object, found: object) -> bool:
    """Whether everything that a manifest says is so already; environment variables it does not name count, too."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        return all(key in found and is_part_of(value, found[key]) for key, value in wanted.items()) and (
            "env" in wanted or not found.get("env")
        )
    if isinstance(wanted, list) and isinstance(found, list):
        return len(wanted) == len(found) and all(map(is_part_of, wanted, found))
    return wanted == found


def collection_of(obj: Obj, namespace: str) -> str:
    """The API path of an object's collection."""
    group = str(obj["apiVersion"])
    kind = str(obj["kind"])
    prefix = f"/apis/{group}" if "/" in group else f"/api/{group}"
    plural = _PLURALS.get(kind, kind.lower() + "s")
    if kind in _CLUSTER_SCOPED:
        return f"{prefix}/{plural}"
    return f"{prefix}/namespaces/{namespace_of(obj) or namespace}/{plural}"


def url_of(service: Obj, node_ip: str) -> str:
    """Where a client asks this Service: its node port where it has one, else its cluster address."""
    port = service["spec"]["ports"][0]
    if port.get("nodePort"):
        return f"http://{node_ip}:{port['nodePort']}"
    return f"http://{service['spec']['clusterIP']}:{port['port']}"


def service_for(objects: Sequence[Obj], deployment: Obj) -> str:
    """The name of the Service among these objects that selects the Deployment's pods; "" where none does."""
    labels = deployment["spec"]["template"]["metadata"].get("labels") or {}
    for obj in objects:
        selector = obj.get("spec", {}).get("selector") or {}
        if obj.get("kind") == "Service" and selector and all(labels.get(key) == selector[key] for key in selector):
            return name_of(obj)
    return ""
