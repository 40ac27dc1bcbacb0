"""YAML text to values that know where they stand: one pass over libyaml's events, quick and able to stop early.

Rule 1: every character is accounted for: `start` and `end` are offsets into the text, so that `fix` can splice there.
Rule 2: limits hold while reading, not afterwards: depth, values, what aliases unfold to.
Rule 3: one broken document says so and does not take the others of its file along.
Never reads a file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import yaml

from segue.model.errors import ManifestError, Place
from segue.model.objects import Obj

DOCUMENT_MAX = 3 * 1024 * 1024  # characters: an object in etcd may have 1.5 MiB, and YAML is wordier
TEXT_MAX = 12 * 1024 * 1024  # all documents of one file: charts with their custom resource definitions have 5 MB
DOCUMENTS_MAX = 20_000
NODES_MAX = 200_000
DEPTH_MAX = 100

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_MARKER = re.compile(r"^---(?=[ \t\r\n]|\Z)", re.MULTILINE)
_ODD_FIRST = frozenset("-+.0123456789~nNyYtTfFoO=<!&*")  # a plain scalar that begins otherwise is text
_NEXT_JSON = re.compile(r"\s*(?=\{|\Z)")
_TEMPLATE = re.compile(r"\{\{-?\s*[.$\w\"(/]|<%|\$\{\{")
_NULL = "tag:yaml.org,2002:null"
_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


class _Mark(Protocol):
    """A mark of PyYAML, of either of its parsers."""

    @property
    def index(self) -> int: ...
    @property
    def line(self) -> int: ...
    @property
    def column(self) -> int: ...


def _at(mark: _Mark | None) -> _Mark:
    assert mark is not None, "a parser marks every event"
    return mark


class Node:
    """A value with its place; `children` are nodes by key or index, `keys` the places of a mapping's keys."""

    __slots__ = ("children", "end", "flow", "key_style", "keys", "line", "shared", "start", "value")

    def __init__(self, value: object, start: int, end: int, line: int) -> None:
        self.value = value
        self.start, self.end, self.line = start, end, line
        self.children: dict[str | int, Node] = {}
        self.keys: dict[str, tuple[int, int, int]] = {}  # start, column, line
        self.flow = False
        self.shared = False  # reached through an alias or a merge: to change it here is to change it elsewhere
        self.key_style = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One document of a text: its node, and where in the text it begins."""

    node: Node
    offset: int
    line: int


def pieces(text: str, *, file: str) -> Iterator[Piece | ManifestError]:
    """Every document of a text in order, or what is wrong with it. Empty ones are left out."""
    if len(text) > TEXT_MAX:
        yield ManifestError(
            f"the file has {len(text):,} characters; {TEXT_MAX:,} are allowed",
            place=Place(file=file),
            remedy="split it into several files",
        )
        return
    if "\0" in text:
        yield ManifestError("binary data, not YAML", place=Place(file=file), remedy="leave this file out")
        return
    for count, (offset, end, line) in enumerate(_parts(text)):
        if count > DOCUMENTS_MAX:
            yield ManifestError(f"more than {DOCUMENTS_MAX:,} documents", place=Place(file=file, line=line + 1))
            return
        part = text[offset:end]
        if not part.strip():
            continue
        if len(part) > DOCUMENT_MAX:
            yield ManifestError(
                f"this document has {len(part):,} characters; {DOCUMENT_MAX:,} are allowed",
                place=Place(file=file, line=line + 1),
                remedy="no API server would store it: split it",
            )
            continue
        try:
            node = _Building(part, file=file, line=line, offset=offset).document()
        except ManifestError as error:
            yield _templated(error, part)
            continue
        if node is not None and node.value is not None:
            yield Piece(node=node, offset=offset, line=node.line)


def place_of(node: Node, path: tuple[str | int, ...]) -> int:
    """The line of a path, or of its longest beginning that is there."""
    line = node.line
    for step in path:
        child = node.children.get(step)
        if child is None:
            return line
        line = node.keys[step][2] if isinstance(step, str) and step in node.keys else child.line
        node = child
    return line


def written(path: tuple[str | int, ...]) -> str:
    """A path as findings and errors show it: $.spec.containers[0].image."""
    said = ["$"]
    for step in path:
        if isinstance(step, int):
            said.append(f"[{step}]")
        else:
            said.append(f".{step}" if _PLAIN_KEY.fullmatch(step) else f"[{step!r}]")
    return "".join(said)


def _parts(text: str) -> Iterator[tuple[int, int, int]]:
    """Start, end and first line of each document. A `---` in the first column ends a document wherever it stands."""
    if text[:1] == "{" and not _MARKER.search(text):
        yield from _json_parts(text)
        return
    start, line = 0, 0
    for found in _MARKER.finditer(text):
        head = text[start : found.start()]
        if not head.lstrip().startswith("%"):  # a directive belongs to the document after it
            yield start, found.start(), line
            line += head.count("\n")
            start = found.start()
    yield start, len(text), line


def _json_parts(text: str) -> Iterator[tuple[int, int, int]]:
    """Objects of JSON one after the other, as kubectl takes them; what is no JSON is one document of YAML."""
    decoder, start, line = json.JSONDecoder(), 0, 0
    while start < len(text):
        try:
            _, end = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            end = len(text)
        following = _NEXT_JSON.match(text, end)
        if following is None:
            end = len(text)
        yield start, end, line
        until = following.end() if following else end
        line += text.count("\n", start, until)
        start = until


def _templated(error: ManifestError, part: str) -> ManifestError:
    if not _TEMPLATE.search(part):
        return error
    return ManifestError(
        "this is a template, not a manifest yet",
        place=error.place,
        remedy="check what it renders to: helm template CHART | segue check -",
    )


class _Building:
    """Values and nodes of one document, event by event."""

    def __init__(self, text: str, *, file: str, line: int, offset: int) -> None:
        self._text, self._file, self._line, self._offset = text, file, line, offset
        self._visited = 0
        self._anchors: dict[str, Node] = {}
        self._weights: dict[str, int] = {}

    def document(self) -> Node | None:
        """The root; None where the document holds nothing."""
        try:
            self._next = _Loader(self._text).get_event
            event = self._next()
            while not isinstance(event, yaml.DocumentStartEvent):
                if isinstance(event, yaml.StreamEndEvent):
                    return None
                event = self._next()
            root = self._node(self._next(), 0)
            self._next()
            after = self._next()
            if isinstance(after, yaml.DocumentStartEvent):
                raise self._wrong("a second document begins without ---", after, remedy="write --- between the two")
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            said = ", ".join(part for part in (error.context, error.problem) if part)
            raise ManifestError(
                f"not YAML: {said}",
                place=Place(file=self._file, line=self._line + (mark.line if mark else 0) + 1),
                remedy="check indentation and quotes near this line",
            ) from error
        except (yaml.YAMLError, RecursionError, ValueError) as error:
            said = " ".join(str(error).split())[:160]
            raise ManifestError(f"not YAML: {said}", place=Place(file=self._file, line=self._line + 1)) from error
        return root

    def _wrong(self, said: str, event: yaml.Event, *, remedy: str = "") -> ManifestError:
        return ManifestError(
            said, place=Place(file=self._file, line=self._line + _at(event.start_mark).line + 1), remedy=remedy
        )

    def _count(self, event: yaml.Event, number: int = 1) -> None:
        self._visited += number
        if self._visited > NODES_MAX:
            raise self._wrong(
                f"this document unfolds to more than {NODES_MAX:,} values",
                event,
                remedy="write out what its aliases (*name) repeat, or split it",
            )

    def _node(self, event: yaml.Event, depth: int) -> Node:
        self._count(event)
        if depth > DEPTH_MAX:
            raise self._wrong(f"nested deeper than {DEPTH_MAX} levels", event)
        before = self._visited
        if isinstance(event, yaml.ScalarEvent):
            mark = _at(event.start_mark)
            node = Node(
                self._scalar(event),
                self._offset + mark.index,
                self._offset + _at(event.end_mark).index,
                self._line + mark.line + 1,
            )
            node.key_style = event.style or ""
        elif isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        elif isinstance(event, yaml.MappingStartEvent):
            node = self._mapping(event, depth)
        else:
            assert isinstance(event, yaml.SequenceStartEvent)
            node = self._sequence(event, depth)
        if anchor := str(getattr(event, "anchor", None) or ""):
            self._anchors[anchor] = node
            self._weights[anchor] = self._visited - before + 1
        return node

    def _alias(self, event: yaml.AliasEvent) -> Node:
        name = str(event.anchor)
        known = self._anchors.get(name)
        if known is None:
            raise self._wrong(f"the alias *{name} has no anchor before it", event)
        self._count(event, self._weights[name])
        node = Node(known.value, known.start, known.end, known.line)
        node.children, node.keys, node.flow, node.shared = known.children, known.keys, known.flow, True
        return node

    def _mapping(self, event: yaml.MappingStartEvent, depth: int) -> Node:
        value: Obj = {}
        mark = _at(event.start_mark)
        node = Node(value, self._offset + mark.index, 0, self._line + mark.line + 1)
        node.flow = bool(event.flow_style)
        self._no_tag(event, "map")
        merged: list[Node] = []
        end = _at(event.end_mark)
        while not isinstance(key := self._next(), yaml.MappingEndEvent):
            if not isinstance(key, yaml.ScalarEvent):
                raise self._wrong("a key must be text", key)
            name = str(key.value)
            key_mark = _at(key.start_mark)
            child = self._node(self._next(), depth + 1)
            if name == "<<" and not key.style:
                merged.append(child)
                continue
            if name in value:
                raise self._wrong(
                    f"the key {name!r} stands twice in one mapping (first in line {node.keys[name][2]})",
                    key,
                    remedy="keep one of them: which one wins is not defined",
                )
            value[name] = child.value
            node.children[name] = child
            node.keys[name] = (self._offset + key_mark.index, key_mark.column, self._line + key_mark.line + 1)
            node.key_style = key.style or ""
            end = _at(key.end_mark)
        node.end = self._offset + _at(key.end_mark).index if node.flow else self._end_of(node, self._offset + end.index)
        for source in merged:
            self._merge(node, value, source, event)
        return node

    def _merge(self, node: Node, value: Obj, source: Node, event: yaml.Event) -> None:
        parts = [source] if isinstance(source.value, dict) else list(source.children.values())
        for part in parts:
            if not isinstance(part.value, dict):
                raise self._wrong("<< merges mappings only", event)
            for name, child in part.children.items():
                if name in value:
                    continue
                twin = Node(child.value, child.start, child.end, child.line)
                twin.children, twin.keys, twin.flow, twin.shared = child.children, child.keys, child.flow, True
                value[str(name)] = child.value
                node.children[name] = twin
                node.keys[str(name)] = part.keys[str(name)]

    def _sequence(self, event: yaml.Event, depth: int) -> Node:
        values: list[object] = []
        mark = _at(event.start_mark)
        node = Node(values, self._offset + mark.index, 0, self._line + mark.line + 1)
        node.flow = bool(getattr(event, "flow_style", False))
        self._no_tag(event, "seq")
        while not isinstance(item := self._next(), yaml.SequenceEndEvent):
            child = self._node(item, depth + 1)
            node.children[len(values)] = child
            values.append(child.value)
        node.end = self._offset + _at(item.end_mark).index if node.flow else self._end_of(node, node.start)
        return node

    def _no_tag(self, event: yaml.Event, kind: str) -> None:
        tag = getattr(event, "tag", None)
        if tag not in {None, "!", f"tag:yaml.org,2002:{kind}"}:
            raise self._wrong(f"the YAML tag {tag} has no meaning in JSON", event, remedy="leave it out")

    @staticmethod
    def _end_of(node: Node, otherwise: int) -> int:
        """A block ends where its last value ends; libyaml's own mark is behind the blanks and comments after it."""
        if not node.children:
            return otherwise
        last = next(reversed(node.children.values()))
        return max(otherwise, last.end) if not last.shared else otherwise

    def _scalar(self, event: yaml.ScalarEvent) -> object:
        text = event.value
        assert isinstance(text, str)
        if event.tag is not None and event.tag != "!":
            return self._tagged(event, text)
        if event.style or (text and text[0] not in _ODD_FIRST):
            return text
        return _resolved(text)

    def _tagged(self, event: yaml.ScalarEvent, text: str) -> object:
        if event.tag == "tag:yaml.org,2002:str":
            return text
        if event.tag in {_NULL, *(f"tag:yaml.org,2002:{kind}" for kind in ("int", "float", "bool"))}:
            return _resolved(text)
        raise self._wrong(f"the YAML tag {event.tag} has no meaning in JSON", event, remedy="write it as a quoted text")


@lru_cache(maxsize=4096)
def _resolved(text: str) -> object:
    """What a plain scalar means: as PyYAML reads it, but for what kubectl takes as text."""
    if ":" in text:
        return text  # a date, or 22:22, which is 1342 in YAML 1.1 but to kubectl a text
    kind = _resolver().resolve(yaml.ScalarNode, text, (True, False))  # type: ignore[no-untyped-call]  # no stubs
    if kind in {"tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:str", "tag:yaml.org,2002:value"}:
        return text
    try:
        value: object = yaml.constructor.SafeConstructor().construct_object(yaml.ScalarNode(kind, text))
    except (yaml.YAMLError, ValueError):
        return text
    return value


@lru_cache(maxsize=1)
def _resolver() -> yaml.resolver.Resolver:
    return yaml.resolver.Resolver()
