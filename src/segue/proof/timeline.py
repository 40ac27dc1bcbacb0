"""The cluster's happenings, indexed by pod, address and source port: what was true of whom at a moment.

Only looks up measured facts. What they mean for an error is decided in `causes`.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field

from segue.load.record import Record
from segue.model.timeline import Happening, What

# Two measurements of one moment differ by scheduling, and by the clocks of two machines: NTP keeps 50 ms easily.
SLACK_S = 0.06
# The data plane tells of a connection after the fact.
FLOW_LAG_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A time during which something held; `end` is None while it still does."""

    begin: Happening
    end: Happening | None

    @property
    def end_s(self) -> float:
        """When it was surely over; infinite while it holds."""
        return self.end.at_s if self.end else math.inf

    @property
    def earliest_end_s(self) -> float:
        """The last moment at which it was seen to hold: the true end lies between this and `end_s`."""
        if self.end is None:
            return math.inf
        seen = self.end.data.get("not_before_s")
        return float(seen) if isinstance(seen, int | float) and seen else self.end.at_s

    def holds(self, at_s: float, slack_s: float = SLACK_S) -> bool:
        """Whether it may have held at this moment."""
        return self.begin.at_s - slack_s <= at_s < self.end_s + slack_s


@dataclass(slots=True)
class PodStory:
    """All that was measured of one pod, in order of time."""

    pod: str
    happenings: list[Happening] = field(default_factory=list)
    sandboxes: list[Span] = field(default_factory=list)
    listeners: list[Span] = field(default_factory=list)
    rules: list[Span] = field(default_factory=list)
    readies: list[Span] = field(default_factory=list)
    endpoints: list[Span] = field(default_factory=list)

    @property
    def ip(self) -> str:
        """Its address, "" where it never had one."""
        return next((str(row.data["ip"]) for row in self.happenings if row.data.get("ip")), "")

    @property
    def image(self) -> str:
        """Its first container's image, "" where nobody told."""
        return next((str(row.data.get("image", "")) for row in self.happenings if row.what is What.POD_CREATED), "")

    @property
    def version(self) -> str:
        """What its template is called where a release told of it, "" else."""
        return next((str(row.data["version"]) for row in self.happenings if row.data.get("version")), "")

    def first(self, what: What, after_s: float = -math.inf, until_s: float = math.inf) -> Happening | None:
        """The first happening of its kind in [after_s, until_s]."""
        return next((row for row in self.happenings if row.what is what and after_s <= row.at_s <= until_s), None)

    def last(self, what: What, until_s: float = math.inf, after_s: float = -math.inf) -> Happening | None:
        """The last happening of its kind in [after_s, until_s]."""
        rows = [row for row in self.happenings if row.what is what and after_s <= row.at_s <= until_s]
        return rows[-1] if rows else None

    def sandbox_gone(self, until_s: float) -> Happening | None:
        """The removal of its network, if that had come by then."""
        return self.last(What.SANDBOX_REMOVED, until_s)

    def has_rule(self, at_s: float) -> bool:
        """Whether the data plane may have sent it new connections at this moment."""
        return any(span.holds(at_s) for span in self.rules)

    def rule_over(self, after_s: float) -> Happening | None:
        """When the data plane stopped, at or after this moment."""
        ends = [span.end for span in self.rules if span.end is not None and span.end.at_s >= after_s - SLACK_S]
        return ends[-1] if ends else None


def _spans(rows: Iterable[Happening], begins: What, ends: What, key: str) -> list[Span]:
    """Pair beginnings with ends, separately for each value of `key` in their data."""
    open_rows: dict[str, Happening] = {}
    spans: list[Span] = []
    for row in rows:
        name = "/".join(str(row.data.get(part, "")) for part in key.split()) if key else ""
        if row.what is begins:
            open_rows.setdefault(name, row)
        elif row.what is ends and name in open_rows:
            spans.append(Span(begin=open_rows.pop(name), end=row))
    spans += [Span(begin=row, end=None) for row in open_rows.values()]
    return sorted(spans, key=lambda span: span.begin.at_s)


def _listeners(rows: list[Happening]) -> list[Span]:
    """Listening times; the end of the container ends them where nobody saw the listener itself go."""
    seen = _spans(_opened_too(rows), What.LISTENER_OPENED, What.LISTENER_CLOSED, "port")
    exits = [row for row in rows if row.what in (What.CONTAINER_EXITED, What.SANDBOX_REMOVED)]
    started: set[str] = set()
    for row in rows:  # a container that starts again had ended, told or not
        if row.what is What.CONTAINER_STARTED:
            name = str(row.data.get("container", ""))
            exits += [row] if name in started else []
            started.add(name)
    exits.sort(key=lambda row: row.at_s)
    closed: list[Span] = []
    for span in seen:
        cut = next((row for row in exits if span.begin.at_s < row.at_s < span.end_s), None)
        closed.append(Span(begin=span.begin, end=cut) if cut and span.end is None else span)
    return closed


