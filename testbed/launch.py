"""Makes a bed's namespaces and control group, starts its PID 1 inside, tells who it is, and ends.

    python -m testbed.launch STATE

Rule: it runs alone and single-threaded, because a process with threads cannot change its namespaces for all of them.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from pathlib import Path

from segue.host import syscalls
from segue.host.starting import start_time
from segue.host.state import Running, write_running
from testbed import cgroups
from testbed.layout import CLIENT_NETNS, NODE_IP, NODE_NAME, bed

_MS_SHARED = 1 << 20
# kubelet insists on these; the host's own values stay as they are, the node sees files of its own in their place
_KERNEL_SETTINGS = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}


def main(argv: list[str]) -> int:
    """Fork PID 1 and publish it."""
    state = Path(argv[0])
    listener = socket.fromfd(int(argv[1]), socket.AF_INET, socket.SOCK_STREAM)
    os.set_inheritable(listener.fileno(), True)  # the host's loopback goes with it into the other namespace
    cgroups.enter(bed(state).cgroup)
    flags = syscalls.CLONE_NEWNS | syscalls.CLONE_NEWNET | syscalls.CLONE_NEWPID
    syscalls.unshare(flags | syscalls.CLONE_NEWIPC | syscalls.CLONE_NEWUTS)
    syscalls.mount("none", "/", flags=syscalls.MS_REC | syscalls.MS_PRIVATE)
    wait_fd, go_fd = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(go_fd)
        os.read(wait_fd, 1)  # first the host must know whom to end
        _become_node(state, listener.fileno())
    running = Running(
        pid=pid,
        started=start_time(pid),
        node_pid=pid,
        mode="namespaces",
        reason="a real Kubernetes",
        api=f"https://127.0.0.1:{listener.getsockname()[1]}",
        node_ip=NODE_IP,
        client_netns=f"/proc/{pid}/root{CLIENT_NETNS}",
    )
    write_running(state, running)
    os.write(go_fd, b"g")
    return 0


def _become_node(state: Path, listener_fd: int) -> None:
    try:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        syscalls.sethostname(NODE_NAME)
        _mount_all(state)
        os.execv(sys.executable, [sys.executable, "-m", "testbed.node", str(state), str(listener_fd)])  # noqa: S606 - no shell is wanted
    except BaseException:  # noqa: BLE001 - the last frame of a process: what is not shown here is lost
        import traceback  # noqa: PLC0415 - only needed by a process that dies

        traceback.print_exc()
    finally:
        os._exit(1)


def _mount_all(state: Path) -> None:
    """/proc of the new pid namespace, control groups, and a /run and a /var that are the node's own."""
    syscalls.mount("proc", "/proc", "proc", syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC)
    for name, value in _KERNEL_SETTINGS.items():
        target = Path("/proc/sys") / name
        if target.exists():
            stand_in = state / "data" / "sysctl" / name.replace("/", ".")
            stand_in.parent.mkdir(exist_ok=True)
            stand_in.write_text(value + "\n")
            syscalls.mount(str(stand_in), str(target), flags=syscalls.MS_BIND)
    # the machine's resolver is none of the node's business: nothing outside can be reached, nor should it be asked
    syscalls.mount(str(bed(state).configs / "resolv.conf"), "/etc/resolv.conf", flags=syscalls.MS_BIND)
    cgroups.show_as_root()
    syscalls.mount("tmpfs", "/run", "tmpfs", syscalls.MS_NOSUID | syscalls.MS_NODEV, "mode=755")
    var = state / "data" / "var"
    for folder in ("lib/kubelet", "lib/cni", "lib/containerd", "log/pods", "log/containers", "tmp", "cache"):
        (var / folder).mkdir(parents=True, exist_ok=True)
    (var / "run").symlink_to("/run")
    (var / "tmp").chmod(0o1777)
    Path("/run/netns").mkdir()
    Path("/run/lock").mkdir()
    syscalls.mount(str(var), "/var", flags=syscalls.MS_BIND | syscalls.MS_REC)
    syscalls.mount("none", "/", flags=syscalls.MS_REC | _MS_SHARED)  # what kubelet mounts must reach its containers


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
