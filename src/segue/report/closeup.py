"""One pod's last moments, large: when it listened, when the data plane sent to it, and what was lost in between."""

from __future__ import annotations

from collections.abc import Sequence

from segue.model.timeline import What
from segue.proof.causes import CauseKind, Explained
from segue.proof.timeline import PodStory, Timeline
from segue.report.axes import LEFT, RIGHT, WIDTH, TimeAxis
from segue.report.markup import Element, el

LANE = 30.0
TOP = 34.0
MARGIN = 0.15  # of the time shown, on each side
DOTS_MAX = 600
_WORTH_IT = (CauseKind.LISTENER_CLOSED_FIRST, CauseKind.QUEUE_RESET, CauseKind.LIVENESS_KILL, CauseKind.ADDRESS_GONE)
_WORDS = {
    What.POD_DELETION_SET: "deleted",
    What.LIVENESS_FAILED: "liveness failed",
    What.SIGTERM_SENT: "SIGTERM",
    What.LISTENER_CLOSED: "stops listening",
    What.ENDPOINT_REMOVED: "endpoint gone",
    What.RULE_REMOVED: "rules rewritten",
}


def worst_pod(explained: Sequence[Explained]) -> str:
    """The pod with most losses of a kind that its last moments explain; "" where there is none."""
    counts: dict[str, int] = {}
    for row in explained:
        if row.cause.kind in _WORTH_IT and row.cause.pod:
            counts[row.cause.pod] = counts.get(row.cause.pod, 0) + 1
    return max(sorted(counts), key=lambda pod: counts[pod], default="")


def closeup_picture(timeline: Timeline, explained: Sequence[Explained], zero_s: float) -> Element | None:
    """The picture of the pod that lost most; None where no pod's end explains a loss."""
    pod = worst_pod(explained)
    story = timeline.stories.get(pod)
    if story is None:
        return None
    lost = [row.record.done_s for row in explained if row.cause.pod == pod and row.cause.kind in _WORTH_IT]
    moments = [row for row in _moments(story) if min(lost) - 10.0 <= row[0] <= max(lost) + 10.0]
    if not moments:
        return None
    first_s = min(*(at_s for at_s, _ in moments), *lost)
    last_s = max(*(at_s for at_s, _ in moments), *lost)
    room_s = max(0.01, (last_s - first_s) * MARGIN)
    axis = TimeAxis(begin_s=first_s - room_s - zero_s, end_s=last_s + room_s - zero_s)
    bottom = TOP + 3 * LANE + 4
    parts = [
        *axis.grid(TOP - 6, bottom),
        *_moment_lines(axis, [(at_s - zero_s, words) for at_s, words in moments], bottom),
        *_lane(
            axis, 0, "it listens", [(span.begin.at_s - zero_s, span.end_s - zero_s) for span in story.listeners], "v3"
        ),
        *_lane(
            axis, 1, "rules send to it", [(span.begin.at_s - zero_s, span.end_s - zero_s) for span in story.rules], "v0"
        ),
        el("text", f"{len(lost):,} lost", x=LEFT - 8, y=TOP + 2 * LANE + 15, class_="name lost", text_anchor="end"),
    ]
    for number, at_s in enumerate(lost[:DOTS_MAX]):
        y = TOP + 2 * LANE + 4 + 4.5 * (number % 5)
        parts.append(el("circle", cx=axis.x(at_s - zero_s), cy=y, r=2.6, class_="loss"))
    height = bottom + 20
    name = f"the last moments of {pod}"
    return el(
        "svg",
        *parts,
        viewBox=f"0 0 {WIDTH:g} {height:g}",
        role="img",
        aria_label=name,
        xmlns="http://www.w3.org/2000/svg",
    )


def _moments(story: PodStory) -> list[tuple[float, str]]:
    found: list[tuple[float, str]] = []
    for what, words in _WORDS.items():
        row = story.last(what)
        if row is not None:
            found.append((row.at_s, words))
    return sorted(found)


def _moment_lines(axis: TimeAxis, moments: Sequence[tuple[float, str]], bottom: float) -> list[Element]:
    """A dashed line per moment; labels on two heights, and none over another."""
    parts: list[Element] = []
    free = [0.0, 0.0]
    for at_s, words in moments:
        x = axis.x(at_s)
        parts.append(el("line", x1=x, y1=TOP - 6, x2=x, y2=bottom, class_="moment"))
        row = 0 if x >= free[0] else 1
        left = max(x, free[row])
        label = f"{words} {at_s:.3f} s"
        anchor = "start" if left < WIDTH - RIGHT - 150 else "end"
        place = left + 3 if anchor == "start" else min(x, WIDTH - RIGHT)
        parts.append(el("text", label, x=place, y=12 + 14 * row, class_="mark", text_anchor=anchor))
        free[row] = left + 7.0 * len(label)
    return parts


def _lane(axis: TimeAxis, number: int, words: str, spans: Sequence[tuple[float, float]], colour: str) -> list[Element]:
    top = TOP + number * LANE
    parts = [el("text", words, x=LEFT - 8, y=top + 15, class_="name", text_anchor="end")]
    for begin_s, end_s in spans:
        if end_s > axis.begin_s and begin_s < axis.end_s:
            left, right = axis.x(begin_s), axis.x(end_s)
            parts.append(
                el(
                    "rect",
                    x=left,
                    y=top + 4,
                    width=max(1.0, right - left),
                    height=15.0,
                    class_=f"{colour} ready",
                    rx=2.0,
                )
            )
    return parts
