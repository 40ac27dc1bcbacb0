"""The three pictures of a report as SVG values: pods, traffic, latency over one time axis. Draws, never decides."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from segue.load.outcome import Outcome
from segue.load.record import Record
from segue.model.timeline import Happening, What
from segue.proof.causes import Explained
from segue.proof.sentences import exit_code
from segue.proof.timeline import PodStory
from segue.report.axes import LEFT, RIGHT, WIDTH, TimeAxis, round_step
from segue.report.markup import Element, el

ROW = 22.0
BAR = 11.0
PODS_MAX = 60  # rows; beyond this nobody reads on
HEIGHT = 190.0
ERRORS_DRAWN_MAX = 1500
ERROR_ROOM = 5.0  # width of what one mark stands for, beyond that number
STEP_ROOM = 44.0  # between the labels of two steps
STEPS_TOLD_MAX = 20
COLOURS = 6  # classes v0 to v5 of the style sheet


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What all pictures share. `versions` in order of appearance give the colours."""

    axis: TimeAxis
    zero_s: float
    versions: tuple[str, ...]

    def x(self, at_s: float) -> float:
        """Where a moment (seconds since the epoch) lies."""
        return self.axis.x(at_s - self.zero_s)

    def colour(self, version: str) -> str:
        """The class of a version's colour."""
        place = self.versions.index(version) if version in self.versions else len(self.versions)
        return f"v{place % COLOURS}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One action as a mark: `at_s` after the start, `number` of its row in the table."""

    number: int
    at_s: float
    words: str


def version_of(image: str) -> str:
    """The tag of an image: what its pods answer as, too, in the example server."""
    last = image.rpartition("/")[2]
    return last.partition("@")[0].rpartition(":")[2] if last else "?"


def _svg(height: float, name: str, children: Sequence[Element]) -> Element:
    box = f"0 0 {WIDTH:g} {height:g}"
    return el("svg", *children, viewBox=box, role="img", aria_label=name, xmlns="http://www.w3.org/2000/svg")


# -- pods ------------------------------------------------------------------------------------------------------------


def pods_picture(scene: Scene, stories: Sequence[PodStory], steps: Sequence[Step] = ()) -> Element:
    """A bar per pod: starting, ready, let go, terminating; under it, while the data plane sends to it (where only
    endpoints are known: while it is one), a line that turns red where nobody listens any more (or yet). The steps of a
    release cross them, numbered as in the table of what was done."""
    drawn = list(stories)[:PODS_MAX]
    first = 26.0 if steps else 8.0
    bottom = first + ROW * len(drawn)
    parts = scene.axis.grid(first - 4, bottom)
    for number, story in enumerate(drawn):
        parts.append(_pod(scene, story, first + ROW * number))
    parts += _steps(scene, steps, bottom)
    if len(stories) > len(drawn):
        text = f"and {len(stories) - len(drawn)} more pods"
        parts.append(el("text", text, x=WIDTH - RIGHT, y=bottom + 14, class_="mark", text_anchor="end"))
    return _svg(bottom + 22, "pods over time", parts)


def _steps(scene: Scene, steps: Sequence[Step], bottom: float) -> list[Element]:
    """A dashed line per step with its number above; those too near each other share one, `7-12`."""
    groups: list[list[Step]] = []
    for step in steps:
        if groups and scene.axis.x(step.at_s) - scene.axis.x(groups[-1][0].at_s) < STEP_ROOM:
            groups[-1].append(step)
        else:
            groups.append([step])
    parts: list[Element] = []
    for group in groups:
        first, last, x = group[0], group[-1], scene.axis.x(group[0].at_s)
        words = "\n".join(f"{step.number}. {step.words} ({step.at_s:.1f} s)" for step in group[:STEPS_TOLD_MAX])
        label = str(first.number) if first is last else f"{first.number}-{last.number}"
        number = el("text", label, x=x, y=13.0, class_="step", text_anchor="middle")
        line = el("line", x1=x, y1=18.0, x2=x, y2=bottom, class_="moment")
        parts.append(el("a", el("title", words), line, number, href=f"#step-{first.number}"))
    return parts


