"""Runs lookups under the real C libraries and writes down every packet: `python -m tests.live.lookup_capture FILE`.

FILE (JSON) has a list of tries and where the musl program is. Each try is one process of its own in a user, mount and
network namespace of this process's own, with its own resolv.conf and hosts; this process is its name servers.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import socket
import struct
import sys
from pathlib import Path
from typing import TypedDict

from segue.dns.resolver import written, written_hosts
from segue.dns.world import Said
from segue.host import syscalls
from tests.lookup_cases import cases

SERVERS = ("127.0.0.1", "127.0.0.2")
TYPES = {1: "A", 28: "AAAA"}
DATA = {"A": bytes([10, 0, 0, 1]), "AAAA": bytes(15) + b"\x09"}
CODES = {Said.FOUND: 0, Said.NODATA: 0, Said.SERVFAIL: 2, Said.NXDOMAIN: 3, Said.REFUSED: 5}
FAMILIES = {"any": socket.AF_UNSPEC, "ipv4": socket.AF_INET, "ipv6": socket.AF_INET6}
SIOCSIFFLAGS, IFF_UP = 0x8914, 1


class Seen(TypedDict):
    """What one lookup did."""

    queries: list[tuple[str, str, str]]
    code: int


def question_of(packet: bytes) -> tuple[str, str, int]:
    """Name, type, and where the question ends."""
    labels, at = [], 12
    while packet[at]:
        labels.append(packet[at + 1 : at + 1 + packet[at]].decode())
        at += 1 + packet[at]
    kind = struct.unpack_from("!H", packet, at + 1)[0]
    return ".".join(labels), TYPES.get(kind, str(kind)), at + 5


def answer(packet: bytes, said: Said, kind: str, end: int) -> bytes:
    """The response: the same question, and one address where there is one."""
    found = said is Said.FOUND
    head = packet[:2] + struct.pack("!HHHHH", 0x8580 | CODES[said], 1, int(found), 0, 0)
    record = b"\xc0\x0c" + packet[end - 4 : end] + struct.pack("!IH", 5, len(DATA[kind])) + DATA[kind] if found else b""
    return head + packet[12:end] + record


def enter() -> None:
    """Namespaces of our own, with a loopback that is up."""
    uid, gid = os.getuid(), os.getgid()
    syscalls.unshare(syscalls.CLONE_NEWUSER | syscalls.CLONE_NEWNS | syscalls.CLONE_NEWNET)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
    Path("/proc/self/gid_map").write_text(f"0 {gid} 1")
    syscalls.mount("none", "/", flags=syscalls.MS_REC | syscalls.MS_PRIVATE)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", IFF_UP))


def look_up(name: str, family: int) -> int:
    """What glibc's getaddrinfo, which is Python's, returns."""
    try:
        socket.getaddrinfo(name.encode(), None, family, socket.SOCK_STREAM)
    except socket.gaierror as error:
        return int(error.errno or 0)
    return 0


def run(index: int, etc: Path, musl: str, servers: list[socket.socket]) -> Seen:
    """One case."""
    case = cases()[index]
    (etc / "resolv.conf").write_text(written(case.resolver))
    (etc / "hosts").write_text(written_hosts(case.resolver.hosts))
    asked = case.question
    family = FAMILIES[asked.family]
    ours, theirs = os.pipe()
    if (pid := os.fork()) == 0:
        if asked.libc == "musl":
            os.dup2(theirs, 1)
            os.execv(musl, [musl, asked.name, str(int(family))])
        os.write(theirs, str(look_up(asked.name, family)).encode())
        os._exit(0)
    os.close(theirs)
    seen: list[tuple[str, str, str]] = []
    said = b""
    while True:
        watched: list[int | socket.socket] = [ours, *servers]
        ready, _, _ = select.select(watched, [], [], 30)
        for server in (one for one in servers if one in ready):
            packet, peer = server.recvfrom(4096)
            name, kind, end = question_of(packet)
            seen.append((name, kind, server.getsockname()[0]))
            server.sendto(answer(packet, case.world.says(name, kind), kind, end), peer)
        if ours in ready and ready == [ours]:  # every packet first
            if not (chunk := os.read(ours, 100)):
                break
            said += chunk
        assert ready, "the lookup hangs"
    os.close(ours)
    os.waitpid(pid, 0)
    return Seen(queries=seen, code=int(said))


def main(file: Path) -> None:
    """All cases of the file."""
    wanted = json.loads(file.read_text())
    enter()
    etc = file.parent
    (etc / "nsswitch.conf").write_text("hosts: files dns\n")
    for name in ("resolv.conf", "hosts", "nsswitch.conf"):
        (etc / name).touch()
        syscalls.mount(str(etc / name), f"/etc/{name}", flags=syscalls.MS_BIND)
    servers = []
    for address in SERVERS:
        servers.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        servers[-1].bind((address, 53))
    seen = {index: run(index, etc, wanted["musl"], servers) for index in wanted["cases"]}
    sys.stdout.write(json.dumps(seen))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
