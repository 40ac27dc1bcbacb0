"""SIGKILL of any process of a cluster loses nothing that was acknowledged, and leaves nothing behind."""

from __future__ import annotations

import base64
import http.client
import json
import os
import signal
import ssl
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from segue.host import embedded
from segue.host.isolation import detect
from segue.host.settings import ClusterSettings
from segue.host.starting import start_time
from segue.host.state import Running, must_run
from segue.model.objects import Obj
from tests.live.conftest import Cluster, seed, start_cluster
from tests.live.console import BIN
from tests.waiting import wait_until

pytestmark = pytest.mark.live

PATH = "/api/v1/namespaces/default/configmaps"
ACKNOWLEDGED_MIN = 300

# A server with a child of its own: what a container leaves behind must end with it, with or without a pid namespace.
IMAGES = """
images:
  - image: host.org/images/grace:*
    command: ["sh", "-c", "sleep 3600 & exec {python} -I -S {app}/grace.py"]
    env: {VERSION: "{tag}"}
"""

State = tuple[int, str]  # resourceVersion and content of an object


@dataclass
class Writer:
    """Creates, changes and deletes ConfigMaps in a tight loop and keeps what was acknowledged."""

    kubeconfig: Path
    acknowledged: dict[str, State | None] = field(default_factory=dict)  # None: its deletion was
    pending: str = ""  # the object whose last write nobody answered
    count: int = 0
    stop: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        config = yaml.safe_load(self.kubeconfig.read_text())
        cluster = config["clusters"][0]["cluster"]
        self._token = config["users"][0]["user"]["token"]
        self._address = cluster["server"].removeprefix("https://")
        self._tls = ssl.create_default_context(cadata=_certificate(cluster, self.kubeconfig))

    def run(self) -> None:
        """Until it is told to stop or nobody answers."""
        connection = http.client.HTTPSConnection(self._address, context=self._tls, timeout=5)
        try:
            number = 0
            while not self.stop.is_set():
                number += 1
                self._write(connection, "POST", f"c-{number}", "first")
                if number % 2 == 0:
                    self._write(connection, "PATCH", f"c-{number - 1}", f"changed-{number}")
                if number % 5 == 0:
                    self._write(connection, "DELETE", f"c-{number - 3}", "")
        except (OSError, http.client.HTTPException):
            return
        finally:
            connection.close()

    def _write(self, connection: http.client.HTTPSConnection, method: str, name: str, text: str) -> None:
        self.pending = name
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"text": text}}
        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": kind}
        connection.request(
            method,
            PATH if method == "POST" else f"{PATH}/{name}",
            body=None if method == "DELETE" else json.dumps(body),
            headers=headers,
        )
        answer = connection.getresponse()
        told = json.loads(answer.read())
        assert answer.status in {200, 201}, told
        self.acknowledged[name] = None if method == "DELETE" else _state_of(told)
        self.count += 1
        self.pending = ""


def _certificate(cluster: Obj, kubeconfig: Path) -> str:
    if "certificate-authority" in cluster:
        return (kubeconfig.parent / str(cluster["certificate-authority"])).read_text()
    return base64.b64decode(str(cluster["certificate-authority-data"])).decode()


def _state_of(obj: Obj) -> State:
    return int(obj["metadata"]["resourceVersion"]), str(obj["data"]["text"])


# -- who is who ------------------------------------------------------------------------------------------------------


def parent_of(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def argv_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def family_of(running: Running) -> dict[int, str]:
    """The cluster's processes with their start times, the doorman first."""
    found = {running.pid: start_time(running.pid)}
    while True:
        pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
        fresh = [pid for pid in pids if pid not in found and parent_of(pid) in found]
        if not fresh:
            return found
        found |= {pid: start_time(pid) for pid in fresh}


def pid_of(kind: str, running: Running) -> int:
    """The process of that kind."""
    family = list(family_of(running))
    server = next(pid for pid in family if "forkserver" in argv_of(pid))
    match kind:
        case "doorman":
            return running.pid
        case "init":
            return running.node_pid
        case "main":
            return parent_of(server)
        case "fork-server":
            return server
        case "splicer":
            return next(pid for pid in family if "splicer" in argv_of(pid))
        case _:
            return next(pid for pid in family if parent_of(pid) == server)


def line_of(pid: int) -> list[int]:
    """A process and those above it."""
    line = [pid]
    while line[-1] > 1:
        line.append(parent_of(line[-1]))
    return line


def living(family: dict[int, str]) -> list[str]:
    return [f"{pid} {argv_of(pid)}" for pid, started in family.items() if started and start_time(pid) == started]


CASES = [
    *[("namespaces", kind) for kind in ("doorman", "init", "main", "fork-server", "container")],
    *[("loopback", kind) for kind in ("doorman", "main", "fork-server", "container", "splicer")],
]


@pytest.fixture
def victim(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Cluster, ClusterSettings]]:
    """A cluster of the asked mode with two pods that serve."""
    mode = str(request.param)
    if mode == "namespaces" and detect().kind != mode:
        pytest.skip(detect().because)
    (tmp_path / "images.yaml").write_text(IMAGES)
    settings = ClusterSettings(mode=mode, image_maps=(str(tmp_path / "images.yaml"),))
    cluster = start_cluster(tmp_path / "default", settings)
    cluster.kubectl("apply", "-f", "-", stdin=seed(2))
    cluster.wait_ready(2)
    yield cluster, settings
    embedded.stop(cluster.state)