def _pod(scene: Scene, story: PodStory, top: float) -> Element:
    version = story.version or version_of(story.image)
    short = story.pod.rpartition("/")[2]
    label = short if len(short) <= 18 else "…" + short[-16:]
    born_s = story.happenings[0].at_s
    ready = story.first(What.POD_READY) or story.first(What.RULE_ADDED)
    leaving = story.first(What.POD_DELETION_SET) or story.first(What.SIGTERM_SENT)
    gone = story.last(What.SANDBOX_REMOVED) or story.last(What.POD_REMOVED)
    end_s = gone.at_s if gone else scene.zero_s + scene.axis.end_s
    ready_s = min(ready.at_s if ready else end_s, end_s)
    leaving_s = min(leaving.at_s if leaving else end_s, end_s)
    let_go = story.first(What.POD_LET_GO)
    let_go_s = max(min(ready_s, leaving_s), min(let_go.at_s, leaving_s)) if let_go else leaving_s
    colour = scene.colour(version)
    parts = [
        el("title", f"{story.pod} ({version})"),
        el("text", label, x=LEFT - 8, y=top + BAR - 1, class_="name", text_anchor="end"),
        _bar(scene, (born_s, min(ready_s, leaving_s)), top, f"{colour} starting"),
        _bar(scene, (min(ready_s, leaving_s), let_go_s), top, f"{colour} ready"),
        *([_bar(scene, (let_go_s, leaving_s), top, f"{colour} draining")] if let_go else []),
        _bar(scene, (leaving_s, end_s), top, f"{colour} leaving"),
    ]
    for span in story.rules or story.endpoints:
        until_s = min(span.end_s, scene.zero_s + scene.axis.end_s)
        parts.append(_line(scene, (span.begin.at_s, until_s), top + BAR + 3, "routed"))
        parts += [_line(scene, hole, top + BAR + 3, "danger") for hole in _holes(story, span.begin.at_s, until_s)]
    parts += [
        _sign(scene, row, top, sign) for what, sign in _SIGNS.items() for row in story.happenings if row.what is what
    ]
    return el("g", *parts)


_SIGNS = {
    What.SIGTERM_SENT: ("term", "SIGTERM"),
    What.SIGKILL_SENT: ("kill", "SIGKILL"),
    What.LISTENER_CLOSED: ("closed", "listener closed"),
    What.LIVENESS_FAILED: ("kill", "liveness failed"),
    What.CONTAINER_EXITED: ("exit", "exit"),
}


def _bar(scene: Scene, span: tuple[float, float], top: float, classes: str) -> Element:
    left, right = scene.x(span[0]), scene.x(span[1])
    return el("rect", x=left, y=top, width=max(0.0, right - left), height=BAR, class_=classes, rx=1.5)


def _line(scene: Scene, span: tuple[float, float], y: float, classes: str) -> Element:
    left, right = scene.x(span[0]), scene.x(span[1])
    # A gap of milliseconds is what this picture is about: it stays visible at any scale.
    right = max(right, left + 2.0) if classes == "danger" else right
    return el("line", x1=left, y1=y, x2=right, y2=y, class_=classes)


def _holes(story: PodStory, begin_s: float, end_s: float) -> list[tuple[float, float]]:
    """When nobody listened between these moments; none where listening was never measured."""
    if not story.listeners:
        return []
    holes: list[tuple[float, float]] = []
    at_s = begin_s
    for span in story.listeners:
        if span.begin.at_s > at_s:
            holes.append((at_s, min(span.begin.at_s, end_s)))
        at_s = max(at_s, span.end_s)
        if at_s >= end_s:
            break
    if at_s < end_s:
        holes.append((at_s, end_s))
    return [hole for hole in holes if hole[0] < hole[1]]


def _sign(scene: Scene, row: Happening, top: float, sign: tuple[str, str]) -> Element:
    classes, words = sign
    at_s, x, y = row.at_s - scene.zero_s, scene.x(row.at_s), top + BAR / 2
    if not scene.axis.begin_s <= at_s <= scene.axis.end_s:
        return el("g")
    code = f" with code {exit_code(row)}" if "exit_code" in row.data else ""
    title = el("title", f"{words}{code} at {at_s:.3f} s")
    match classes:
        case "term":
            shape = el("path", d=f"M{x - 4:.1f} {y - 7:.1f}h8l-4 6z", class_="term")
        case "closed":
            shape = el("circle", cx=x, cy=y, r=3.2, class_="closed")
        case _:
            shape = el("path", d=f"M{x - 3.5:.1f} {y - 3.5:.1f}l7 7m0 -7l-7 7", class_=classes)
    return el("g", title, shape)


# -- traffic ---------------------------------------------------------------------------------------------------------


def traffic_picture(scene: Scene, records: Sequence[Record], explained: Sequence[Explained]) -> Element:
    """Good answers per second by version, stacked, and each lost request as a mark above that leads to its cause."""
    top, bottom = 30.0, HEIGHT - 24
    width_s = _bin(scene)
    counts = _by_bin(scene, records, width_s)
    tallest = max((sum(row.values()) for row in counts.values()), default=1) / width_s
    step = round_step(max(tallest, 1.0) / 4)
    ceiling = step * math.ceil(max(tallest, 1.0) / step - 1e-9)

    def y(rate: float) -> float:
        return bottom - (bottom - top) * rate / ceiling

    parts = scene.axis.grid(top, bottom)
    for number in range(round(ceiling / step) + 1):
        parts += _level(y(number * step), f"{number * step:,.0f}/s")
    base: dict[int, float] = {}
    for version in scene.versions:
        corners, back = [], []
        for index in sorted(counts):
            low = base.get(index, 0.0)
            high = low + counts[index].get(version, 0) / width_s
            base[index] = high
            for edge in (index, index + 1):
                x = scene.axis.x(edge * width_s)
                corners.append(f"{x:.1f},{y(high):.1f}")
                back.append(f"{x:.1f},{y(low):.1f}")
        points = " ".join(corners + back[::-1])
        parts.append(el("polygon", el("title", version), points=points, class_=f"area {scene.colour(version)}"))
    parts += _errors(scene, explained)
    return _svg(HEIGHT, "requests per second by version, and errors", parts)


