"""Pods as real processes: what a container sees, how it is probed, ended and restarted."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from segue.cluster.node.settings import NodeSettings
from segue.lifecycle.backoff import BackoffRules
from segue.model.errors import StatusError
from segue.model.objects import Obj
from segue.model.timeline import What
from tests.live.node_world import NodeWorld, grace, health, run_on_node, shell
from tests.waiting import wait_until

pytestmark = pytest.mark.live
MODES = ("namespaces", "loopback")


async def fetch(ip: str, path: str = "/fast") -> str:
    reader, writer = await asyncio.open_connection(ip, 10002)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    answer = (await reader.read()).decode()
    writer.close()
    return answer


@pytest.mark.parametrize("mode", MODES)
def test_a_seed_pod_becomes_ready_serves_and_goes(mode: str) -> None:
    async def body(world: NodeWorld) -> None:
        probe = health(initialDelaySeconds=1, failureThreshold=1)
        world.create("web", grace(livenessProbe=probe, readinessProbe=probe))
        await world.until(lambda: world.ready("web"))
        answer = await fetch(world.pod("web")["status"]["podIP"])
        assert "X-Version: v0.1" in answer
        world.delete("web")
        await world.until(lambda: world.find("web") is None)

        opened, closed = world.recording.of(What.LISTENER_OPENED), world.recording.of(What.LISTENER_CLOSED)
        assert [one.data["port"] for one in opened] == [10002]
        assert [one.data["port"] for one in closed] == [10002]
        assert closed[0].data["not_before_s"] - 0.001 <= world.at_s(What.SIGTERM_SENT) + 0.05
        assert world.at_s(What.SIGTERM_SENT) < world.at_s(What.CONTAINER_EXITED) < world.at_s(What.SANDBOX_REMOVED)
        assert world.recording.of(What.CONTAINER_EXITED)[0].data["exit_code"] == 0

    run_on_node(body, mode=mode)


@pytest.mark.alone
@pytest.mark.parametrize("mode", MODES)
def test_ten_seed_pods_are_ready_soon_after_their_first_possible_probe(mode: str) -> None:
    """Period 1, delay 1: P2 and P6 give two seconds after admission."""

    async def body(world: NodeWorld) -> None:
        probe = health(initialDelaySeconds=1, failureThreshold=1)
        names = [f"web-{number}" for number in range(10)]
        began_s = world.clock.now_s()
        for name in names:
            world.create(name, grace(livenessProbe=probe, readinessProbe=probe))
        await world.until(lambda: world.ready(*names))

        assert world.clock.now_s() - began_s < 3.5
        assert max(one.at_s for one in world.recording.of(What.CONTAINER_STARTED)) - began_s < 1.0

    run_on_node(body, mode=mode)


def test_a_container_is_alone_in_its_namespaces() -> None:
    async def body(world: NodeWorld) -> None:
        script = (
            "echo pid $$$$; hostname; cat /etc/hostname; grep -c web /etc/hosts; ls /proc | grep -c '^[0-9]'; sleep 60"
        )
        world.create("web", shell(script), terminationGracePeriodSeconds=1)
        await world.until(lambda: world.ready("web"))
        text = ""
        while text.count("\n") < 5:
            await asyncio.sleep(0.01)
            text = await world.logs("web")

        pid, name, file, hosts, processes = text.splitlines()
        assert (pid, name, file, hosts) == ("pid 1", "web", "web", "1")
        assert int(processes) <= 4

    run_on_node(body, mode="namespaces")


def test_pid_one_without_a_handler_ignores_sigterm() -> None:
    """X6: a shell as PID 1 is killed when its grace is over, in loopback mode it dies at once."""

    async def body(world: NodeWorld) -> None:
        world.create("web", shell("sleep 60; true"), terminationGracePeriodSeconds=2)
        await world.until(lambda: world.ready("web"))
        world.delete("web")
        await world.until(lambda: world.find("web") is None)

        assert world.at_s(What.SIGKILL_SENT) - world.at_s(What.SIGTERM_SENT) == pytest.approx(2.0, abs=0.3)
        assert world.recording.of(What.CONTAINER_EXITED)[0].data["signal"] == 9

    run_on_node(body, mode="namespaces")


@pytest.mark.parametrize("mode", MODES)
def test_a_slow_request_survives_the_deletion_of_its_pod(mode: str) -> None:
    """The seed's first option."""

    async def body(world: NodeWorld) -> None:
        world.create("web", grace(env=[{"name": "SLOW_S", "value": "1.5"}]), terminationGracePeriodSeconds=30)
        await world.until(lambda: world.recording.of(What.LISTENER_OPENED) != [])
        slow = asyncio.create_task(fetch(world.pod("web")["status"]["podIP"], "/slow"))
        await asyncio.sleep(0.3)
        world.delete("web")

        assert "200 OK" in await slow
        await world.until(lambda: world.find("web") is None)

    run_on_node(body, mode=mode)


