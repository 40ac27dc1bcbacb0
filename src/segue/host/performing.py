"""Runs flows of `drive` in real time against a real API: the clock, the calls, the progress.

Ctrl-C may come at any moment: what is left behind keeps serving, and the same command goes on from there.
Rule: nothing of the engine is imported here, so that `segue status` does not pay for it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from segue.drive.flow import Answer, Ask, AskWords, Calls, Check, Flow, Measure, Progress, ReadPods, Sleep
from segue.host.client import KubeClient
from segue.host.clock import SystemClock
from segue.host.pod_reader import PodReader
from segue.host.starting import start_time
from segue.model.errors import SegueError

if TYPE_CHECKING:
    from segue.host.trying import Trying
    from segue.host.word_asker import WordAsker

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


@dataclass
class _Body:
    """Answers what a flow asks."""

    client: KubeClient
    show: Show
    reader: PodReader = field(init=False)
    asker: WordAsker | None = None
    trying: Trying | None = None  # made when a release first tries something

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
            case AskWords(words=words):
                return Answer(now_s=CLOCK.now_s(), texts=await self._asker().ask(words))
            case Check(hook=hook, facts=facts):
                checked = await self._trying().checks.poll(hook, facts)
                return Answer(now_s=CLOCK.now_s(), checked=checked)
            case Measure():
                samples = await self._trying().measuring.poll(asked)
                return Answer(now_s=CLOCK.now_s(), samples=samples)
            case Sleep(for_s=for_s):
                await asyncio.sleep(for_s)
            case Progress():
                self.show(asked, CLOCK.now_s())
        return Answer(now_s=CLOCK.now_s())

    def _asker(self) -> WordAsker:
        if self.asker is None:
            from segue.host.word_asker import WordAsker  # noqa: PLC0415 - for pods whose template asks for it

            self.asker = WordAsker(self.client, CLOCK)
        return self.asker

    def _trying(self) -> Trying:
        if self.trying is None:
            from segue.host.trying import Trying  # noqa: PLC0415 - status must not pay for what it never does

            self.trying = Trying(self.client)
        return self.trying

    async def close(self) -> None:
        """End what was begun."""
        if self.trying is not None:
            await self.trying.close()
        if self.asker is not None:
            await self.asker.close()
        await self.reader.close()


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
        await body.close()


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
