"""The agent and its hook, written into manifests and taken out again: a pod that anybody deletes ends when it is quiet.

Rule 1: what is put in can be taken out exactly: by its comments from a text, by its annotation from an object that has
been through an API server.
Rule 2: a pod that has a hook of its own is refused, never given two orders.
Rule 3: the app keeps the grace it had: the wait's cap comes on top (T6).
Never reads a file.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import yaml

from segue.drain.samples import AGENT_CONTAINER as AGENT
from segue.model.edits import CannotEdit, Change, Path, Prepend, Put, changed, edited, without_edits
from segue.model.errors import ManifestError, Place
from segue.model.manifest import Document, parse, roots
from segue.model.objects import Obj, copy_of
from segue.model.services import Service
from segue.model.workloads import Pod

ANNOTATION = "segue.dev/injected"
AGENT_PORT = 9741
KINDS = {"Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController", "Pod"}
GRACE_S = 30  # what a pod has that asks for none


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """How the hook is to wait. `ports` are those whose connections count; none: those that Services of the same
    manifests target, or every port that is listened on."""

    image: str
    cap_s: float = 60.0
    timer_s: float = 5.0
    ports: tuple[int, ...] = ()

    @property
    def whole_cap_s(self) -> int:
        """What comes on top of a pod's grace, in the whole seconds that it has."""
        return math.ceil(self.cap_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A workload that was changed, for people. `grace_s` is its own."""

    name: str
    containers: tuple[str, ...]
    grace_s: int
    in_text: bool  # False: its document was written anew


def inject(text: str, file: str, wanted: Wanted, services: Sequence[Service] = ()) -> tuple[str, list[Told]]:
    """The text with agent and hook in every workload, and what was done; ManifestError where one cannot have them.

    What an earlier call wrote is replaced: doing it twice is doing it once.
    """
    text, _ = uninject(text, file)
    every = [*services, *services_of(parse(text, file=file))]
    told: list[Told] = []
    for number in reversed(range(len(roots(text, file=file)))):  # from the end, so that lines above stay in place
        node, documents = roots(text, file=file)[number]
        rows = [(document, _changes(document, every, wanted)) for document in documents]
        if not any(changes for _, changes in rows):
            continue
        made = _in_text(text, file, number, rows)
        if not made:  # JSON, or too much in one line
            text = _anew(text, node, [document.obj for document in documents])
            made = _in_text(text, file, number, rows)
            assert made, "what is written here can be edited"
            told = [_told(row[0], False) for row in rows if row[1]] + told
        else:
            told = [_told(row[0], True) for row in rows if row[1]] + told
        text = made
    return text, told


def uninject(text: str, file: str) -> tuple[str, list[Told]]:
    """The text without, byte for byte what it was where its comments are still there, and what was taken out."""
    before = [document for document in parse(text, file=file) if _note(document.obj) is not None]
    try:
        text = without_edits(text)
    except CannotEdit as error:
        raise ManifestError(str(error), place=Place(file=file), remedy="put the missing comment back") from error
    left = 0
    for node, documents in reversed(roots(text, file=file)):
        if any(_note(document.obj) is not None for document in documents):
            left += sum(_note(document.obj) is not None for document in documents)
            text = _anew(text, node, [_restored(document.obj) for document in documents])
    return text, [_told(document, left == 0) for document in before]


def services_of(documents: Sequence[Document]) -> list[Service]:
    """The Services among these."""
    return [
        Service(obj=document.obj) for document in documents if document.kind == "Service" and document.obj.get("spec")
    ]


def _path_of(node: yaml.Node, number: int) -> Path:
    is_list = any(key.value == "kind" and value.value == "List" for key, value in node.value)
    return ("items", number) if is_list else ()


def _in_text(text: str, file: str, number: int, rows: Sequence[tuple[Document, Sequence[Change]]]) -> str:
    """The text with one document edited; "" where that does not come to the wanted objects."""
    node, _ = roots(text, file=file)[number]
    changes = [
        replace(change, path=(*_path_of(node, item), *change.path))
        for item, (_, found) in enumerate(rows)
        for change in found
    ]
    try:
        made = edited(text, node, changes)
        found = roots(made, file=file)[number][1]
    except (CannotEdit, ManifestError):
        return ""
    wanted = [changed(document.obj, changes) for document, changes in rows]
    return made if [document.obj for document in found] == wanted else ""


def _anew(text: str, node: yaml.Node, after: Sequence[Obj]) -> str:
    """The text with one document of it written anew."""
    lines = text.splitlines(keepends=True)
    first, last = node.start_mark.line, node.end_mark.line + (1 if node.end_mark.column else 0)
    is_list = _path_of(node, 0) != ()
    made: Obj = {"apiVersion": "v1", "kind": "List", "items": list(after)} if is_list else after[0]
    dumped = yaml.safe_dump(made, sort_keys=False, default_flow_style=False, width=1000, allow_unicode=True)
    return "".join([*lines[:first], dumped, *lines[last:]])


def _template_path(document: Document) -> Path:
    return () if document.kind == "Pod" else ("spec", "template")


def _template(document: Document) -> Obj:
    found: object = document.obj
    for step in _template_path(document):
        found = found.get(str(step)) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else {}


def _note(obj: Obj) -> Obj | None:
    """What was noted in a template that has been changed."""
    for template in (obj, (obj.get("spec") or {}).get("template") if isinstance(obj.get("spec"), dict) else None):
        if isinstance(template, dict) and isinstance(metadata := template.get("metadata"), dict):
            noted = (metadata.get("annotations") or {}).get(ANNOTATION)
            if isinstance(noted, str):
                try:
                    note = json.loads(noted)
                except ValueError:
                    return {}
                return note if isinstance(note, dict) else {}
    return None


def _changes(document: Document, services: Sequence[Service], wanted: Wanted) -> list[Change]:
    template = _template(document)
    spec = template.get("spec")
    if document.kind not in KINDS or not isinstance(spec, dict) or not isinstance(spec.get("containers"), list):
        return []
    _check(document, spec)
    path = _template_path(document)
    grace = spec.get("terminationGracePeriodSeconds")
    before_s = GRACE_S if grace is None else int(grace)
    hooks = [index for index, _ in enumerate(spec["containers"])]
    note = {"grace": grace, "hooks": [spec["containers"][index]["name"] for index in hooks]}
    pod = Pod(obj={"metadata": template.get("metadata") or {}, "spec": spec})
    agent = _agent(pod, wanted, services)
    metadata = template.get("metadata")
    inits, grace_s = spec.get("initContainers"), before_s + wanted.whole_cap_s
    changes = [
        _nested(path, template, ("metadata", "annotations"), ANNOTATION, json.dumps(note)),
        Prepend(path=(*path, "spec", "initContainers"), item=agent)
        if inits
        else Put(path=(*path, "spec"), key="initContainers", value=[agent]),
        Put(path=(*path, "spec"), key="terminationGracePeriodSeconds", value=grace_s),
    ]
    assert metadata is None or isinstance(metadata, dict)
    for index in hooks:
        at = (*path, "spec", "containers", index)
        changes.append(_nested(at, spec["containers"][index], ("lifecycle",), "preStop", _hook(wanted)))
    return changes


def _nested(path: Path, obj: Obj, keys: tuple[str, ...], key: str, value: object) -> Change:
    """Put a key below mappings of which some may be missing or empty."""
    for at, name in enumerate(keys):
        if not obj.get(name):
            for inner in reversed((*keys[at + 1 :], key)):
                value = {inner: value}
            return Put(path=path, key=name, value=value)
        obj, path = obj[name], (*path, name)
    return Put(path=path, key=key, value=value)


def _check(document: Document, spec: Obj) -> None:
    path = ".".join(str(step) for step in (*_template_path(document), "spec"))

    def refuse(message: str, at: str, remedy: str) -> ManifestError:
        return ManifestError(f"{document.kind} {document.name}: {message}", place=document.place(at), remedy=remedy)

    if spec.get("hostNetwork"):
        raise refuse(
            "its pods share the node's network, where nothing tells whose connections are whose",
            f"{path}.hostNetwork",
            "leave it out: name files without it",
        )
    for index, container in enumerate(spec["containers"]):
        at = f"{path}.containers[{index}]"
        if not isinstance(container, dict) or not isinstance(container.get("name"), str):
            raise refuse("a container without a name", at, "name it")
        if (container.get("lifecycle") or {}).get("preStop"):
            raise refuse(
                f"container {container['name']} has a preStop hook of its own",
                f"{at}.lifecycle.preStop",
                "take it out: the agent's takes its place, and waits no longer than it must",
            )
    for container in spec.get("initContainers") or []:
        if isinstance(container, dict) and container.get("name") == AGENT:
            raise refuse(
                f"there is an init container {AGENT} that segue did not write", f"{path}.initContainers", "take it out"
            )


def _hook(wanted: Wanted) -> Obj:
    return {"httpGet": {"path": f"/quiet?cap_s={wanted.cap_s:g}&timer_s={wanted.timer_s:g}", "port": AGENT_PORT}}


def _agent(pod: Pod, wanted: Wanted, services: Sequence[Service]) -> Obj:
    selecting = [service for service in services if service.selector and service.selects_version(pod.labels)]
    ports = sorted(wanted.ports or frozenset[int]().union(*(service.target_ports(pod.obj) for service in selecting)))
    env: list[Obj] = [
        {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "HOST_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.hostIP"}}},
    ]
    if ports:
        env.append({"name": "SEGUE_PORTS", "value": ",".join(str(port) for port in ports)})
    if probes := pod.probes():
        env.append({"name": "SEGUE_PROBES", "value": ",".join(f"{probe.period_s:g}" for probe in probes)})
    return {
        "name": AGENT,
        "image": wanted.image,
        "restartPolicy": "Always",
        "env": env,
        "ports": [{"name": AGENT, "containerPort": AGENT_PORT}],
        "resources": _share(pod.obj["spec"]["containers"]),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "runAsUser": 65534,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }


def _share(containers: Sequence[Obj]) -> Obj:
    """What the agent may use; a Guaranteed pod, whose containers' requests equal their limits, stays one."""

    def is_guaranteed(container: Obj) -> bool:
        resources = container.get("resources") or {}
        limits = resources.get("limits") or {}
        return {"cpu", "memory"} <= limits.keys() and {**limits, **(resources.get("requests") or {})} == limits

    if all(is_guaranteed(container) for container in containers):
        return {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"cpu": "100m", "memory": "64Mi"}}
    return {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "64Mi"}}


