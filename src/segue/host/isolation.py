"""How the cluster process gets its namespaces, and how it still reaches the host's loopback.

    P0  the doorman: stays in the host's namespaces, binds listening sockets there on request and passes them on
    |-- init: PID 1 of the new pid namespace, reaps orphans
        `-- main: the cluster process

A fourth process, which made the namespaces, is gone once init runs; P0 is then init's parent. When any of the three
dies, all die: init ends when P0 does (PDEATHSIG), everything in the pid namespace ends when init does, init ends when
main does, P0 ends when init does. No rule, link or namespace remains, because only processes held them.

Rule 1: nothing heavy is imported before the forks, so that P0 and init stay small.
Rule 2: a namespace that cannot do all we need (veth, NAT, sysctls, /proc) is not used at all: loopback mode is.
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import select
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NoReturn

from segue.host import syscalls
from segue.host.network.nft import find_nft, run_nft
from segue.model.errors import HostError, UsageError

_OPEN_FILES = 65_536  # loopback mode's proxy holds two sockets per connection
_ANSWER_BYTES = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Mode:
    """How this machine lets the cluster live, and in one line why."""

    kind: Literal["namespaces", "loopback"]
    because: str


class Doorman:
    """The cluster's way to the host's loopback; speaks with P0 over a socket pair, or binds by itself."""

    def __init__(self, door: socket.socket | None = None, *, holder_pid: int = 0, node_pid: int = 0) -> None:
        self._door = door
        self.holder_pid = holder_pid or os.getpid()  # P0, as the host sees it
        self.node_pid = node_pid or os.getpid()  # the outermost process in the namespaces, as the host sees it

    def listen(self, port: int, address: str = "127.0.0.1") -> socket.socket:
        """A listening socket on the host's loopback (port 0: any free one); HostError where it is taken."""
        if self._door is None:
            opened = _listening(address, port)
            if isinstance(opened, int):
                raise _taken(address, port, opened)
            return opened
        self._door.send(f"listen {address} {port}".encode())
        answer, fds = self._answer()
        if not fds:
            raise _taken(address, port, int(answer))
        return socket.socket(fileno=fds[0])

    def keep(self, fd: int) -> str:
        """Let P0 hold a copy of `fd` too; returns the path under which other processes of the host find it."""
        if self._door is None:
            return f"/proc/{self.holder_pid}/fd/{os.dup(fd)}"
        socket.send_fds(self._door, [b"keep"], [fd])
        answer, _ = self._answer()
        return f"/proc/{self.holder_pid}/fd/{answer}"

    def _answer(self) -> tuple[str, list[int]]:
        assert self._door is not None
        data, fds, _, _ = socket.recv_fds(self._door, _ANSWER_BYTES, 4)
        if not data:
            raise HostError("the cluster's doorman process is gone")
        return data.decode(), fds


_detected: Mode | None = None


def detect() -> Mode:
    """Try in a throwaway child what namespace mode needs; loopback mode, with the reason, where it does not work."""
    global _detected  # noqa: PLW0603 - the machine does not change while this process lives
    if _detected is None:
        _detected = _try_namespaces()
    return _detected


def choose(wanted: str) -> Mode:
    """The mode for `auto`, `namespaces` or `loopback`; HostError where namespaces are demanded and do not work."""
    match wanted:
        case "loopback":
            return Mode(kind="loopback", because="asked for")
        case "auto":
            return detect()
        case "namespaces":
            mode = detect()
            if mode.kind != "namespaces":
                raise HostError(f"no namespace mode on this machine: {mode.because}", remedy="use --mode loopback")
            return mode
        case _:
            raise UsageError(f"mode {wanted!r} does not exist", remedy="use auto, namespaces or loopback")


def launch(main: Callable[[Doorman, Mode], int], mode: Mode) -> int:
    """Run `main` in the mode's surroundings and be its doorman; returns its exit code when all of it has ended.

    Call it from a single-threaded process. SIGTERM and SIGINT to this process are passed on to main.
    """
    syscalls.prctl_child_subreaper()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    p0 = os.getpid()
    if mode.kind == "namespaces":
        first = _spawn_init(main, mode, ours, theirs)
    else:
        first = os.fork()
        if first == 0:
            ours.close()
            _or_die(lambda: _run_main(main, Doorman(theirs, holder_pid=p0), mode, ours_gone=p0))
        ours.send(b"go")
    theirs.close()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda got, _: _send(first, got))
    code = _serve(ours, first)
    _end_descendants()
    return code


