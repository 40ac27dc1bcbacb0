"""Who is refused because a quota is used up, and what the quotas say once an object is let in.

The figures asked are those in the quotas' status: what a controller counted, and what was let in since.
"""

from __future__ import annotations

from collections.abc import Iterable

from segue.cluster.kinds import kind_of
from segue.cluster.quotas.amounts import Amounts, added, amounts, told
from segue.cluster.quotas.usage import counts_in, unnamed, usage_of
from segue.cluster.refusals import forbidden
from segue.model.objects import Obj, name_of


def charged(resource: str, obj: Obj, before: Obj | None, quotas: Iterable[Obj]) -> list[Obj]:
    """The quotas with the object counted in; StatusError 403 where one of them leaves no room."""
    wanted = usage_of(resource, obj)
    if before is not None:
        wanted = _more(wanted, usage_of(resource, before))
        if not wanted:
            return []
    return [made for quota in quotas if (made := _charged(resource, obj, wanted, quota)) is not None]


def _charged(resource: str, obj: Obj, wanted: Amounts, quota: Obj) -> Obj | None:
    limited = quota["spec"].get("hard") or {}
    of_it = {name: value for name, value in wanted.items() if name in limited}
    if not counts_in(quota, resource, obj):
        return None
    if resource == "pods":
        _check_named(obj, quota)
    if not of_it:
        return None
    status = quota.get("status") or {}
    hard, used = status.get("hard") or {}, status.get("used") or {}
    unknown = sorted(name for name in of_it if name not in used)
    if unknown:
        raise _refusal(resource, obj, f"status unknown for quota: {name_of(quota)}, resources: {','.join(unknown)}")
    after = added(amounts(used), of_it)
    beyond = [name for name in of_it if after[name].value > amounts(hard)[name].value]
    if beyond:
        why = (
            f"exceeded quota: {name_of(quota)}, requested: {told(of_it, beyond)}, used: {told(used, beyond)}, "
            f"limited: {told(hard, beyond)}"
        )
        raise _refusal(resource, obj, why)
    return {**quota, "status": {**status, "used": {**used, **{name: str(after[name]) for name in of_it}}}}


def _check_named(pod: Obj, quota: Obj) -> None:
    left_open = unnamed(quota, pod)
    if left_open:
        said = "; ".join(f"{name} for: {','.join(sorted(names))}" for name, names in sorted(left_open.items()))
        raise _refusal("pods", pod, f"failed quota: {name_of(quota)}: must specify {said}")


def _more(wanted: Amounts, had: Amounts) -> Amounts:
    """What an update asks for beyond what the object has already."""
    return {
        name: type(value)(value.value - had[name].value, value.twos) if name in had else value
        for name, value in wanted.items()
        if name not in had or value.value > had[name].value
    }


def _refusal(resource: str, obj: Obj, why: str) -> Exception:
    return forbidden(kind_of(resource), name_of(obj), why)
