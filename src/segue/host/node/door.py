"""What the API process asks of the node about a pod: logs, exec, traffic (`PodDoor`)."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence

from segue.cluster.node.container import ContainerMachine
from segue.cluster.node.pod import PodMachine
from segue.cluster.store import not_found
from segue.host.doors import ExecSession, LogQuery
from segue.host.node import sessions
from segue.host.node.executor import Executor
from segue.host.node.logs import read_log
from segue.host.node.runner import NodeRunner
from segue.model.errors import HostError, StatusError
from segue.model.objects import Obj, Ref, annotations_of, uid_of

_DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"


class NodeDoor:
    """The door of one node's runner."""

    def __init__(self, runner: NodeRunner) -> None:
        self._runner = runner

    async def logs(self, namespace: str, name: str, query: LogQuery) -> AsyncIterator[bytes]:
        """Log bytes; with `follow` until the container ends."""
        pod = self._pod(namespace, name)
        container = _container_name(pod, query.container)
        machine = _machine(self._machine(pod), container)
        attempt = _attempt(pod, machine, container, query.previous)
        path = self._runner.executor.files.log(pod, container, attempt)
        running = self._runner.executor.containers.get(f"{uid_of(pod)}.{container}.{attempt}")
        writer = running.log if running is not None else None
        async for chunk in read_log(path, query, writer, self._runner.body.clock.now_s()):
            yield chunk

    async def exec(  # noqa: PLR0913 - the parameters of the API's own call
        self, namespace: str, name: str, *, container: str, argv: Sequence[str], stdin: bool, tty: bool
    ) -> ExecSession:
        """Start a command in a running container."""
        pod = self._pod(namespace, name)
        container = _container_name(pod, container)
        machine = _machine(self._machine(pod), container)
        executor = self._runner.executor
        running = executor.containers.get(machine.container_id) if machine is not None and machine.is_running else None
        if running is None:
            raise StatusError(
                500, "InternalError", f'unable to upgrade connection: container not found ("{container}")'
            )
        if not argv:
            raise StatusError(400, "BadRequest", "you must specify at least 1 command for the container")
        session, stdio = (
            sessions.terminal(executor.processes) if tty else sessions.pipes(executor.processes, stdin=stdin)
        )
        try:
            session.runs(await executor.processes.run(Executor.inside(running, tuple(argv), stdio, tty=tty)))
        except HostError as error:
            session.close()
            message = f"command terminated: failed to exec in container: {error.message}"
            raise StatusError(500, "InternalError", message) from error
        finally:
            for fd in set(stdio):
                os.close(fd)
        return session

    def traffic(self, namespace: str, name: str) -> Obj:
        """`PodNetwork.traffic` of the pod."""
        return self._runner.body.network.traffic(uid_of(self._pod(namespace, name)))

    def _pod(self, namespace: str, name: str) -> Obj:
        ref = Ref(resource="pods", namespace=namespace, name=name)
        pod = self._runner.store.get(ref)
        if pod is None:
            raise not_found(ref)
        if not pod["spec"].get("nodeName"):
            raise StatusError(400, "BadRequest", f"pod {name} does not have a host assigned")
        return pod

    def _machine(self, pod: Obj) -> PodMachine | None:
        return self._runner.agent.find(uid_of(pod))


def _container_name(pod: Obj, wanted: str) -> str:
    spec = pod["spec"]
    names = [str(one["name"]) for one in spec.get("containers") or []]
    every = names + [str(one["name"]) for one in spec.get("initContainers") or []]
    pod_name = str(pod["metadata"]["name"])
    if wanted:
        if wanted not in every:
            raise StatusError(400, "BadRequest", f"container {wanted} is not valid for pod {pod_name}")
        return wanted
    if len(names) == 1:
        return names[0]
    default = annotations_of(pod).get(_DEFAULT_CONTAINER, "")
    if default in every:
        return default
    message = f"a container name must be specified for pod {pod_name}, choose one of: [{' '.join(every)}]"
    raise StatusError(400, "BadRequest", message)


def _machine(pod: PodMachine | None, container: str) -> ContainerMachine | None:
    if pod is None:
        return None
    return next((one for one in pod.containers if one.name == container), None)


def _attempt(pod: Obj, machine: ContainerMachine | None, container: str, previous: bool) -> int:
    """Which run's log is meant: the newest that has begun, or the one before."""
    pod_name = str(pod["metadata"]["name"])
    if machine is not None:
        begun, waits = machine.attempts, machine.reason
    else:  # the pod has ended; its files stay until its object goes
        statuses: list[Obj] = pod.get("status", {}).get("containerStatuses") or []
        restarts = [int(one.get("restartCount") or 0) for one in statuses if one["name"] == container]
        begun, waits = (restarts[0] + 1, "") if restarts else (0, "")
    wanted = begun - 2 if previous else begun - 1
    if wanted < 0 and previous:
        message = f'previous terminated container "{container}" in pod "{pod_name}" not found'
        raise StatusError(400, "BadRequest", message)
    if wanted < 0:
        message = f'container "{container}" in pod "{pod_name}" is waiting to start: {waits or "ContainerCreating"}'
        raise StatusError(400, "BadRequest", message)
    return wanted
