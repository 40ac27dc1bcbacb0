"""Lookups in an open loop, as a C library sends them: `python lookup_load.py IP RATE SECONDS NAME...`.

Each lookup has a socket of its own and asks for A and AAAA at once; what is not answered after 5 s is asked again, and
has failed after 10 s. Lookups begin when planned, whatever became of those before. One line of JSON at the end:
{"lookups", "failed", "over_1s", "ms": {"p50", "p99", "p99.9", "max"}, "slow": [[planned_s, ms], ...]}
"""

from __future__ import annotations

import contextlib
import heapq
import json
import resource
import select
import socket
import struct
import sys
import time

AGAIN_S, GIVE_UP_S, SLOW_MS = 5.0, 10.0, 900.0
TYPES = (1, 28)


def question(number: int, name: str, kind: int) -> bytes:
    labels = b"".join(bytes([len(one)]) + one.encode() for one in name.rstrip(".").split("."))
    return struct.pack("!6H", number, 0x100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!HH", kind, 1)


class Lookup:
    """One of them."""

    def __init__(self, planned_s: float, name: str, server: str) -> None:
        self.planned_s = planned_s
        self.way = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.way.connect((server, 53))
        self.open = {number: question(number, name, kind) for number, kind in enumerate(TYPES)}
        self.began_s = time.monotonic()

    def send(self) -> None:
        for packet in self.open.values():
            with contextlib.suppress(OSError):  # refused: told by ICMP; libc asks again when its time has come
                self.way.send(packet)

    def read(self) -> bool:
        """Whether all is answered."""
        while self.open:
            try:
                data = self.way.recv(4096)
            except OSError:
                return False
            number, flags = struct.unpack_from("!HH", data)
            if flags & 15 == 0:
                self.open.pop(number, None)
        return True


def main(server: str, rate: float, for_s: float, names: list[str]) -> None:
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    poll = select.epoll()
    open_: dict[int, Lookup] = {}
    timers: list[tuple[float, int, Lookup]] = []
    took: list[tuple[float, float]] = []
    failed: list[float] = []
    began_s, begun, count = time.monotonic(), 0, int(rate * for_s)
    zero_s = time.time() - began_s
    while begun < count or open_:
        now_s = time.monotonic()
        while begun < count and now_s >= began_s + begun / rate:
            one = Lookup(began_s + begun / rate, names[begun % len(names)], server)
            open_[one.way.fileno()] = one
            poll.register(one.way, select.EPOLLIN)
            one.send()
            heapq.heappush(timers, (one.began_s + AGAIN_S, begun, one))
            begun += 1
        while timers and timers[0][0] <= now_s:
            at_s, key, one = heapq.heappop(timers)
            if one.open and at_s < one.began_s + GIVE_UP_S:
                one.send()
                heapq.heappush(timers, (one.began_s + GIVE_UP_S, key, one))
            elif one.open:
                failed.append(one.planned_s)
                del open_[one.way.fileno()]
                one.way.close()
        due_s = began_s + begun / rate if begun < count else now_s + 0.05
        for fd, _ in poll.poll(max(0.0, min(due_s - time.monotonic(), 0.05)), 256):
            one = open_[fd]
            if one.read():
                took.append((one.planned_s, (time.monotonic() - one.planned_s) * 1000))
                del open_[fd]
                one.way.close()
    times = sorted(ms for _, ms in took)
    told = {
        "lookups": count,
        "failed": len(failed),
        "over_1s": sum(ms > 1000 for ms in times) + len(failed),
        "ms": {name: round(times[int(part * (len(times) - 1))], 2) for name, part in PARTS.items()},
        "slow": [[round(at_s + zero_s, 3), round(ms, 1)] for at_s, ms in took if ms > SLOW_MS][:200],
    }
    sys.stdout.write(json.dumps(told))


PARTS = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999, "max": 1.0}

if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), float(sys.argv[3]), sys.argv[4:])
