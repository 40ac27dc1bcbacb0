"""The load against the seed's example server itself, without any cluster: what a server's end does to its clients."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import segue.app.grace
from segue.host.firing.child import FiringChild, read_records
from segue.load.outcome import Outcome
from segue.load.plan import Plan
from segue.load.record import Record
from tests.waiting import wait_until

pytestmark = pytest.mark.live


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        found: int = free.getsockname()[1]
    return found


@pytest.fixture
def server(port: int) -> Iterator[subprocess.Popen[bytes]]:
    env = {**os.environ, "POD_IP": "127.0.0.1", "PORT": str(port), "VERSION": "v7", "SLOW_S": "1.5"}
    process = subprocess.Popen([sys.executable, str(segue.app.grace.__file__)], env=env, stdout=subprocess.DEVNULL)

    def answers() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    wait_until(answers, what="the server to listen")
    yield process
    process.kill()
    process.wait()


def fire(plan: Plan, place: Path, server: subprocess.Popen[bytes], number: int | None) -> list[Record]:
    """Fire a plan; in the middle of it send the server a signal."""

    async def run() -> list[Record]:
        child = await FiringChild.start(plan, place / "records.jsonl")
        await child.started.wait()
        if number is not None:
            await asyncio.sleep(plan.duration_s / 2)
            server.send_signal(number)
        await child.finish()
        return list(read_records(child.records))

    return asyncio.run(run())


def test_a_healthy_server_loses_nothing_of_a_thousand_connections_per_second(
    port: int, server: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    records = fire(Plan(url=f"http://127.0.0.1:{port}", duration_s=1.5, paths=("/fast",)), tmp_path, server, None)

    assert len(records) == 1500
    assert {record.outcome for record in records} == {Outcome.OK}
    assert {record.version for record in records} == {"v7"}
    assert len({record.conn for record in records}) == 1500


def test_sigterm_refuses_what_comes_later_and_answers_what_is_under_way(
    port: int, server: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    plan = Plan(url=f"http://127.0.0.1:{port}", duration_s=1.0, paths=("/fast",), slow=4)
    records = fire(plan, tmp_path, server, signal.SIGTERM)
    lost = [record for record in records if record.outcome.lost]
    slow = [record for record in records if record.path == "/slow" and record.sent_s]

    assert len(lost) > 100
    assert {record.outcome for record in lost} <= {Outcome.CONNECT_REFUSED, Outcome.RESET_BEFORE_ANSWER}
    assert sum(record.outcome is Outcome.CONNECT_REFUSED for record in lost) > 0.9 * len(lost)
    assert slow
    assert {record.outcome for record in slow} == {Outcome.OK}


def test_sigkill_ends_a_slow_request_without_an_answer(
    port: int, server: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    plan = Plan(url=f"http://127.0.0.1:{port}", rate=20, duration_s=1.0, paths=("/fast",), slow=2)
    records = fire(plan, tmp_path, server, signal.SIGKILL)
    slow = [record for record in records if record.path == "/slow" and record.sent_s]

    outcomes = {record.outcome for record in slow}

    assert Outcome.EMPTY_ANSWER in outcomes
    # what the server had not read yet when it was killed is reset (N7)
    assert outcomes <= {Outcome.EMPTY_ANSWER, Outcome.RESET_BEFORE_ANSWER}
