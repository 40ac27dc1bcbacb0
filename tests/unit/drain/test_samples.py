"""Samples as the two sources give them."""

from __future__ import annotations

from segue.drain.samples import EPHEMERAL, ProcText, Sample, closed_key, count_from, from_node_path, from_proc

SNMP = """Ip: Forwarding DefaultTTL
Ip: 1 64
Tcp: RtoAlgorithm RtoMin RtoMax MaxConn ActiveOpens PassiveOpens AttemptFails
Tcp: 1 200 120000 -1 12 345 0
"""
TCP = """  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:2712 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0
   1: 0200F40A:2712 0100F40A:9C40 01 00000000:00000000 00:00000000 00000000     0        0 2 1 0 20 4 30 10 -1
"""
TCP6 = """  sl  local_address                         remote_address                        st tx_queue rx_queue tr
   0: 0000000000000000FFFF00000200F40A:2712 0000000000000000FFFF00000500F40A:9C41 08 00000000:00000000 00:0 0 0 0 3
"""


def read(text: str) -> Sample | None:
    return from_proc(ProcText(text=text, asked_s=3.0, read_s=3.1))


def test_proc_files_are_read_with_addresses_and_states() -> None:
    sample = read(SNMP + TCP + TCP6)

    assert sample is not None
    assert sample.passive_opens == 345
    assert [(c.local_port, c.remote, c.remote_port, c.state) for c in sample.connections] == [
        (10002, "10.244.0.1", 40000, "ESTABLISHED"),
        (10002, "10.244.0.5", 40001, "CLOSE_WAIT"),
    ]
    assert sample.connections[0].bytes_received is None


def test_half_a_text_is_no_sample() -> None:
    assert read(SNMP) is None
    assert read(TCP) is None
    assert read("cat: can't open '/proc/net/snmp'") is None


def test_the_node_path_says_bytes_and_idle_times() -> None:
    row = {
        "localPort": 10002,
        "remote": "10.244.0.1",
        "remotePort": 4000,
        "state": "established",
        "bytesReceived": 10,
        "bytesSent": 0,
        "idleReceivedMs": 1500,
        "idleSentMs": None,
    }
    sample = from_node_path({"passiveOpens": 7, "connections": [row]}, 1.0, 1.0)
    (found,) = sample.connections

    assert (sample.passive_opens, found.state, found.bytes_sent) == (7, "ESTABLISHED", 0)
    assert (found.idle_received_s, found.idle_sent_s) == (1.5, None)


def test_connections_that_are_over_are_told_apart_and_read_only_when_asked_for() -> None:
    over = "   2: 0200F40A:2712 0300F40A:9C42 06 00000000:00000000 03:00000B9A 00000000     0        0 0 3 0\n"
    over6 = TCP6.splitlines()[1].replace(" 08 ", " 06 ").replace("9C41", "9C43") + "\n"
    text = SNMP + TCP + over + TCP6 + over6
    sample = from_proc(ProcText(text=text, asked_s=3.0, read_s=3.1), EPHEMERAL)

    assert sample is not None
    assert {closed_key(row) for row in sample.closed} == {(10002, "10.244.0.3", 40002), (10002, "10.244.0.5", 40003)}
    assert [c.state for c in sample.connections] == ["ESTABLISHED", "CLOSE_WAIT"]
    assert (sample.source, sample.at_s, sample.latest_s) == ("ephemeral", 3.0, 3.1)


def test_the_counter_alone_is_a_count_and_no_sample() -> None:
    text = ProcText(text=SNMP, asked_s=3.0, read_s=3.1)
    found = count_from(text)

    assert found is not None
    assert (found.at_s, found.read_s, found.passive_opens) == (3.0, 3.1, 345)
    assert from_proc(text) is None
    assert count_from(ProcText(text=TCP, asked_s=3.0, read_s=3.1)) is None
