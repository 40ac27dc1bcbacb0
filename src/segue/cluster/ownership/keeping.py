"""Keeps book of owners in the objects that a registry is about to store."""

from __future__ import annotations

from dataclasses import dataclass, replace

import msgspec

from segue.cluster.kinds import Kind, kind_of
from segue.cluster.options import Options, Patch, Subresource
from segue.cluster.ownership.configs import checked_config, untyped
from segue.cluster.ownership.managers import LAST_APPLIED, Author, applied, chosen_entries, created, updated
from segue.cluster.ownership.walks import DuplicateItem
from segue.cluster.refusals import bad_request, conflict
from segue.cluster.scale import SCALE, scale_of
from segue.model.objects import Obj, Ref, annotations_of, copy_of, name_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What a write is asked for: how, to which subresource, when; `given` are the owners that the caller sent."""

    options: Options
    now_s: float
    subresource: Subresource = ""
    given: object = None

    def author(self) -> Author:
        """Who will own what is written."""
        return Author(manager=self.options.manager or "", subresource=self.subresource, now_s=self.now_s)


def own_new(kind: Kind, made: Obj, call: Call) -> None:
    """Write into a new object who owns what of it."""
    if call.options.entries is not None:
        made["metadata"]["managedFields"] = list(call.options.entries)
    elif call.options.manager is not None:
        made["metadata"]["managedFields"] = created(kind, made, call.author())


def own_changed(kind: Kind, before: Obj, changed: Obj, call: Call) -> None:
    """Write into an object that takes the place of another who owns what of it."""
    live = before["metadata"].get("managedFields") or []
    metadata = changed["metadata"]
    if metadata is not before["metadata"]:
        metadata = changed["metadata"] = {**metadata, "managedFields": live} if live else {**metadata}
    if call.options.entries is not None:
        entries = call.options.entries
    else:
        entries = chosen_entries(call.given, live) if call.subresource == "" else live
        if call.options.manager is not None and entries:
            entries = updated(kind, before, changed, entries, call.author())
    if entries is live:
        return
    metadata = changed["metadata"] = {**metadata, "managedFields": list(entries)}
    if not entries:
        del metadata["managedFields"]


def laid_over(ref: Ref, live: Obj | None, patch: Patch, call: Call) -> tuple[Obj, Options]:
    """The live object (or its Scale) with an applied configuration laid over it, and how to write it."""
    kind, scales = kind_of(ref.resource), call.subresource == "scale"
    if not isinstance(patch.body, dict):
        raise bad_request("error decoding patch: an applied configuration must be an object")
    config = checked_config(SCALE if scales else kind, patch.body)
    of_parent = {"spec": {"replicas": (config.get("spec") or {}).get("replicas")}}
    try:
        result = applied(kind, live, of_parent if scales else config, call.author(), force=patch.force)
    except DuplicateItem as error:
        raise untyped(kind, config, str(error)) from error
    told = name_of(result.obj)
    if not told:
        raise bad_request(f"the name of the object ({ref.name} based on URL) was undeterminable: name must be provided")
    if told != ref.name:
        raise bad_request(f"the name of the object ({told}) does not match the name on the URL ({ref.name})")
    if live is None:
        _check_new(kind, config)
    made = {**result.obj, "metadata": {**result.obj["metadata"]}}
    if live is None:
        made["metadata"].pop("resourceVersion", None)
    if call.options.manager == "kubectl" and annotations_of(made).get(LAST_APPLIED):
        made["metadata"]["annotations"] = {**annotations_of(made), LAST_APPLIED: _as_last_applied(config)}
    return (scale_of(made) if scales else made), replace(call.options, entries=result.entries)


def _check_new(kind: Kind, config: Obj) -> None:
    uid = config["metadata"].get("uid")
    if uid:
        why = f"uid mismatch: the provided object specified uid {uid}, and no existing object was found"
        raise conflict(kind, name_of(config), why)


def _as_last_applied(config: Obj) -> str:
    """A configuration as kubectl's annotation keeps it for appliers of the old kind."""
    kept = copy_of(config)
    (kept["metadata"].get("annotations") or {}).pop(LAST_APPLIED, None)
    return msgspec.json.encode(kept, order="sorted").decode() + "\n"
