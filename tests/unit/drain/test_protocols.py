"""Each protocol is judged right: what must not be cut holds a pod, what nobody would miss does not."""

from __future__ import annotations

import pytest

from segue.drain.judge import Policy, Receiver, Verdict
from tests.unit.drain.wires import PORT, SWITCH_S, Move, Pod, Wire, answered, steady

CAP_S = Policy().cap_s
LOAD = steady(100)


def alone(*moves: Move, until_s: float = 1e9, **receiver: object) -> Pod:
    """One connection beside a load that stops at the switch."""
    said = Receiver(ports=frozenset({PORT}), **receiver)  # type: ignore[arg-type]  # a test table
    return Pod(wires=[Wire(number=1, moves=moves, until_s=until_s)], arrivals=LOAD, receiver=said)


# -- HTTP/1.1 ----------------------------------------------------------------------------------------------------------


def test_a_thousand_idle_keep_alive_connections_do_not_hold_a_pod() -> None:
    wires = [Wire(number=number, moves=((60.0, 120, 0), (60.1, 0, 900))) for number in range(1000)]
    for now_s, evidence in Pod(wires=wires, arrivals=LOAD).looks(SWITCH_S + 2.2, from_s=97.0):
        quiet = evidence.verdict is Verdict.QUIET

        assert evidence.live == 0
        assert quiet == (now_s - SWITCH_S > 1.95), now_s


def test_a_connection_that_sends_a_byte_every_five_seconds_holds_it_to_the_cap() -> None:
    after_s, end, evidence = alone(*((60.0 + 5 * index, 1, 0) for index in range(40))).drained()

    assert (after_s, end.reason, evidence.live) == (CAP_S, "capped", 1)


def test_so_does_one_that_gets_a_byte_every_five_seconds() -> None:
    after_s, end, _ = alone((60.0, 120, 0), *((60.0 + 5 * index, 0, 1) for index in range(40))).drained()

    assert (after_s, end.reason) == (CAP_S, "capped")


def test_a_request_in_flight_for_a_minute_without_a_byte_holds_it() -> None:
    pod = alone((60.0, 120, 0), (60.1, 0, 900), (98.0, 120, 0), (158.0, 0, 900))
    pod.policy = Policy(cap_s=120.0)
    held = [now_s for now_s, evidence in pod.looks(158.0) if evidence.live != 1]

    assert held == []


def test_so_does_the_second_request_of_a_kept_connection() -> None:
    pod = alone((60.0, 120, 0), (60.1, 0, 900), (95.0, 120, 0), (130.0, 0, 900))
    pod.policy = Policy(cap_s=300.0)
    held = [now_s for now_s, evidence in pod.looks(129.0) if evidence.live != 1]

    assert held == []


def test_a_pool_of_sixty_busy_connections_is_named_and_never_cut_before_the_cap() -> None:
    wires = [
        Wire(number=number, moves=tuple(answered(60 + number / 60, every_s=1.0, until_s=200)), remote="10.0.0.7")
        for number in range(60)
    ]
    after_s, end, evidence = Pod(wires=wires, arrivals=LOAD).drained()

    assert (after_s, end.reason, evidence.live) == (CAP_S, "capped", 60)
    assert "60 live connections (10.0.0.7:20000, 10.0.0.7:20001" in end.because


def test_a_pool_that_the_app_sends_away_lets_the_pod_go() -> None:
    wires = [
        Wire(number=number, moves=tuple(answered(60 + number / 60, every_s=1.0, until_s=108)), until_s=108.0)
        for number in range(60)
    ]
    after_s, end, _ = Pod(wires=wires, arrivals=LOAD).drained()

    assert (end.reason, 8 <= after_s <= 8.2) == ("quiet", True)


# -- HTTP/2 and gRPC ---------------------------------------------------------------------------------------------------


def test_an_http2_connection_without_streams_does_not_hold_it() -> None:
    after_s, end, _ = alone((60.0, 300, 0), (60.1, 0, 900)).drained()

    assert (end.reason, after_s < 2.2) == ("quiet", True)


