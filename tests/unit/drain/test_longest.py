"""Q from connections: a request lasts from its first byte to its answer's last, whatever else its connection does."""

from __future__ import annotations

from segue.drain.longest import Longest
from segue.drain.samples import Connection


def connection(port: int, received: int | None, sent: int | None, idle_r: float, idle_s: float) -> Connection:
    return Connection(
        local_port=80,
        remote="10.0.0.7",
        remote_port=port,
        state="ESTABLISHED",
        bytes_received=received,
        bytes_sent=sent,
        idle_received_s=idle_r,
        idle_sent_s=idle_s,
    )


def test_a_request_without_a_byte_lasts_until_its_answer() -> None:
    longest = Longest()
    for second in range(1, 60):
        longest.look("a", float(second), [connection(1, 100, 0, float(second), 0.0)])
    going = longest.longest[0]
    longest.look("a", 60.0, [connection(1, 100, 50, 60.0, 0.5)])
    ended = longest.longest[0]

    assert (going.lasted_s, going.open) == (59.0, True)
    assert (ended.lasted_s, ended.open, longest.seen) == (59.5, False, 1)


def test_a_stream_is_one_request_as_long_as_it_flows() -> None:
    longest = Longest()
    for second in range(1, 121):
        longest.look("a", float(second), [connection(1, 100, 10 * second, second - 0.5, 0.1)])

    assert longest.longest[0].lasted_s == 120 - 0.1 - 0.5


def test_short_requests_on_one_kept_connection_are_no_long_one() -> None:
    longest = Longest()
    for second in range(1, 100):
        longest.look("a", float(second), [connection(1, 100 * second, 100 * second, 0.30, 0.20)])

    assert round(longest.longest[0].lasted_s, 2) == 0.1
    assert longest.seen == 99


def test_a_second_request_that_is_under_way_at_each_look_is_not_joined_to_the_first() -> None:
    """Each look finds one that has not been answered, but answers were sent in between."""
    longest = Longest()
    for second in range(1, 50):
        longest.look("a", float(second), [connection(1, 100 * second, 90 * (second - 1), 0.4, 0.6)])

    assert longest.longest[0].lasted_s < 1.0


def test_what_is_answered_and_closed_between_two_looks_lasted_until_the_second_at_most() -> None:
    longest = Longest()
    longest.look("a", 1.0, [connection(1, 100, 0, 0.5, 0.0)])
    longest.look("a", 3.0, [])

    assert [(one.lasted_s, one.open) for one in longest.longest] == [(2.5, False)]


def test_without_bytes_the_life_of_a_connection_that_ended_is_told_as_what_it_is() -> None:
    longest = Longest()
    longest.look("a", 0.0, [])
    longest.look("a", 1.0, [connection(1, None, None, 0.0, 0.0)])
    longest.look("a", 3.0, [])
    told = longest.as_obj(3.0)

    assert told["longestSeconds"] == 3.0
    assert told["longest"][0]["seenBy"] == "connections that ended"


def test_nobody_came() -> None:
    longest = Longest()
    longest.look("a", 0.0, [])

    assert longest.as_obj(5.0) == {"watchedSeconds": 5.0, "seen": 0, "longestSeconds": None, "longest": []}