@pytest.mark.parametrize("mode", MODES)
def test_with_a_grace_of_one_second_it_does_not(mode: str) -> None:
    """The seed's curl 52: an empty reply, after the floor of two seconds (T8)."""

    async def body(world: NodeWorld) -> None:
        world.create("web", grace(env=[{"name": "SLOW_S", "value": "9"}]))
        await world.until(lambda: world.recording.of(What.LISTENER_OPENED) != [])
        slow = asyncio.create_task(fetch(world.pod("web")["status"]["podIP"], "/slow"))
        await asyncio.sleep(0.3)
        world.delete("web", grace_s=1)

        assert await slow == ""
        # The client may hear of the kill before the agent is told that the signal went out.
        await world.until(lambda: world.recording.of(What.SIGKILL_SENT) != [])
        assert world.at_s(What.SIGKILL_SENT) - world.at_s(What.SIGTERM_SENT) == pytest.approx(2.0, abs=0.3)

    run_on_node(body, mode=mode)


@pytest.mark.parametrize("mode", MODES)
def test_prestop_by_exec_runs_in_the_container_before_the_signal(mode: str) -> None:
    async def body(world: NodeWorld) -> None:
        hook: Obj = {"preStop": {"exec": {"command": ["/bin/sh", "-c", "sleep 0.5; echo $MARK > $MARK_FILE"]}}}
        mark = world.state / "mark"
        env = [{"name": "MARK", "value": "was here"}, {"name": "MARK_FILE", "value": str(mark)}]
        world.create("web", grace(lifecycle=hook, env=env))
        await world.until(lambda: world.ready("web"))
        world.delete("web")
        await world.until(lambda: world.find("web") is None)

        assert mark.read_text() == "was here\n"
        assert world.at_s(What.PRESTOP_ENDED) - world.at_s(What.PRESTOP_STARTED) == pytest.approx(0.5, abs=0.3)
        assert world.at_s(What.PRESTOP_ENDED) <= world.at_s(What.SIGTERM_SENT)

    run_on_node(body, mode=mode)


@pytest.mark.parametrize("mode", MODES)
def test_a_failing_liveness_restarts_the_container_while_the_pod_keeps_its_address(mode: str) -> None:
    async def body(world: NodeWorld) -> None:
        world.create("web", grace(livenessProbe=health(failureThreshold=1), readinessProbe=health(path="/health")))
        await world.until(lambda: world.ready("web"))
        ip = world.pod("web")["status"]["podIP"]
        await fetch(ip, "/fail-health")
        await world.until(lambda: world.state_of("web").get("restartCount") == 1)
        await world.until(lambda: world.ready("web"))

        assert world.pod("web")["status"]["podIP"] == ip
        assert len(world.recording.of(What.LIVENESS_FAILED)) == 1
        assert any(
            "Unhealthy: Liveness probe failed: HTTP probe failed with statuscode: 500" in one for one in world.said()
        )

    run_on_node(body, mode=mode)


