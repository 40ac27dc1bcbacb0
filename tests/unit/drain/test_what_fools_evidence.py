"""C1 to C6 of the mechanism under attack: each thing that fooled a naive judge on a real cluster, by its number."""

from __future__ import annotations

from segue.drain.judge import Policy, Receiver, Verdict, Watch
from segue.drain.samples import Connection, Count, Sample
from segue.drive.evidence import receiver_of
from segue.model.objects import Obj
from segue.model.services import Service
from segue.model.workloads import Deployment
from segue.model.workloads import Pod as PodView
from segue.release.snapshot import Snapshot
from tests.unit.drain.wires import PORT, SWITCH_S, Pod, Wire, answered, steady

CAP_S = Policy().cap_s
RECEIVER = Receiver(ports=frozenset({PORT}))


def test_c1_one_stale_client_is_not_hidden_by_twelve_hundred_arrivals_per_second() -> None:
    """Measured: quiet 2.9 s after the switch, and 2 of 6 requests of that client lost."""
    stale = {SWITCH_S - 39.9 + 3.3 * index: "10.0.0.66" for index in range(60)}
    load = steady(1200, from_s=90.0)
    pod = Pod(arrivals=[*load, *stale], senders=stale)
    early = [(at_s, evidence) for at_s, evidence in pod.looks(SWITCH_S + CAP_S - 0.1, from_s=90.0)]

    assert not any(evidence.verdict is Verdict.QUIET for _, evidence in early)
    after_s, end, _ = Pod(arrivals=[*load, *stale], senders=stale).drained()
    assert (after_s, end.reason) == (CAP_S, "capped")


def test_c1_a_sender_too_rare_to_judge_is_not_enough_evidence() -> None:
    rare = {60.0: "10.0.0.66", 75.0: "10.0.0.66"}
    pod = Pod(arrivals=[*steady(10), *rare], senders={**rare, **dict.fromkeys(steady(10), "10.0.0.7")})
    after_s, end, evidence = pod.drained()

    assert evidence.verdict is Verdict.UNKNOWN
    assert (end.reason, after_s >= Policy().timer_s) == ("timer", True)
    assert "not enough evidence" in end.because


def test_c2_a_request_in_flight_looks_idle_and_is_not() -> None:
    """Measured: 6 s into a slow answer both idle times are 6012 ms; only bytes sent tell it from keep-alive."""
    slow = Wire(number=1, moves=((80.0, 151, 0),))
    idle = Wire(number=2, moves=((80.0, 151, 0), (80.0, 0, 151)))
    held, free = (Pod(wires=[wire], arrivals=steady(100)).drained() for wire in (slow, idle))

    assert (held[1].reason, held[0]) == ("capped", CAP_S)
    assert (free[1].reason, free[0] < 2.2) == ("quiet", True)


def test_c3_arrivals_and_bytes_have_windows_of_their_own() -> None:
    """The arrivals are silent after 2 s; a connection with a pause of 6 s is given 12."""
    slow = Wire(number=1, moves=tuple((60.0 + 6 * index, 0, 50) for index in range(8)))  # the last at 102
    after_s, end, _ = Pod(wires=[slow], arrivals=steady(100)).drained()

    assert (end.reason, 14 <= after_s <= 14.3) == ("quiet", True)


def test_c3_a_connection_younger_than_fifteen_seconds_keeps_its_place() -> None:
    young = Wire(number=1, moves=((SWITCH_S - 1.0, 120, 0), (SWITCH_S - 0.9, 0, 900)))
    after_s, end, _ = Pod(wires=[young], arrivals=steady(100)).drained()

    assert (end.reason, 13.9 <= after_s <= 14.3) == ("quiet", True)


def test_c4_a_pool_shows_in_bytes_although_nobody_arrives() -> None:
    pool = [Wire(number=n, moves=tuple(answered(60 + n / 60, every_s=0.5, until_s=300))) for n in range(6)]
    after_s, end, evidence = Pod(wires=pool).drained()

    assert (evidence.arrivals, evidence.live) == (0, 6)
    assert (after_s, end.reason) == (CAP_S, "capped")


def look(
    watch: Watch, at_s: float, opens: int, rows: tuple[Connection, ...], closed: frozenset[str] = frozenset()
) -> None:
    watch.note(
        Sample(
            at_s=at_s,
            passive_opens=opens,
            connections=rows,
            source="node path",
            closed=closed,
            listening=frozenset({PORT, 9100, 8081}),
        )
    )


def other(number: int, *, port: int = 9100, remote: str = "10.0.0.5") -> Connection:
    return Connection(local_port=port, remote=remote, remote_port=number, state="ESTABLISHED")


