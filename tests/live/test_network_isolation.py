"""The cluster's processes live and die together, and reach the host only through the doorman."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from segue.host import isolation, syscalls
from segue.host.isolation import Doorman, Mode
from segue.host.network.nft import find_nft
from segue.model.errors import HostError, UsageError
from tests.live.network_world import NOBODY, become, run_isolated
from tests.waiting import wait_until

pytestmark = pytest.mark.live


def main_with_grandchild(told: int) -> Callable[[Doorman, Mode], int]:
    """A main that says who is who, with a child that would outlive it, and waits."""

    def main(doorman: Doorman, mode: Mode) -> int:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        listener = doorman.listen(0)
        if os.fork() == 0:
            signal.pause()
        facts = {
            "p0": doorman.holder_pid,
            "first": doorman.node_pid,
            "port": listener.getsockname()[1],
            "netns": Path("/proc/self/ns/net").stat().st_ino,
        }
        os.write(told, json.dumps(facts).encode() + b"\n")
        signal.pause()
        return 0

    return main


def alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def in_netns(inode: int) -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and (entry / "ns" / "net").stat().st_ino == inode:
                found.append(entry.name)
        except OSError:
            continue
    return found


@contextmanager
def launched(wanted: str, uid: int) -> Iterator[dict[str, int]]:
    if uid and os.geteuid() != 0:
        pytest.skip("only root can become another user")
    heard, told = os.pipe()
    p0 = os.fork()
    if p0 == 0:
        code = 1
        try:
            become(uid)
            code = isolation.launch(main_with_grandchild(told), isolation.choose(wanted))
        finally:
            os._exit(code)
    os.close(told)
    with os.fdopen(heard) as pipe:
        try:
            yield json.loads(pipe.readline())
        finally:
            with suppress(ProcessLookupError):
                os.kill(p0, signal.SIGKILL)
            with suppress(ChildProcessError):
                os.waitpid(p0, 0)


def exit_code(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.parametrize("wanted", ["namespaces", "loopback"])
@pytest.mark.parametrize("uid", [0, NOBODY], ids=["root", "user"])
@pytest.mark.parametrize("victim", ["p0", "init", "main"])
def test_when_one_process_is_killed_all_of_them_are_gone(wanted: str, uid: int, victim: str) -> None:
    """And with them their network namespace and everything in it."""
    with launched(wanted, uid) as said:
        first = said["first"]
        main = children(first)[0] if wanted == "namespaces" else first
        everybody = [said["p0"], first, main, *children(main)]
        assert len(everybody) == 4
        assert all(map(alive, everybody))
        os.kill({"p0": said["p0"], "init": first, "main": main}[victim], signal.SIGKILL)
        # In loopback mode there is no pid namespace; there a grandchild outlives a killed doorman unless it has asked
        # for PDEATHSIG itself, as the node's containers do.
        leftover = everybody[3] if (wanted, victim) == ("loopback", "p0") else 0
        wait_until(lambda: not any(alive(pid) for pid in everybody if pid != leftover))
        if leftover:
            os.kill(leftover, signal.SIGKILL)

        assert exit_code(said["p0"]) in (-signal.SIGKILL, 128 + signal.SIGKILL)
        if wanted == "namespaces":
            wait_until(lambda: not in_netns(said["netns"]))


@pytest.mark.parametrize("wanted", ["namespaces", "loopback"])
def test_sigterm_to_the_outermost_process_reaches_main(wanted: str) -> None:
    """Python's default ends main, and its end is the exit code."""
    with launched(wanted, 0) as said:
        os.kill(said["p0"], signal.SIGTERM)

        assert exit_code(said["p0"]) == 128 + signal.SIGTERM
        wait_until(lambda: not alive(said["first"]))


def test_the_doorman_opens_ports_of_the_host() -> None:
    """What main listens on is reached from outside its namespace."""
    with launched("namespaces", NOBODY if os.geteuid() == 0 else 0) as said:
        assert in_netns(said["netns"])

        socket.create_connection(("127.0.0.1", said["port"]), 3).close()


@pytest.mark.parametrize("wanted", ["namespaces", "loopback"])
def test_a_port_in_use_is_named_with_the_remedy(wanted: str) -> None:
    """The port is taken on the host, where main is not."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        def main(doorman: Doorman, _: Mode) -> int:
            with pytest.raises(HostError, match=f"port {port} of 127.0.0.1 is in use") as caught:
                doorman.listen(port)

            assert "choose another port" in caught.value.remedy
            return 0

        run_isolated(main, wanted=wanted)


def test_an_fd_kept_by_the_doorman_is_found_by_other_processes() -> None:
    """That is how loads find the client namespace."""

    def main(doorman: Doorman, _: Mode) -> int:
        fd = os.memfd_create("kept")
        os.write(fd, b"hello")
        path = doorman.keep(fd)
        os.close(fd)

        assert path.startswith(f"/proc/{doorman.holder_pid}/fd/")
        return 0

    run_isolated(main)


@pytest.mark.parametrize("code", [0, 7])
def test_mains_exit_code_is_launchs(code: int) -> None:
    """Through init and doorman."""

    def outer(_: Doorman, __: Mode) -> int:
        syscalls.unshare(syscalls.CLONE_NEWNS)

        assert isolation.launch(lambda *_: code, isolation.choose("namespaces")) == code
        return 0

    run_isolated(outer, wanted="loopback")


@pytest.fixture
def undetected(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody in this process has looked yet what the machine can do."""
    monkeypatch.setattr(isolation, "_detected", None)


@pytest.mark.usefixtures("undetected")
def test_a_machine_that_refuses_network_namespaces_gets_loopback_mode_with_the_reason() -> None:
    """Brought about by the limit of a user namespace of our own."""

    def main(_: Doorman, __: Mode) -> int:
        syscalls.unshare(syscalls.CLONE_NEWUSER)
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text("0 0 1")
        Path("/proc/self/gid_map").write_text("0 0 1")
        Path("/proc/sys/user/max_net_namespaces").write_text("0")
        mode = isolation.detect()

        assert mode.kind == "loopback"
        assert mode.because.startswith("this machine refuses user, network or pid namespaces")
        assert "\n" not in mode.because
        with pytest.raises(HostError, match="no namespace mode"):
            isolation.choose("namespaces")
        return 0

    run_isolated(main, wanted="loopback")


@pytest.mark.usefixtures("undetected")
def test_without_nft_the_package_is_named() -> None:
    """nft is hidden behind an empty file in a mount namespace of our own."""

    def main(_: Doorman, __: Mode) -> int:
        syscalls.unshare(syscalls.CLONE_NEWNS)
        syscalls.mount("none", "/", flags=syscalls.MS_REC | syscalls.MS_PRIVATE)
        hidden = set()
        while True:
            try:
                path = find_nft()
            except HostError as error:
                assert "apt-get install nftables" in error.remedy
                break
            assert path not in hidden
            hidden.add(path)
            syscalls.mount("/dev/null", path, flags=syscalls.MS_BIND)

        mode = isolation.detect()
        assert mode.kind == "loopback"
        assert "nftables" in mode.because
        return 0

    run_isolated(main, wanted="loopback")


def test_a_mode_that_does_not_exist_is_refused() -> None:
    """A user's mistake."""
    with pytest.raises(UsageError, match="does not exist") as caught:
        isolation.choose("docker")
    assert caught.value.exit_code == 2
