"""What is shown of a pod is what the judge sees, no more and no less."""

from __future__ import annotations

from segue.drain.judge import NOTHING_SEEN, Policy, Receiver, Watch
from segue.drain.samples import Connection, Count, Sample
from segue.drain.sights import Sight, sight_of

POLICY = Policy()
PORT = 8080


def client(number: int, **changes: object) -> Connection:
    base: dict[str, object] = {
        "local_port": PORT,
        "remote": "10.0.0.9",
        "remote_port": number,
        "state": "ESTABLISHED",
        "bytes_received": 100,
        "bytes_sent": 500,
        "idle_received_s": 40.0,
        "idle_sent_s": 39.9,
    }
    return Connection(**{**base, **changes})  # type: ignore[arg-type]  # a test table


def shown(*connections: Connection, until_s: float = 20.0, rate: int = 10, outgoing: bool = False) -> Sight:
    """A pod of ten arrivals per second, with these connections from second 5 on."""
    watch = Watch(receiver=Receiver(ports=frozenset({PORT}), outgoing=outgoing))
    for tick in range(int(until_s * 10) + 1):
        at_s = tick / 10
        seen = connections if at_s >= 5 else ()
        watch.note(Sample(at_s=at_s, passive_opens=tick * rate // 10, connections=seen, source="node path"))
    return sight_of("web-1", watch, watch.judge(until_s, 0.0, POLICY), until_s, POLICY)


def test_connections_are_told_by_peer_with_age_bytes_and_idle_time() -> None:
    busy = client(1, remote="10.0.0.1", bytes_sent=0, idle_received_s=3.0)
    sight = shown(client(2), busy, client(3))
    first, second = sight.peers

    assert (first.peer, first.open, first.live, first.bytes_received, first.bytes_sent) == ("10.0.0.1", 1, 1, 100, 0)
    assert (second.peer, second.open, second.live, second.bytes_sent) == ("10.0.0.9", 2, 0, 1000)
    assert [row.live for row in sight.connections] == [True, False, False]
    assert sight.connections[0].idle_s == 3.0
    assert 15.0 <= sight.connections[0].age_s <= 18.1
    assert not sight.connections[0].older


def test_arrivals_per_second_are_those_of_the_last_ten_seconds() -> None:
    sight = shown(rate=20)
    assert sight.rate is not None

    assert 19 <= sight.rate <= 21
    assert sight.as_obj()["arrivalsPerSecond"] == round(sight.rate, 2)


def test_a_connection_that_was_there_at_the_first_look_is_told_to_be_older() -> None:
    watch = Watch(receiver=Receiver(ports=frozenset({PORT})))
    watch.note(Sample(at_s=0.0, passive_opens=7, connections=(client(1, idle_sent_s=1.0),), source="exec"))
    sight = sight_of("web-1", watch, watch.judge(2.0, 0.0, POLICY), 2.0, POLICY)

    assert [row.older for row in sight.connections] == [True]


def test_of_a_pod_that_cannot_be_seen_nothing_is_claimed() -> None:
    sight = sight_of("web-1", None, NOTHING_SEEN, 2.0, POLICY)

    assert (sight.rate, sight.open, sight.connections) == (None, None, ())
    assert sight.as_obj()["live"] is None


def test_what_the_pod_opens_itself_shows_on_request_only() -> None:
    broker = client(5672, local_port=41234, remote="10.0.0.50", outgoing=True)

    assert shown(broker).connections == ()
    (peer,) = shown(broker, outgoing=True).peers
    assert (peer.peer, peer.outgoing, peer.open) == ("10.0.0.50", True, 1)


def test_all_that_ever_came_only_grows() -> None:
    """Also where another network begins to count anew (C6), and where what came was only counted."""
    watch = Watch(receiver=Receiver(ports=frozenset({80})))
    totals = []
    for at_s, opens in ((1.0, 100), (2.0, 105), (3.0, 2), (4.0, 9)):
        watch.note(Sample(at_s=at_s, passive_opens=opens, connections=(), source="exec"))
        watch.count(Count(at_s=at_s + 0.5, read_s=at_s + 0.5, passive_opens=opens + 1))
        totals.append(watch.arrived)

    assert totals == [1, 6, 7, 14]
