"""Other processes of the same user enter the client namespace by the cluster's state directory."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from segue.host import isolation
from segue.host.isolation import Doorman, Mode
from segue.host.network.enter import enter_client_namespace
from segue.host.network.node import NodeNetwork
from segue.host.starting import start_time
from segue.host.state import Running, write_running
from tests.live.network_world import NOBODY, become

pytestmark = pytest.mark.live

PROBE = "import socket; print(socket.create_connection(('10.10.0.1', 7777), 3).getsockname()[0])"


def start_node(uid: int) -> tuple[int, Running]:
    """A node whose server answers at its own address; (pid of its doorman, how to find it)."""
    heard, told = os.pipe()

    def main(doorman: Doorman, mode: Mode) -> int:
        node = NodeNetwork()
        server = socket.create_server(("10.10.0.1", 7777))
        os.write(told, f"{doorman.node_pid} {doorman.keep(node.client_fd)}\n".encode())
        while True:
            server.accept()

    p0 = os.fork()
    if p0 == 0:
        code = 1
        try:
            become(uid)
            code = isolation.launch(main, isolation.choose("namespaces"))
        finally:
            os._exit(code)
    os.close(told)
    with os.fdopen(heard) as pipe:
        node_pid, path = pipe.readline().split()
    running = Running(
        pid=p0,
        started=start_time(p0),
        node_pid=int(node_pid),
        mode="namespaces",
        reason="",
        api="",
        node_ip="10.10.0.1",
        client_netns=path,
    )
    return p0, running


def end(p0: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(p0, signal.SIGKILL)
    os.waitpid(p0, 0)


@pytest.mark.parametrize("uid", [0, NOBODY], ids=["root", "user"])
def test_a_process_of_the_same_user_speaks_from_the_clients_address(uid: int) -> None:
    """Entered in a forked, single-threaded process, as the command line's children do it."""
    if uid and os.geteuid() != 0:
        pytest.skip("only root can become another user")
    p0, running = start_node(uid)
    heard, told = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            become(uid)
            assert enter_client_namespace(running)
            address = socket.create_connection(("10.10.0.1", 7777), 3).getsockname()[0]
            os.write(told, address.encode())
        except BaseException as error:  # noqa: BLE001 - told outside
            os.write(told, repr(error).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    end(p0)

    assert os.read(heard, 1000) == b"10.10.0.2"
    os.close(heard)
    os.close(told)


def test_a_command_is_run_there_by_the_state_directory(tmp_path: Path) -> None:
    """`python -m segue.host.network.enter --state DIR -- argv...`, its exit code is the command's."""
    p0, running = start_node(0)
    write_running(tmp_path, running)
    enter = [sys.executable, "-m", "segue.host.network.enter", "--state", str(tmp_path), "--"]
    done = subprocess.run([*enter, sys.executable, "-c", PROBE], capture_output=True, text=True, check=False)
    code = subprocess.run([*enter, "sh", "-c", "exit 7"], check=False).returncode
    missing = subprocess.run([*enter, "no-such-command"], capture_output=True, text=True, check=False)
    end(p0)

    assert (done.stdout, done.returncode) == ("10.10.0.2\n", 0)
    assert code == 7
    assert (missing.returncode, missing.stderr) == (2, "no-such-command: no such command\n")


def test_without_a_cluster_entering_says_how_to_start_one(tmp_path: Path) -> None:
    """A user's mistake: exit code 4, one clear line."""
    argv = [sys.executable, "-m", "segue.host.network.enter", "--state", str(tmp_path), "--", "true"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)

    assert done.returncode == 4
    name = tmp_path.name
    assert done.stderr == f"no embedded cluster {name} runs (start one with: segue up --name {name})\n"


def test_loopback_mode_has_no_namespace_to_enter() -> None:
    """The process stays where it is."""
    running = Running(
        pid=1, started="", node_pid=1, mode="loopback", reason="", api="", node_ip="127.0.0.1", client_netns=""
    )
    before = Path("/proc/self/ns/net").readlink()

    assert not enter_client_namespace(running)
    assert Path("/proc/self/ns/net").readlink() == before
