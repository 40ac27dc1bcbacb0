"""Looks names up in a pod, through its own C library, and writes down every packet: what `segue dns` sends into pods.

    python3 -I -S -c 'exec(eval(input()))'      first line: this text as a literal; second line: what to do, as JSON

    {"do": "capture", "name": N, "family": "any" | "ipv4" | "ipv6"}
    {"do": "measure", "names": [N, ...], "rate": lookups per second, "for_s": S, "family", "port": P, "path": "/"}
    {"do": "watch", "for_s": S}      looks nothing up: what the pod's programs ask for is written down

It prints one line of JSON: {"libc", "resolv_conf", "hosts", "how": "capture" | "count", "lookups": [{"name",
"planned_s", "began_s", "ended_s", "code", "addresses", "connected_s", "answered_s", "error"}], "packets": [[at_s,
"q" | "r", name, type, server, port, number, code, answers], ...], "sent": UDP datagrams by the kernel's own count}

Rule 1: standard library alone, single file, any Python from 3.8 on: images have old ones.
Rule 2: lookups begin when planned (an open loop): what a slow one delays is measured, not hidden.
Rule 3: where packets may not be seen (no NET_RAW), datagrams are counted; nothing is guessed.
"""

from __future__ import annotations

import json
import os
import select
import socket
import struct
import sys
import threading
import time

ETH_P_ALL, OUTGOING = 3, 4
SO_TIMESTAMPNS = 35
TYPES = {1: "A", 28: "AAAA"}
FAMILIES = {"any": socket.AF_UNSPEC, "ipv4": socket.AF_INET, "ipv6": socket.AF_INET6}
AFTER_S = 0.1  # an answer that comes so late after the last lookup is still one
THREADS_MAX = 500
HTTP_LIMIT_S = 10.0