def _restored(obj: Obj) -> Obj:
    """An object that has lost its comments, without what was put in."""
    note = _note(obj)
    if note is None:
        return obj
    made = copy_of(obj)
    template = made if made.get("kind") == "Pod" else made["spec"]["template"]
    metadata, spec = template["metadata"], template["spec"]
    del metadata["annotations"][ANNOTATION]
    _drop_empty(metadata, "annotations")
    _drop_empty(template, "metadata")
    spec["initContainers"] = [one for one in spec.get("initContainers") or [] if one.get("name") != AGENT]
    _drop_empty(spec, "initContainers")
    spec["terminationGracePeriodSeconds"] = note.get("grace")
    _drop_empty(spec, "terminationGracePeriodSeconds")
    for container in spec.get("containers") or []:
        if container.get("name") in (note.get("hooks") or []) and isinstance(container.get("lifecycle"), dict):
            container["lifecycle"].pop("preStop", None)
            _drop_empty(container, "lifecycle")
    return made


def _drop_empty(mapping: Obj, key: str) -> None:
    if mapping.get(key) in (None, {}, []):
        mapping.pop(key, None)


def _told(document: Document, in_text: bool) -> Told:
    spec = _template(document).get("spec") or {}
    grace = spec.get("terminationGracePeriodSeconds")
    return Told(
        name=f"{document.kind} {document.name}",
        containers=tuple(str(container["name"]) for container in spec.get("containers") or []),
        grace_s=GRACE_S if grace is None else int(grace),
        in_text=in_text,
    )
