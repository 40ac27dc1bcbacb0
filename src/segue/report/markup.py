"""Elements as values, for SVG and HTML alike; the one place where text becomes markup, and every string is escaped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from typing import TypeAlias

from segue.report.style import STYLE

# HTML forbids an end tag for these, and for all others wants one: `<div/>` would stay open.
_VOID = frozenset({"meta", "br", "hr", "link", "img", "line", "rect", "circle", "path", "polyline", "use", "stop"})


@dataclass(frozen=True, slots=True)
class Trusted:
    """Text of our own that goes into a page as it is (a style sheet, JSON made safe): never a user's."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Element:
    """One element. Build it with `el`."""

    tag: str
    attributes: Mapping[str, str] = field(default_factory=dict)
    children: tuple[Node, ...] = ()


Node: TypeAlias = Element | Trusted | str


def el(tag: str, *children: Node, **attributes: str | float) -> Element:
    """`el("a", "text", href="#x")`. A trailing underscore is dropped (`class_`), other underscores become hyphens."""
    named = {key.rstrip("_").replace("_", "-"): _text(value) for key, value in attributes.items()}
    return Element(tag=tag, attributes=named, children=children)


def _text(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.2f}".rstrip("0").rstrip(".")


def render(node: Node) -> str:
    """The markup of a node and all below it."""
    parts: list[str] = []
    _write(node, parts)
    return "".join(parts)


def _write(node: Node, parts: list[str]) -> None:
    match node:
        case Trusted(text=text):
            parts.append(text)
        case str():
            parts.append(escape(clean(node), quote=False))
        case Element(tag=tag, attributes=attributes, children=children):
            named = "".join(f' {key}="{escape(clean(value))}"' for key, value in attributes.items())
            if tag in _VOID and not children:
                parts.append(f"<{tag}{named}/>")
                return
            parts.append(f"<{tag}{named}>")
            for child in children:
                _write(child, parts)
            parts.append(f"</{tag}>")


def clean(text: str) -> str:
    """Without characters that XML cannot hold."""
    return "".join(
        char
        for char in text
        if char in "\t\n\r" or " " <= char < "\ud800" or "\ue000" <= char < "\ufffe" or char > "\uffff"
    )


def standalone(drawing: Element) -> str:
    """An SVG element as a file of its own, with the style sheet inside and paper behind."""
    assert drawing.tag == "svg"
    _, _, width, height = drawing.attributes["viewBox"].split()
    paper = el("rect", x=0.0, y=0.0, width=width, height=height, fill="var(--card)")
    children = (el("style", Trusted(STYLE.replace("&", "&amp;").replace("<", "&lt;"))), paper, *drawing.children)
    named = {**drawing.attributes, "width": width, "height": height}
    return render(Element(tag="svg", attributes=named, children=children)) + "\n"
