"""Names, labels, annotations, owner references: what every object must hold. Never looks at a spec."""

from __future__ import annotations

import re
from collections.abc import Mapping

from segue.cluster.kinds import Kind
from segue.cluster.refusals import Cause, duplicate, forbidden_field, invalid_value, required
from segue.model.objects import Obj

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_DNS_LABEL = re.compile(_LABEL)
_DNS_SUBDOMAIN = re.compile(rf"{_LABEL}(\.{_LABEL})*")
_DNS_1035 = re.compile("[a-z]([-a-z0-9]*[a-z0-9])?")
_QUALIFIED = re.compile("([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
_PATH_SEGMENT_ONLY = {
    "roles.rbac.authorization.k8s.io",
    "rolebindings.rbac.authorization.k8s.io",
    "clusterroles.rbac.authorization.k8s.io",
    "clusterrolebindings.rbac.authorization.k8s.io",
}
SUBDOMAIN_WORDS = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    r"'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
_LABEL_WORDS = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with "
    "an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
_1035_WORDS = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, "
    "and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is "
    "'[a-z]([-a-z0-9]*[a-z0-9])?')"
)
_NAME_PART_WORDS = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric "
    "character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
_LABEL_VALUE_WORDS = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)


def metadata_causes(kind: Kind, obj: Obj) -> list[Cause]:
    """What is off in metadata."""
    metadata = obj.get("metadata", {})
    causes = _name_causes(kind, metadata)
    causes += label_causes(metadata.get("labels") or {}, "metadata.labels")
    causes += _annotation_causes(metadata.get("annotations") or {})
    for index, owner in enumerate(metadata.get("ownerReferences") or []):
        causes += [
            invalid_value(f"metadata.ownerReferences[{index}].{key}", "", f"{key} must not be empty")
            for key in ("apiVersion", "kind", "name", "uid")
            if not owner.get(key)
        ]
    controllers = [one for one in metadata.get("ownerReferences") or [] if one.get("controller")]
    if len(controllers) > 1:
        detail = "Only one reference can have Controller set to true. Found more than one"
        causes.append(invalid_value("metadata.ownerReferences", metadata["ownerReferences"], detail))
    return causes


def metadata_update_causes(obj: Obj, before: Obj) -> list[Cause]:
    """What an update may not do to metadata."""
    metadata, old = obj["metadata"], before["metadata"]
    causes = [
        invalid_value(f"metadata.{key}", metadata.get(key, ""), "field is immutable")
        for key in ("name", "uid")
        if metadata.get(key) != old.get(key)
    ]
    if old.get("deletionTimestamp"):
        added = [one for one in metadata.get("finalizers") or [] if one not in (old.get("finalizers") or [])]
        if added:
            detail = f"no new finalizers can be added if the object is being deleted, found new finalizers {added!r}"
            causes.append(forbidden_field("metadata.finalizers", detail))
    return causes


def label_causes(labels: Mapping[str, str], path: str) -> list[Cause]:
    """What is off in a map of labels."""
    causes: list[Cause] = []
    for key, value in labels.items():
        causes += [invalid_value(path, key, detail) for detail in qualified_name_faults(key)]
        if len(value) > 63:
            causes.append(invalid_value(path, value, "must be no more than 63 bytes"))
        elif value and not _QUALIFIED.fullmatch(value):
            causes.append(invalid_value(path, value, _LABEL_VALUE_WORDS))
    return causes


def qualified_name_faults(key: str) -> list[str]:
    """What is off in `prefix/name`."""
    prefix, slash, name = key.rpartition("/")
    faults: list[str] = []
    if slash and not (prefix and _DNS_SUBDOMAIN.fullmatch(prefix)):
        faults.append(f"prefix part {SUBDOMAIN_WORDS}" if prefix else "prefix part must be non-empty")
    if not name:
        faults.append("name part must be non-empty")
    elif len(name) > 63:
        faults.append("name part must be no more than 63 bytes")
    if name and not _QUALIFIED.fullmatch(name):
        faults.append(_NAME_PART_WORDS)
    return faults


def is_dns_label(name: str) -> bool:
    """Whether a name is a DNS label of RFC 1123."""
    return len(name) <= 63 and bool(_DNS_LABEL.fullmatch(name))


def dns_label_causes(name: str, path: str) -> list[Cause]:
    """What is off in a DNS label."""
    if len(name) > 63:
        return [invalid_value(path, name, "must be no more than 63 bytes")]
    return [] if _DNS_LABEL.fullmatch(name) else [invalid_value(path, name, _LABEL_WORDS)]


def duplicates(names: list[str], path: str, key: str) -> list[Cause]:
    """Names of list items that stand twice."""
    return [duplicate(f"{path}[{index}].{key}", name) for index, name in enumerate(names) if name in names[:index]]


def _name_causes(kind: Kind, metadata: Obj) -> list[Cause]:
    name: str = metadata.get("name") or ""
    if not name:
        return [required("metadata.name", "name or generateName is required")]
    if kind.resource in _PATH_SEGMENT_ONLY:
        bad = next((part for part in ("/", "%") if part in name), "")
        return [invalid_value("metadata.name", name, f"may not contain '{bad}'")] if bad else []
    if kind.resource == "statefulsets.apps" and "." in name:
        return [invalid_value("metadata.name", name, "must not contain dots")]
    if kind.resource in {"namespaces", "statefulsets.apps"}:
        return dns_label_causes(name, "metadata.name")
    if kind.resource == "services":
        faulty = len(name) > 63 or not _DNS_1035.fullmatch(name)
        return [invalid_value("metadata.name", name, _1035_WORDS)] if faulty else []
    if len(name) > 253:
        return [invalid_value("metadata.name", name, "must be no more than 253 bytes")]
    return [] if _DNS_SUBDOMAIN.fullmatch(name) else [invalid_value("metadata.name", name, SUBDOMAIN_WORDS)]


def _annotation_causes(annotations: Mapping[str, str]) -> list[Cause]:
    causes: list[Cause] = []
    for key in annotations:
        causes += [invalid_value("metadata.annotations", key, detail) for detail in qualified_name_faults(key.lower())]
    if sum(len(key) + len(value) for key, value in annotations.items()) > 256 * 1024:
        message = "Too long: may not be more than 262144 bytes"
        causes.append(Cause(reason="FieldValueTooLong", field="metadata.annotations", message=message))
    return causes
