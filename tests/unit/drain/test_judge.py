"""Evidence of quiet: what fools a naive judge must not fool this one."""

from __future__ import annotations

import math
from collections.abc import Iterable

import pytest

from segue.drain.arrivals import proving_s
from segue.drain.judge import NOTHING_SEEN, Evidence, Policy, Receiver, Verdict, Watch, ended
from segue.drain.samples import Connection, Count, Sample

POLICY = Policy()
PORT = 8080
SWITCH_S = 10.0


def watched(
    arrivals: Iterable[float],
    *,
    until_s: float,
    periods_s: tuple[float, ...] = (),
    connections: tuple[Connection, ...] = (),
    every_s: float = 0.1,
) -> Watch:
    """A pod sampled from second 0 on, with new connections at these moments."""
    watch = Watch(receiver=Receiver(ports=frozenset({PORT}), probe_periods_s=periods_s))
    moments = sorted(arrivals)
    for tick in range(int(until_s / every_s) + 1):
        at_s = tick * every_s
        opens = sum(moment <= at_s for moment in moments)
        watch.note(Sample(at_s=at_s, passive_opens=opens, connections=connections, source="node path"))
    return watch


def steady(per_s: float, end_s: float, start_s: float = 0.0) -> list[float]:
    count = int((end_s - start_s) * per_s)
    return [start_s + (index + 0.5) / per_s for index in range(count)]


def judged(watch: Watch, now_s: float) -> Evidence:
    return watch.judge(now_s, SWITCH_S, POLICY)


def test_a_busy_pod_is_quiet_two_seconds_after_its_last_arrival() -> None:
    watch = watched(steady(100, SWITCH_S + 0.1), until_s=12.2)
    found = judged(watch, 12.2)

    assert found.verdict is Verdict.QUIET
    assert found.silent_s == pytest.approx(2.1, abs=0.11)
    assert found.needed_s == POLICY.quiet_min_s


def test_before_that_it_is_busy() -> None:
    watch = watched(steady(100, SWITCH_S + 0.5), until_s=12.0)

    assert judged(watch, 12.0).verdict is Verdict.BUSY


def test_one_arrival_per_second_is_waited_for_as_long_as_chance_may_last() -> None:
    watch = watched(steady(2, SWITCH_S), until_s=19.0)
    early, late = watch.judge(14.0, SWITCH_S, POLICY), judged(watch, 19.6)

    assert (early.verdict, late.needed_s > -math.log(POLICY.risk) / 2) == (Verdict.BUSY, True)
    assert ended(early, now_s=14.0, since_s=SWITCH_S, policy=POLICY) is None


def test_a_rate_of_few_arrivals_is_hardly_known() -> None:
    """The same pace, seen for 5, 50 and 5,000 s: the last is exp(-r t)."""
    few, some, many = (proving_s(2.0, watched_s, 1e-6) for watched_s in (5.0, 50.0, 5000.0))

    assert few > some > many
    assert many == pytest.approx(-math.log(1e-6) / 2, rel=0.01)
    assert proving_s(0.1, 5.0, 1e-6) == math.inf


def test_who_is_too_rare_to_be_judged_is_given_as_long_as_any_other() -> None:
    watch = watched(steady(0.4, SWITCH_S), until_s=40.0)
    found = judged(watch, 29.0)

    assert (found.verdict, found.needed_s) == (Verdict.UNKNOWN, POLICY.longest_s)
    assert ended(found, now_s=29.0, since_s=SWITCH_S, policy=POLICY) is None
    end = ended(judged(watch, 30.5), now_s=30.5, since_s=SWITCH_S, policy=POLICY)
    assert end is not None
    assert (end.reason, "not enough evidence" in end.because) == ("timer", True)


def test_no_traffic_at_all_waits_for_the_timer() -> None:
    watch = watched([], until_s=15.0)
    early, late = watch.judge(14.0, SWITCH_S, POLICY), watch.judge(15.0, SWITCH_S, POLICY)

    assert ended(early, now_s=14.0, since_s=SWITCH_S, policy=POLICY) is None
    end = ended(late, now_s=15.0, since_s=SWITCH_S, policy=POLICY)
    assert end is not None
    assert end.reason == "timer"


def stale_clients(stale: list[float], *, until_s: float) -> Watch:
    """Steady traffic until the switch, and a client of another pod whose ended connections can be seen."""
    watch = Watch(receiver=Receiver(ports=frozenset({PORT}), probe_periods_s=(10.0, 10.0)))
    moments = sorted([*steady(100, SWITCH_S), *stale])
    for tick in range(int(until_s / 0.1) + 1):
        at_s = tick * 0.1
        opens = sum(moment <= at_s for moment in moments)
        seen = tuple(
            connection(remote_port=4000 + index, state="TIME_WAIT", bytes_received=None, bytes_sent=None)
            for index, moment in enumerate(stale)
            if moment <= at_s
        )
        watch.note(Sample(at_s=at_s, passive_opens=opens, connections=seen, source="exec"))
    return watch


