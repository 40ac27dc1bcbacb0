"""The small process that starts containers, so that starting one costs milliseconds and never forks the big process.

    python -I -S -c '... forkserver.main(FD)'        FD: one end of a SOCK_SEQPACKET pair, JSON with descriptors

It is told    {"do": "start", "id", "argv", "env", "cwd", "hostname", "binds": [[from, to], ...], "staging", "isolated"}
                  with [stdin, stdout, stderr] and, isolated, the network namespace
              {"do": "exec", "id", "argv", "env", "cwd", "target": pid, "isolated", "tty"}  with [stdin, stdout, stderr]
              {"do": "kill", "id", "pid", "signal", "group"}
and tells     {"id", "pid", "at"}    the program runs (its exec has succeeded)
              {"id", "error", "at"}  it does not
              {"id", "sent", "at"}   the signal went out, or there was nobody
              {"exit": pid, "code", "signal", "at"}
`at` is CLOCK_MONOTONIC, which all processes of a machine share.

Rule 1: a container is PID 1 of a pid namespace of its own: signals without a handler do not reach it (X6), and nothing
        it started outlives it.
Rule 2: it is the parent of all containers and they die with it; it dies with its parent.
Rule 3: single-threaded, standard library, nothing of segue but the system calls: a fork must be cheap and safe.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import signal
import socket
import sys
import termios
import time
from typing import TypedDict

from segue.host import syscalls
from segue.host.node import mounts

MESSAGE_BYTES = 192 * 1024  # a SEQPACKET message must fit the socket's buffer
_DESCRIPTORS = 4


class Order(TypedDict, total=False):
    """A message to it, as above."""

    do: str
    id: int
    argv: list[str]
    env: dict[str, str]
    cwd: str
    hostname: str
    binds: list[tuple[str, str]]
    staging: str
    isolated: bool
    tty: bool
    target: int
    pid: int
    signal: int
    group: bool


class Tidings(TypedDict, total=False):
    """A message from it, as above."""

    id: int
    pid: int
    error: str
    sent: bool
    exit: int
    code: int
    signal: int
    at: float


class ForkServer:
    """The loop: messages in, forks, exits out."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._own_pid_namespace = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
        self._starting: dict[int, tuple[int, int]] = {}  # error pipe -> (message id, pid)
        self._children: dict[int, bool] = {}  # pid -> whether it leads a process group of a container
        self._poll = select.poll()
        self._wake, wake_write = os.pipe()
        for fd in (self._wake, wake_write):
            os.set_blocking(fd, False)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)  # it ends when its parent's end of the socket does

    def run(self) -> None:
        """Serve until the other end is gone."""
        self._poll.register(self._control, select.POLLIN)
        self._poll.register(self._wake, select.POLLIN)
        while True:
            for fd, _events in self._poll.poll():
                if fd == self._control.fileno():
                    if not self._receive():
                        self._kill_all()
                        return
                elif fd == self._wake:
                    os.read(self._wake, 4096)
                    self._reap()
                elif fd in self._starting:
                    self._started(fd)

    def _receive(self) -> bool:
        flags = socket.MSG_CMSG_CLOEXEC
        room = socket.CMSG_SPACE(_DESCRIPTORS * 4)
        data, ancillary, _flags, _address = self._control.recvmsg(MESSAGE_BYTES, room, flags)
        fds: list[int] = []
        for _level, kind, payload in ancillary:
            if kind == socket.SCM_RIGHTS:
                fds.extend(int.from_bytes(payload[at : at + 4], sys.byteorder) for at in range(0, len(payload), 4))
        if not data:
            return False
        order: Order = json.loads(data)
        try:
            if order["do"] == "kill":
                self._kill(order)
            else:
                self._fork(order, fds)
        except OSError as error:
            self._tell({"id": order["id"], "error": str(error)})
        finally:
            for fd in fds:
                os.close(fd)
        return True

    def _tell(self, message: Tidings) -> None:
        message["at"] = time.monotonic()
        with contextlib.suppress(OSError):  # nobody listens any more: the next receive ends the loop
            self._control.send(json.dumps(message).encode())

    # --- starting ---------------------------------------------------------------------------------------------------

    def _fork(self, order: Order, fds: list[int]) -> None:
        isolated = order["isolated"]
        error_read, error_write = os.pipe()
        target_fds: list[tuple[int, int]] = []
        try:
            if isolated and order["do"] == "start":
                syscalls.unshare(syscalls.CLONE_NEWPID)
            elif isolated:
                target_fds = _open_namespaces(order["target"])
            pid = os.fork()
            if pid == 0:
                _become(order, fds, target_fds, error_write)
        except OSError:
            os.close(error_read)
            raise
        finally:
            if isolated:  # later children are to be outside again
                syscalls.setns(self._own_pid_namespace, syscalls.CLONE_NEWPID)
            os.close(error_write)
            for fd, _kind in target_fds:
                os.close(fd)
        self._children[pid] = not isolated
        self._starting[error_read] = (order["id"], pid)
        self._poll.register(error_read, select.POLLIN)

    def _started(self, error_read: int) -> None:
        message_id, pid = self._starting.pop(error_read)
        self._poll.unregister(error_read)
        complaint = os.read(error_read, 4096).decode(errors="replace")  # empty: closed by a successful exec
        os.close(error_read)
        if complaint:
            self._children.pop(pid, None)  # its exit is no news
            self._tell({"id": message_id, "error": complaint})
        else:
            self._tell({"id": message_id, "pid": pid})

    # --- ending -----------------------------------------------------------------------------------------------------

    def _kill(self, order: Order) -> None:
        pid, number = order["pid"], order["signal"]
        sent = pid in self._children  # not reaped yet, so the number is still its own
        if sent:
            (os.killpg if order["group"] and self._children[pid] else os.kill)(pid, number)
        self._tell({"id": order["id"], "sent": sent})

    def _kill_all(self) -> None:
        """Without namespaces a container's own children would outlive it."""
        for pid, leads_group in self._children.items():
            with contextlib.suppress(OSError):
                (os.killpg if leads_group else os.kill)(pid, signal.SIGKILL)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            for error_read in [fd for fd, (_id, starting) in self._starting.items() if starting == pid]:
                self._started(error_read)
            if pid in self._children:
                if self._children.pop(pid):
                    with contextlib.suppress(OSError):  # what it left behind in its process group
                        os.killpg(pid, signal.SIGKILL)
                number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
                code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else 0
                self._tell({"exit": pid, "code": code, "signal": number})


