"""Looking into pods by exec: an answer to each question, a word where there will never be one, nothing left behind."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest

from segue.drain.samples import ProcText, count_from, from_proc
from segue.drive.flow import Look
from segue.host.client import KubeClient
from segue.host.clock import SystemClock
from segue.host.pod_reader import PodReader
from tests.live.conftest import Cluster, seed
from tests.waiting import wait_until

pytestmark = pytest.mark.live
T = TypeVar("T")


@pytest.fixture
def pod(cluster: Cluster) -> str:
    """The name of one seed pod that serves."""
    cluster.kubectl("apply", "-f", "-", stdin=seed(1))
    cluster.wait_ready(1)
    return str(cluster.ready_pods()[0]["metadata"]["name"])


def reading(cluster: Cluster, ask: Callable[[PodReader], Awaitable[T]]) -> T:
    async def whole() -> T:
        async with KubeClient.find(str(cluster.state / "kubeconfig")) as client:
            reader = PodReader(client, SystemClock())
            try:
                return await ask(reader)
            finally:
                await reader.close()

    return asyncio.run(whole())


async def answer(reader: PodReader, look: Look) -> ProcText | str:
    """The first answer that comes; a slow machine may need some questions."""
    for _ in range(40):
        found = await reader.read("default", (look,))
        if look.pod in found:
            return found[look.pod]
    pytest.fail("it never answers")


def commands(cluster: Cluster, pod: str) -> str:
    return cluster.kubectl("exec", pod, "--", "sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '")


def test_a_pod_answers_with_its_counter_and_with_all_its_connections_when_asked_to(cluster: Cluster, pod: str) -> None:
    async def ask(reader: PodReader) -> tuple[ProcText | str, ProcText | str]:
        whole = await answer(reader, Look(pod=pod, container="service"))
        return whole, await answer(reader, Look(pod=pod, container="service", whole=False))

    whole, count = reading(cluster, ask)
    assert isinstance(whole, ProcText)
    assert isinstance(count, ProcText)

    assert from_proc(whole) is not None
    assert count_from(count) is not None
    assert from_proc(count) is None
    assert whole.asked_s < whole.read_s <= count.asked_s < count.read_s
    wait_until(
        lambda: "/proc/net/snmp" not in commands(cluster, pod).replace("cat /proc/[0-9]*/cmdline", ""), limit_s=10
    )


@pytest.mark.skipif(shutil.which("ss") is None, reason="no ss is installed (Debian: apt-get install iproute2)")
def test_where_ss_is_in_the_image_bytes_are_seen(cluster: Cluster, pod: str) -> None:
    command = "import socket, sys; way = socket.create_server(('0.0.0.0', 7)); "
    command += "one = socket.create_connection(('127.0.0.1', 7)); other, _ = way.accept(); one.send(b'x' * 300); "
    command += "other.recv(300); other.send(b'y' * 20); print('open', flush=True); sys.stdin.read()"

    async def ask(reader: PodReader) -> ProcText | str:
        return await answer(reader, Look(pod=pod, container="service"))

    argv = ["kubectl", "exec", "-i", pod, "--", "python3", "-c", command]
    with subprocess.Popen(argv, env=cluster.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as talking:
        assert talking.stdout is not None
        assert talking.stdout.readline() == "open\n"
        whole = reading(cluster, ask)
        assert talking.stdin is not None
        talking.stdin.close()
    assert isinstance(whole, ProcText)
    sample = from_proc(whole)
    assert sample is not None

    (server,) = [one for one in sample.connections if one.local_port == 7]
    assert (server.bytes_received, server.bytes_sent) == (300, 20)
    assert server.idle_received_s is not None


def test_a_container_that_does_not_exist_is_told_in_a_word(cluster: Cluster, pod: str) -> None:
    async def ask(reader: PodReader) -> ProcText | str:
        return await answer(reader, Look(pod=pod, container="nobody"))

    assert isinstance(reading(cluster, ask), str)
