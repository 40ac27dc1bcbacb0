"""metadata.managedFields: whose fields are whose after a write, and what an apply makes of an object.

An entry is one manager's set: whoever updates takes what he changes, whoever applies owns what he names and gives back
what he no longer names. An apply that would change another's field is a conflict unless it is forced.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple, TypeAlias, cast

import msgspec

from segue.cluster.kinds import Kind
from segue.cluster.ownership.sets import contains, difference, intersection, paths, shown_path, union, without
from segue.cluster.ownership.shapes import Shape, shape_of
from segue.cluster.ownership.walks import changes, field_set, fields_of_new, merged, named, reduced
from segue.model.errors import StatusError
from segue.model.objects import Obj, annotations_of, rfc3339

UPDATERS_MAX = 10  # as kube-apiserver: what more of them own goes together
ANCIENT = "ancient-changes"
BEFORE_APPLY = "before-first-apply"
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
REPLICAS = ("f:spec", "f:replicas")
_READABLE = {("Apply", "FieldsV1"), ("Update", "FieldsV1")}
# Fields that everybody writes and nobody owns.
_NOBODYS = ("name", "namespace", "creationTimestamp", "selfLink", "uid", "generation", "managedFields")
_NOBODYS_IN_METADATA = tuple(f"f:{name}" for name in (*_NOBODYS, "resourceVersion"))

_Operation: TypeAlias = Literal["Apply", "Update"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Author:
    """Who writes: his name, the subresource he writes to, and when."""

    manager: str
    subresource: str = ""
    now_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What an apply comes to: the merged object (without managedFields) and who owns what of it."""

    obj: Obj
    entries: list[Obj]


class _Key(NamedTuple):
    """What tells one entry from another; an applier stays the same over API versions."""

    manager: str
    operation: _Operation
    version: str
    subresource: str

    def shown(self) -> str:
        """As conflicts name it."""
        name = f'"{self.manager}"' + (f' with subresource "{self.subresource}"' if self.subresource else "")
        return f"{name} using {self.version}" if self.operation == "Update" else name


@dataclass(slots=True)
class _Owners:
    """All entries of one object while they change."""

    version: str
    fields: dict[_Key, Obj] = field(default_factory=dict)
    times: dict[_Key, str] = field(default_factory=dict)

    def entries(self) -> list[Obj]:
        """As metadata carries them."""
        made = [_entry(self.version, key, fields, self.times.get(key, "")) for key, fields in self.fields.items()]
        return sorted(made, key=_rank)

    def take(self, key: _Key, fields: Obj, now_s: float) -> None:
        """Let this one own these fields, too."""
        self.fields[key] = union(self.fields.get(key) or {}, fields)
        self.times[key] = rfc3339(now_s)

    def lose(self, fields: Obj, *, spared: _Key | None = None) -> None:
        """Let everybody but one no longer own these fields."""
        for key, owned in list(self.fields.items()):
            if key != spared:
                left = difference(owned, fields)
                if left:
                    self.fields[key] = left
                else:
                    del self.fields[key]


def created(kind: Kind, obj: Obj, author: Author) -> list[Obj]:
    """The entries of an object that somebody makes."""
    owners = _Owners(kind.api_version)
    touched = _ownable(kind, fields_of_new(shape_of(kind.model), obj), author.subresource)
    if touched:
        owners.take(_key(kind, "Update", author), touched, author.now_s)
    return owners.entries()


def updated(kind: Kind, before: Obj, after: Obj, entries: Sequence[Obj], author: Author) -> Sequence[Obj]:
    """The entries after an update; `entries` are those before. What nobody kept book of is not begun now."""
    touched, removed = changes(shape_of(kind.model), before, after)
    touched, removed = (_ownable(kind, each, author.subresource) for each in (touched, removed))
    if not touched and not removed:
        return entries
    key = _key(kind, "Update", author)
    if not removed and author.subresource != "scale":
        again = _again(entries, key, touched, rfc3339(author.now_s))
        if again is not None:
            return again
    owners = _read(kind, entries)
    owners.lose(union(touched, removed))
    if touched:
        owners.take(key, touched, author.now_s)
        if author.subresource == "scale":  # a Scale has no times of its own, so a new entry has none
            owners.times[key] = next((one.get("time", "") for one in entries if _key_of(one) == key), "")
    _join_ancient(owners)
    return owners.entries()


