"""Asks whoever serves custom metrics for those that autoscalers want, in a rhythm of its own.

Rule: what cannot be had is kept as the reason why; a metric that nobody wants any more is forgotten.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

import msgspec

from segue.cluster.metrics.custom import (
    GROUP,
    HPAS,
    VERSION,
    CustomMetrics,
    Told,
    Wanted,
    aggregated,
    backend_of,
    read_list,
)
from segue.cluster.scale import selector_text
from segue.cluster.store import Store
from segue.model.errors import StatusError
from segue.model.objects import Ref, namespace_of

EVERY_S = 2.0
_TARGETS = {"Deployment": "deployments.apps", "ReplicaSet": "replicasets.apps", "StatefulSet": "statefulsets.apps"}


class CustomReader:
    """Asks until it is stopped."""

    def __init__(self, store: Store, metrics: CustomMetrics) -> None:
        self._store = store
        self._metrics = metrics
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """The first round is at once; without an autoscaler that wants such a metric a round costs nothing."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """No round follows."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        while True:
            wanted = set(self._wanted())
            served = bool(wanted) and aggregated(self._store, GROUP, VERSION) is not None
            self._metrics.told = {one: await self._ask(one) for one in wanted} if served else {}
            await asyncio.sleep(EVERY_S)

    def _wanted(self) -> Iterator[Wanted]:
        for scaler in self._store.all_of(HPAS, ""):
            reference = scaler["spec"]["scaleTargetRef"]
            resource = _TARGETS.get(str(reference.get("kind")), "")
            namespace = namespace_of(scaler)
            metrics = scaler["spec"].get("metrics") or []
            names = [one["pods"]["metric"]["name"] for one in metrics if one["type"] == "Pods"]
            if not names or not resource:
                continue
            target = self._store.get(Ref(resource=resource, namespace=namespace, name=str(reference["name"])))
            if target is None:
                continue
            selector = selector_text(target["spec"].get("selector") or {})
            yield from (Wanted(namespace=namespace, metric=name, selector=selector) for name in names)

    async def _ask(self, wanted: Wanted) -> Told:
        from segue.host.podproxy import ask_pod  # noqa: PLC0415 - an HTTP client, for clusters that have such metrics

        backend = backend_of(self._store, GROUP, VERSION)
        if not backend:
            return Told(milli={}, trouble="the server is currently unable to handle the request")
        url = f"{backend}/apis/{GROUP}/{VERSION}/namespaces/{wanted.namespace}/pods/*/{wanted.metric}"
        try:
            code, _, body = await ask_pod(url, {"labelSelector": wanted.selector})
            found = msgspec.json.decode(body)
        except (StatusError, msgspec.DecodeError):
            return Told(milli={}, trouble="the server is currently unable to handle the request")
        if code != 200 or not isinstance(found, dict):
            said = found.get("message") if isinstance(found, dict) else None
            return Told(milli={}, trouble=str(said or f"HTTP {code}"))
        return read_list(found)
