"""Runs in the cluster's client namespace and hands out sockets made there, so that a test's own code can use them.

A socket belongs to the namespace it was made in, wherever its descriptor goes. One byte in: `t` or `u`; one socket out.
Rule: standard library only, no threads: it is started by an interpreter that joined namespaces.
"""

from __future__ import annotations

import socket
import sys


def main(descriptor: int) -> None:
    """Serve until the other end is closed."""
    with socket.socket(fileno=descriptor) as house:
        while wish := house.recv(1):
            kind = socket.SOCK_DGRAM if wish == b"u" else socket.SOCK_STREAM
            with socket.socket(socket.AF_INET, kind) as made:
                socket.send_fds(house, [b"."], [made.fileno()])


if __name__ == "__main__":
    main(int(sys.argv[1]))