def test_a_crashing_container_backs_off_and_shows_its_previous_log() -> None:
    async def body(world: NodeWorld) -> None:
        world.create("web", shell("echo this is $RANDOM_NAME; exit 7", env=[{"name": "RANDOM_NAME", "value": "run"}]))
        await world.until(lambda: world.state_of("web").get("restartCount") == 2)

        assert world.state_of("web")["lastState"]["terminated"]["exitCode"] == 7
        assert await world.logs("web", previous=True) == "this is run\n"

    run_on_node(body, settings=NodeSettings(backoff=BackoffRules(base_s=0.2, cap_s=0.4)))


@pytest.mark.parametrize("mode", MODES)
def test_a_program_that_does_not_exist_is_named(mode: str) -> None:
    async def body(world: NodeWorld) -> None:
        world.create("web", grace(command=["/no/such/program"]))
        await world.until(lambda: "terminated" in world.state_of("web").get("lastState", {}))
        message = world.state_of("web")["lastState"]["terminated"]["message"]

        assert "/no/such/program" in message
        assert "No such file" in message

    run_on_node(body, mode=mode)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("tty", [False, True])
def test_exec_runs_beside_the_container(mode: str, tty: bool) -> None:
    async def body(world: NodeWorld) -> None:
        world.create("web", grace(env=[{"name": "COLOUR", "value": "blue"}]))
        await world.until(lambda: world.ready("web"))
        code, said = await world.run_in("web", "/bin/sh", "-c", "echo $COLOUR; exit 3", tty=tty)

        assert (code, said.strip()) == (3, "blue")

    run_on_node(body, mode=mode)


def test_exec_joins_the_containers_namespaces_and_reads_standard_input() -> None:
    async def body(world: NodeWorld) -> None:
        world.create("web", grace())
        await world.until(lambda: world.recording.of(What.LISTENER_OPENED) != [])
        assert await world.run_in(
            "web", "/bin/sh", "-c", "hostname; tr -d '\\0' < /proc/1/cmdline | grep -c grace"
        ) == (
            0,
            "web\n1\n",
        )
        assert await world.run_in("web", "cat", stdin=b"x" * 300_000) == (0, "x" * 300_000)
        table = (await world.run_in("web", "cat", "/proc/net/tcp"))[1]
        assert "00000000:2712" in table  # 0.0.0.0:10002, in the pod's own network

    run_on_node(body, mode="namespaces")


def test_an_exec_that_cannot_be_is_refused() -> None:
    async def body(world: NodeWorld) -> None:
        with pytest.raises(StatusError, match="not found"):
            await world.run_in("nobody", "true")
        world.create("web", grace())
        await world.until(lambda: world.ready("web"))
        with pytest.raises(StatusError, match="No such file"):
            await world.run_in("web", "/no/such/program")
        with pytest.raises(StatusError, match="not valid"):
            await world.logs("web", container="other")
        with pytest.raises(StatusError, match="previous terminated container"):
            await world.logs("web", previous=True)

    run_on_node(body)


def test_volumes_appear_where_the_pod_wants_them() -> None:
    async def body(world: NodeWorld) -> None:
        settings: Obj = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "settings", "namespace": "world"},
        }
        world.registry.create("configmaps", {**settings, "data": {"colour": "blue", "size": "9"}})
        mounts = [
            {"name": "scratch", "mountPath": "/segue-scratch/deep"},
            {"name": "settings", "mountPath": "/etc/segue-settings"},
        ]
        script = "cat /etc/segue-settings/*; echo; echo kept > /segue-scratch/deep/file; ls /segue-scratch; sleep 60"
        volumes = [{"name": "scratch", "emptyDir": {}}, {"name": "settings", "configMap": {"name": "settings"}}]
        world.create("web", shell(script, volumeMounts=mounts), volumes=volumes, terminationGracePeriodSeconds=1)
        await world.until(lambda: world.ready("web"))
        text = ""
        while text.count("\n") < 2:
            await asyncio.sleep(0.01)
            text = await world.logs("web")

        assert text == "blue9\ndeep\n"
        assert await world.run_in("web", "cat", "/segue-scratch/deep/file") == (0, "kept\n")

    run_on_node(body, mode="namespaces")

    assert not Path("/segue-scratch").exists()
    assert not Path("/etc/segue-settings").exists()


