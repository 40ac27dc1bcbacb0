"""Bytes and idle times as `ss` tells them: read where they are said, left alone where they are not."""

from __future__ import annotations

from segue.drain.samples import ProcText, Sample, from_proc

PROC = """Tcp: RtoAlgorithm PassiveOpens
Tcp: 1 5
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1
   1: 0200000A:1F90 0900000A:0FA0 01 00000000:00000000 00:00000000 00000000     0        0 2
   2: 0200000A:1F90 0900000A:0FA1 01 00000000:00000000 00:00000000 00000000     0        0 3
"""
FIRST = "ESTAB 0      0      10.0.0.2:8080 10.0.0.9:4000\n"
INFO = "\t cubic rto:204 rtt:0.1/0.05 bytes_sent:500 bytes_acked:501 bytes_received:100 lastsnd:1200 lastrcv:1300\n"


def read(ss: str) -> Sample:
    sample = from_proc(ProcText(text=f"{PROC}segue-ss\n{ss}", asked_s=1.0, read_s=1.1))
    assert sample is not None
    return sample


def told(ss: str) -> tuple[object, ...]:
    one = next(one for one in read(ss).connections if one.remote_port == 4000)
    return one.bytes_received, one.bytes_sent, one.idle_received_s, one.idle_sent_s


def test_bytes_and_idle_times_are_read() -> None:
    assert told(FIRST + INFO) == (100, 500, 1.3, 1.2)


def test_a_connection_it_does_not_name_stays_unknown() -> None:
    other = next(one for one in read(FIRST + INFO).connections if one.remote_port == 4001)

    assert other.bytes_received is None


def test_what_it_leaves_out_is_nothing() -> None:
    assert told(FIRST + "\t cubic bytes_received:151 lastrcv:10\n") == (151, 0, 0.01, 0.0)
    assert told(FIRST + "\t cubic bytes_acked:21 bytes_received:151\n") == (151, 20, 0.0, 0.0)


def test_an_ss_that_counts_no_bytes_says_nothing() -> None:
    assert told(FIRST + "\t cubic rto:204 lastsnd:10 lastrcv:10\n") == (None, None, None, None)


def test_mapped_and_scoped_addresses_are_the_same_peers() -> None:
    mapped = "ESTAB 0 0 [::ffff:10.0.0.2]:8080 [::ffff:10.0.0.9]:4000\n"
    scoped = "ESTAB 0 0 [fe80::1%eth0]:8080 [fe80::2]:5\n"

    assert told(scoped + INFO + mapped + INFO)[:2] == (100, 500)


def test_noise_is_passed_over() -> None:
    noise = f"ss: command failed\nESTAB\nESTAB 0 0 here there\n\t bytes_sent:5\n{FIRST}\t x:y:z\n"

    assert told(noise + "\t bytes_sent:many\n") == (None, None, None, None)
    assert told("") == (None, None, None, None)