def applied(kind: Kind, live: Obj | None, config: Obj, author: Author, *, force: bool) -> Applied:
    """Lay an applied configuration over the live object; StatusError 409 where others own what would change."""
    shape = shape_of(kind.model)
    before = _bare(live) if live is not None else {}
    owners = _read(kind, (live or {}).get("metadata", {}).get("managedFields") or [])
    if live is not None and not owners.fields:  # kept by a cluster that kept no book
        everything = _ownable(kind, changes(shape, {}, before)[0], "")
        owners.take(
            _key(kind, "Update", replace(author, manager=BEFORE_APPLY, subresource="")), everything, author.now_s
        )
    key = _key(kind, "Apply", author)
    last = owners.fields.get(key) or {}
    named_by_it = field_set(shape, config)
    laid = cast("Obj", merged(shape, before, config))
    if last:
        everybodys = named_by_it
        for fields in (fields for other, fields in owners.fields.items() if other != key):
            everybodys = union(everybodys, fields)
        laid = _pruned(shape, laid, everybodys, last)
    touched, removed = (_ownable(kind, each, author.subresource) for each in changes(shape, before, laid))
    if not force:
        conflicts = {
            other: both
            for other, fields in owners.fields.items()
            if other != key and (both := intersection(fields, touched))
        }
        _check_conflicts(kind, before, conflicts, author)
    owners.fields[key] = _ownable(kind, named_by_it, author.subresource)
    owners.lose(union(touched, removed), spared=key)
    if not owners.fields[key]:
        del owners.fields[key]
    elif laid != before and author.subresource != "scale":
        owners.times[key] = rfc3339(author.now_s)
    return Applied(obj=laid, entries=owners.entries())


def _again(entries: Sequence[Obj], key: _Key, touched: Obj, time: str) -> Sequence[Obj] | None:
    """The entries where somebody only writes again what is his alone, as kubelets and controllers do all the time."""
    mine = next((entry for entry in entries if _key_of(entry) == key), None)
    if mine is None or difference(touched, mine["fieldsV1"]):
        return None
    if any(intersection(touched, entry.get("fieldsV1") or {}) for entry in entries if entry is not mine):
        return None
    if mine.get("time") == time:
        return entries
    return sorted((entry if entry is not mine else {**mine, "time": time} for entry in entries), key=_rank)


def chosen_entries(given: object, live: Sequence[Obj]) -> Sequence[Obj]:
    """The entries to go on from: those that a caller sends where they are some, else the live ones.

    A caller who sends a list of nothing (or of one empty entry) forgets them all.
    """
    if given is live or not isinstance(given, list):
        return live
    if given in ([], [{}]):
        return []
    return given if all(_is_readable(one) for one in given) else live


def _is_readable(entry: object) -> bool:
    if not isinstance(entry, dict):
        return False
    told = entry.get("operation"), entry.get("fieldsType")
    return told in _READABLE and bool(entry.get("apiVersion")) and isinstance(entry.get("fieldsV1", {}), dict)


def _pruned(shape: Shape, laid: Obj, everybodys: Obj, last: Obj) -> Obj:
    """The object without what the applier named the last time and nobody owns now."""
    owned_before = named(shape, last)
    all_fields = named(shape, field_set(shape, laid))
    bare = reduced(shape, laid, owned_before) or {}
    kept = union(named(shape, field_set(shape, bare)), named(shape, everybodys))
    owned = reduced(shape, laid, difference(all_fields, kept)) or {}
    # What went only because its parent did, and was never the applier's, stays
    gone = difference(all_fields, named(shape, field_set(shape, owned)))
    return cast("Obj", reduced(shape, laid, intersection(gone, owned_before)))


