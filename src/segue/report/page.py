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
from segue.proof.bound import say_share
from segue.proof.causes import CauseKind, Explained
from segue.proof.timeline import PodStory, Timeline
from segue.report.axes import TimeAxis
from segue.report.closeup import closeup_picture, worst_pod
from segue.report.markup import Element, Node, Trusted, el, render
from segue.report.pictures import Scene, latency_picture, pods_picture, traffic_picture, version_of
from segue.report.style import STYLE

ERRORS_LISTED_MAX = 200
CELL_MAX = 220  # characters of evidence shown without a click
BEFORE_S = 1.0  # of the time before the load, so that pods do not begin at the edge

WHY: dict[CauseKind, str] = {
    CauseKind.LISTENER_CLOSED_FIRST: (
        "Deleting a pod starts two things that know nothing of each other. The node sends SIGTERM within milliseconds, "
        "and a well-behaved server stops listening at once. Meanwhile the pod has to leave the EndpointSlice, every "
        "node has to hear of it and rewrite its rules, which it does at most once a second. Until then new connections "
        "are still sent to a pod that no longer listens. Nothing in Kubernetes waits for the second before it does the "
        "first."
    ),
    CauseKind.QUEUE_RESET: (
        "The kernel completes a handshake before the server accepts it. When a server closes its listener, whatever "
        "waits in that queue is reset, although the client has long been connected."
    ),
    CauseKind.KILLED: (
        "A pod has its grace period for everything: the preStop hook and the end of what is under way. When it is "
        "over, SIGKILL ends the process, and with it every request that still waits."
    ),
    CauseKind.READY_TOO_EARLY: (
        "Without a readiness probe a container counts as ready as soon as its process has started, and gets traffic "
        "while it still prepares to listen."
    ),
    CauseKind.LIVENESS_KILL: (
        "A failing liveness probe ends a container but does not make its pod unready: the endpoint stays until the "
        "exit is observed, so new connections come all the while. A preStop sleep only postpones this."
    ),
    CauseKind.KEEP_ALIVE_RACE: (
        "A server may close a connection that is idle; a client may use it at the same moment. Neither can know."
    ),
    CauseKind.ADDRESS_GONE: (
        "The pod, its network included, was gone before the last node stopped sending to it."
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """All that a report tells."""

    receipt: Obj
    judgement: str
    timeline: Timeline
    records: Sequence[Record]
    explained: Sequence[Explained]
    zero_s: float


def page(story: Story) -> str:
    """The whole file."""
    receipt = story.receipt
    title = f"{receipt['verdict']} - {receipt['title']}"
    lost = bool(receipt["lost"] or receipt["lostOutsideExposure"])
    body = el(
        "body",
        el(
            "main",
            el("p", "segue drill", class_="brand"),
            el("h1", str(receipt["title"])),
            el("p", _sentence(str(receipt["verdict"])), class_="verdict bad" if lost else "verdict good"),
            el("p", str(receipt["asked"].get("story", ""))),
            _facts(receipt),
            *_pictures(story),
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


def _facts(receipt: Obj) -> Element:
    load, latency = receipt["load"], receipt["latencyMs"]
    window = receipt["exposure"]
    bound = receipt["lostShareBound95"]
    facts = [
        ("sent while it mattered", f"{receipt['sent']:,}", f"{window['fromS']:.1f} s to {window['toS']:.1f} s"),
        (
            "lost",
            f"{receipt['lost']:,}",
            f"the true share is at most {say_share(bound)} (95 %)" if bound is not None else "",
        ),
        ("load", f"{load.get('ratePerSecond', 0):,g}/s", f"open loop, {load.get('mode', '')} connections"),
        ("latency", f"{latency['p50']:g} ms", f"p99 {latency['p99']:g} ms, worst {latency['max']:g} ms"),
        ("longest silence", f"{receipt['longestGapMs']:g} ms", "between two good answers"),
    ]
    return el(
        "dl",
        *[el("div", el("dt", name), el("dd", value), el("dd", note, class_="note")) for name, value, note in facts],
    )


def _pictures(story: Story) -> list[Node]:
    if not story.records:
        return []
    last_s = max(record.planned_s for record in story.records) - story.zero_s
    axis = TimeAxis(begin_s=-BEFORE_S, end_s=max(last_s, 1.0) + BEFORE_S)
    shown = shown_pods(story.timeline, story.zero_s + axis.begin_s, story.zero_s + axis.end_s)
    seen = sorted({record.version or "?" for record in story.records if record.outcome is Outcome.OK})
    versions = tuple(dict.fromkeys([*seen, *(version_of(pod.image) for pod in shown)]))
    scene = Scene(axis=axis, zero_s=story.zero_s, versions=versions)
    return [
        el("h2", "What happened"),
        _legend(scene, versions),
        el("figure", traffic_picture(scene, story.records, story.explained), _caption(_TRAFFIC)),
        el("figure", pods_picture(scene, shown), _caption(_PODS)) if shown else el("p"),
        el("figure", latency_picture(scene, story.records), _caption(_LATENCY)),
    ]


_TRAFFIC = "Good answers per second by version. Each red dot is a lost request; it leads to its cause."
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


def _legend(scene: Scene, versions: Sequence[str]) -> Element:
    items: list[Node] = [el("span", el("i", class_=f"chip {scene.colour(version)}"), version) for version in versions]
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
    if not kinds and receipt["pods"]:
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
        rows = [
            el(
                "tr",
                el("td", f"{row['atS']:.3f} s", class_="number"),
                el("td", row["action"]),
                el("td", row["because"]),
                el("td", *_shortened("; ".join(part for part in (row["barrier"], row["evidence"]) if part))),
            )
            for row in receipt["actions"]
        ]
        head = el("tr", el("th", "at"), el("th", "action"), el("th", "because"), el("th", "barrier and evidence"))
        found += [
            el("h2", "What was done"),
            el("div", el("table", el("thead", head), el("tbody", *rows)), class_="wide"),
        ]
    if receipt["pods"]:
        rows = [
            el(
                "tr",
                el("td", f"{row['atS']:.3f} s", class_="number"),
                el("td", row["pod"]),
                el("td", row["version"]),
                el("td", row["reason"]),
                el("td", row["evidenceSource"]),
            )
            for row in receipt["pods"]
        ]
        head = el("tr", *[el("th", name) for name in ("ended at", "pod", "version", "reason", "told by")])
        found += [
            el("h2", "Pods that ended"),
            el("div", el("table", el("thead", head), el("tbody", *rows)), class_="wide"),
        ]
    return found


def _shortened(text: str) -> list[Node]:
    """Long evidence (one clause per pod) folds up."""
    if len(text) <= CELL_MAX:
        return [text]
    cut = text.find("; ", CELL_MAX // 2)
    cut = cut if 0 < cut <= CELL_MAX else CELL_MAX
    return [el("details", el("summary", text[:cut] + " ..."), text, class_="cell")]


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
    text = msgspec.json.format(msgspec.json.encode(receipt), indent=2).decode()
    # Inside <script> only `<` could end it early; JSON may write it otherwise.
    safe = text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    version = receipt["tool"]["version"]
    return [
        el("details", el("summary", "The receipt (JSON)"), el("pre", text if len(text) < 200_000 else text[:200_000])),
        el("script", Trusted(safe), type="application/json", id="receipt"),
        el("footer", f"segue {version}, {receipt['zeroAt']}. Times count from the start of the load."),
    ]
