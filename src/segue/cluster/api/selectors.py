"""Label and field selectors of a query string, as predicates over objects. Refuses what Kubernetes refuses (400)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TypeAlias

from segue.cluster.refusals import bad_request
from segue.model.objects import Obj, labels_of

Predicate: TypeAlias = Callable[[Obj], bool]
_SET = re.compile(r"^(?P<key>[^\s!=,()]+)\s+(?P<operator>in|notin)\s*\((?P<values>[^)]*)\)$")
_EQUAL = re.compile(r"^(?P<key>[^\s!=,()]+)\s*(?P<operator>==|=|!=)\s*(?P<value>[^\s!=,()]*)$")
_ORDER = re.compile(r"^(?P<key>[^\s!=,()<>]+)\s*(?P<operator>[<>])\s*(?P<value>-?\d+)$")
_EXISTS = re.compile(r"^(?P<absent>!)?\s*(?P<key>[^\s!=,()]+)$")
_COMMAS = re.compile(r",(?![^(]*\))")  # commas outside of parentheses
_FIELDS: dict[str, tuple[str, ...]] = {
    "pods": (
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.schedulerName",
        "spec.serviceAccountName",
        "spec.hostNetwork",
        "status.phase",
        "status.podIP",
        "status.nominatedNodeName",
    ),
    "events": (
        "involvedObject.kind",
        "involvedObject.namespace",
        "involvedObject.name",
        "involvedObject.uid",
        "involvedObject.apiVersion",
        "involvedObject.resourceVersion",
        "involvedObject.fieldPath",
        "reason",
        "reportingComponent",
        "source",
        "type",
    ),
    "nodes": ("spec.unschedulable",),
    "namespaces": ("status.phase",),
    "secrets": ("type",),
    "services": ("spec.clusterIP", "spec.type"),
    "replicasets.apps": ("status.replicas",),
    "jobs.batch": ("status.successful",),
}


def parse_selectors(resource: str, query: Mapping[str, str]) -> Predicate | None:
    """What `labelSelector` and `fieldSelector` ask for; None where they ask for nothing."""
    tests = _label_tests(query.get("labelSelector", "")) + _field_tests(resource, query.get("fieldSelector", ""))
    if not tests:
        return None
    return lambda obj: all(test(obj) for test in tests)


def parse_label_selector(text: str) -> Predicate:
    """One label selector; an empty one takes everything."""
    tests = _label_tests(text)
    return lambda obj: all(test(obj) for test in tests)


def _label_tests(text: str) -> list[Predicate]:
    return [_label_test(part.strip()) for part in _COMMAS.split(text) if part.strip()]


def _label_test(part: str) -> Predicate:
    if match := _SET.match(part):
        key = match["key"]
        values = {value.strip() for value in match["values"].split(",")}
        if match["operator"] == "in":
            return lambda obj: labels_of(obj).get(key) in values
        return lambda obj: labels_of(obj).get(key) not in values
    if match := _EQUAL.match(part):
        key, value = match["key"], match["value"]
        if match["operator"] == "!=":
            return lambda obj: labels_of(obj).get(key) != value
        return lambda obj: labels_of(obj).get(key) == value
    if match := _ORDER.match(part):
        return _order_test(match["key"], match["operator"], int(match["value"]))
    if match := _EXISTS.match(part):
        key, absent = match["key"], bool(match["absent"])
        return lambda obj: (key in labels_of(obj)) is not absent
    raise bad_request(f"unable to parse requirement: couldn't parse the selector string {part!r}")


def _order_test(key: str, operator: str, bound: int) -> Predicate:
    def holds(obj: Obj) -> bool:
        value = labels_of(obj).get(key, "")
        if not re.fullmatch(r"-?\d+", value):
            return False
        return int(value) > bound if operator == ">" else int(value) < bound

    return holds


def _field_tests(resource: str, text: str) -> list[Predicate]:
    tests: list[Predicate] = []
    for part in (part.strip() for part in text.split(",")):
        if not part:
            continue
        match = re.fullmatch(r"([^=!]+?)\s*(==|=|!=)\s*(.*)", part)
        if match is None:
            raise bad_request(f"invalid selector: {part!r}; can't understand {part!r}")
        field, operator, value = match[1], match[2], match[3]
        if field not in {"metadata.name", "metadata.namespace", *_FIELDS.get(resource, ())}:
            raise bad_request(f"field label not supported: {field}")
        tests.append(_field_test(field, operator, value))
    return tests


def _field_test(field: str, operator: str, value: str) -> Predicate:
    path = ["source", "component"] if field == "source" else field.split(".")
    wanted = operator != "!="

    def holds(obj: Obj) -> bool:
        return (_text_at(obj, path) == value) is wanted

    return holds


def _text_at(obj: Obj, path: list[str]) -> str:
    here: object = obj
    for step in path:
        here = here.get(step) if isinstance(here, dict) else None
    if isinstance(here, bool):
        return "true" if here else "false"
    if here is None:
        return "false" if path[-1] in {"unschedulable", "hostNetwork"} else ""
    return str(here)
