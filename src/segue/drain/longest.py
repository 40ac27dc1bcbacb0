"""How long the requests are that a pod answers, read off its connections: Q of this workload, as far as it was watched.

A request begins with the bytes that came after an answer, and ends with the last byte of its own answer. Where a source
sees no bytes, a connection that came and went was one request at most, and that is told as what it is.
Rule: what is still under way counts with what it has lasted so far, what ended between two looks until the second; a
request that nobody looked at is not known.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from segue.drain.samples import Connection
from segue.model.objects import Obj

BY_BYTES, BY_LIFE = "bytes", "connections that ended"
SHOWN_MAX = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One of the longest."""

    lasted_s: float
    pod: str
    peer: str
    port: int
    how: str
    open: bool  # it was under way when it was last looked at

    def as_obj(self) -> Obj:
        """For machines."""
        lasted = round(self.lasted_s, 2)
        told = {"seconds": lasted, "pod": self.pod, "peer": self.peer, "port": self.port}
        return {**told, "seenBy": self.how, "underWay": self.open}


@dataclass(slots=True, kw_only=True)
class _Tracked:
    met_s: float
    began_s: float | None = None  # of the request under way, or of the last one
    received: int = 0
    sent: int = 0
    ends_s: float = 0.0


@dataclass(slots=True, kw_only=True)
class Longest:
    """Fed looks, one pod after the other."""

    seen: int = 0
    longest: list[Request] = field(default_factory=list)
    tracked: dict[str, dict[tuple[int, str, int], _Tracked]] = field(default_factory=dict)
    looked_s: dict[str, float] = field(default_factory=dict)

    def look(self, pod: str, at_s: float, connections: Iterable[Connection]) -> None:
        """What was connected at a moment."""
        last_s = self.looked_s.get(pod)
        if last_s == at_s:
            return
        known = self.tracked.get(pod, {})
        present: dict[tuple[int, str, int], _Tracked] = {}
        for one in connections:
            if one.outgoing or one.state not in {"ESTABLISHED", "CLOSE_WAIT"}:
                continue
            met_s = at_s if last_s is None else last_s
            tracked = known.get(one.key) or _Tracked(met_s=met_s)
            present[one.key] = tracked
            if one.bytes_received is not None and one.bytes_sent is not None:
                self._follow(pod, one, tracked, at_s)
        for key, tracked in known.items():
            if key in present:
                continue
            if tracked.began_s is None:
                self._note(pod, key, at_s - tracked.met_s, BY_LIFE, is_open=False)
                self.seen += 1
            elif not tracked.ends_s:  # answered and closed since the last look
                self._note(pod, key, at_s - tracked.began_s, BY_BYTES, is_open=False)
        self.tracked[pod], self.looked_s[pod] = present, at_s

    def _follow(self, pod: str, one: Connection, tracked: _Tracked, at_s: float) -> None:
        """One whose bytes are seen."""
        assert one.bytes_received is not None
        assert one.bytes_sent is not None
        received, sent = one.bytes_received > tracked.received, one.bytes_sent > tracked.sent
        came_s = at_s - (one.idle_received_s or 0.0)
        if received and (tracked.began_s is None or sent or tracked.ends_s):
            tracked.began_s, tracked.ends_s = came_s, 0.0
            self.seen += 1
        tracked.received, tracked.sent = one.bytes_received, one.bytes_sent
        if tracked.began_s is None:
            return
        answered_s = at_s - (one.idle_sent_s or 0.0)
        is_open = not one.bytes_sent or answered_s < came_s
        if not is_open:
            tracked.ends_s = answered_s
        lasted_s = (at_s if is_open else answered_s) - tracked.began_s
        self._note(pod, one.key, max(0.0, lasted_s), BY_BYTES, is_open=is_open)

    def _note(self, pod: str, key: tuple[int, str, int], lasted_s: float, how: str, *, is_open: bool) -> None:
        port, remote, remote_port = key
        peer = f"{remote}:{remote_port}"
        made = Request(lasted_s=lasted_s, pod=pod, peer=peer, port=port, how=how, open=is_open)
        others = [each for each in self.longest if (each.pod, each.peer, each.port) != (pod, peer, port)]
        mine = [each for each in self.longest if each not in others and each.lasted_s > lasted_s]
        self.longest = sorted([*others, *(mine or [made])], key=lambda each: -each.lasted_s)[:SHOWN_MAX]

    @property
    def how(self) -> str:
        """By what requests were told: by lifetimes where any had to be."""
        return BY_LIFE if any(one.how == BY_LIFE for one in self.longest) else BY_BYTES

    def as_obj(self, watched_s: float) -> Obj:
        """For machines; the longest is None where nobody came."""
        longest = round(self.longest[0].lasted_s, 2) if self.longest else None
        told: Obj = {"watchedSeconds": round(watched_s, 1), "seen": self.seen, "longestSeconds": longest}
        return {**told, "longest": [one.as_obj() for one in self.longest]}