class Capture:
    """All DNS packets over UDP of this network namespace, with the kernel's time of each."""

    def __init__(self) -> None:
        self.packets: list[list[object]] = []
        self.socket: socket.socket | None = None
        self._ended = threading.Event()
        try:
            made = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL))
            made.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        except OSError:
            return
        self.socket = made
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Wait for late answers, and stop."""
        if self.socket is not None:
            time.sleep(AFTER_S)
            self._ended.set()
            self._thread.join()

    def _read(self) -> None:
        assert self.socket is not None
        while not (self._ended.is_set() and not select.select([self.socket], [], [], 0)[0]):
            if not select.select([self.socket], [], [], 0.05)[0]:
                continue
            data, extra, _, address = self.socket.recvmsg(4096, 64)
            at_s = time.time()
            for level, kind, value in extra:
                if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS:
                    seconds, nanoseconds = struct.unpack("qq", value[:16])
                    at_s = seconds + nanoseconds / 1e9
            row = packet_of(data, at_s, address[2] == OUTGOING)
            if row is not None:
                self.packets.append(row)


def packet_of(data: bytes, at_s: float, outgoing: bool) -> list[object] | None:
    """A row for a DNS packet over UDP, None for anything else."""
    try:
        if data[0] >> 4 == 4:
            if data[9] != socket.IPPROTO_UDP:
                return None
            at = (data[0] & 15) * 4
            source, target = socket.inet_ntoa(data[12:16]), socket.inet_ntoa(data[16:20])
        elif data[0] >> 4 == 6 and data[6] == socket.IPPROTO_UDP:
            at = 40
            source, target = (socket.inet_ntop(socket.AF_INET6, data[n : n + 16]) for n in (8, 24))
        else:
            return None
        from_port, to_port = struct.unpack_from("!HH", data, at)
        packet = data[at + 8 :]
        number, flags, _, answers = struct.unpack_from("!HHHH", packet)
        is_answer = bool(flags & 0x8000)
        if is_answer == outgoing or 53 not in (from_port, to_port):
            return None
        name, kind = question_of(packet)
    except (IndexError, struct.error):
        return None
    server, port = (source, to_port) if is_answer else (target, from_port)
    return [at_s, "r" if is_answer else "q", name, kind, server, port, number, flags & 15, answers]


def question_of(packet: bytes) -> tuple[str, str]:
    """Name and type."""
    labels, at = [], 12
    while packet[at]:
        labels.append(packet[at + 1 : at + 1 + packet[at]].decode("latin-1"))
        at += 1 + packet[at]
    (kind,) = struct.unpack_from("!H", packet, at + 1)
    return ".".join(labels), TYPES.get(kind, str(kind))


def look_up(name: str, family: str) -> dict[str, object]:
    """One lookup, with the moments of its beginning and end."""
    began_s = time.time()
    code, found = 0, []
    try:
        found = sorted({str(one[4][0]) for one in socket.getaddrinfo(name, None, FAMILIES[family], socket.SOCK_STREAM)})
    except socket.gaierror as error:
        code = error.errno or -1
    except UnicodeError:
        code = -2
    return {"name": name, "began_s": began_s, "ended_s": time.time(), "code": code, "addresses": found}


def ask_http(ip: str, host: str, port: int, path: str) -> dict[str, object]:
    """A request over a new connection to an address: when it was connected, when the answer began."""
    try:
        with socket.create_connection((ip, port), timeout=HTTP_LIMIT_S) as way:
            connected_s = time.time()
            way.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            if not way.recv(1):
                return {"error": "closed without an answer"}
            return {"connected_s": connected_s, "answered_s": time.time()}
    except OSError as error:
        return {"error": str(error)}


def measure(order: dict[str, object]) -> list[dict[str, object]]:
    """Lookups in an open loop, each in a thread of its own, and a request behind each where a port is named."""
    names = [str(name) for name in order["names"]]  # type: ignore[attr-defined]
    rate, count = float(str(order["rate"])), int(float(str(order["rate"])) * float(str(order["for_s"])))
    port, family = int(str(order.get("port") or 0)), str(order.get("family") or "any")
    done: list[dict[str, object]] = []
    room = threading.Semaphore(THREADS_MAX)

    def work(name: str, planned_s: float) -> None:
        row = {**look_up(name, family), "planned_s": planned_s}
        addresses = row["addresses"]
        if port and isinstance(addresses, list) and addresses:
            row.update(ask_http(str(addresses[0]), name.rstrip("."), port, str(order.get("path") or "/")))
        done.append(row)
        room.release()

    threads = []
    begin_s = time.time() + 0.05
    for number in range(max(1, count)):
        planned_s = begin_s + number / rate
        time.sleep(max(0.0, planned_s - time.time()))
        room.acquire()
        threads.append(threading.Thread(target=work, args=(names[number % len(names)], planned_s), daemon=True))
        threads[-1].start()
    for thread in threads:
        thread.join()
    return done


def libc() -> str:
    """Whose getaddrinfo this Python calls."""
    try:
        return "glibc" if os.confstr("CS_GNU_LIBC_VERSION") else "musl"
    except (ValueError, OSError):
        return "musl"


def sent() -> int:
    """UDP datagrams that this network namespace has sent."""
    rows = [line.split() for line in text_of("/proc/net/snmp").splitlines() if line.startswith("Udp:")]
    return int(rows[1][rows[0].index("OutDatagrams")])


def text_of(path: str) -> str:
    """A file's text, "" where it cannot be read."""
    try:
        with open(path) as file:  # noqa: PTH123 - small images leave pathlib out
            return file.read()
    except OSError:
        return ""


def main() -> None:
    """One order."""
    order = json.loads(sys.stdin.readline())
    capture = Capture()
    before = sent()
    if order["do"] == "capture":
        lookups = [look_up(str(order["name"]), str(order.get("family") or "any"))]
    elif order["do"] == "watch":
        lookups = []
        time.sleep(float(str(order["for_s"])))
    else:
        lookups = measure(order)
    after = sent()
    capture.end()
    told = {
        "libc": libc(),
        "resolv_conf": text_of("/etc/resolv.conf"),
        "hosts": text_of("/etc/hosts"),
        "how": "count" if capture.socket is None else "capture",
        "lookups": lookups,
        "packets": capture.packets,
        "sent": after - before,
    }
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()


main()