def _spawn_init(main: Callable[[Doorman, Mode], int], mode: Mode, ours: socket.socket, theirs: socket.socket) -> int:
    """Fork the maker of namespaces, which forks init and ends; returns init's pid as the host sees it."""
    p0 = os.getpid()
    heard, told = os.pipe()
    maker = os.fork()
    if maker == 0:
        ours.close()
        os.close(heard)
        _or_die(lambda: _make_namespaces(main, mode, theirs, told, p0))
    os.close(told)
    said = b""
    while chunk := os.read(heard, 4096):
        said += chunk
    os.close(heard)
    os.waitpid(maker, 0)  # from here on init is our child: its PDEATHSIG will mean us
    word, _, rest = said.decode().partition(" ")
    if word != "init":
        raise HostError(f"the cluster's namespaces could not be made: {rest or 'the maker died'}")
    ours.send(f"go {rest}".encode())
    return int(rest)


def _make_namespaces(
    main: Callable[[Doorman, Mode], int], mode: Mode, theirs: socket.socket, told: int, p0: int
) -> int:
    try:
        enter_fresh_namespaces()
    except OSError as error:
        os.write(told, f"failed {error}".encode())
        return 1
    init = os.fork()
    if init == 0:
        os.close(told)
        _or_die(lambda: _be_init(main, mode, theirs, p0))
    os.write(told, f"init {init}".encode())
    return 0


def enter_fresh_namespaces() -> None:
    """Move this single-threaded process into fresh user (where not root), mount, net, ipc, uts and (children) pid."""
    flags = syscalls.CLONE_NEWNS | syscalls.CLONE_NEWNET | syscalls.CLONE_NEWPID
    flags |= syscalls.CLONE_NEWIPC | syscalls.CLONE_NEWUTS
    uid, gid = os.geteuid(), os.getegid()
    if uid != 0:
        syscalls.unshare(flags | syscalls.CLONE_NEWUSER)
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
        Path("/proc/self/gid_map").write_text(f"0 {gid} 1")
    else:
        syscalls.unshare(flags)
    syscalls.mount("none", "/", flags=syscalls.MS_REC | syscalls.MS_PRIVATE)


def mount_fresh_proc() -> None:
    """/proc of this pid namespace: PIDs and sysctls of ours."""
    syscalls.mount("proc", "/proc", "proc", syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC)


def _be_init(main: Callable[[Doorman, Mode], int], mode: Mode, theirs: socket.socket, p0: int) -> int:
    """PID 1: fork main, reap whoever is left to us, end with main's exit code."""
    word, _, node_pid = theirs.recv(_ANSWER_BYTES).decode().partition(" ")
    if word != "go":
        return 1
    syscalls.prctl_pdeathsig(signal.SIGKILL)
    if select.select([theirs], [], [], 0)[0]:  # nothing is sent unasked: readable means that P0 is gone
        return 1
    mount_fresh_proc()
    first = os.fork()
    if first == 0:
        _or_die(lambda: _run_main(main, Doorman(theirs, holder_pid=p0, node_pid=int(node_pid)), mode))
    theirs.close()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda got, _: _send(first, got))
    while True:
        pid, status = os.wait()
        if pid == first:
            return _code_of(status)


def _run_main(main: Callable[[Doorman, Mode], int], doorman: Doorman, mode: Mode, *, ours_gone: int = 0) -> int:
    if ours_gone:
        syscalls.prctl_pdeathsig(signal.SIGKILL)
        if os.getppid() != ours_gone:
            return 1
        doorman._answer()  # the "go" that init gets in namespace mode
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return main(doorman, mode)


def _or_die(work: Callable[[], int]) -> NoReturn:
    """Run in a forked child and leave by _exit: nothing of the parent's clean-up may run twice."""
    code = 1
    try:
        code = work()
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 1
    except BaseException:  # noqa: BLE001 - the last frame of a process: what is not shown here is lost
        import traceback  # noqa: PLC0415 - only needed by a process that dies

        traceback.print_exc()
    finally:
        os._exit(code & 0xFF)


def _serve(door: socket.socket, child: int) -> int:
    """Answer the doorman's requests until the child is gone; returns its exit code."""
    ended = os.pidfd_open(child)
    waiting = select.poll()
    waiting.register(ended, select.POLLIN)
    waiting.register(door, select.POLLIN)
    while True:
        for fd, _ in waiting.poll():
            if fd == ended:
                return _code_of(os.waitpid(child, 0)[1])
            request, fds, _, _ = socket.recv_fds(door, _ANSWER_BYTES, 4)
            if not request:
                waiting.unregister(door)  # its last holder closed it; the child's end follows
            else:
                _answer_request(door, request.decode().split(), fds)


