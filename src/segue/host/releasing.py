"""Runs flows of `drive` in real time against a real API: the clock, the calls, the progress, the receipt.

Ctrl-C may come at any moment: what is left behind keeps serving, and the same command goes on from there.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import msgspec

from segue import __version__
from segue.drain.judge import Policy
from segue.drive.command import Driver
from segue.drive.flow import Answer, Ask, Calls, Check, Flow, Progress, ReadPods, Sleep
from segue.drive.loop import Outcome
from segue.host.check_runner import CheckRunner
from segue.host.client import KubeClient
from segue.host.clock import SystemClock
from segue.host.pod_reader import PodReader
from segue.host.starting import start_time
from segue.host.state import state_dir
from segue.model.errors import Conflict, Refused, SegueError, Unfinished, UsageError
from segue.model.objects import Obj, rfc3339_micro
from segue.proof.receipt import ActionEntry, Case, EndReason, PodEnd, receipt
from segue.release.decision import Done, Stopped
from segue.release.plan import USUAL_CAP_S, Approach

T = TypeVar("T")
Show = Callable[[Progress, float], None]
CLOCK = SystemClock()


def identity() -> str:
    """This run, so that another one can tell whether it still lives: host, boot, pid, start of the process."""
    return f"segue@{socket.gethostname()}/{_boot()}/{os.getpid()}/{start_time(os.getpid())}"


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text()[:8]


def holder_is_gone(holder: str) -> bool:
    """Whether a Lease's holder ran on this machine, since this boot, and does no more."""
    host, _, rest = holder.removeprefix("segue@").partition("/")
    parts = rest.split("/")
    if host != socket.gethostname() or len(parts) != 3 or not parts[1].isdigit():
        return False
    boot, pid, started = parts
    return boot != _boot() or start_time(int(pid)) != started


def driver(
    *, cap_s: float | None, timeout_s: float | None, sampler_image: str = "", approach: Approach | None = None
) -> Driver:
    """The driver of this process. A cap below the propagation time shortens that, too."""
    asked = approach or Approach()
    said = cap_s is not None
    cap_s = cap_s if cap_s is not None else USUAL_CAP_S.get(asked.strategy, Policy().cap_s)
    if cap_s < 2:
        raise UsageError(f"--drain-cap {cap_s:g}: must be at least 2 s, the shortest proof of quiet")
    if timeout_s is not None and timeout_s <= 0:
        raise UsageError(f"--timeout {timeout_s:g}: must be above 0 s")
    policy = Policy(cap_s=cap_s, timer_s=min(Policy().timer_s, cap_s))
    asked = replace(asked, policy=policy, cap_said=said, timeout_s=timeout_s)
    return Driver(me=identity(), holder_is_gone=holder_is_gone, approach=asked, sampler_image=sampler_image)


@dataclass
class _Body:
    """Answers what a flow asks."""

    client: KubeClient
    show: Show
    reader: PodReader = field(init=False)
    checks: CheckRunner = field(default_factory=CheckRunner)

    def __post_init__(self) -> None:
        self.reader = PodReader(self.client, CLOCK)

    async def answer(self, asked: Ask) -> Answer:
        match asked:
            case Calls(requests=requests):
                async with asyncio.TaskGroup() as group:
                    tasks = [group.create_task(self.client.request(request)) for request in requests]
                return Answer(now_s=CLOCK.now_s(), responses=tuple(task.result() for task in tasks))
            case ReadPods(namespace=namespace, looks=looks):
                texts = await self.reader.read(namespace, looks)
                return Answer(now_s=CLOCK.now_s(), texts=texts)
            case Check(command=command, facts=facts):
                return Answer(now_s=CLOCK.now_s(), checked=await self.checks.poll(command, facts))
            case Sleep(for_s=for_s):
                await asyncio.sleep(for_s)
            case Progress():
                self.show(asked, CLOCK.now_s())
        return Answer(now_s=CLOCK.now_s())


async def run_flow(flow: Flow[T], client: KubeClient, show: Show) -> T:
    """Run one flow to its end."""
    body = _Body(client=client, show=show)
    try:
        asked = next(flow)
        while True:
            try:
                answer = await body.answer(asked)
            except* SegueError as group:
                raise _first(group) from group
            asked = flow.send(answer)
    except StopIteration as end:
        result: T = end.value
        return result
    finally:
        await body.checks.close()
        await body.reader.close()


def _first(group: BaseExceptionGroup[SegueError]) -> SegueError:
    found = group.exceptions[0]
    return _first(found) if isinstance(found, BaseExceptionGroup) else found


def perform(make: Callable[[KubeClient], Flow[T]], *, kubeconfig: str, context: str, show: Show) -> T:
    """Run a flow in an event loop of its own. Ctrl-C and SIGTERM end it where it stands (KeyboardInterrupt)."""

    async def whole() -> T:
        async with KubeClient.find(kubeconfig, context) as client:
            loop = asyncio.get_running_loop()
            task = asyncio.current_task()
            assert task is not None
            loop.add_signal_handler(signal.SIGTERM, task.cancel)
            return await run_flow(make(client), client, show)

    try:
        return asyncio.run(whole())
    except asyncio.CancelledError as error:
        raise KeyboardInterrupt from error


def check_end(outcome: Outcome) -> str:
    """The message of a good end; a stopped one is raised as what it is."""
    match outcome.end:
        case Done(message=message):
            return message
        case Stopped(error=error, message=message, remedy=remedy):
            kinds = {"conflict": Conflict, "refused": Refused, "unfinished": Unfinished}
            raise kinds[error](message, remedy=remedy)


def receipt_of(asked: Obj, outcome: Outcome, *, title: str) -> Obj:
    """The receipt of one run, without a load: nothing is said about requests."""
    journal = outcome.journal
    began_s = journal.actions[0].at_s if journal.actions else outcome.began_s
    case = Case(
        title=title,
        asked=asked,
        zero_s=outcome.began_s,
        exposure=(began_s, max(began_s, outcome.ended_s)),
        tool_version=__version__,
        actions=tuple(
            ActionEntry(
                at_s=entry.at_s,
                action=entry.action,
                because=entry.because,
                barrier=entry.barrier,
                evidence=entry.evidence,
            )
            for entry in journal.actions
        ),
        pods=tuple(
            PodEnd(
                pod=end.pod,
                version=end.version,
                reason=EndReason(end.reason),
                at_s=end.at_s,
                evidence_source=end.evidence_source,
            )
            for end in journal.ends
        ),
    )
    return receipt(case, (), ())


def write_receipt(document: Obj, name: str, path: str = "") -> Path:
    """Keep a receipt: at `path`, else among the receipts of this user."""
    stamp = rfc3339_micro(CLOCK.now_s()).replace(":", "").replace("-", "")[:15]
    target = Path(path) if path else state_dir("receipts") / f"{name}-{stamp}.json"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        fresh = target.with_name(target.name + ".new")
        fresh.write_bytes(msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n")
        fresh.replace(target)
    except OSError as error:
        with suppress(OSError):
            target.with_name(target.name + ".new").unlink()
        raise UsageError(f"the receipt cannot be written to {target}: {error.strerror}") from error
    return target
