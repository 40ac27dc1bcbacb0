"""The DNS server as a process: it asks further up, remembers, survives anything, and comes back when it was killed."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from segue.cluster.registry import Acting, Registry
from segue.cluster.store import Store
from segue.host.clock import SystemChance, SystemClock
from segue.host.dns.keeper import DnsKeeper, DnsSettings, start_server
from segue.model.objects import Obj
from tests import dns_asking
from tests.dns_asking import Said
from tests.waiting import wait_until

pytestmark = pytest.mark.live
HOME = "127.0.0.1"
NOISE_PACKETS = 5_000


class Upstream:
    """A name server of which the test says what it does: it answers with as many addresses as `addresses` says."""

    def __init__(self) -> None:
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind((HOME, 0))
        self.at: tuple[str, int] = self.udp.getsockname()
        self.tcp = socket.create_server(self.at)
        self.asked: list[str] = []
        self.is_silent = False
        self.lies = False
        self.addresses = 1
        for work in (self._udp, self._tcp):
            threading.Thread(target=work, daemon=True).start()

    def close(self) -> None:
        self.udp.close()
        self.tcp.close()

    def _udp(self) -> None:
        with suppress(OSError):
            while True:
                packet, peer = self.udp.recvfrom(4096)
                self.asked.append("udp")
                if self.is_silent:
                    continue
                if self.lies:
                    self.udp.sendto(bytes([packet[0] ^ 1]) + self._answer(packet)[1:], peer)
                    self.udp.sendto(b"x" * 7, peer)
                whole = self._answer(packet)
                end = packet.index(b"\0", 12) + 5
                cut = whole[:2] + b"\x83\x80\0\1" + bytes(6) + packet[12:end]
                self.udp.sendto(whole if len(whole) <= 1232 else cut, peer)

    def _tcp(self) -> None:
        with suppress(OSError):
            while True:
                way, _ = self.tcp.accept()
                with way:
                    packet = way.recv(4096)[2:]
                    self.asked.append("tcp")
                    answer = self._answer(packet)
                    way.sendall(len(answer).to_bytes(2) + answer)

    def _answer(self, packet: bytes) -> bytes:
        end = packet.index(b"\0", 12) + 5
        head = packet[:2] + b"\x81\x80\0\1" + self.addresses.to_bytes(2) + bytes(4)
        rows = (
            b"\xc0\x0c\0\1\0\1" + (60).to_bytes(4) + b"\0\4" + bytes([10, 1, 0, n % 250]) for n in range(self.addresses)
        )
        return head + packet[12:end] + b"".join(rows)


class Server:
    """The process under test."""

    def __init__(self, upstreams: list[tuple[str, int]]) -> None:
        self.process, self.control = start_server()
        self.tell({"begin": {"ip": HOME, "port": _free_port(), "upstreams": upstreams}})
        self.tell({"put": "namespaces", "objects": [{"metadata": {"name": "shop"}}]})
        spec = {"clusterIP": "10.96.0.7", "ports": [{"name": "http", "port": 80}]}
        self.tell({"put": "services", "objects": [{"metadata": {"name": "web", "namespace": "shop"}, "spec": spec}]})
        self.tell({"serve": True})
        self.control.settimeout(10)
        told = json.loads(self.control.makefile().readline())
        self.at = told["serving"][0], told["serving"][1]

    def tell(self, message: Obj) -> None:
        self.control.sendall(json.dumps(message).encode() + b"\n")

    def ask(self, name: str, kind: str = "A", *, edns: int = 1232, limit_s: float = 10.0) -> Said:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as way:
            way.settimeout(limit_s)
            way.connect(self.at)
            way.send(dns_asking.packet(name, kind, edns=edns))
            return dns_asking.said(way.recv(65535))

    def ask_whole(self, name: str) -> Said:
        """Over TCP."""
        with socket.create_connection(self.at, timeout=10) as way:
            packet = dns_asking.packet(name, "A")
            way.sendall(len(packet).to_bytes(2) + packet)
            file = way.makefile("rb")
            return dns_asking.said(file.read(int.from_bytes(file.read(2))))


def _free_port() -> int:
    with socket.create_server((HOME, 0)) as taken:
        return int(taken.getsockname()[1])


@contextmanager
def serving(*upstreams: Upstream) -> Iterator[Server]:
    server = Server([one.at for one in upstreams])
    try:
        yield server
    finally:
        server.control.close()
        assert server.process.wait(5) == 0  # it ends by itself when nobody holds the other end
        for one in upstreams:
            one.close()


def test_names_outside_are_asked_for_further_up_and_remembered() -> None:
    upstream = Upstream()
    with serving(upstream) as server:
        first = server.ask("api.example.com")
        again = server.ask("API.example.com")
        inside = server.ask("web.shop.svc.cluster.local")

    assert first.texts == again.texts == ["10.1.0.0"]
    assert (first.answers[0][0], again.answers[0][0]) == ("api.example.com", "API.example.com")
    assert again.answers[0][2] <= 30
    assert (upstream.asked, inside.texts) == (["udp"], ["10.96.0.7"])


def test_a_silent_server_is_passed_over_and_a_liar_not_believed() -> None:
    silent, liar = Upstream(), Upstream()
    silent.is_silent = liar.lies = True
    with serving(silent, liar) as server:
        assert server.ask("api.example.com").texts == ["10.1.0.0"]

    assert (silent.asked, liar.asked) == (["udp"], ["udp"])


def test_a_cut_answer_is_fetched_whole_and_cut_again_for_who_asks_over_udp() -> None:
    upstream = Upstream()
    upstream.addresses = 200
    with serving(upstream) as server:
        cut = server.ask("many.example.com")
        whole = server.ask_whole("many.example.com")

    assert (cut.cut, cut.answers, len(whole.answers)) == (True, [], 200)
    assert upstream.asked == ["udp", "tcp", "udp", "tcp"]  # one speaks EDNS, the other does not


def test_without_anybody_to_ask_names_outside_are_refused() -> None:
    with serving() as server:
        assert server.ask("api.example.com").code == "REFUSED"


def test_noise_over_udp_and_tcp_does_not_stop_it() -> None:
    chance = random.Random(7)
    upstream = Upstream()
    good = dns_asking.packet("web.shop.svc.cluster.local", "A", edns=1232)
    with serving(upstream) as server, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as way:
        way.connect(server.at)
        for _ in range(NOISE_PACKETS):
            noise = bytearray(chance.randbytes(chance.randrange(200)) if chance.random() < 0.5 else good)
            for _ in range(chance.randrange(4)):
                if noise:
                    noise[chance.randrange(len(noise))] = chance.randrange(256)
            way.send(noise)
        held = [socket.create_connection(server.at) for _ in range(40)]
        for one in held:  # half a frame, none at all, a frame of noise
            one.send(chance.choice([b"", b"\0", b"\xff\xff" + chance.randbytes(50), b"\0\5hello", b"\0\0"]))

        assert server.ask("web.shop.svc.cluster.local").texts == ["10.96.0.7"]
        assert server.ask_whole("web.shop.svc.cluster.local").texts == ["10.96.0.7"]
        for one in held:
            one.close()


def test_a_killed_server_is_started_again_and_told_everything() -> None:
    async def story() -> None:
        clock = SystemClock()
        store = Store()
        registry = Registry(store, clock, SystemChance())
        settings = DnsSettings(ip=HOME, service_cidr="10.96.0.0/12", port=_free_port())
        keeper = DnsKeeper(store, Acting(registry, "segue-dns"), settings)
        await keeper.start()
        await keeper.wait()
        first = keeper.pid
        registry.create(
            "services",
            {
                "metadata": {"name": "late", "namespace": "default"},
                "spec": {"clusterIP": "10.96.3.3", "ports": [{"port": 80}]},
            },
        )
        at = HOME, settings.port
        await asyncio.to_thread(_wait_for, lambda: _ask(at) == ["10.96.3.3"])
        os.kill(first, signal.SIGKILL)
        await asyncio.to_thread(_wait_for, lambda: keeper.pid not in (0, first) and _ask(at) == ["10.96.3.3"])
        await keeper.stop()
        assert keeper.pid == 0

    asyncio.run(story())


def _wait_for(condition: Callable[[], bool]) -> None:
    wait_until(condition, limit_s=20.0)


def _ask(at: tuple[str, int]) -> list[str]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as way:
        way.settimeout(0.5)
        way.connect(at)
        try:
            way.send(dns_asking.packet("late.default.svc.cluster.local", "A"))
            return dns_asking.said(way.recv(65535)).texts
        except OSError:
            return []