def _answer_request(door: socket.socket, words: list[str], fds: list[int]) -> None:
    if words[0] == "keep":
        door.send(str(fds[0]).encode())
        return
    opened = _listening(words[1], int(words[2]))
    if isinstance(opened, int):
        door.send(str(opened).encode())
        return
    socket.send_fds(door, [b"0"], [opened.fileno()])
    opened.close()


def _listening(address: str, port: int) -> socket.socket | int:
    """A listening socket, or the errno."""
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((address, port))
        made.listen(4096)
    except OSError as error:
        made.close()
        return error.errno or errno.EIO
    return made


def _taken(address: str, port: int, number: int) -> HostError:
    if number == errno.EADDRINUSE:
        return HostError(f"port {port} of {address} is in use", remedy="choose another port, or 0 for any free one")
    return HostError(f"cannot listen on {address}:{port}: {os.strerror(number)}", remedy="choose another port")


def _send(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _code_of(status: int) -> int:
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _end_descendants() -> None:
    """Kill what was left to us as subreaper (loopback mode has no pid namespace that would do it)."""
    while True:
        try:
            if os.waitpid(-1, os.WNOHANG)[0]:
                continue
        except ChildProcessError:
            return
        for child in _children():
            _send(child, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(-1, 0)


def _children() -> list[int]:
    found: list[int] = []
    me = os.getpid()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                if int((entry / "stat").read_text().rpartition(")")[2].split()[1]) == me:
                    found.append(int(entry.name))
    return found


_TRIAL_RULES = """
table ip segue-trial {
  map m { type ipv4_addr . inet_proto . inet_service : verdict; }
  set a { type ipv4_addr; flags dynamic,timeout; timeout 60s; }
  chain e { update @a { ip saddr }; meta l4proto tcp dnat to 10.244.0.2:8080; }
  chain s { numgen random mod 1 vmap { 0 : goto e }; }
  chain n { type nat hook prerouting priority dstnat; ip daddr . meta l4proto . th dport vmap @m; }
  chain p { type nat hook postrouting priority srcnat; meta mark & 0x4000 != 0 masquerade; }
  chain f { type filter hook forward priority filter; ct state new reject; }
}
"""


def _try_namespaces() -> Mode:
    try:
        find_nft()
    except HostError as error:
        return Mode(kind="loopback", because=f"{error.message} ({error.remedy})")
    heard, told = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(heard)
        _or_die(lambda: _trial(told))
    os.close(told)
    said = b""
    while chunk := os.read(heard, 4096):
        said += chunk
    os.close(heard)
    os.waitpid(child, 0)
    lines = said.decode().splitlines()
    if lines and lines[-1] == "all":
        who = "root" if os.geteuid() == 0 else "an ordinary user, in a user namespace"
        return Mode(kind="namespaces", because=f"user, network and pid namespaces and nftables work here ({who})")
    return Mode(kind="loopback", because=lines[-1] if lines else "the trial of namespaces was killed")


def _trial(told: int) -> int:
    """Do each thing namespace mode needs, saying beforehand what would be the reason for its failing."""

    def say(line: str) -> None:
        os.write(told, (line + "\n").encode())

    step = "user, network or pid namespaces"
    try:
        enter_fresh_namespaces()
        step = "a process in a fresh pid namespace"
        init = os.fork()
        if init:
            return _code_of(os.waitpid(init, 0)[1])
        step = "a fresh /proc"
        mount_fresh_proc()
        step = "network sysctls"
        Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
        step = "a veth pair into a namespace of its own"
        _try_veth()
        step = "nftables with NAT"
        run_nft(_TRIAL_RULES)
        say("all")
    except (OSError, HostError) as error:
        say(f"this machine refuses {step}: {error}")
        return 1
    return 0


def _try_veth() -> None:
    from segue.host.network import routes  # noqa: PLC0415 - only the throwaway child needs them
    from segue.host.network.netlink import NETLINK_ROUTE, NetlinkSocket  # noqa: PLC0415

    node = os.open("/proc/self/ns/net", os.O_RDONLY)
    before = NetlinkSocket(NETLINK_ROUTE)
    syscalls.unshare(syscalls.CLONE_NEWNET)
    inner = os.open("/proc/self/ns/net", os.O_RDONLY)
    syscalls.setns(node, syscalls.CLONE_NEWNET)
    before.request([routes.veth("trial0", 100, peer="eth0", peer_index=2, netns_fd=inner)])
