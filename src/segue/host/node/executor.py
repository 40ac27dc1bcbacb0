"""Does what the node agent wants: effects in, results out. It decides nothing.

Every effect runs as a task of its own; its result goes to the one function given at the start. A result carries the
moment at which the thing happened, measured where it happened.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path

from segue.cluster.node import environment
from segue.cluster.node.account import Accounts, api_env
from segue.cluster.node.effects import (
    Attached,
    AttachFailed,
    AttachNetwork,
    Detached,
    DetachNetwork,
    Exited,
    HookDone,
    ProbeDone,
    Result,
    RunHook,
    RunProbe,
    Signal,
    Signalled,
    StartContainer,
    Started,
    StartFailed,
)
from segue.cluster.node.environment import ConfigError, Lookup
from segue.dns.resolver import ClusterDns, hostname_of
from segue.host.doors import Attachment, PodNetwork
from segue.host.node import probing
from segue.host.node.logs import LogFile
from segue.host.node.podfiles import PodFiles
from segue.host.node.probing import Outcome
from segue.host.node.processes import Process, Processes, Program
from segue.model.errors import HostError, SegueError
from segue.model.objects import Obj
from segue.ports import Clock

LOST_PIPE = "no such container is running"


@dataclass(slots=True, kw_only=True)
class Running:
    """A container that runs or has run: its process, what it was started with, its log."""

    process: Process
    env: dict[str, str]
    cwd: str
    is_isolated: bool
    log: LogFile


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """Where the executor works: node, state directory, whom to ask for ConfigMaps and Secrets."""

    node_name: str
    node_ip: str
    state: Path
    lookup: Lookup
    accounts: Accounts | None = None  # whose tokens pods get
    dns: ClusterDns = field(default_factory=ClusterDns)


class Executor:
    """Effects of the node agent, done."""

    def __init__(
        self, where: Where, network: PodNetwork, clock: Clock, tell: Callable[[int, Result, bool], None]
    ) -> None:
        self.files = PodFiles(where.state, where.lookup, accounts=where.accounts, dns=where.dns)
        self.containers: dict[str, Running] = {}  # by container id
        self.processes = Processes(clock)
        self._where = where
        self._network = network
        self._clock = clock
        self._tell = tell
        self._places: dict[str, Attachment] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Start the fork server early: a container must not wait for it."""
        self.processes.start()

    async def stop(self) -> None:
        """End every task and every process."""
        for task in list(self._tasks):
            task.cancel()
        await self.processes.stop()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for running in self.containers.values():
            running.log.close()

    def perform(self, effect: AttachNetwork | DetachNetwork | StartContainer | RunProbe | RunHook | Signal) -> None:
        """Begin an effect; its result is told later."""
        match effect:
            case AttachNetwork():
                self._begin(self._attach(effect))
            case DetachNetwork():
                self._begin(self._detach(effect))
            case StartContainer():
                self._begin(self._start(effect))
            case RunProbe():
                self._begin(self._probe(effect))
            case RunHook():
                self._begin(self._hook(effect))
            case Signal():
                self._begin(self._signal(effect))

    def forget(self, pod_uid: str) -> None:
        """Drop what is kept of a pod."""
        prefix = f"{pod_uid}."
        for container_id in [one for one in self.containers if one.startswith(prefix)]:
            self.containers.pop(container_id).log.close()
        self.files.forget(pod_uid)

    def _begin(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            # a bug of ours: say it loudly instead of leaving the agent to wait for ever in silence
            asyncio.get_running_loop().call_exception_handler({"message": "node executor", "exception": error})

    # --- network ----------------------------------------------------------------------------------------------------

    async def _attach(self, effect: AttachNetwork) -> None:
        try:
            place = self._places[effect.pod_uid] = await self._network.attach(effect.pod_uid, effect.pod)
        except (SegueError, OSError) as error:
            self._tell(effect.effect_id, AttachFailed(at_s=self._clock.now_s(), message=str(error)), True)
            return
        self._tell(effect.effect_id, Attached(at_s=self._clock.now_s(), ip=place.ip), True)

    async def _detach(self, effect: DetachNetwork) -> None:
        with contextlib.suppress(SegueError, OSError):
            await self._network.detach(effect.pod_uid)
        self._places.pop(effect.pod_uid, None)
        self._tell(effect.effect_id, Detached(at_s=self._clock.now_s()), True)

    # --- containers -------------------------------------------------------------------------------------------------

    async def _start(self, effect: StartContainer) -> None:
        place = self._places[effect.pod_uid]
        try:
            command = self._command(effect, place)
            running = await self._run(effect, command, place)
        except ConfigError as error:
            self._start_failed(effect, "CreateContainerConfigError", str(error))
        except (HostError, OSError) as error:
            text = f'failed to start container "{effect.container["name"]}": {error}'
            self._start_failed(effect, "RunContainerError", text)
        else:
            self.containers[effect.container_id] = running
            self._tell(effect.effect_id, Started(at_s=running.process.started_at_s), False)
            ended = await running.process.ended
            self._tell(effect.effect_id, Exited(at_s=ended.at_s, exit_code=ended.code, signal=ended.signal), True)

    def _start_failed(self, effect: StartContainer, reason: str, message: str) -> None:
        self._tell(effect.effect_id, StartFailed(at_s=self._clock.now_s(), reason=reason, message=message), True)

    def _command(self, effect: StartContainer, place: Attachment) -> environment.Command:
        where = self._place(place.ip)
        image_env = dict(effect.image_env)
        if place.netns_fd is None:
            image_env["POD_IP"] = place.ip  # loopback mode: the address is all that tells one pod from another
        image = (effect.entrypoint, effect.default_args, image_env)
        command = environment.command_of(effect.pod, effect.container, image, where, self._where.lookup)
        if not command.argv:
            raise HostError("no command specified: neither the pod nor the image map names one")
        return command

    def _place(self, ip: str) -> environment.Place:
        api = tuple(api_env(self._where.lookup).items())
        return environment.Place(ip=ip, node_name=self._where.node_name, node_ip=self._where.node_ip, api=api)

    async def _run(self, effect: StartContainer, command: environment.Command, place: Attachment) -> Running:
        isolated = place.netns_fd is not None
        if not isolated and effect.container.get("volumeMounts"):
            raise ConfigError("volumes need mount namespaces, and this cluster runs in loopback mode")
        binds = self.files.binds(effect.pod, effect.container, self._place(place.ip)) if isolated else ()
        log = LogFile(self.files.log(effect.pod, effect.container["name"], effect.attempt), self._clock)
        stdio = (os.open(os.devnull, os.O_RDONLY), log.pipe("stdout"), log.pipe("stderr"))
        try:
            process = await self.processes.run(
                Program(
                    argv=command.argv,
                    env=command.env,
                    stdio=stdio,
                    cwd=command.cwd,
                    hostname=hostname_of(effect.pod)[:63],
                    binds=binds,
                    staging=self.files.staging(effect.pod) if isolated else "",
                    network_fd=place.netns_fd,
                )
            )
        finally:
            for fd in stdio:
                os.close(fd)
        return Running(process=process, env=command.env, cwd=command.cwd, is_isolated=isolated, log=log)

    async def _signal(self, effect: Signal) -> None:
        running = self.containers.get(effect.container_id)
        sent, at_s = False, self._clock.now_s()
        if running is not None and not running.process.ended.done():
            number = signal.SIGTERM if effect.signal == "TERM" else signal.SIGKILL
            with contextlib.suppress(HostError):
                sent, at_s = await self.processes.kill(running.process, number, group=effect.signal == "KILL")
        self._tell(effect.effect_id, Signalled(at_s=at_s, sent=sent), True)

    # --- probes and hooks -------------------------------------------------------------------------------------------

    async def _probe(self, effect: RunProbe) -> None:
        handler = effect.handler
        try:
            if call := handler.get("httpGet"):
                outcome = await probing.probe_http(probing.http_call(call, effect.ports, effect.ip), effect.timeout_s)
            elif tcp := handler.get("tcpSocket"):
                port = probing.port_number(tcp.get("port"), effect.ports)
                outcome = await probing.probe_tcp(str(tcp.get("host") or effect.ip), port, effect.timeout_s)
            elif command := handler.get("exec"):
                outcome = await self._exec_probe(effect.container_id, command, effect.timeout_s)
            else:
                outcome = Outcome(succeeded=None, message="this node cannot run gRPC probes")
        except ValueError as error:
            outcome = Outcome(succeeded=None, message=str(error))
        now_s = self._clock.now_s()
        done = ProbeDone(at_s=now_s, succeeded=outcome.succeeded, message=outcome.message)
        self._tell(effect.effect_id, done, True)

    async def _exec_probe(self, container_id: str, command: Obj, timeout_s: float) -> Outcome:
        argv = tuple(command.get("command") or [])
        try:
            code, output = await self.run_inside(container_id, argv, timeout_s)
        except TimeoutError:
            return Outcome(succeeded=False, message=f"command timed out: {' '.join(argv)!r} after {timeout_s}s")
        except HostError as error:
            return Outcome(succeeded=False, message=str(error))
        # What a command that succeeds has to say is nobody's business (a message beside a success is a warning)
        return Outcome(succeeded=code == 0, message=output.decode(errors="replace").strip() if code else "")

    async def run_inside(self, container_id: str, argv: tuple[str, ...], timeout_s: float | None) -> tuple[int, bytes]:
        """Run a command in a container: exit code and the first 10 KiB it wrote; TimeoutError ends it."""
        running = self.containers.get(container_id)
        if running is None or running.process.ended.done():
            raise HostError(LOST_PIPE)
        read_fd, write_fd = os.pipe()
        null = os.open(os.devnull, os.O_RDONLY)
        try:
            process = await self.processes.run(self.inside(running, argv, (null, write_fd, write_fd)))
        except BaseException:
            os.close(read_fd)
            raise
        finally:
            os.close(null)
            os.close(write_fd)
        os.set_blocking(read_fd, False)
        try:
            async with asyncio.timeout(timeout_s):
                ended = await asyncio.shield(process.ended)
        except BaseException:
            await self.processes.kill(process, signal.SIGKILL, group=True)
            os.close(read_fd)
            raise
        with contextlib.suppress(BlockingIOError):
            output = os.read(read_fd, probing.BODY_BYTES)
            os.close(read_fd)
            return (128 + ended.signal if ended.signal else ended.code), output
        os.close(read_fd)
        return (128 + ended.signal if ended.signal else ended.code), b""

    @staticmethod
    def inside(running: Running, argv: tuple[str, ...], stdio: tuple[int, int, int], *, tty: bool = False) -> Program:
        """A program beside the container's own, in its namespaces, with its environment."""
        env = {**running.env, "TERM": "xterm"} if tty else running.env
        return Program(
            argv=argv,
            env=env,
            stdio=stdio,
            cwd=running.cwd,
            target_pid=running.process.pid,
            is_isolated=running.is_isolated,
            has_terminal=tty,
        )

    async def _hook(self, effect: RunHook) -> None:
        try:
            message = await self._run_hook(effect)
        except (HostError, OSError, ValueError, EOFError) as error:
            message = str(error) or type(error).__name__
        self._tell(effect.effect_id, HookDone(at_s=self._clock.now_s(), succeeded=not message, message=message), True)

    async def _run_hook(self, effect: RunHook) -> str:
        handler = effect.handler
        if (sleep := handler.get("sleep")) is not None:
            await asyncio.sleep(float(sleep.get("seconds") or 0))
        elif call := handler.get("httpGet"):  # any status is success (T10)
            await probing.get(probing.http_call(call, effect.ports, effect.ip, agent="kube-lifecycle/1.37"))
        elif tcp := handler.get("tcpSocket"):
            return f"tcpSocket hooks do nothing: {tcp}"
        elif command := handler.get("exec"):
            argv = tuple(command.get("command") or [])
            code, output = await self.run_inside(effect.container_id, argv, None)
            if code:
                return f"command '{' '.join(argv)}' exited with {code}: {output.decode(errors='replace').strip()}"
        return ""
