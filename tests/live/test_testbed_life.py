"""A bed's life: up, used, down; and down after a crash. Runs only where a bed may be started (make test-real).

It has a state folder of its own, so a bed that somebody else uses is left alone. Built programs come from the cache.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from segue.host.starting import start_time
from segue.model.errors import UsageError
from segue.model.objects import Obj
from testbed import cgroups
from testbed.layout import bed
from tests.waiting import wait_until

pytestmark = [
    pytest.mark.live,
    pytest.mark.full,
    pytest.mark.real,
    pytest.mark.timeout(2400),  # the first time, everything is built
]
ROOT = Path(__file__).resolve().parents[2]
KUBECTL = str(Path(sys.executable).parent / "kubectl")


class Bed:
    """The commands, against a state folder of the test's own."""

    def __init__(self, state: Path) -> None:
        self.here = bed(state)
        self.env = {**os.environ, "SEGUE_TESTBED_STATE": str(state), "KUBECONFIG": str(self.here.kubeconfig)}

    def run(self, *argv: str, stdin: str = "", program: str = "") -> subprocess.CompletedProcess[str]:
        command = [program] if program else [sys.executable, "-m", "testbed"]
        return subprocess.run(
            [*command, *argv], cwd=ROOT, env=self.env, input=stdin, text=True, capture_output=True, check=False
        )

    def must(self, *argv: str, stdin: str = "", program: str = "") -> str:
        done = self.run(*argv, stdin=stdin, program=program)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def kubectl(self, *argv: str, stdin: str = "") -> str:
        return self.must(*argv, stdin=stdin, program=KUBECTL)

    def status(self) -> Obj:
        told: Obj = json.loads(self.must("status", "--json"))
        return told

    def assert_nothing_is_left(self, node_pid: int) -> None:
        assert start_time(node_pid) == ""
        assert cgroups.left_over(self.here.cgroup) == []
        assert str(self.here.state) not in Path("/proc/self/mounts").read_text()
        assert [path.name for path in self.here.state.iterdir()] == ["logs"]


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    here = Bed(tmp_path_factory.mktemp("real"))
    here.must("up")
    yield here
    here.must("down")


def seed(image: str = "grace:v0.1", replicas: int = 3) -> str:
    text = (ROOT / "examples" / "seed" / "second-option.yaml").read_text()
    return text.replace("replicas: 10", f"replicas: {replicas}").replace("grace:v0.1", image)


def pods(life: Bed) -> list[str]:
    return life.kubectl("get", "pods", "-l", "app/name=test", "-o", "name").split()


def node_port(life: Bed) -> str:
    return life.kubectl("get", "service", "test", "-o", "jsonpath={.spec.ports[0].nodePort}")


def test_a_second_up_leaves_the_bed_as_it_is(life: Bed) -> None:
    before = life.status()["node_pid"]
    life.must("up")

    assert life.status()["node_pid"] == before


def test_the_seed_gets_ready_answers_logs_and_executes(life: Bed) -> None:
    life.kubectl("apply", "-f", "-", stdin=seed())
    life.kubectl("rollout", "status", "deployment/test", "--timeout=60s")
    pod = pods(life)[0]

    assert "listens on" in life.kubectl("logs", pod)
    assert "PassiveOpens" in life.kubectl("exec", pod, "--", "sh", "-c", "cat /proc/net/snmp")
    url = f"http://10.10.0.1:{node_port(life)}/version"
    # Ready is not reachable yet: the data plane may follow a second later (K3)
    curl = ("enter", "client", "--", "curl", "-s", "-m", "5", url)
    wait_until(lambda: "v0.1" in life.run(*curl).stdout, limit_s=10, every_s=0.2, what="an answer on the NodePort")


def test_a_pod_finds_services_by_name(life: Bed) -> None:
    life.kubectl("apply", "-f", "-", stdin=seed())
    life.kubectl("rollout", "status", "deployment/test", "--timeout=60s")
    asks = "import socket; print(socket.create_connection(('test', 10002), 5).getpeername()[1])"

    said = life.kubectl("exec", pods(life)[0], "--", "/usr/bin/python3", "-I", "-S", "-c", asks)

    assert said == "10002\n"


def test_an_image_without_a_shell_runs_and_cannot_execute(life: Bed) -> None:
    life.kubectl("run", "bare", "--image=host.org/images/grace-static:v0.1")
    life.kubectl("wait", "--for=condition=Ready", "pod/bare", "--timeout=30s")

    done = life.run("exec", "bare", "--", "sh", "-c", "true", program=KUBECTL)

    assert done.returncode != 0
    assert "executable file not found" in done.stderr


def test_the_viewer_may_look_and_not_touch(life: Bed) -> None:
    config = ["--kubeconfig", str(life.here.viewer_kubeconfig)]
    life.kubectl(*config, "get", "pods")

    done = life.run(*config, "create", "namespace", "forbidden", program=KUBECTL)

    assert done.returncode != 0
    assert "Forbidden" in done.stderr


def test_a_part_that_dies_is_started_again(life: Bed) -> None:
    def pid_of(name: str) -> int:
        return next((int(part["pid"]) for part in life.status()["parts"] if part["name"] == name), 0)

    before = pid_of("kube-scheduler")
    os.kill(before, signal.SIGKILL)

    wait_until(lambda: pid_of("kube-scheduler") not in {0, before}, limit_s=20, every_s=0.2, what="another scheduler")


def test_an_image_of_ones_own_runs(life: Bed, tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("import sys\nprint('hello from ' + sys.version.split()[0], flush=True)\n")
    life.must("image", "host.org/images/hello:v1", "--python", str(tmp_path))
    life.kubectl("run", "hello", "--image=host.org/images/hello:v1", "--restart=Never")
    life.kubectl("wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/hello", "--timeout=30s")

    assert life.kubectl("logs", "hello").startswith("hello from 3.")


def test_an_image_that_is_no_program_is_refused(life: Bed, tmp_path: Path) -> None:
    done = life.run("image", "host.org/images/none:v1", "--program", str(tmp_path / "none"))

    assert done.returncode == UsageError.exit_code
    assert "no program" in done.stderr


def test_down_leaves_nothing_after_a_crash_and_twice_is_once(life: Bed) -> None:
    """Last in this file: the bed is gone afterwards, and comes up again."""
    node_pid = int(life.status()["node_pid"])
    os.kill(node_pid, signal.SIGKILL)
    life.must("down")
    life.must("down")

    life.assert_nothing_is_left(node_pid)


def test_up_after_a_crash_cleans_first(life: Bed) -> None:
    life.must("up")
    os.kill(int(life.status()["node_pid"]), signal.SIGKILL)

    life.must("up")

    assert life.kubectl("get", "nodes", "-o", "name") == "node/real-node\n"
    assert pods(life) == []
    assert "test" not in life.kubectl("get", "deployments", "-o", "name")


def test_ended_in_mid_start_up_leaves_nothing(tmp_path: Path) -> None:
    half = Bed(tmp_path / "half")
    with subprocess.Popen(
        [sys.executable, "-m", "testbed", "up"], cwd=ROOT, env=half.env, stderr=subprocess.PIPE, text=True
    ) as starting:
        record = half.here.state / "cluster.json"
        wait_until(record.exists, limit_s=60, what="a PID 1")
        node_pid = int(json.loads(record.read_text())["pid"])
        starting.kill()
    half.must("down")

    half.assert_nothing_is_left(node_pid)
