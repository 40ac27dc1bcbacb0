"""The registry's way to the policies: makes a request of a write and asks. The server's own writes pass unasked."""

from __future__ import annotations

from segue.cluster.admission.matching import Operation, Request
from segue.cluster.admission.policies import BINDINGS, ask
from segue.cluster.kinds import Kind
from segue.cluster.options import Options
from segue.cluster.scale import SCALE, scale_of
from segue.cluster.store import Store
from segue.model.objects import Obj, name_of, namespace_of


def admit(
    store: Store, kind: Kind, states: tuple[Obj | None, Obj | None], options: Options, subresource: str = ""
) -> None:
    """Ask about a write that turns the first of two states into the second; StatusError where a policy denies it."""
    if options.user is None or not store.all_of(BINDINGS):
        return
    old, obj = states
    some = obj or old
    assert some is not None
    operation: Operation = "CREATE" if old is None else "DELETE" if obj is None else "UPDATE"
    scales = subresource == "scale"
    request = Request(
        kind=SCALE if scales else kind,
        resource=kind,
        subresource=subresource,
        operation=operation,
        namespace=name_of(some) if kind.plural == "namespaces" else namespace_of(some),
        name=name_of(some),
        obj=scale_of(obj) if scales and obj is not None else obj,
        old=scale_of(old) if scales and old is not None else old,
        user=options.user,
        dry_run=options.dry_run,
        options=options.asked,
    )
    ask(store, request, options.warn)
