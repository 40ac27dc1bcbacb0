"""A pod is never called quiet by a silence in which the watcher did not look: drawn senders, and drawn stalls."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from segue.drain.judge import Policy, Receiver, Verdict, Watch
from segue.drain.samples import Count, Sample

EVERY_S = 0.1
RATE = 10.0
POLICY = Policy(cap_s=300.0)
SINCE_S = 20.0  # of even traffic, until the switch
AWAY_S = 40.0  # the machine stands still for this long at most


def fed(stalls: list[tuple[float, float]], *, counts: bool, until_s: float) -> Watch:
    """A watch of a pod whose world stands still now and then, with it: clients, data plane and watcher.

    Its one client sends until the switch, and is silent afterwards.
    """
    watch = Watch(receiver=Receiver(ports=frozenset({80})))
    at_s, number = 0.0, 0
    while at_s < until_s:
        opens = int(min(at_s, SINCE_S) * RATE)
        if number and counts:
            watch.count(Count(at_s=at_s, read_s=at_s, passive_opens=opens))
        if not counts or number % 20 == 0:
            watch.note(Sample(at_s=at_s, read_s=at_s, passive_opens=opens, connections=(), source="x"))
        number += 1
        at_s += EVERY_S
        for begin_s, for_s in stalls:
            if begin_s <= at_s < begin_s + for_s:
                at_s = begin_s + for_s
    return watch


STALLS = st.lists(st.tuples(st.floats(21.0, 60.0), st.floats(1.2, AWAY_S)), min_size=1, max_size=4)


@settings(deadline=None, max_examples=60)
@given(stalls=STALLS, counts=st.booleans())
def test_what_is_counted_as_silence_was_looked_at(stalls: list[tuple[float, float]], counts: bool) -> None:
    """Recomputed from the looks themselves: no silence may be longer than those gaps that the rhythm allows."""
    looks: list[float] = []
    whole = fed(stalls, counts=counts, until_s=130.0)
    assert whole.last is not None
    end_s = whole.last.at_s
    at_s = 0.0
    while at_s <= end_s:
        looks.append(at_s)
        at_s += EVERY_S
        for begin_s, for_s in stalls:
            if begin_s <= at_s < begin_s + for_s:
                at_s = begin_s + for_s
    watched_s = sum(
        after_s - before_s
        for before_s, after_s in pairwise(looks)
        if before_s >= SINCE_S - EVERY_S and after_s - before_s <= 1.0
    )
    found = whole.judge(end_s, SINCE_S, POLICY)

    assert found.silent_s <= watched_s + 2 * EVERY_S
    assert found.silent_s >= watched_s - 2 * EVERY_S, "and all of that counts"


@given(for_s=st.floats(3.0, AWAY_S), counts=st.booleans())
def test_a_stall_right_after_the_switch_proves_nothing(for_s: float, counts: bool) -> None:
    """Without the guard a machine that stood still for 3 s would find 3 s of silence, and 2 s are proof here."""
    begin_s = SINCE_S + 0.5
    watch = fed([(begin_s, for_s)], counts=counts, until_s=begin_s + for_s + EVERY_S / 2)
    assert watch.last is not None
    at_once = watch.judge(watch.last.at_s, SINCE_S, POLICY)
    later = fed([(begin_s, for_s)], counts=counts, until_s=begin_s + for_s + 4.0)
    assert later.last is not None
    then = later.judge(later.last.at_s, SINCE_S, POLICY)

    assert at_once.verdict is Verdict.BUSY
    assert at_once.silent_s <= 1.0
    assert "nobody looked" in at_once.because
    assert then.verdict is Verdict.QUIET


def test_one_that_looks_seldom_by_habit_is_believed() -> None:
    """A Prometheus is scraped every 15 s: that is its rhythm, and no stall."""
    watch = Watch(receiver=Receiver(ports=frozenset({80})))
    base = Sample(at_s=0.0, passive_opens=0, connections=(), source="prometheus", fresh_s=40.0)
    for number in range(20):
        opens = min(number * 150, 1500)
        watch.note(replace(base, at_s=15.0 * number, read_s=15.0 * number, passive_opens=opens))

    assert watch.judge(285.0, 150.0, POLICY).stalled_s == 0
    assert watch.judge(285.0, 150.0, POLICY).silent_s == 135.0