def _errors(scene: Scene, explained: Sequence[Explained]) -> list[Element]:
    """A mark per lost request; where they are too many, one per cause and piece of time, larger for more."""
    lost = [row for row in explained if row.record.outcome.lost]
    if not lost:
        return []
    label = el("text", f"{len(lost):,} lost", x=LEFT - 8, y=18, class_="name lost", text_anchor="end")
    if len(lost) > ERRORS_DRAWN_MAX:
        return [*_gathered(scene, lost), label]
    parts: list[Element] = []
    for row in lost:
        at_s = row.record.done_s - scene.zero_s
        title = f"{row.record.outcome.value} at {at_s:.3f} s: {row.cause.kind.value}"
        # Neighbours in time would hide each other, so the source port spreads them over a few rows.
        mark = el("circle", el("title", title), cx=scene.axis.x(at_s), cy=7 + 4.0 * (row.record.index % 5), r=2.6)
        parts.append(el("a", mark, href=f"#cause-{row.cause.kind.value}", class_="error"))
    return [*parts, label]


def _gathered(scene: Scene, lost: Sequence[Explained]) -> list[Element]:
    kinds = sorted({row.cause.kind.value for row in lost})
    counts: dict[tuple[int, str], int] = {}
    for row in lost:
        key = (int(scene.x(row.record.done_s) / ERROR_ROOM), row.cause.kind.value)
        counts[key] = counts.get(key, 0) + 1
    most = max(counts.values())
    parts: list[Element] = []
    for (column, kind), count in sorted(counts.items()):
        x = (column + 0.5) * ERROR_ROOM
        y = 5.0 + 18.0 * (kinds.index(kind) + 0.5) / len(kinds)
        title = f"{count:,} lost around {scene.axis.at_s(x):.1f} s: {kind}"
        mark = el("circle", el("title", title), cx=x, cy=y, r=1.4 + 1.8 * math.sqrt(count / most))
        parts.append(el("a", mark, href=f"#cause-{kind}", class_="error"))
    return parts


def _level(y: float, words: str) -> list[Element]:
    return [
        el("line", x1=LEFT, y1=y, x2=WIDTH - RIGHT, y2=y, class_="grid"),
        el("text", words, x=LEFT - 8, y=y + 4, class_="mark", text_anchor="end"),
    ]


def _bin(scene: Scene) -> float:
    return max(0.1, round_step((scene.axis.end_s - scene.axis.begin_s) / 160))


def _by_bin(scene: Scene, records: Sequence[Record], width_s: float) -> dict[int, dict[str, int]]:
    counts: dict[int, dict[str, int]] = {}
    for record in records:
        if record.outcome is Outcome.OK:
            row = counts.setdefault(int((record.planned_s - scene.zero_s) / width_s), {})
            version = record.version or "?"
            row[version] = row.get(version, 0) + 1
    if counts:
        for index in range(min(counts), max(counts) + 1):
            counts.setdefault(index, {})
    return counts


# -- latency ---------------------------------------------------------------------------------------------------------


def latency_picture(scene: Scene, records: Sequence[Record]) -> Element:
    """Median and 99th percentile over time, from the planned moment, on a logarithmic scale."""
    top, bottom = 10.0, HEIGHT - 24
    width_s = _bin(scene)
    by_bin: dict[int, list[float]] = {}
    for record in records:
        if record.outcome is Outcome.OK:
            by_bin.setdefault(int((record.planned_s - scene.zero_s) / width_s), []).append(record.latency_s * 1000)
    values = [value for row in by_bin.values() for value in row]
    low = math.floor(math.log10(max(0.01, min(values, default=0.1))))
    high = max(low + 1, math.ceil(math.log10(max(0.1, max(values, default=10.0)))))

    def y(ms: float) -> float:
        share = (math.log10(max(ms, 10.0**low)) - low) / (high - low)
        return bottom - (bottom - top) * min(1.0, share)

    parts = scene.axis.grid(top, bottom)
    for power in range(low, high + 1):
        parts += _level(y(10.0**power), f"{10.0**power:g} ms")
    for share, classes in ((0.5, "p50"), (0.99, "p99"), (1.0, "worst")):
        points = []
        for index in sorted(by_bin):
            row = sorted(by_bin[index])
            value = row[min(len(row) - 1, int(share * len(row)))]
            points.append(f"{scene.axis.x((index + 0.5) * width_s):.1f},{y(value):.1f}")
        parts.append(el("polyline", el("title", classes), points=" ".join(points), class_=f"curve {classes}"))
    return _svg(HEIGHT, "latency over time", parts)
