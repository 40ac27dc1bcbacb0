"""What the agent costs in a pod: memory, and its share of a core, with no connections and with 9,900 of them.

It runs in a network namespace of its own, which needs no privilege: `unshare` makes one.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from bench.figures import Figure

RUNS = 2
FOR_S = 30.0
MANY = 9_900  # both ends are descriptors of one process each, of which a user has 10,000 and some
AGENT = Path(__file__).resolve().parents[1] / "src" / "segue" / "app" / "agent.py"
SERVER, CLIENT = "10.9.9.9", "10.9.9.8"
PORT, AGENT_PORT = 8080, 9741


def figures() -> Iterator[Figure]:
    """Resident memory in MB and CPU in % of a core."""
    if shutil.which("unshare") is None or shutil.which("ip") is None:
        return
    for count, cpu_goal in ((0, 0.2), (MANY, 1.0)):
        found = [_measured(count) for _ in range(RUNS)]
        name = "agent_idle" if not count else f"agent_at_{count}_connections"
        yield Figure(name=f"{name}_cpu", values=[one["cpu"] for one in found], unit="%core", goal=cpu_goal)
        yield Figure(name=f"{name}_memory", values=[one["memory"] for one in found], unit="MB", goal=30)


def _measured(count: int) -> dict[str, float]:
    argv = ["unshare", "--user", "--map-root-user", "--net", sys.executable, "-m", "bench.agent", str(count)]
    told = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
    found: dict[str, float] = json.loads(told.splitlines()[-1])
    return found


def _inside(count: int) -> None:
    """In a namespace of our own: a server with so many connections that have carried a little, and the agent."""
    for argv in (("link", "set", "lo", "up"), *(("addr", "add", f"{ip}/32", "dev", "lo") for ip in (SERVER, CLIENT))):
        subprocess.run(["ip", *argv], check=True)
    Path("/proc/sys/net/ipv4/ip_local_port_range").write_text("1024 65000")
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    with socket.socket() as listener:
        listener.bind((SERVER, PORT))
        listener.listen(4096)
        client = os.fork()
        if not client:
            _connect(count)
        held = [listener.accept()[0] for _ in range(count)]
        for one in held:
            one.send(one.recv(100))
        env = {"POD_IP": SERVER, "SEGUE_PROBES": "10,10"}
        agent = subprocess.Popen([sys.executable, "-I", "-S", AGENT], env=env, stdout=subprocess.DEVNULL)
        threading.Event().wait(4.0)
        before_s, began_s = _cpu_s(agent.pid), time.monotonic()
        threading.Event().wait(FOR_S)
        cpu = 100 * (_cpu_s(agent.pid) - before_s) / (time.monotonic() - began_s)
        with urllib.request.urlopen(f"http://{SERVER}:{AGENT_PORT}/state") as answer:
            assert json.load(answer)["open"] == count
        status = Path(f"/proc/{agent.pid}/status").read_text()
        memory = int(status.partition("VmHWM:")[2].split()[0]) / 1000
        agent.kill()
        agent.wait()
        os.kill(client, 9)
        os.waitpid(client, 0)
    print(json.dumps({"cpu": cpu, "memory": memory}))


def _connect(count: int) -> None:
    held = []
    for _ in range(count):
        one = socket.create_connection((SERVER, PORT), source_address=(CLIENT, 0))
        one.send(b"x" * 50)
        held.append(one)
    threading.Event().wait()


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    _inside(int(sys.argv[1]))