def _check_conflicts(kind: Kind, before: Obj, conflicts: Mapping[_Key, Obj], author: Author) -> None:
    if conflicts and author.manager == "kubectl":  # what kubectl once applied from the client's side is its own
        its_own = _last_applied(kind, before)
        conflicts = {key: left for key, both in conflicts.items() if (left := difference(both, its_own))}
    if not conflicts:
        return
    found = [(key.shown(), shown_path(path)) for key, both in conflicts.items() for path in paths(both)]
    found.sort(key=lambda one: one[0])
    causes = [
        {"reason": "FieldManagerConflict", "message": f"conflict with {owner}", "field": path} for owner, path in found
    ]
    if len(found) == 1:
        message = f"Apply failed with 1 conflict: conflict with {found[0][0]}: {found[0][1]}"
    else:
        lines = [
            line
            for owner in dict.fromkeys(owner for owner, _ in found)
            for line in (f"conflicts with {owner}:", *(f"- {path}" for other, path in found if other == owner))
        ]
        message = f"Apply failed with {len(found)} conflicts: " + "\n".join(lines)
    raise StatusError(409, "Conflict", message, {"causes": causes})


def _last_applied(kind: Kind, live: Obj) -> Obj:
    """What kubectl's annotation names and the object still has."""
    try:
        told = msgspec.json.decode(annotations_of(live).get(LAST_APPLIED, ""), type=Obj)
    except msgspec.DecodeError:
        return {}
    if told.get("apiVersion") != kind.api_version:
        return {}
    shape = shape_of(kind.model)
    touched, removed = changes(shape, told, live)
    return difference(difference(field_set(shape, told), touched), removed)


def _ownable(kind: Kind, fields: Obj, subresource: str) -> Obj:
    """What of these fields somebody may own who writes to the object or to this subresource."""
    match subresource:
        case "status":
            wanted = ("f:status", "f:metadata") if kind.plural == "nodes" else ("f:status",)
            fields = {step: fields[step] for step in wanted if step in fields}
        case "scale":
            return {"f:spec": {"f:replicas": {}}} if contains(fields, REPLICAS) else {}
        case _:
            lost = ("f:apiVersion", "f:kind", "f:status") if kind.status else ("f:apiVersion", "f:kind")
            fields = {step: below for step, below in fields.items() if step not in lost}
    metadata = fields.get("f:metadata")
    if metadata is None:
        return fields
    left = {step: below for step, below in metadata.items() if step not in _NOBODYS_IN_METADATA}
    return {**fields, "f:metadata": left} if left else without(fields, "f:metadata")


def _join_ancient(owners: _Owners) -> None:
    """Let the oldest updaters share one entry where there are too many."""
    updaters = [key for key in owners.fields if key.operation == "Update"]
    if len(updaters) <= UPDATERS_MAX:
        return
    updaters.sort(key=lambda key: (owners.times.get(key, ""), key.manager, key.subresource))
    bucket = _Key(ANCIENT, "Update", owners.version, "")
    for key in updaters[: len(updaters) - UPDATERS_MAX + 1]:
        fields, time = owners.fields.pop(key), owners.times.pop(key, "")
        owners.fields[bucket] = union(owners.fields.get(bucket) or {}, fields)
        owners.times[bucket] = time


def _read(kind: Kind, entries: Iterable[Obj]) -> _Owners:
    owners = _Owners(kind.api_version)
    for entry in entries:
        key = _key_of(entry)
        owners.fields[key] = entry.get("fieldsV1") or {}
        if "time" in entry:
            owners.times[key] = entry["time"]
    return owners


def _key(kind: Kind, operation: _Operation, author: Author) -> _Key:
    version = kind.api_version if operation == "Update" else ""
    return _Key(author.manager or "unknown", operation, version, author.subresource)


def _key_of(entry: Obj) -> _Key:
    version = entry["apiVersion"] if entry["operation"] == "Update" else ""
    return _Key(entry.get("manager", ""), entry["operation"], version, entry.get("subresource", ""))


def _entry(version: str, key: _Key, fields: Obj, time: str) -> Obj:
    made: Obj = {
        "manager": key.manager,
        "operation": key.operation,
        "apiVersion": key.version or version,
        "time": time,
        "fieldsType": "FieldsV1",
        "fieldsV1": fields,
        "subresource": key.subresource,
    }
    return {name: value for name, value in made.items() if value != ""}


def _rank(entry: Obj) -> tuple[str, ...]:
    return tuple(entry.get(name, "") for name in ("operation", "time", "manager", "apiVersion", "subresource"))


def _bare(obj: Obj) -> Obj:
    metadata = {key: value for key, value in obj["metadata"].items() if key != "managedFields"}
    return {**obj, "metadata": metadata}