def _open_namespaces(pid: int) -> list[tuple[int, int]]:
    kinds = (
        ("pid", syscalls.CLONE_NEWPID),
        ("uts", syscalls.CLONE_NEWUTS),
        ("ipc", syscalls.CLONE_NEWIPC),
        ("net", syscalls.CLONE_NEWNET),
        ("mnt", syscalls.CLONE_NEWNS),
    )
    fds = [(os.open(f"/proc/{pid}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC), kind) for name, kind in kinds]
    syscalls.setns(fds[0][0], syscalls.CLONE_NEWPID)
    return fds


def _become(order: Order, fds: list[int], target_fds: list[tuple[int, int]], error_fd: int) -> None:
    """Turn this fresh child into the wanted program; never returns."""
    try:
        syscalls.prctl_pdeathsig(signal.SIGKILL)
        os.setsid()
        signal.set_wakeup_fd(-1)
        for default in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD, signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(default, signal.SIG_DFL)
        for fd, kind in target_fds[1:]:
            syscalls.setns(fd, kind)
        if order["do"] == "start" and order["isolated"]:
            _isolate(order, fds[3])
        for number in range(3):
            os.dup2(fds[number], number)
        if order.get("tty"):
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        os.chdir(order["cwd"] or "/")
        os.execvpe(order["argv"][0], order["argv"], order["env"])  # noqa: S606 - starting programs is its purpose
    except BaseException as error:  # noqa: BLE001 - whatever it is, the parent has to hear of it
        text = f"{error.strerror}: {error.filename}" if isinstance(error, OSError) and error.filename else str(error)
        os.write(error_fd, f"{' '.join(order['argv'][:1])}: {text}".encode())
    finally:
        os._exit(127)


def _isolate(order: Order, network_fd: int) -> None:
    syscalls.setns(network_fd, syscalls.CLONE_NEWNET)
    syscalls.unshare(syscalls.CLONE_NEWNS | syscalls.CLONE_NEWUTS | syscalls.CLONE_NEWIPC)
    syscalls.mount("none", "/", "", syscalls.MS_REC | syscalls.MS_PRIVATE)
    syscalls.sethostname(order["hostname"])
    mounts.bind_all(order["binds"], order["staging"])
    with contextlib.suppress(PermissionError):  # a container runtime that masks /proc refuses; then it shows too much
        syscalls.mount("proc", "/proc", "proc", syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC)


def main(control_fd: int) -> None:
    """Serve on the inherited descriptor until its other end is gone, which is how the end of the parent is heard.

    A PDEATHSIG would come first now and then, and nobody would end what containers without namespaces leave behind.
    """
    control = socket.socket(fileno=control_fd)
    control.set_inheritable(False)  # no container may hold it
    ForkServer(control).run()
