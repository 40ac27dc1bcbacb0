"""A source that counts what ended, by peer: a connection that no look found open has a sender all the same."""

from __future__ import annotations

from segue.drain.judge import Policy, Receiver, Verdict, Watch
from segue.drain.samples import Sample, from_node_path

POLICY = Policy(cap_s=90.0)
MANY, RARE = "10.0.0.7", "10.0.0.8"
SWITCH_S, STALE_S = 10.0, 3.3
PER_S = 400


def look(at_s: float, *, named: bool) -> Sample:
    """400 short connections a second until the switch, and one every 3.3 s that goes on; none is open at any look."""
    many, rare = int(min(at_s, SWITCH_S) * PER_S), int((at_s + 60) / STALE_S)
    rows = [
        {"port": 80, "remote": MANY, "all": many, "lately": many},
        {"port": 80, "remote": RARE, "all": rare, "lately": min(rare, 18)},
    ]
    told = {"passiveOpens": many + rare, "listening": [80], "connections": [], "ended": rows if named else []}
    return from_node_path(told, at_s, at_s)


def watched(until_s: float, *, named: bool) -> Watch:
    watch = Watch(receiver=Receiver(ports=frozenset({80})))
    for tick in range(int(until_s * 10) + 1):
        watch.note(look(tick / 10, named=named))
    return watch


def test_one_rare_client_is_not_hidden_by_many_short_connections() -> None:
    ends = [tick / 10 for tick in range(100, 400, 3) if _is_quiet(tick / 10, named=True)]

    assert ends == [], "it comes every 3.3 s, and its pod is never quiet"


def test_without_names_it_would_be() -> None:
    """What the names are for: pooled, the rate of all says that 2 s are proof."""
    assert any(_is_quiet(tick / 10, named=False) for tick in range(100, 400, 3))


def _is_quiet(at_s: float, *, named: bool) -> bool:
    return watched(at_s, named=named).judge(at_s, SWITCH_S, POLICY).verdict is Verdict.QUIET


def test_what_comes_by_a_node_is_not_a_known_clients_rate() -> None:
    """Many come masqueraded, for a second after the switch too; one that is known by its address goes on, rarely."""
    node = "10.244.0.1"
    watch = Watch(receiver=Receiver(ports=frozenset({80}), node_addresses=frozenset({node})))
    ends: list[float] = []
    for tick in range(40 * 10):
        at_s = tick / 10
        many, rare = int(min(at_s, 3.5) * PER_S), int((at_s + 14) / STALE_S)
        counts = ((node, many), (RARE, rare))
        rows = [{"port": 80, "remote": remote, "all": count, "lately": count} for remote, count in counts]
        told = {"passiveOpens": many + rare, "listening": [80], "connections": [], "ended": rows}
        watch.note(from_node_path(told, at_s, at_s))
        if at_s > 2.5 and watch.judge(at_s, 2.5, POLICY).verdict is Verdict.QUIET:
            ends.append(at_s)

    assert ends == []


def test_those_of_the_minute_before_the_first_look_count_as_such() -> None:
    watch = watched(5.0, named=True)

    assert watch.ends_before[RARE] == 18
    assert watch.ends[RARE] == int(65 / STALE_S) - int(60 / STALE_S)
    assert watch.senders[RARE] == watch.ends_before[RARE] + watch.ends[RARE]