def test_a_stale_client_every_three_seconds_keeps_the_pod_until_its_cap() -> None:
    stale = [SWITCH_S + 1 + 3.3 * index for index in range(12)]
    for now_s in (12.5, 16.0, 20.0, 25.0, 35.0):
        watch = stale_clients(stale, until_s=now_s)

        assert ended(judged(watch, now_s), now_s=now_s, since_s=SWITCH_S, policy=POLICY) is None
    watch = stale_clients(stale, until_s=40.0)
    end = ended(judged(watch, 40.0), now_s=40.0, since_s=SWITCH_S, policy=POLICY)
    assert end is not None
    assert end.reason == "capped"


def test_a_stale_client_whose_source_is_hidden_is_told_from_probes_by_its_rhythm() -> None:
    stale = [SWITCH_S + 0.2 + 3.3 * index for index in range(4)]
    probes = [0.37 + index for index in range(60)]
    watch = watched([*steady(100, SWITCH_S), *stale, *probes], until_s=20.2, periods_s=(1.0,))

    assert judged(watch, 20.2).silent_s < 2


@pytest.mark.parametrize("period_s", [1.0, 10.0])
def test_probes_of_the_kubelet_are_no_traffic(period_s: float) -> None:
    probes = [0.37 + period_s * index for index in range(60)] + [0.81 + period_s * index for index in range(60)]
    watch = watched([*steady(100, SWITCH_S), *probes], until_s=12.3, periods_s=(period_s, period_s))

    assert judged(watch, 12.3).verdict is Verdict.QUIET


def test_the_same_arrivals_without_probes_in_the_spec_are_traffic() -> None:
    probes = [0.37 + index for index in range(60)]
    watch = watched([*steady(100, SWITCH_S), *probes], until_s=12.3)

    assert judged(watch, 12.3).verdict is Verdict.BUSY


def connection(**changes: object) -> Connection:
    base: dict[str, object] = {
        "local_port": PORT,
        "remote": "10.0.0.9",
        "remote_port": 4000,
        "state": "ESTABLISHED",
        "bytes_received": 100,
        "bytes_sent": 500,
        "idle_received_s": 40.0,
        "idle_sent_s": 39.9,
    }
    return Connection(**{**base, **changes})  # type: ignore[arg-type]  # a test table


def live_at(seen: Connection, now_s: float = 12.2) -> int:
    return judged(watched(steady(100, SWITCH_S), until_s=now_s, connections=(seen,)), now_s).live


def test_idle_keep_alive_is_not_live() -> None:
    assert live_at(connection()) == 0


def test_a_request_in_flight_is_live_although_no_byte_moves() -> None:
    assert live_at(connection(bytes_sent=0, idle_received_s=6.0, idle_sent_s=6.0)) == 1


def test_a_second_request_on_a_kept_connection_owes_its_answer() -> None:
    assert live_at(connection(idle_received_s=6.0, idle_sent_s=30.0)) == 1


def test_a_connection_whose_bytes_cannot_be_seen_is_live() -> None:
    assert live_at(connection(bytes_received=None, bytes_sent=None, idle_received_s=None, idle_sent_s=None)) == 1


def test_a_connection_to_a_port_that_no_service_targets_is_nobodys_business() -> None:
    assert live_at(connection(local_port=9100, bytes_sent=0)) == 0


def test_a_young_connection_keeps_its_place() -> None:
    assert live_at(connection(idle_received_s=0.5, idle_sent_s=0.4)) == 1


def test_a_counter_that_goes_backwards_starts_the_watch_again() -> None:
    watch = watched(steady(100, SWITCH_S), until_s=12.3)
    watch.note(Sample(at_s=12.4, passive_opens=0, connections=(), source="node path"))

    assert watch.judge(12.5, SWITCH_S, POLICY).verdict is Verdict.BUSY


def test_without_any_sample_there_is_no_evidence_but_the_timer() -> None:
    watch = Watch(receiver=Receiver(ports=frozenset({PORT})))

    assert watch.judge(20.0, SWITCH_S, POLICY) == NOTHING_SEEN
    assert ended(NOTHING_SEEN, now_s=14.9, since_s=SWITCH_S, policy=POLICY) is None
    assert ended(NOTHING_SEEN, now_s=15.0, since_s=SWITCH_S, policy=POLICY) is not None