def _opened_too(rows: list[Happening]) -> list[Happening]:
    """What closed had been open, and what ended after it was ready had listened, although nobody told of the opening:
    the start of the container (or its readiness) stands for it."""
    told = [row for row in rows if row.what in (What.LISTENER_OPENED, What.LISTENER_CLOSED)]
    first = next((row for row in rows if row.what in (What.LISTENER_CLOSED, What.CONTAINER_EXITED)), None)
    if first is None or (told and told[0].what is What.LISTENER_OPENED):
        return rows
    ready = next((row for row in rows if row.what is What.POD_READY and row.at_s < first.at_s), None)
    begun = next((row for row in rows if row.what in (What.CONTAINER_STARTED, What.SANDBOX_CREATED)), None)
    stands = ready or (begun if first.what is What.LISTENER_CLOSED else None)
    if stands is None or stands.at_s > first.at_s or any(row.at_s < first.at_s for row in told):
        return rows
    # A moment for the order of things only: as evidence the happening itself is shown.
    port = {"port": first.data["port"]} if "port" in first.data else {"port": ""}
    opening = Happening(at_s=stands.at_s, what=What.LISTENER_OPENED, pod=stands.pod, data=port)
    return sorted([*rows, opening], key=lambda row: row.at_s)


class Timeline:
    """An index over happenings. `service` ("namespace/name") narrows rules to those of the Service under load."""

    def __init__(self, happenings: Iterable[Happening], *, service: str = "") -> None:
        rows = sorted(happenings, key=lambda row: row.at_s)
        self._flows: dict[tuple[str, int], list[Happening]] = {}
        self._by_ip: dict[str, list[tuple[float, str]]] = {}
        self.stories: dict[str, PodStory] = {}
        for row in rows:
            if row.what is What.FLOW:
                key = (str(row.data.get("src_ip", "")), int(row.data.get("src_port", 0)))
                self._flows.setdefault(key, []).append(row)
            elif row.pod and row.data.get("ip") and row.what in (What.SANDBOX_CREATED, What.ENDPOINT_ADDED):
                self._by_ip.setdefault(str(row.data["ip"]), []).append((row.at_s, row.pod))
        for row in rows:
            if row.what is not What.FLOW:
                self._tell(row, service)
        for story in self.stories.values():
            story.sandboxes = _spans(story.happenings, What.SANDBOX_CREATED, What.SANDBOX_REMOVED, "")
            story.listeners = _listeners(story.happenings)
            story.readies = _spans(story.happenings, What.POD_READY, What.POD_UNREADY, "")
            story.endpoints = _spans(story.happenings, What.ENDPOINT_ADDED, What.ENDPOINT_REMOVED, "service")
            story.rules = _spans(story.happenings, What.RULE_ADDED, What.RULE_REMOVED, "service node")
        self.has_flows = bool(self._flows)
        self.has_rules = any(story.rules for story in self.stories.values())

    def _tell(self, row: Happening, service: str) -> None:
        routed = row.what in (What.RULE_ADDED, What.RULE_REMOVED, What.ENDPOINT_ADDED, What.ENDPOINT_REMOVED)
        if routed and service and row.data.get("service", service) != service:
            return
        pod = row.pod or self._pod_name_at(str(row.data.get("ip", "")), row.at_s)
        if pod:
            self.stories.setdefault(pod, PodStory(pod)).happenings.append(row)

    def _pod_name_at(self, ip: str, at_s: float) -> str:
        owners = self._by_ip.get(ip, [])
        place = bisect_right(owners, (at_s + SLACK_S, "\uffff"))
        return owners[place - 1][1] if place else ""

    def pod_at(self, ip: str, at_s: float) -> PodStory | None:
        """Who had this address at this moment (or last before it)."""
        return self.stories.get(self._pod_name_at(ip, at_s))

    def flow_of(self, record: Record) -> Happening | None:
        """The data plane's own word on where this connection went; None where it said nothing."""
        flows = self._flows.get((record.local_ip, record.local_port), [])
        begin_s = record.opened_s - SLACK_S
        times = [flow.at_s for flow in flows]
        place = bisect_left(times, begin_s)
        if place < len(flows) and flows[place].at_s <= max(record.done_s, record.opened_s) + FLOW_LAG_S:
            return flows[place]
        return None

    def candidates(self, at_s: float) -> list[PodStory]:
        """Pods that a new connection may have been given to at this moment.

        Where no data plane told of its rules: all pods that existed.
        """
        if self.has_rules:
            return [story for story in self.stories.values() if story.has_rule(at_s)]
        return [
            story
            for story in self.stories.values()
            if story.happenings[0].at_s <= at_s + SLACK_S
            and (story.last(What.POD_REMOVED) or story.happenings[-1]).at_s >= at_s - FLOW_LAG_S
        ]

    def routable(self, at_s: float) -> bool:
        """Whether any pod may have got a new connection at this moment; True where no rules are known."""
        return not self.has_rules or any(story.has_rule(at_s) for story in self.stories.values())
