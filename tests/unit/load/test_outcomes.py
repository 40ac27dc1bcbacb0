"""From a socket's last word to one outcome."""

from __future__ import annotations

import errno

import pytest

from segue.load.outcome import Ending, Outcome, Phase, classify, errno_name

CASES = [
    (Ending(phase=Phase.CONNECT, error=errno.ECONNREFUSED), Outcome.CONNECT_REFUSED),
    (Ending(phase=Phase.CONNECT, error=errno.ECONNRESET), Outcome.CONNECT_RESET),
    (Ending(phase=Phase.CONNECT, timed_out=True), Outcome.CONNECT_TIMEOUT),
    (Ending(phase=Phase.CONNECT, error=errno.ETIMEDOUT), Outcome.CONNECT_TIMEOUT),
    (Ending(phase=Phase.CONNECT, error=errno.EHOSTUNREACH), Outcome.UNREACHABLE),
    (Ending(phase=Phase.CONNECT, error=errno.EADDRNOTAVAIL), Outcome.OWN_FAULT),
    (Ending(phase=Phase.CONNECT, error=errno.EMFILE), Outcome.OWN_FAULT),
    (Ending(phase=Phase.SEND, error=errno.EPIPE), Outcome.RESET_BEFORE_ANSWER),
    (Ending(phase=Phase.WAIT, error=errno.ECONNRESET), Outcome.RESET_BEFORE_ANSWER),
    (Ending(phase=Phase.WAIT), Outcome.EMPTY_ANSWER),
    (Ending(phase=Phase.WAIT, timed_out=True), Outcome.READ_TIMEOUT),
    (Ending(phase=Phase.READ, bytes_in=9), Outcome.SHORT_ANSWER),
    (Ending(phase=Phase.READ, bytes_in=9, error=errno.ECONNRESET), Outcome.RESET_IN_ANSWER),
    (Ending(phase=Phase.READ, bytes_in=9, timed_out=True), Outcome.READ_TIMEOUT),
    (Ending(phase=Phase.READ, bytes_in=9, http=False), Outcome.BAD_ANSWER),
    (Ending(phase=Phase.DONE, bytes_in=9, status=200), Outcome.OK),
    (Ending(phase=Phase.DONE, bytes_in=9, status=302), Outcome.OK),
    (Ending(phase=Phase.DONE, bytes_in=9, status=404), Outcome.BAD_STATUS),
    (Ending(phase=Phase.DONE, bytes_in=9, status=503), Outcome.BAD_STATUS),
]


@pytest.mark.parametrize(("ending", "expected"), CASES)
def test_every_ending_has_one_outcome(ending: Ending, expected: Outcome) -> None:
    assert classify(ending) is expected


def test_only_ok_and_own_faults_are_no_loss() -> None:
    assert {outcome for outcome in Outcome if not outcome.lost} == {Outcome.OK, Outcome.OWN_FAULT}


def test_error_numbers_have_names() -> None:
    assert (errno_name(errno.ECONNRESET), errno_name(0), errno_name(99999)) == ("ECONNRESET", "", "99999")