def counted(*, client: str = "", until_s: float = 12.2) -> Watch:
    """A pod of which, after one whole look, only the counter is read; a client (or a probe) comes at second 10.05."""
    watch = Watch(receiver=Receiver(ports=frozenset({PORT}), probe_periods_s=(10.0,)))
    watch.note(Sample(at_s=0.0, passive_opens=0, connections=(), source="exec"))
    moments = [*steady(100, SWITCH_S), 10.05]
    for tick in range(1, round(until_s * 10) + 1):
        at_s = tick / 10
        opens = sum(moment <= at_s for moment in moments)
        if at_s == 11.0 and client:
            seen = Connection(local_port=PORT, remote=client, remote_port=1, state="TIME_WAIT")
            watch.note(Sample(at_s=at_s, passive_opens=opens, connections=(seen,), source="exec"))
        else:
            watch.count(Count(at_s=at_s, read_s=at_s, passive_opens=opens))
    return watch


def test_counting_extends_the_silence_and_finds_arrivals() -> None:
    found = judged(counted(client="10.0.0.9"), 12.2)

    assert found.verdict is Verdict.QUIET
    assert found.silent_s == pytest.approx(2.1, abs=0.02)


def test_who_came_and_was_only_counted_keeps_the_pod_busy_until_somebody_looks_who() -> None:
    assert judged(counted(), 12.2).verdict is Verdict.BUSY


def test_a_counter_that_goes_backwards_while_counting_wants_a_whole_look() -> None:
    watch = counted(client="10.0.0.9")
    watch.count(Count(at_s=12.3, read_s=12.3, passive_opens=0))

    assert judged(watch, 12.4).verdict is Verdict.BUSY


# -- pods that were looked at too late ---------------------------------------------------------------------------------


def late(*, began_s: float, until_s: float, arrivals: Iterable[float] = ()) -> Watch:
    """A pod whose samples begin at a moment."""
    watch = Watch(receiver=Receiver(ports=frozenset({PORT})))
    moments = sorted(arrivals)
    for tick in range(round(began_s * 10), round(until_s * 10) + 1):
        opens = sum(moment <= tick / 10 for moment in moments)
        watch.note(Sample(at_s=tick / 10, passive_opens=opens, connections=(), source="ephemeral"))
    return watch


def test_a_pod_seen_too_late_has_the_rhythm_of_its_siblings() -> None:
    sibling = watched(steady(100, SWITCH_S), until_s=12.6)
    windows_s = sibling.window_s(SWITCH_S, POLICY)
    watch = late(began_s=10.5, until_s=12.6)
    assert windows_s is not None
    assert watch.window_s(SWITCH_S, POLICY) is None

    found = watch.judge(12.6, SWITCH_S, POLICY, windows_s)
    assert found.verdict is Verdict.QUIET
    assert found.silent_s == pytest.approx(2.1), "only what was looked at counts as silence"
    assert watch.judge(12.6, SWITCH_S, POLICY).verdict is Verdict.UNKNOWN


def test_it_waits_as_long_as_they_need() -> None:
    windows_s = watched(steady(4, SWITCH_S), until_s=12.0).window_s(SWITCH_S, POLICY)
    assert windows_s is not None
    watch = late(began_s=10.5, until_s=15.5)

    assert POLICY.quiet_min_s < windows_s < POLICY.timer_s
    assert watch.judge(10.5 + windows_s - 0.2, SWITCH_S, POLICY, windows_s).verdict is Verdict.BUSY
    assert watch.judge(10.5 + windows_s + 0.2, SWITCH_S, POLICY, windows_s).verdict is Verdict.QUIET


def test_what_comes_to_it_itself_still_counts() -> None:
    watch = late(began_s=10.5, until_s=12.6, arrivals=[11.55])
    found = watch.judge(12.6, SWITCH_S, POLICY, 0.2)

    assert found.verdict is Verdict.BUSY
    assert found.silent_s == pytest.approx(1.0)


def test_a_pod_that_was_looked_at_for_long_enough_and_saw_nobody_has_no_rhythm_to_borrow() -> None:
    watch = watched([], until_s=12.6)

    assert watch.judge(12.6, SWITCH_S, POLICY, 0.2).verdict is Verdict.UNKNOWN
    assert watch.window_s(SWITCH_S, POLICY) == math.inf, "it says so itself: nobody may borrow from it"


def test_one_sender_too_rare_to_judge_is_too_rare_for_the_siblings_too() -> None:
    assert watched(steady(0.1, SWITCH_S), until_s=12.0).window_s(SWITCH_S, POLICY) == math.inf