def test_a_volume_without_its_config_map_waits_for_it() -> None:
    async def body(world: NodeWorld) -> None:
        mounts = [{"name": "settings", "mountPath": "/settings"}]
        volumes = [{"name": "settings", "configMap": {"name": "settings"}}]
        world.create("web", grace(volumeMounts=mounts), volumes=volumes)
        await world.until(lambda: "waiting" in world.state_of("web").get("state", {}) and not world.ready("web"))
        await world.until(
            lambda: world.state_of("web")["state"].get("waiting", {}).get("reason") == "CreateContainerConfigError"
        )

        assert 'configmap "settings" not found' in world.state_of("web")["state"]["waiting"]["message"]

    run_on_node(body, mode="namespaces")


@pytest.mark.parametrize("mode", MODES)
def test_after_the_end_of_the_fork_server_containers_start_again(mode: str) -> None:
    async def body(world: NodeWorld) -> None:
        world.create("web", grace(readinessProbe=health()))
        await world.until(lambda: world.ready("web"))
        server = world.runner.executor.processes._server
        assert server is not None
        os.kill(server.pid, signal.SIGKILL)
        await world.until(lambda: world.state_of("web").get("restartCount") == 1 and world.ready("web"))

        assert "200 OK" in await fetch(world.pod("web")["status"]["podIP"])

    run_on_node(body, mode=mode)


@pytest.mark.parametrize("mode", MODES)
def test_a_node_that_comes_back_starts_its_pods_again(mode: str) -> None:
    async def body(world: NodeWorld) -> None:
        world.create("web", grace(readinessProbe=health()))
        await world.until(lambda: world.ready("web"))
        await world.runner.stop()
        world.runner = world.fresh_runner()
        await world.runner.start()
        await world.until(lambda: world.state_of("web").get("restartCount") == 1 and world.ready("web"))

        assert "200 OK" in await fetch(world.pod("web")["status"]["podIP"])

    run_on_node(body, mode=mode)


def test_an_ordinary_user_gets_the_same() -> None:
    if not all(path.stat().st_mode & 0o001 for path in Path(sys.executable).resolve().parents):
        pytest.skip("this Python lives in a directory that is its owner's alone")

    async def body(world: NodeWorld) -> None:
        world.create("web", grace(readinessProbe=health()))
        await world.until(lambda: world.ready("web"))
        assert (await world.run_in("web", "hostname"))[1] == "web\n"
        world.delete("web")
        await world.until(lambda: world.find("web") is None)

    run_on_node(body, uid=65534)


def test_tcp_and_exec_probes() -> None:
    async def body(world: NodeWorld) -> None:
        tcp: Obj = {"tcpSocket": {"port": "http"}, "periodSeconds": 1}
        by_exec: Obj = {"exec": {"command": ["test", "-e", str(world.state / "flag")]}, "periodSeconds": 1}
        ports = [{"name": "http", "containerPort": 10002}]
        world.create("one", grace(readinessProbe=tcp, ports=ports))
        world.create("two", grace(readinessProbe=by_exec))
        await world.until(lambda: world.ready("one"))
        await world.until(lambda: any("Readiness probe failed" in one for one in world.said()))
        assert not world.ready("two")
        (world.state / "flag").write_text("")
        await world.until(lambda: world.ready("two"))

    run_on_node(body)


def test_everything_dies_with_the_process_that_holds_the_node() -> None:
    """SIGKILL of the whole: no container, and nothing a container started, is left."""
    name = f"segue-orphan-{os.getpid()}"

    def alive() -> list[str]:
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    argv = (entry / "cmdline").read_bytes()
                except OSError:
                    continue
                if name.encode() in argv and b"pytest" not in argv:
                    found.append(entry.name)
        return found

    async def body(world: NodeWorld) -> None:
        script = f"(exec -a {name} sleep 300) & exec -a {name} sleep 301"
        world.create("web", grace(command=["/bin/bash", "-c", script]))
        await world.until(lambda: len(alive()) >= 2)
        os.kill(os.getpid(), signal.SIGKILL)

    for mode in MODES:
        run_on_node(body, mode=mode)
        wait_until(lambda: alive() == [], what="the death of all containers")
