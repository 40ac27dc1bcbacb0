"""Kubernetes manifests as YAML text: documents that know the file and the line of every path.

Rule 1: whatever is wrong with the text is a ManifestError with file, line, path and remedy, never a traceback.
Rule 2: nothing is resolved, defaulted or guessed here; the API server does that.
Rule 3: text is hostile until it is small: size, depth, documents and what aliases unfold to are limited (a "billion
laughs" file is 300 bytes).
Never reads a file: the bodies do.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import yaml

from segue.model.errors import ManifestError, Place
from segue.model.objects import Obj, name_of, namespace_of

TEXT_MAX = 3 * 1024 * 1024  # an object in etcd may have 1.5 MiB; YAML is wordier
DOCUMENTS_MAX = 2_000
NODES_MAX = 200_000  # visited nodes, so aliases count each time they are used
DEPTH_MAX = 100

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NULL = "tag:yaml.org,2002:null"
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_STEP = re.compile(r"\[(\d+)\]|\['([^']*)'\]|\[\"([^\"]*)\"\]|\.?([^.\[\]]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One object of a file. `lines` has the line of every path ("$.spec.replicas")."""

    obj: Obj
    file: str
    line: int
    lines: Mapping[str, int] = field(repr=False)
    from_running: bool = False  # no file: it was made of what runs, and brings only what is to change
    became: tuple[str, ...] = ()  # the file has it as of other times: what became of its fields, for people

    @property
    def kind(self) -> str:
        """kind."""
        return str(self.obj["kind"])

    @property
    def api_version(self) -> str:
        """apiVersion."""
        return str(self.obj["apiVersion"])

    @property
    def name(self) -> str:
        """metadata.name."""
        return name_of(self.obj)

    @property
    def namespace(self) -> str:
        """metadata.namespace, "" where the manifest leaves it to the context."""
        return namespace_of(self.obj)

    def place(self, path: str) -> Place:
        """Where a path as an API server writes it ("spec.containers[0].image") stands: its longest known beginning."""
        steps = _steps(path)
        for count in range(len(steps), 0, -1):
            known = "$" + "".join(_step(step) for step in steps[:count])
            if known in self.lines:
                whole = "$" + "".join(_step(step) for step in steps)
                return Place(file=self.file, line=self.lines[known], path=whole)
        return Place(file=self.file, line=self.line, path="$" + "".join(_step(step) for step in steps))


def parse(text: str, *, file: str) -> tuple[Document, ...]:
    """All objects of one text; lists (`kind: List`) are unfolded."""
    if len(text) > TEXT_MAX:
        raise ManifestError(
            f"the manifest has {len(text):,} characters; {TEXT_MAX:,} are allowed",
            place=Place(file=file),
            remedy="split it into several files",
        )
    found: list[Document] = []
    for count, node in enumerate(_composed(text, file)):
        if count >= DOCUMENTS_MAX:
            raise ManifestError(f"more than {DOCUMENTS_MAX} documents", place=Place(file=file))
        if isinstance(node, yaml.ScalarNode) and node.tag == _NULL:
            continue
        found.extend(_documents(node, file))
    return tuple(found)


def roots(text: str, *, file: str) -> list[tuple[yaml.Node, tuple[Document, ...]]]:
    """Each object of a text that `parse` takes, as the text has it, with the objects it stands for (a List's items)."""
    return [(node, tuple(_documents(node, file))) for node in _composed(text, file) if node.tag != _NULL]


def parse_mapping(text: str, *, file: str) -> Document:
    """The one mapping of a text that is no Kubernetes object, with the same limits and the same errors."""
    if len(text) > TEXT_MAX:
        raise ManifestError(f"the file has {len(text):,} characters; {TEXT_MAX:,} are allowed", place=Place(file=file))
    nodes = list(_composed(text, file))
    if len(nodes) != 1:
        raise ManifestError(f"the file has {len(nodes)} documents, not one", place=Place(file=file))
    reading = _Reading(file=file)
    obj = reading.value(nodes[0], "$", 0)
    line = nodes[0].start_mark.line + 1
    if not isinstance(obj, dict):
        raise ManifestError(f"this is {_named(obj)}, not a mapping", place=Place(file=file, line=line, path="$"))
    return Document(obj=obj, file=file, line=line, lines=reading.lines)


def _composed(text: str, file: str) -> Iterator[yaml.Node]:
    # The whole text is read before the first document counts: a broken end must not leave half of it applied.
    try:
        loader = _Loader(text)
        nodes: list[yaml.Node] = []
        while loader.check_node():
            node = loader.get_node()
            assert node is not None
            nodes.append(node)
            if len(nodes) > DOCUMENTS_MAX:
                break
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 0
        said = ", ".join(part for part in (error.context, error.problem) if part)
        raise ManifestError(
            f"not YAML: {said}", place=Place(file=file, line=line), remedy="check indentation and quotes near this line"
        ) from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ManifestError(f"not YAML: {error}", place=Place(file=file)) from error
    return iter(nodes)


def _documents(node: yaml.Node, file: str) -> Iterator[Document]:
    reading = _Reading(file=file)
    obj = reading.value(node, "$", 0)
    line = node.start_mark.line + 1
    if not isinstance(obj, dict):
        raise ManifestError(
            f"a Kubernetes object is a mapping with apiVersion, kind and metadata; this is {_named(obj)}",
            place=Place(file=file, line=line, path="$"),
            remedy="remove it, or indent it under a key",
        )
    if obj.get("kind") == "List" and isinstance(obj.get("items"), list):
        for index, item in enumerate(obj["items"]):
            prefix = f"$.items[{index}]"
            lines = {"$" + p[len(prefix) :]: at for p, at in reading.lines.items() if p.startswith(prefix)}
            yield _checked(item, file, lines)
        return
    yield _checked(obj, file, reading.lines)