@pytest.mark.parametrize(("victim", "kind"), CASES, indirect=["victim"], ids=["-".join(case) for case in CASES])
def test_whoever_is_killed_nothing_acknowledged_is_lost(victim: tuple[Cluster, ClusterSettings], kind: str) -> None:
    cluster, settings = victim
    mounts = mounts_of(cluster.state)
    writer = Writer(cluster.state / "kubeconfig")
    thread = threading.Thread(target=writer.run)
    thread.start()
    wait_until(lambda: writer.count > ACKNOWLEDGED_MIN, limit_s=30, what="acknowledged writes")
    before = family_of(cluster.running)
    killed = pid_of(kind, cluster.running)
    orphans = {pid: started for pid, started in before.items() if killed in line_of(pid)}
    whole = kind in {"doorman", "init", "main"}

    os.kill(killed, signal.SIGKILL)

    wait_until(lambda: start_time(killed) != before[killed], what="the end of the killed process")
    if whole:
        wait_until(lambda: not living(before), limit_s=10, what=f"the end of the rest: {living(before)}")
    else:
        at = writer.count
        wait_until(lambda: writer.count > at + 50, limit_s=20, what="writes after the kill")
        wait_until(lambda: not living(orphans), limit_s=10, what="the end of what the killed one had started")
    writer.stop.set()
    thread.join(timeout=20)
    running = embedded.start(cluster.state, settings) if whole else must_run(cluster.state)
    assert running.mode == settings.mode
    held_to_its_word(cluster, writer)
    cluster.wait_ready(2)
    assert serves(cluster, running)
    after = {**before, **family_of(running)}
    embedded.stop(cluster.state)

    assert thread.is_alive() is False
    wait_until(lambda: not living(after), limit_s=5, what=f"the end of everything: {living(after)}")
    assert mounts_of(cluster.state) == mounts


@pytest.mark.parametrize("victim", ["namespaces"], indirect=True)
def test_a_release_outlives_the_crash_of_its_cluster(victim: tuple[Cluster, ClusterSettings], tmp_path: Path) -> None:
    cluster, settings = victim
    (tmp_path / "v2.yaml").write_text(seed(2, version="v0.2"))
    argv = [str(BIN / "segue"), "release", "-f", str(tmp_path / "v2.yaml")]
    release = subprocess.Popen(argv, env=cluster.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    memory = "-o=jsonpath={.metadata.annotations.segue\\.dev/release}"
    wait_until(lambda: cluster.kubectl("get", "deployment", "test", memory), limit_s=20, what="the release")
    os.kill(pid_of("main", cluster.running), signal.SIGKILL)
    wait_until(lambda: start_time(cluster.running.pid) != cluster.running.started, what="the cluster's end")
    embedded.start(cluster.state, settings)
    said, complaints = release.communicate(timeout=90)

    assert release.returncode == 0, complaints
    assert said.startswith("Deployment test is at version ")
    cluster.wait_ready(2)
    images = {pod["spec"]["containers"][0]["image"] for pod in cluster.ready_pods()}
    assert images == {"host.org/images/grace:v0.2"}


def held_to_its_word(cluster: Cluster, writer: Writer) -> None:
    """Every object as it was last acknowledged; the one write that nobody answered may have happened or not."""
    listed = cluster.get("configmaps")
    found = {obj["metadata"]["name"]: _state_of(obj) for obj in listed["items"] if obj["metadata"]["name"] != ROOT_CA}
    for name, state in writer.acknowledged.items():
        if name != writer.pending:
            assert found.get(name) == state, name
    known = {name for name, state in writer.acknowledged.items() if state is not None}
    assert set(found) - known <= {writer.pending}
    newest = max(state[0] for state in writer.acknowledged.values() if state is not None)
    assert int(cluster.kubectl("get", "--raw", PATH).partition('"resourceVersion":"')[2].partition('"')[0]) >= newest
    cluster.kubectl("create", "configmap", "afterwards", "--from-literal=text=x")
    assert int(cluster.get("configmap", "afterwards")["metadata"]["resourceVersion"]) > newest


ROOT_CA = "kube-root-ca.crt"


def serves(cluster: Cluster, running: Running) -> bool:
    port = cluster.get("service", "test")["spec"]["ports"][0]["nodePort"]
    url = f"http://{running.node_ip}:{port}/fast"

    def asked() -> bool:
        done = cluster.run("segue", "load", url, "--rate", "20", "--for", "1s", "-o", "json")
        return bool(json.loads(done.stdout)["lost"] == 0)

    return wait_until(asked, limit_s=20, what="a Service that answers")


def mounts_of(state: Path) -> list[str]:
    """Mounts of this machine that have to do with the cluster."""
    return [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(state) in line]
