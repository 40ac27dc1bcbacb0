"""Strategic merge patch: lists with a merge key merge item by item, directives ($patch, $retainKeys) are obeyed.

Which lists merge and by which key is a fact of each kind (`_LISTS`); all other lists are replaced as a whole.
Neither argument is changed.
"""

from __future__ import annotations

from typing import cast

from segue.cluster.fields import table
from segue.cluster.patch import PatchError
from segue.cluster.refusals import shown
from segue.model.objects import Obj

# "model.field": merge key of the list's items; "" for lists of plain values, which merge as sets.
_LISTS: dict[str, str] = {
    "meta_v1.ObjectMeta.finalizers": "",
    "meta_v1.ObjectMeta.ownerReferences": "uid",
    "core_v1.PodSpec.volumes": "name",
    "core_v1.PodSpec.initContainers": "name",
    "core_v1.PodSpec.containers": "name",
    "core_v1.PodSpec.ephemeralContainers": "name",
    "core_v1.PodSpec.imagePullSecrets": "name",
    "core_v1.PodSpec.hostAliases": "ip",
    "core_v1.PodSpec.topologySpreadConstraints": "topologyKey",
    "core_v1.PodSpec.resourceClaims": "name",
    "core_v1.PodSpec.schedulingGates": "name",
    "core_v1.PodStatus.podIPs": "ip",
    "core_v1.PodStatus.hostIPs": "ip",
    "core_v1.Container.ports": "containerPort",
    "core_v1.Container.env": "name",
    "core_v1.Container.volumeMounts": "mountPath",
    "core_v1.Container.volumeDevices": "devicePath",
    "core_v1.EphemeralContainer.ports": "containerPort",
    "core_v1.EphemeralContainer.env": "name",
    "core_v1.EphemeralContainer.volumeMounts": "mountPath",
    "core_v1.ServiceSpec.ports": "port",
    "core_v1.ServiceAccount.secrets": "name",
    "core_v1.NodeSpec.podCIDRs": "",
    "core_v1.NodeStatus.addresses": "type",
    "admissionregistration_v1.ValidatingWebhookConfiguration.webhooks": "name",
    "admissionregistration_v1.MutatingWebhookConfiguration.webhooks": "name",
    "admissionregistration_v1.ValidatingAdmissionPolicySpec.matchConditions": "name",
    "admissionregistration_v1.ValidatingAdmissionPolicySpec.variables": "name",
}
_ORDER = "$setElementOrder/"
_REMOVE = "$deleteFromPrimitiveList/"


def strategic_patch(model: str, document: Obj, patch: Obj) -> Obj:
    """The document of a kind (its model's name) with the patch merged in."""
    return _merge(model, document, patch)


def _merge_key(model: str, field: str) -> str | None:
    """The merge key of a list, "" for a set of plain values, None for a list that is replaced."""
    if field == "conditions" and model.endswith("Status"):
        return "type"
    return _LISTS.get(f"{model}.{field}")


def _below(model: str, field: str) -> str:
    """The model of a field's value or items, "" where it is free-form."""
    kind = table().get(model, {}).get(field, "").removeprefix("[]").removeprefix("{}")
    return kind if "." in kind else ""


def _merge(model: str, document: Obj, patch: Obj) -> Obj:
    directive = patch.get("$patch")
    if directive == "replace":
        return {key: _stripped(value) for key, value in patch.items() if key != "$patch" and value is not None}
    if directive == "delete":
        return {}
    if directive not in {None, "merge"}:
        raise PatchError(f"unknown patch type found: {directive}")
    merged = dict(document)
    if "$retainKeys" in patch:
        kept = patch["$retainKeys"]
        merged = {key: value for key, value in merged.items() if key in kept}
    orders = {key[len(_ORDER) :]: value for key, value in patch.items() if key.startswith(_ORDER)}
    for key, values in patch.items():
        if key.startswith(_REMOVE):
            field = key[len(_REMOVE) :]
            if field in merged:
                merged[field] = [one for one in merged[field] or [] if one not in values]
    for key, value in patch.items():
        if not key.startswith("$"):
            _merge_field(model, merged, key, value, orders.pop(key, None))
    for field, order in orders.items():  # an order without changes to the list itself
        merge_key = _merge_key(model, field)
        if merge_key is not None and isinstance(merged.get(field), list):
            merged[field] = _ordered(merged[field], merged[field], order, merge_key)
    return merged


def _merge_field(model: str, merged: Obj, key: str, value: object, order: list[object] | None) -> None:
    if value is None:
        merged.pop(key, None)
        return
    current = merged.get(key)
    if isinstance(value, dict):
        result = _merge(_below(model, key), current if isinstance(current, dict) else {}, value)
        if value.get("$patch") == "delete":
            merged.pop(key, None)
        else:
            merged[key] = result
        return
    merge_key = _merge_key(model, key)
    if not isinstance(value, list) or merge_key is None:
        merged[key] = _stripped(value)
        return
    before = current if isinstance(current, list) else []
    if merge_key == "":
        items = before + [one for one in value if one not in before]
        merged[key] = _ordered(items, before, value if order is None else order, "")
        return
    if any(isinstance(one, dict) and one.get("$patch") == "replace" for one in value):
        merged[key] = [_stripped(one) for one in value if one.get("$patch") != "replace" or len(one) > 1]
        return
    merged_items: list[object] = [*_merge_items(_below(model, key), before, value, merge_key)]
    named = [one for one in value if one.get("$patch") != "delete"]
    merged[key] = _ordered(merged_items, before, named if order is None else order, merge_key)


def _merge_items(model: str, before: list[Obj], patch: list[Obj], merge_key: str) -> list[Obj]:
    items = list(before)
    for change in patch:
        if merge_key not in change:
            raise PatchError(f"map: {shown(change)} does not contain declared merge key: {merge_key}")
        at = next((index for index, one in enumerate(items) if one.get(merge_key) == change[merge_key]), None)
        if change.get("$patch") == "delete":
            items = [one for one in items if one.get(merge_key) != change[merge_key]]
        elif at is None:
            items.append(_merge(model, {}, change))
        else:
            items[at] = _merge(model, items[at], change)
    return items


def _ordered(items: list[object], before: list[object], order: list[object], merge_key: str) -> list[object]:
    """Items named by `order` stand in that order; the others keep their place of `before` among them."""
    named = [_key(one, merge_key) for one in order]
    places = {_key(one, merge_key): index for index, one in enumerate(before)}
    left = sorted(
        (one for one in items if _key(one, merge_key) in named), key=lambda one: named.index(_key(one, merge_key))
    )
    right = [one for one in items if _key(one, merge_key) not in named]
    result: list[object] = []
    while left and right:
        ours, theirs = places.get(_key(left[0], merge_key)), places.get(_key(right[0], merge_key))
        take_right = ours is not None and theirs is not None and theirs < ours
        result.append((right if take_right else left).pop(0))
    return result + left + right


def _key(item: object, merge_key: str) -> str:
    if merge_key and isinstance(item, dict):
        return shown(cast("Obj", item).get(merge_key))
    return shown(item)


def _stripped(value: object) -> object:
    """A patch value that replaces, without directives and nulls."""
    if isinstance(value, dict):
        return {
            key: _stripped(item) for key, item in value.items() if item is not None and not str(key).startswith("$")
        }
    if isinstance(value, list):
        return [_stripped(item) for item in value]
    return value
