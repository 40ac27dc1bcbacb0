"""The namespace controller: a terminating namespace loses its content, then itself.

Pods get their grace; the namespace waits for them (they are the reason why `kubectl delete namespace` takes its time).
"""

from __future__ import annotations

from collections.abc import Iterable

from segue.cluster.controllers.contract import NOTHING, Refusal
from segue.cluster.store import StoreEvent
from segue.cluster.view import View
from segue.cluster.writes import Delete, Outcome, Write
from segue.model.objects import Ref, is_terminating, name_of, uid_of


class NamespaceController:
    """Empties namespaces that go."""

    name = "namespace"

    def keys(self, view: View, event: StoreEvent) -> Iterable[Ref]:
        """The namespace itself, and that of whatever came or went while it terminates."""
        if event.ref.resource == "namespaces":
            return [event.ref] if is_terminating(event.obj) else []
        if not event.ref.namespace or event.kind == "MODIFIED":
            return []
        ref = Ref(resource="namespaces", namespace="", name=event.ref.namespace)
        namespace = view.get(ref)
        return [ref] if namespace is not None and is_terminating(namespace) else []

    def reconcile(self, view: View, ref: Ref, now_s: float) -> Outcome:
        """Delete what is in it; when nothing is left, let it go."""
        namespace = view.get(ref)
        if namespace is None or not is_terminating(namespace):
            return NOTHING
        content = [
            (Ref(resource=resource, namespace=ref.name, name=name_of(obj)), obj)
            for resource in view.resources_in(ref.name)
            for obj in view.all_of(resource, ref.name)
        ]
        writes: list[Write] = [Delete(ref=found, uid=uid_of(obj)) for found, obj in content if not is_terminating(obj)]
        if content:
            return Outcome(writes=tuple(writes), because=f"{len(content)} objects are still in it")
        # The registry frees an empty namespace of its finalizer when it is told a second time.
        return Outcome(writes=(Delete(ref=ref, uid=uid_of(namespace)),), because="nothing is left in it")

    def refused(self, view: View, ref: Ref, refusal: Refusal) -> tuple[Write, ...]:
        """Nothing to say: the back-off looks again."""
        return ()
