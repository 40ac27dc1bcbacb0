"""The quota controller: what a namespace holds now, in the status of its ResourceQuotas.

Rule: it only counts. Who is refused is decided where objects come in (`cluster.quotas.admission`).
"""

from __future__ import annotations

from collections.abc import Iterable

from segue.cluster.controllers.contract import NOTHING, Refusal
from segue.cluster.kinds import KINDS
from segue.cluster.quotas.amounts import ZERO, amounts, total
from segue.cluster.quotas.usage import RESOURCE, counts_in, is_counted, usage_of
from segue.cluster.store import StoreEvent
from segue.cluster.view import View
from segue.cluster.writes import Outcome, Update, Write
from segue.model.objects import Obj, Ref, name_of

_RESOURCES = frozenset(kind.resource for kind in KINDS if kind.namespaced and kind.plural != "bindings")


class QuotaController:
    """Keeps the status of every quota."""

    name = "resourcequota"

    def keys(self, view: View, event: StoreEvent) -> Iterable[Ref]:
        """The quota itself, and all of a namespace where something came or went or counts for more or less."""
        ref = event.ref
        if ref.resource == RESOURCE and event.kind != "DELETED":
            return [ref]
        quotas = view.all_of(RESOURCE, ref.namespace) if ref.namespace and ref.resource in _RESOURCES else []
        if quotas and event.before is not None and event.kind == "MODIFIED" and _count_alike(event, event.before):
            return []
        return [Ref(resource=RESOURCE, namespace=ref.namespace, name=name_of(quota)) for quota in quotas]

    def reconcile(self, view: View, ref: Ref, now_s: float) -> Outcome:
        """Count, and write what changed."""
        quota = view.get(ref)
        if quota is None:
            return NOTHING
        hard = quota["spec"].get("hard") or {}
        counted = total(
            usage_of(resource, obj)
            for resource in _counted_for(hard)
            for obj in view.all_of(resource, ref.namespace)
            if counts_in(quota, resource, obj)
        )
        used = {name: str(counted.get(name, ZERO)) for name in sorted(hard) if is_counted(name)}
        before = quota.get("status") or {}
        status = {**before, "hard": {name: str(value) for name, value in sorted(amounts(hard).items())}}
        if used:
            status["used"] = used
        if status == before:
            return NOTHING
        write = Update(resource=RESOURCE, obj={**quota, "status": status}, status=True)
        return Outcome(writes=(write,), because=f"{len(used)} resources counted")

    def refused(self, view: View, ref: Ref, refusal: Refusal) -> tuple[Write, ...]:
        """Nothing to say: the back-off looks again."""
        return ()


def _count_alike(event: StoreEvent, before: Obj) -> bool:
    return usage_of(event.ref.resource, event.obj) == usage_of(event.ref.resource, before)


def _counted_for(hard: Iterable[str]) -> list[str]:
    """The resources whose objects must be looked at for these limits."""
    found: set[str] = set()
    for name in hard:
        if name.startswith("count/"):
            found.add(name.removeprefix("count/"))
        elif name in _RESOURCES:
            found.add(name)
        elif name.startswith("services."):
            found.add("services")
        elif name == "requests.storage" or ".storageclass." in name:
            found.add("persistentvolumeclaims")
        else:
            found.add("pods")
    return sorted(found & _RESOURCES)