@pytest.mark.parametrize("size", [17, 39, 46])
def test_nor_does_one_that_is_only_pinged(size: int) -> None:
    pings = [(66.0 + 10 * index, size, size) for index in range(20)]
    after_s, end, _ = alone((60.0, 300, 0), (60.1, 0, 900), *pings).drained()

    assert (end.reason, after_s < 2.2) == ("quiet", True)


def test_a_grpc_stream_with_messages_holds_it() -> None:
    messages = [(66.0 + 7 * index, 0, 40) for index in range(30)]
    after_s, end, _ = alone((60.0, 300, 0), *messages).drained()

    assert (after_s, end.reason) == (CAP_S, "capped")


def test_a_grpc_call_under_way_holds_it_while_pings_go_on() -> None:
    """A PING is answered, the call is not: bytes go both ways and say nothing about it. Its own start does."""
    pod = alone((99.0, 300, 0), (109.0, 17, 17), (119.0, 17, 17), (125.0, 0, 90))
    held = [now_s for now_s, evidence in pod.looks(108.9) if evidence.live != 1]

    assert held == []


def test_an_echo_as_small_as_a_ping_and_quicker_is_no_ping() -> None:
    after_s, end, _ = alone(*((60.0 + index, 17, 17) for index in range(200))).drained()

    assert (after_s, end.reason) == (CAP_S, "capped")


# -- WebSocket, server-sent events, raw TCP ----------------------------------------------------------------------------


def test_a_websocket_that_is_pinged_has_somebody_at_its_end() -> None:
    pings = [(62.0 + 10 * index, 6, 2) for index in range(20)]
    after_s, end, _ = alone((60.0, 300, 0), (60.1, 0, 200), *pings).drained()

    assert (after_s, end.reason) == (CAP_S, "capped")


def test_server_sent_events_hold_it_in_their_own_rhythm() -> None:
    events = [(60.1 + 12 * index, 0, 60) for index in range(20)]
    after_s, end, _ = alone((60.0, 300, 0), *events).drained()

    assert (after_s, end.reason) == (CAP_S, "capped")


def test_events_that_stopped_for_more_than_twice_their_longest_pause_are_over() -> None:
    events = [(60.1 + 4 * index, 0, 60) for index in range(12)]  # the last one at 104.1
    after_s, end, _ = alone((60.0, 300, 0), *events).drained()

    assert (end.reason, 12 <= after_s <= 12.3) == ("quiet", True)


def test_a_silent_stream_cannot_be_told_from_keep_alive_without_its_mark() -> None:
    silent = ((60.0, 300, 0), (60.1, 0, 200))
    plain_s, plain, _ = alone(*silent).drained()
    marked_s, marked, evidence = alone(*silent, streaming=frozenset({PORT})).drained()

    assert (plain.reason, plain_s < 2.2) == ("quiet", True)
    assert (marked.reason, marked_s, evidence.live) == ("capped", CAP_S, 1)


def test_a_raw_tcp_session_holds_it_until_it_is_closed() -> None:
    lines = [(60.0 + 3 * index, 30, 80) for index in range(40)]
    after_s, end, _ = alone(*lines, until_s=117.0).drained()

    assert (end.reason, 17 <= after_s <= 17.2) == ("quiet", True)


# -- UDP ---------------------------------------------------------------------------------------------------------------


def test_of_udp_only_arrivals_tell() -> None:
    receiver = Receiver(ports=frozenset({PORT}), udp=True)
    stops = Pod(datagrams=steady(50, until_s=SWITCH_S + 1), receiver=receiver)
    goes_on = Pod(datagrams=steady(50, until_s=200), receiver=receiver)
    stopped_s, stopped, _ = stops.drained()
    never_s, never, _ = goes_on.drained()

    assert (stopped.reason, 3 <= stopped_s <= 3.2) == ("quiet", True)
    assert (never.reason, never_s) == ("capped", CAP_S)


def test_datagrams_to_a_pod_whose_services_carry_tcp_alone_are_answers_to_itself() -> None:
    after_s, end, _ = Pod(arrivals=LOAD, datagrams=steady(50, until_s=200)).drained()

    assert (end.reason, after_s < 2.2) == ("quiet", True)
