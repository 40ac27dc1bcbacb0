"""Reading answers, piece by piece."""

from __future__ import annotations

import pytest

from segue.load.answer import AnswerReader

PLAIN = b"HTTP/1.1 200 OK\r\nX-Version: v2\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n3;x=y\r\nabc\r\n0\r\n\r\n"
TRAILED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-Sum: 1\r\n\r\n"
INTERIM = b"HTTP/1.1 100 Continue\r\n\r\n" + PLAIN


@pytest.mark.parametrize("step", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize("answer", [PLAIN, CHUNKED, TRAILED, INTERIM])
def test_an_answer_is_complete_with_its_last_byte_however_it_is_cut(answer: bytes, step: int) -> None:
    reader = AnswerReader()
    for start in range(0, len(answer) - 1, step):
        reader.feed(answer[start : min(start + step, len(answer) - 1)])

    assert not reader.complete
    reader.feed(answer[-1:])
    assert reader.complete
    assert reader.status == 200


def test_the_version_header_is_kept_whatever_its_case() -> None:
    reader = AnswerReader()
    reader.feed(PLAIN.replace(b"X-Version", b"x-VERSION"))

    assert reader.version == "v2"


def test_a_body_without_length_ends_with_the_connection() -> None:
    reader = AnswerReader()
    reader.feed(b"HTTP/1.1 200 OK\r\n\r\nsome")

    assert not reader.complete
    reader.end()
    assert reader.complete


def test_a_body_with_a_length_does_not_end_with_the_connection() -> None:
    reader = AnswerReader()
    reader.feed(PLAIN[:-2])
    reader.end()

    assert not reader.complete


@pytest.mark.parametrize("noise", [b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 abc\r\n\r\n", b"\x16\x03\x01"])
def test_noise_is_no_http(noise: bytes) -> None:
    reader = AnswerReader()
    reader.feed(noise)

    assert not reader.http


@pytest.mark.parametrize(
    ("head", "closes"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", False),
        (b"HTTP/1.1 200 OK\r\nConnection: Close\r\nContent-Length: 0\r\n\r\n", True),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", True),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nmore", True),
    ],
)
def test_whether_the_connection_may_be_used_again(head: bytes, closes: bool) -> None:
    reader = AnswerReader()
    reader.feed(head)

    assert (reader.complete, reader.closes) == (True, closes)
