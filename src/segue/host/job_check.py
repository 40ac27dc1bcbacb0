"""Runs a check that is a Kubernetes Job, in the namespace of the release, and takes it away again with its pods.

Rule 1: its name is its own for each run; whoever else runs the same check is not disturbed.
Rule 2: its pods must not be reached by any Service: what is a check must not be asked what users ask.
Rule 3: it is deleted whatever happens to us; where we are killed its own ttlSecondsAfterFinished does.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from segue.analysis.values import Hook
from segue.host.client import KubeClient
from segue.model.errors import SegueError
from segue.model.http import ApiRequest, ApiResponse
from segue.model.objects import Obj, copy_of, labels_of, name_of
from segue.model.services import Service
from segue.release.snapshot import Checked

LOOK_S = 0.5
TTL_S = 600
CHECK_OF = "segue.dev/check-of"
SAID_MAX = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class JobCheck:
    """One run of one Job."""

    client: KubeClient
    hook: Hook
    facts: Mapping[str, str]

    @property
    def namespace(self) -> str:
        """Where it runs."""
        return self.facts["SEGUE_NAMESPACE"]

    async def run(self) -> Checked:
        """Create it, wait for its end, delete it."""
        job = manifest_of(self.hook, self.facts)
        reached = await self._reached(job)
        if reached:
            why = f"Service {reached} would send traffic to the pods of Job {name_of(job)}; give them other labels"
            return Checked(passed=False, said=why)
        made = await self._call("POST", "", body=job)
        if made.code >= 400:
            return Checked(passed=False, said=f"the Job cannot be created: {made.body.get('message')}")
        name = name_of(job)
        try:
            async with asyncio.timeout(self.hook.timeout_s or None):
                return await self._until_end(name)
        except TimeoutError:
            return Checked(passed=False, said=f"Job {name} has not ended within {self.hook.timeout_s:g} s")
        finally:
            await self._delete(name)

    async def _until_end(self, name: str) -> Checked:
        while True:
            found = await self._call("GET", name)
            if found.code == 404:
                return Checked(passed=False, said=f"Job {name} was deleted by somebody")
            conditions = (found.body.get("status") or {}).get("conditions") or []
            for one in conditions:
                if one.get("status") == "True" and one.get("type") in {"Complete", "Failed"}:
                    passed = one["type"] == "Complete"
                    return Checked(passed=passed, said=await self._said(name, one, passed=passed))
            await asyncio.sleep(LOOK_S)

    async def _said(self, name: str, condition: Obj, *, passed: bool) -> str:
        """The last line of its newest pod's log, and what the Job controller says of a failure."""
        last = await self._last_line(name)
        if passed:
            return last or f"Job {name} is complete"
        why = ": ".join(part for part in (condition.get("reason"), condition.get("message")) if part)
        return f"Job {name}: {why}" + (f"; {last}" if last else "")

    async def _last_line(self, name: str) -> str:
        pods = f"/api/v1/namespaces/{self.namespace}/pods"
        query = {"labelSelector": f"batch.kubernetes.io/job-name={name}"}
        found = await self.client.request(ApiRequest(method="GET", path=pods, query=query))
        newest = sorted(found.body.get("items") or [], key=lambda pod: str(pod["metadata"].get("creationTimestamp")))
        for pod in reversed(newest):
            lines = (await self.client.text(f"{pods}/{name_of(pod)}/log", {"tailLines": "1"})).strip().splitlines()
            if lines:
                return lines[-1].strip()[:SAID_MAX]
        return ""

    async def _reached(self, job: Obj) -> str:
        """The Service that selects the pods of this Job."""
        found = await self.client.request(
            ApiRequest(method="GET", path=f"/api/v1/namespaces/{self.namespace}/services")
        )
        labels = labels_of(job["spec"]["template"])
        services = [Service(obj=obj) for obj in found.body.get("items") or []]
        return next((one.name for one in services if one.selects_version(labels)), "")

    async def _delete(self, name: str) -> None:
        try:
            await self._call("DELETE", name, query={"propagationPolicy": "Background"})
        except SegueError:
            return  # its own time to live ends it

    async def _call(
        self, method: str, name: str, *, body: Obj | None = None, query: Mapping[str, str] | None = None
    ) -> ApiResponse:
        path = f"/apis/batch/v1/namespaces/{self.namespace}/jobs" + (f"/{name}" if name else "")
        return await self.client.request(ApiRequest(method=method, path=path, body=body, query=query or {}))


def manifest_of(hook: Hook, facts: Mapping[str, str]) -> Obj:
    """The Job as it is created: a name of its own, the facts as environment, limits where it has none."""
    job = copy_of(hook.manifest)
    base = name_of(job)[:50].rstrip("-.")
    metadata = job["metadata"]
    metadata |= {"name": f"{base}-{secrets.token_hex(3)}", "namespace": facts["SEGUE_NAMESPACE"]}
    metadata["labels"] = {**(metadata.get("labels") or {}), CHECK_OF: facts["SEGUE_DEPLOYMENT"][:63].rstrip("-._")}
    spec = job["spec"]
    spec.setdefault("ttlSecondsAfterFinished", TTL_S)
    if hook.timeout_s:
        spec.setdefault("activeDeadlineSeconds", max(1, int(hook.timeout_s)))
    pod = spec["template"].get("spec") or {}
    for container in [*(pod.get("initContainers") or []), *(pod.get("containers") or [])]:
        known = {row.get("name") for row in container.get("env") or []}
        told = [{"name": name, "value": value} for name, value in facts.items() if name not in known]
        container["env"] = [*(container.get("env") or []), *told]
    return job
