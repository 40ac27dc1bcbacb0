"""The report: one HTML file that needs nothing else, with the verdict in its title and the receipt inside it.

No script, no network, no font; dark or light as the reader's system is. Every string of a cluster or a user is escaped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import msgspec

from segue.load.outcome import Outcome
from segue.load.record import Record
from segue.model.objects import Obj
from segue.proof.causes import CauseKind, Explained, explain_all
from segue.proof.raw import Raw
from segue.proof.timeline import PodStory, Timeline
from segue.report.axes import TimeAxis
from segue.report.closeup import closeup_picture, worst_pod
from segue.report.facts import asked_words, facts
from segue.report.markup import Element, Node, Trusted, el, render, standalone
from segue.report.pictures import Scene, Step, latency_picture, pods_picture, traffic_picture, version_of
from segue.report.steps import shortened, table
from segue.report.style import STYLE
from segue.report.why import WHY

GOOD_ENDS = frozenset({"done", "held"})
ERRORS_LISTED_MAX = 200
ERRORS_EMBEDDED_MAX = 500  # a page is to be opened on a phone; all of them are in the file beside it
JSON_SHOWN_MAX = 40_000
BEFORE_S = 1.0  # of the time before the load, so that pods do not begin at the edge


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """All that a report tells."""

    receipt: Obj
    judgement: str
    timeline: Timeline
    records: Sequence[Record]
    explained: Sequence[Explained]
    zero_s: float


def story_of(raw: Raw, receipt: Obj) -> Story:
    """What a kept receipt tells together with its record."""
    timeline = raw.timeline()
    return Story(
        receipt=receipt,
        judgement="",
        timeline=timeline,
        records=raw.records,
        explained=explain_all(raw.records, timeline),
        zero_s=raw.case.zero_s,
    )


def page(story: Story) -> str:
    """The whole file."""
    receipt = story.receipt
    said = str(receipt.get("endMessage") or receipt["title"])
    title = f"{receipt['verdict']} - {said}" if receipt["sent"] or not receipt.get("end") else said
    bad = bool(receipt["lost"] or receipt["lostOutsideExposure"]) or receipt.get("end") not in {None, "", *GOOD_ENDS}
    body = el(
        "body",
        el(
            "main",
            el("p", "segue release" if receipt.get("end") else "segue drill", class_="brand"),
            el("h1", said),
            el(
                "p",
                _sentence(str(receipt["verdict"])),
                class_="verdict bad" if bad else "verdict good" if receipt["sent"] else "verdict",
            ),
            el("p", str(receipt["asked"].get("story", "")) or asked_words(receipt["asked"])),
            facts(receipt),
            *_figures(story),
            *_causes(receipt),
            *_closeup(story),
            *_why(receipt),
            *_acts(receipt),
            *_errors(receipt),
            *_embedded(receipt),
        ),
    )
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", name="color-scheme", content="light dark"),
        el("title", title),
        el("style", Trusted(STYLE)),
    )
    return "<!DOCTYPE html>\n" + render(el("html", head, body, lang="en")) + "\n"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "."


@dataclass(frozen=True, slots=True)
class Picture:
    """One drawing and what it shows."""

    name: str
    drawing: Element
    caption: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictures:
    """All that a story has to show, on one time axis."""

    drawn: tuple[Picture, ...]
    scene: Scene


def pictures(story: Story) -> Pictures:
    """Traffic, pods and latency: those of them that there is something to draw for."""
    last_s = max((record.planned_s - story.zero_s for record in story.records), default=0.0)
    if not story.records:
        last_s = max(
            (row.at_s - story.zero_s for pod in story.timeline.stories.values() for row in pod.happenings), default=0.0
        )
    end_s = max(last_s, story.receipt["exposure"]["toS"], 1.0)
    room_s = BEFORE_S if end_s > 10 * BEFORE_S else end_s / 10
    axis = TimeAxis(begin_s=-room_s, end_s=end_s + room_s)
    shown = shown_pods(story.timeline, story.zero_s + axis.begin_s, story.zero_s + axis.end_s)
    seen = sorted({record.version or "?" for record in story.records if record.outcome is Outcome.OK})
    versions = tuple(dict.fromkeys([*seen, *(pod.version or version_of(pod.image) for pod in shown)]))
    scene = Scene(axis=axis, zero_s=story.zero_s, versions=versions)
    steps = [
        Step(number=number, at_s=row["atS"], words=str(row["action"]))
        for number, row in enumerate(story.receipt["actions"], 1)
    ]
    drawn: list[Picture] = []
    if story.records:
        drawn.append(Picture("traffic", traffic_picture(scene, story.records, story.explained), _TRAFFIC))
    if shown:
        caption = " ".join([_PODS if story.records else _PODS_SEEN, *([_STEPS] if steps else [])])
        drawn.append(Picture("pods", pods_picture(scene, shown, steps), caption))
    if story.records:
        drawn.append(Picture("latency", latency_picture(scene, story.records), _LATENCY))
    return Pictures(drawn=tuple(drawn), scene=scene)


def _figures(story: Story) -> list[Node]:
    found = pictures(story)
    if not found.drawn:
        return []
    return [
        el("h2", "What happened"),
        _legend(found.scene, loaded=bool(story.records)),
        *[el("figure", picture.drawing, _caption(picture.caption)) for picture in found.drawn],
    ]


def files(story: Story) -> dict[str, str]:
    """The pictures as SVG files by name, each with the style it needs."""
    found = {picture.name: picture.drawing for picture in pictures(story).drawn}
    closeup = closeup_picture(story.timeline, story.explained, story.zero_s)
    if closeup is not None:
        found["closeup"] = closeup
    return {f"{name}.svg": standalone(drawing) for name, drawing in found.items()}


_PODS_SEEN = (
    "One bar per pod, as the release saw it through the API: pale while starting, full while Ready, dashed once it was "
    "taken out of traffic and only drained, faded while ending. The thin line below: Services send to it."
)
_STEPS = "The numbers are the steps below."


_TRAFFIC = "Good answers per second by version. Red dots are lost requests; each leads to its cause."
_PODS = (
    "One bar per pod: pale while starting, full while ready, faded while ending. The thin line under a bar says that "
    "the data plane sends new connections to it. Where that line is red, nobody was listening."
)
_LATENCY = "Latency from the planned moment of each request: median, 99th percentile and worst, on a logarithmic scale."


def _closeup(story: Story) -> list[Node]:
    picture = closeup_picture(story.timeline, story.explained, story.zero_s)
    if picture is None:
        return []
    pod = worst_pod(story.explained).rpartition("/")[2]
    return [el("h2", f"A closer look: {pod}"), el("figure", picture, _caption(_CLOSEUP))]


_CLOSEUP = "The pod that lost most. What arrives after it stopped listening and before the rules are rewritten is lost."


def _caption(text: str) -> Element:
    return el("figcaption", text)


def shown_pods(timeline: Timeline, from_s: float, to_s: float) -> list[PodStory]:
    """Pods of the Service that existed in this time, the oldest first."""
    stories = [
        story
        for story in timeline.stories.values()
        if story.happenings[0].at_s <= to_s and (story.happenings[-1].at_s >= from_s or not _is_gone(story))
    ]
    routed = [story for story in stories if story.rules or not timeline.has_rules or not _is_gone(story)]
    return sorted(routed, key=lambda story: (story.happenings[0].at_s, story.pod))


def _is_gone(story: PodStory) -> bool:
    return story.happenings[-1].what.value in ("pod_removed", "sandbox_removed", "rule_removed")


def _legend(scene: Scene, *, loaded: bool) -> Element:
    items: list[Node] = [
        el("span", el("i", class_=f"chip {scene.colour(version)}"), version) for version in scene.versions
    ]
    if not loaded:
        items.append(el("span", el("i", class_="chip thin"), "Services send to it"))
        return el("p", *items, class_="legend")
    for sign, words in (
        ("▼", "SIGTERM"),
        ("○", "listener closed"),
        ("\u2715", "exit"),
    ):
        items.append(el("span", el("b", sign), words))
    items.append(el("span", el("i", class_="chip thin"), "data plane sends to it"))
    items.append(el("span", el("i", class_="chip thin danger"), "... while nobody listens"))
    return el("p", *items, class_="legend")


def _causes(receipt: Obj) -> list[Node]:
    if not receipt["causes"]:
        return []
    rows = [
        el(
            "tr",
            el("td", f"{row['count']:,}", class_="number"),
            el("td", el("b", row["cause"]), el("br"), row["what"]),
            el("td", row["example"]),
            el("td", row["remedy"]),
            id=f"cause-{row['cause']}",
        )
        for row in receipt["causes"]
    ]
    head = el("tr", el("th", "lost"), el("th", "cause"), el("th", "one of them"), el("th", "what helps"))
    return [
        el("h2", "Why requests were lost"),
        el("div", el("table", el("thead", head), el("tbody", *rows)), class_="wide"),
    ]


def _why(receipt: Obj) -> list[Node]:
    kinds = [CauseKind(row["cause"]) for row in receipt["causes"]]
    if not kinds and receipt["pods"] and receipt["sent"]:
        reasons = sorted({pod["reason"] for pod in receipt["pods"]})
        if reasons == ["native"]:
            return []
        text = (
            "An ordinary Deployment ends a pod as soon as a new one is ready, and the pod stops listening before the "
            "data plane has stopped sending to it: that used to lose requests here. segue first proved that new pods "
            "answer, then moved the traffic, then watched the old pods until nobody sent to them any more, and only "
            "then let them go."
        )
        return [el("h2", "Why nothing was lost"), el("p", text)]
    return [el("p", WHY[kind], class_="why") for kind in kinds if kind in WHY]


def _acts(receipt: Obj) -> list[Node]:
    found: list[Node] = []
    if receipt["actions"]:
        found += [el("h2", "What was done"), table(receipt["actions"])]
    if receipt["pods"]:
        rows = [
            el(
                "tr",
                el("td", f"{row['atS']:.3f} s", class_="number"),
                el("td", row["pod"]),
                el("td", row["version"]),
                el("td", row["reason"]),
                el("td", row["evidenceSource"]),
                el("td", *shortened(str(row.get("because", "")))),
            )
            for row in receipt["pods"]
        ]
        head = el("tr", *[el("th", name) for name in ("ended at", "pod", "version", "reason", "told by", "because")])
        found += [
            el("h2", "Pods that ended"),
            el("div", el("table", el("thead", head), el("tbody", *rows)), class_="wide"),
        ]
    return found


def _errors(receipt: Obj) -> list[Node]:
    errors = cast("list[Obj]", receipt["errors"])
    if not errors:
        return []
    rows = [
        el(
            "tr",
            el("td", f"{row['atS']:.3f} s", class_="number"),
            el("td", f"{row['outcome']} {row['errno']}".strip()),
            el("td", row["source"]),
            el("td", el("a", row["cause"], href=f"#cause-{row['cause']}")),
            el("td", row["sentence"]),
        )
        for row in errors[:ERRORS_LISTED_MAX]
    ]
    head = el("tr", *[el("th", name) for name in ("at", "the client saw", "from", "cause", "evidence")])
    left = receipt["lost"] - len(rows)
    more = [el("p", f"and {left:,} more in the receipt", class_="note")] if left > 0 else []
    table = el("div", el("table", el("thead", head), el("tbody", *rows)), class_="wide")
    return [el("details", el("summary", f"Each of the {receipt['lost']:,} lost requests"), table, *more)]


def _embedded(receipt: Obj) -> list[Node]:
    """The receipt, for people to read and for machines to find."""
    errors = cast("list[Obj]", receipt["errors"])
    left_out = int(receipt["errorsLeftOut"]) + max(0, len(errors) - ERRORS_EMBEDDED_MAX)
    embedded = {**receipt, "errors": errors[:ERRORS_EMBEDDED_MAX], "errorsLeftOut": left_out}
    text = msgspec.json.encode(embedded).decode()
    shown = msgspec.json.format(text, indent=2)
    # Inside <script> only `<` could end it early; JSON may write it otherwise.
    safe = text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    version = receipt["tool"]["version"]
    left = "" if len(shown) <= JSON_SHOWN_MAX else "\n... the whole of it is in the file beside this page"
    start = "load" if receipt["sent"] else "release"
    return [
        el("details", el("summary", "The receipt (JSON)"), el("pre", shown[:JSON_SHOWN_MAX] + left)),
        el("script", Trusted(safe), type="application/json", id="receipt"),
        el("footer", f"segue {version}, {receipt['zeroAt']}. Times count from the start of the {start}."),
    ]
