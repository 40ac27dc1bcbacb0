"""Quiet in both directions: workers and consumers that nobody calls are judged by what they open themselves."""

from __future__ import annotations

from segue.drain.judge import Evidence, Policy, Receiver, Verdict, Watch, ended
from segue.drain.samples import Connection, ProcText, Sample, from_node_path, from_proc

POLICY = Policy()
SWITCH_S = 10.0


def worker(*, moves_until_s: float, every_s: float = 0.5, until_s: float, outgoing: bool = True) -> Evidence:
    """A consumer whose one connection to a broker carries bytes every so often until a moment; nobody calls it."""
    watch = Watch(receiver=Receiver(ports=frozenset({8080}), outgoing=outgoing))
    for tick in range(int(until_s * 10) + 1):
        at_s = tick / 10
        moves = int(min(at_s, moves_until_s) / every_s)
        idle_s = at_s - moves * every_s
        broker = Connection(
            local_port=41234,
            remote="10.0.0.50",
            remote_port=5672,
            state="ESTABLISHED",
            bytes_received=100 * moves,
            bytes_sent=20 * moves,
            idle_received_s=idle_s,
            idle_sent_s=idle_s,
            outgoing=True,
        )
        watch.note(Sample(at_s=at_s, passive_opens=0, connections=(broker,), source="node path"))
    return watch.judge(until_s, SWITCH_S, POLICY)


def test_a_consumer_that_works_is_live_only_where_both_directions_count() -> None:
    assert worker(moves_until_s=30, until_s=20).live == 1
    assert worker(moves_until_s=30, until_s=20).verdict is Verdict.BUSY
    assert worker(moves_until_s=30, until_s=20, outgoing=False).live == 0


def test_a_consumer_whose_broker_is_silent_may_end() -> None:
    evidence = worker(moves_until_s=12, until_s=19)
    drained = ended(evidence, now_s=19, since_s=SWITCH_S, policy=POLICY)

    assert evidence.live == 0
    assert drained is not None
    assert drained.reason == "timer"


def test_one_that_moves_every_five_seconds_stays_to_the_cap() -> None:
    for now_s in (18.0, 24.0, 31.0, 39.0):
        evidence = worker(moves_until_s=100, every_s=5, until_s=now_s)
        assert ended(evidence, now_s=now_s, since_s=SWITCH_S, policy=POLICY) is None
    drained = ended(worker(moves_until_s=100, every_s=5, until_s=40), now_s=40, since_s=SWITCH_S, policy=POLICY)
    assert drained is not None
    assert (drained.reason, "10.0.0.50:5672" in drained.because) == ("capped", True)


def test_an_idle_pool_of_the_pods_own_does_not_hold_it() -> None:
    """Its last byte was an answer, as of every client: towards others that is the end and no debt."""
    watch = Watch(receiver=Receiver(ports=frozenset(), outgoing=True))
    for tick in range(160):
        at_s = tick / 10
        database = Connection(
            local_port=41234,
            remote="10.0.0.50",
            remote_port=5432,
            state="ESTABLISHED",
            bytes_received=900,
            bytes_sent=100,
            idle_received_s=60 + at_s,
            idle_sent_s=60.1 + at_s,
            outgoing=True,
        )
        watch.note(Sample(at_s=at_s, passive_opens=0, connections=(database,), source="node path"))

    assert watch.judge(15.9, SWITCH_S, POLICY).live == 0


def test_a_connection_opened_anew_breaks_the_silence() -> None:
    watch = Watch(receiver=Receiver(ports=frozenset(), outgoing=True))
    for tick in range(160):
        at_s = tick / 10
        closed = frozenset({"0200000A:A113 0900000A:1F90"}) if at_s >= 14 else frozenset()
        watch.note(
            Sample(at_s=at_s, passive_opens=0, connections=(), source="exec", closed=closed, listening=frozenset())
        )
    evidence = watch.judge(15.9, SWITCH_S, POLICY)

    assert evidence.silent_s < 2
    assert evidence.verdict is Verdict.BUSY


PROC = """Tcp: RtoAlgorithm PassiveOpens
Tcp: 1 5
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1
   1: 0200000A:1F90 0900000A:0FA0 01 00000000:00000000 00:00000000 00000000     0        0 2
   2: 0200000A:A113 3200000A:1628 01 00000000:00000000 00:00000000 00000000     0        0 3
"""


def test_a_connection_is_the_pods_own_where_nothing_listens_at_its_end() -> None:
    sample = from_proc(ProcText(text=PROC, asked_s=1.0, read_s=1.1))
    assert sample is not None

    assert sample.listening == frozenset({8080})
    assert {one.remote: one.outgoing for one in sample.connections} == {"10.0.0.9": False, "10.0.0.50": True}


def test_a_source_that_does_not_tell_its_listeners_calls_nothing_outgoing() -> None:
    row = {"localPort": 41234, "remote": "10.0.0.50", "remotePort": 5672, "state": "ESTABLISHED"}
    without = from_node_path({"passiveOpens": 0, "connections": [row]}, 0.0, 0.0)
    told = from_node_path({"passiveOpens": 0, "listening": [8080], "connections": [row]}, 0.0, 0.0)

    assert [one.outgoing for one in (*without.connections, *told.connections)] == [False, True]
