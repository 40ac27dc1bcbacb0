"""What waits on a port, on real sockets and on rows as the kernel writes them."""

from __future__ import annotations

import socket

from segue.app import backlog
from tests.waiting import wait_until

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"


def row(state: str, waiting: int, port: int = 8080) -> str:
    return f"   0: 0100007F:{port:04X} 0100007F:C350 {state} 00000000:{waiting:08X} 00:00000000 00000000 0 0 1\n"


def test_connections_that_are_not_accepted_and_bytes_that_are_not_read_count() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        first, second = (socket.create_connection(("127.0.0.1", port)) for _ in range(2))
        with first, second:
            wait_until(lambda: backlog.unread({port}) == 2, what="two in the accept queue")
            taken, _ = listener.accept()
            with taken:
                assert backlog.unread({port}) == 1
                first.sendall(b"GET")
                wait_until(lambda: backlog.unread({port}) == 2, what="unread bytes")
                taken.recv(3)
                assert backlog.unread({port}) == 1
                assert backlog.unread({port + 1}) == 0


def test_the_end_that_a_client_sent_is_not_an_unread_byte() -> None:
    text = HEAD + row("08", 1) + row("08", 2) + row("06", 9) + row("01", 0) + row("0A", 0) + "nonsense\n"

    assert backlog.count(text, {8080}) == 1
    assert backlog.count(HEAD + row("0A", 7) + row("01", 5), {8080}) == 8


def test_a_process_knows_its_own_listeners_and_no_others() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))

        assert listener.getsockname()[1] in backlog.own_ports()
        assert silent.getsockname()[1] not in backlog.own_ports()