def _checked(obj: object, file: str, lines: Mapping[str, int]) -> Document:
    line = lines.get("$", 1)
    if not isinstance(obj, dict):
        raise ManifestError(
            f"an object of this list is {_named(obj)}", place=Place(file=file, line=line), remedy="make it a mapping"
        )
    for key in ("apiVersion", "kind"):
        if not isinstance(obj.get(key), str) or not obj[key]:
            raise ManifestError(
                f"{key} is missing" if key not in obj else f"{key} is {_named(obj[key])}, not a name",
                place=Place(file=file, line=lines.get(f"$.{key}", line), path=f"$.{key}"),
                remedy=f"say what this object is, for example {'apps/v1' if key == 'apiVersion' else 'Deployment'}",
            )
    metadata = obj.get("metadata")
    if not isinstance(metadata, dict) or not isinstance(metadata.get("name"), str) or not metadata["name"]:
        raise ManifestError(
            "metadata.name is missing",
            place=Place(file=file, line=lines.get("$.metadata", line), path="$.metadata.name"),
            remedy="give the object a name",
        )
    return Document(obj=obj, file=file, line=line, lines=lines)


def _named(value: object) -> str:
    match value:
        case None:
            return "empty"
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case str():
            return f"text ({value[:40]!r})"
        case list():
            return "a list"
        case _:
            return "a mapping"


class _Reading:
    """Turns nodes into JSON values while noting the line of each path and counting what it visits."""

    def __init__(self, *, file: str) -> None:
        self._file = file
        self._visited = 0
        self._scalars = yaml.constructor.SafeConstructor()
        self.lines: dict[str, int] = {}

    def value(self, node: yaml.Node, path: str, depth: int) -> object:
        self._visited += 1
        line = node.start_mark.line + 1
        if self._visited > NODES_MAX:
            raise ManifestError(
                f"the manifest unfolds to more than {NODES_MAX:,} values",
                place=Place(file=self._file, line=line, path=path[:200]),
                remedy="write out what its aliases (*name) repeat, or split the file",
            )
        if depth > DEPTH_MAX:
            raise ManifestError(
                f"nested deeper than {DEPTH_MAX} levels", place=Place(file=self._file, line=line, path=path[:200])
            )
        self.lines.setdefault(path, line)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path, depth)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(child, f"{path}[{index}]", depth + 1) for index, child in enumerate(node.value)]
        assert isinstance(node, yaml.ScalarNode)
        return self._scalar(node, path)

    def _mapping(self, node: yaml.MappingNode, path: str, depth: int) -> Obj:
        found: Obj = {}
        first_line: dict[str, int] = {}
        merged: Obj = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if key_node.tag == "tag:yaml.org,2002:merge":
                merged |= self._merged(value_node, path, depth)
                continue
            if not isinstance(key_node, yaml.ScalarNode):
                raise ManifestError("a key must be text", place=Place(file=self._file, line=line, path=path))
            key = str(key_node.value)
            here = path + _step(key)
            if key in found:
                raise ManifestError(
                    f"the key {key!r} stands twice in one mapping (first in line {first_line[key]})",
                    place=Place(file=self._file, line=line, path=here),
                    remedy="keep one of them: which one wins is not defined",
                )
            first_line[key] = line
            self.lines[here] = line
            found[key] = self.value(value_node, here, depth + 1)
        return merged | found

    def _merged(self, node: yaml.Node, path: str, depth: int) -> Obj:
        parts = node.value if isinstance(node, yaml.SequenceNode) else [node]
        merged: Obj = {}
        for part in reversed(parts):
            value = self.value(part, path, depth + 1)
            if not isinstance(value, dict):
                line = part.start_mark.line + 1
                raise ManifestError("<< merges mappings only", place=Place(file=self._file, line=line, path=path))
            merged |= value
        return merged

    def _scalar(self, node: yaml.ScalarNode, path: str) -> object:
        try:
            value: object = self._scalars.construct_object(node)
        except (yaml.YAMLError, ValueError) as error:
            line = node.start_mark.line + 1
            raise ManifestError(
                f"cannot read {node.value[:40]!r}", place=Place(file=self._file, line=line, path=path)
            ) from error
        if isinstance(value, (datetime.date, datetime.datetime)):
            return str(node.value)  # JSON has no dates: kubectl sends the text
        if isinstance(value, (bytes, set)):
            line = node.start_mark.line + 1
            raise ManifestError(
                f"the YAML tag {node.tag} has no meaning in JSON",
                place=Place(file=self._file, line=line, path=path),
                remedy="write it as a quoted text",
            )
        return value


def _step(key: str | int) -> str:
    if isinstance(key, int):
        return f"[{key}]"
    return f".{key}" if _PLAIN.fullmatch(key) else f"[{key!r}]"


def _steps(path: str) -> list[str | int]:
    steps: list[str | int] = []
    for index, single, double, plain in _STEP.findall(path.removeprefix("$")):
        if index:
            steps.append(int(index))
        else:
            steps.append(single or double or plain)
    return steps
