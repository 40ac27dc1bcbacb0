"""PID 1 of a bed: makes the node's network, starts its programs, starts again what ends, relays the API to the host.

    python -m testbed.node STATE FD     (called by `launch`, inside fresh namespaces; FD listens on the host's loopback)

When this process ends, the kernel ends everything in its pid namespace, and with it go mounts, links and rules.
Rule: it never gives up a part that has run; `bed.log` says what ended and when.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from testbed.layout import API_PORT, CLIENT_IP, CLIENT_NETNS, CONTAINERD_SOCKET, NODE_IP, SERVICE_CIDR

RESTART_AFTER_S = 1.0
PART_LIMIT_S = 90.0
_CHUNK_BYTES = 65536
_NETWORK = f"""
ip link set lo up
ip netns add client
ip link add client0 type veth peer name eth0 netns client
ip addr add {NODE_IP}/24 dev client0
ip link set client0 up
ip -n client link set lo up
ip -n client addr add {CLIENT_IP}/24 dev eth0
ip -n client link set eth0 up
ip -n client route add default via {NODE_IP}
ip route add {SERVICE_CIDR} dev lo src {NODE_IP}
"""  # the last: without a route the node itself could not call a ClusterIP, for rules see only what has a route


class Orders(msgspec.Struct, frozen=True, kw_only=True):
    """What `up` wants: written by it, read here."""

    commands: dict[str, list[str]]
    archives: list[str]  # image archives to import
    importer: list[str]  # ctr and its flags
    logs: str
    path: str  # PATH of the parts: the shim and runc must be found there


class Node:
    """The parts, and whoever waits for them."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders
        self._parts: dict[int, str] = {}
        self._once: dict[int, asyncio.Future[int]] = {}

    def start(self, name: str) -> None:
        """Start a part, to be started again whenever it ends."""
        pid = self._spawn(name, self._orders.commands[name])
        self._parts[pid] = name
        say(f"{name} started")

    async def run_once(self, name: str, argv: list[str]) -> int:
        """Run a command to its end; its exit code."""
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._once[self._spawn(name, argv)] = done
        return await done

    def _spawn(self, name: str, argv: list[str]) -> int:
        log = os.open(f"{self._orders.logs}/{name}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        actions = [(os.POSIX_SPAWN_DUP2, log, 1), (os.POSIX_SPAWN_DUP2, log, 2)]
        env = {"PATH": self._orders.path, "HOME": "/root", "LANG": "C.UTF-8"}
        try:
            return os.posix_spawn(argv[0], argv, env, file_actions=actions, setsigmask=[], setsigdef=_ALL_SIGNALS)
        finally:
            os.close(log)

    def reap(self) -> None:
        """Take note of every process that ended: parts, commands, and orphans that pods left."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            code = os.waitstatus_to_exitcode(status)
            if (waiting := self._once.pop(pid, None)) is not None:
                waiting.set_result(code)
            elif (name := self._parts.pop(pid, "")) != "":
                say(f"{name} ended with {code}; starting it again")
                asyncio.get_running_loop().call_later(RESTART_AFTER_S, self.start, name)


_ALL_SIGNALS = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE, signal.SIGCHLD]


async def run(orders: Orders, listener: socket.socket) -> None:
    """Bring the parts up in their order, then stay."""
    loop = asyncio.get_running_loop()
    node = Node(orders)
    loop.add_signal_handler(signal.SIGCHLD, node.reap)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, os._exit, 0)
    make_network()
    relay = await asyncio.start_server(_relay, sock=listener)
    node.start("etcd")
    node.start("containerd")
    images = asyncio.create_task(_import_images(node, orders))
    await _answers("127.0.0.1", 2379)
    node.start("kube-apiserver")
    await _answers(NODE_IP, API_PORT)
    node.start("kube-controller-manager")
    node.start("kube-scheduler")
    await images
    node.start("kubelet")
    node.start("kube-proxy")
    node.start("metrics-server")
    say("all parts started")
    await relay.serve_forever()


async def _import_images(node: Node, orders: Orders) -> None:
    await _until(lambda: Path(CONTAINERD_SOCKET).exists(), "containerd's socket")
    for archive in orders.archives:
        # containerd accepts before all of its plugins are up
        for _ in range(50):
            code = await node.run_once("images", [*orders.importer, archive])
            if code == 0:
                break
            await asyncio.sleep(0.2)
        else:
            raise SystemExit(f"images could not be imported from {archive}: see images.log")
    say("images imported")


def make_network() -> None:
    """Links, addresses and routes of the node and of the client."""
    for line in _NETWORK.strip().splitlines():
        subprocess.run(line.split(), check=True)
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    with contextlib.suppress(OSError):  # where pods meet on a bridge, Services must be translated there, too
        Path("/proc/sys/net/bridge/bridge-nf-call-iptables").write_text("1")
    # a load generator would else stall on its own ports
    client = "echo 1 >/proc/sys/net/ipv4/tcp_tw_reuse; echo 1024 65535 >/proc/sys/net/ipv4/ip_local_port_range"
    subprocess.run(["nsenter", f"--net={CLIENT_NETNS}", "sh", "-c", client], check=True)


# --- the relay ----------------------------------------------------------------------------------------------------


async def _relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One connection from the host's loopback to the API server."""
    try:
        up_reader, up_writer = await asyncio.open_connection(NODE_IP, API_PORT)
    except OSError:
        writer.transport.abort()  # refused there is reset here
        return
    await asyncio.gather(_copy(reader, up_writer), _copy(up_reader, writer))
    for each in (writer, up_writer):
        each.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while chunk := await reader.read(_CHUNK_BYTES):
            writer.write(chunk)
            await writer.drain()
        writer.write_eof()
    except OSError:
        writer.transport.abort()


# --- waiting ------------------------------------------------------------------------------------------------------


async def _answers(host: str, port: int) -> None:
    """Wait until something listens there."""
    deadline_s = time.monotonic() + PART_LIMIT_S
    while time.monotonic() < deadline_s:
        try:
            _, writer = await asyncio.open_connection(host, port)
        except OSError:
            await asyncio.sleep(0.05)
        else:
            writer.close()
            return
    raise SystemExit(f"nothing listened on {host}:{port} within {PART_LIMIT_S:.0f} s")


async def _until(holds: Callable[[], bool], what: str) -> None:
    deadline_s = time.monotonic() + PART_LIMIT_S
    while not holds():
        if time.monotonic() > deadline_s:
            raise SystemExit(f"no {what} within {PART_LIMIT_S:.0f} s")
        await asyncio.sleep(0.05)


def say(text: str) -> None:
    """A line of bed.log, which is our standard output."""
    sys.stdout.write(f"{time.strftime('%H:%M:%S')} {text}\n")
    sys.stdout.flush()


def main(argv: list[str]) -> int:
    """Never returns while the bed lives."""
    orders = msgspec.json.decode((Path(argv[0]) / "orders.json").read_bytes(), type=Orders)
    os.environ["PATH"] = orders.path
    asyncio.run(run(orders, socket.socket(fileno=int(argv[1]))))
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