def test_c5_scrapes_and_what_a_sidecar_connects_to_are_no_arrivals() -> None:
    """Measured: loopback connects count in the pod's counter, too. Told by port and address where they are seen."""
    watch = Watch(receiver=RECEIVER)
    for tick in range(1300):
        at_s = tick / 10
        load = int(min(at_s, SWITCH_S) * 100)
        scrapes = tuple(other(30_000 + tick // 10) for _ in range(1) if tick % 10 < 3)
        within = tuple(other(40_000 + tick // 20, port=8081, remote="127.0.0.1") for _ in range(1) if tick % 20 < 3)
        look(watch, at_s, load + tick // 10 + tick // 20 + 2, scrapes + within)
        if at_s > SWITCH_S + 2.1:
            assert watch.judge(at_s, SWITCH_S, Policy()).verdict is Verdict.QUIET, at_s
            return


def test_c5_a_connection_within_the_pod_is_one_whichever_end_is_seen() -> None:
    """Its client closed first, so its own end stays; somebody else has come in the same moment."""
    watch = Watch(receiver=RECEIVER)
    look(watch, 1.0, 10, ())
    look(watch, 2.0, 11, (other(40_000, port=8081, remote="127.0.0.1"),))
    look(watch, 3.0, 12, (), frozenset({f"0100007F:{40_000:04X} 0100007F:{8081:04X}"}))

    assert [(one.at_s, one.count) for one in watch.arrivals] == [(3.0, 1)]


def test_c5_what_was_only_counted_hides_nobody_who_comes_after_it() -> None:
    watch = Watch(receiver=RECEIVER)
    look(watch, 1.0, 10, ())
    watch.count(Count(at_s=2.0, read_s=2.0, passive_opens=11))  # a scrape, as the next look tells
    look(watch, 3.0, 12, (other(40_000),))

    assert [(one.at_s, one.count) for one in watch.arrivals] == [(2.0, 1), (3.0, 1)]


def test_c6_who_came_before_another_counter_began_says_nothing_of_a_rate_since() -> None:
    watch = Watch(receiver=RECEIVER)
    look(watch, 1.0, 100, ())
    ended = frozenset(f"0100000A:{PORT:04X} 0700000A:{40_000 + number:04X}" for number in range(30))
    look(watch, 60.0, 130, (), ended)
    look(watch, 61.0, 3, (), ended)  # another network: it goes backwards
    look(watch, 62.0, 6, tuple(other(50_000 + n, port=PORT, remote="10.0.0.7") for n in range(3)), ended)
    evidence = watch.judge(66.0, 62.0, Policy())

    assert watch.ends == {}
    assert evidence.verdict is not Verdict.QUIET


def test_c5_the_same_arrivals_unseen_count() -> None:
    """The sister: what cannot be told apart is somebody."""
    watch = Watch(receiver=RECEIVER)
    for tick in range(1100):
        at_s = tick / 10
        look(watch, at_s, int(min(at_s, SWITCH_S) * 100) + tick // 10, ())

    assert watch.judge(109.9, SWITCH_S, Policy()).verdict is Verdict.BUSY


def test_c6_a_counter_that_goes_backwards_starts_again() -> None:
    watch = Watch(receiver=RECEIVER)
    for tick in range(1030):
        look(watch, tick / 10, int(min(tick / 10, SWITCH_S) * 100), ())
    look(watch, 103.0, 3, ())
    evidence = watch.judge(103.0, SWITCH_S, Policy())

    assert (evidence.verdict, evidence.silent_s) == (Verdict.BUSY, 0)


def test_c6_pings_of_http2_are_nobody() -> None:
    pinged = Wire(number=1, moves=((60.0, 300, 900), *((66.0 + 10 * index, 17, 17) for index in range(10))))
    after_s, end, _ = Pod(wires=[pinged], arrivals=steady(100)).drained()

    assert (end.reason, after_s < 2.2) == ("quiet", True)


def test_c6_datagrams_count_where_a_service_carries_udp() -> None:
    pod: Obj = {"metadata": {"name": "dns-1", "labels": {"app": "dns"}}, "spec": {}, "status": {"podIP": "10.0.0.2"}}
    spec: Obj = {"selector": {"app": "dns"}, "ports": [{"port": 53, "protocol": "UDP"}]}
    snapshot = Snapshot(
        now_s=0.0,
        me="",
        deployment=Deployment(obj={"metadata": {"name": "dns"}, "spec": {}}),
        sets=(),
        pods=(PodView(obj=pod),),
        services=(Service(obj={"metadata": {"name": "dns"}, "spec": spec}),),
        endpoints={},
    )

    assert receiver_of(snapshot.pods[0], snapshot).udp
    spec["ports"][0]["protocol"] = "TCP"
    assert not receiver_of(snapshot.pods[0], snapshot).udp
