"""Asks apps (through the API server's proxy to their pods) and Prometheus what `drain.told` then reads.

Rule: whoever is slow is heard the next time; nothing that they answer, and no silence, is an error here.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass

import httpx2 as httpx

from segue.analysis.answers import Silence
from segue.drain.samples import APP, ProcText
from segue.drain.told import RANGE, Word
from segue.host.asking import ask_url, asker
from segue.host.client import KubeClient
from segue.host.clock import SystemClock

LIMIT_S = 1.0
WAIT_S = 0.25


@dataclass(slots=True)
class _Question:
    task: asyncio.Task[ProcText | str]


class WordAsker:
    """The questions of one run."""

    def __init__(self, client: KubeClient, clock: SystemClock) -> None:
        self._client = client
        self._clock = clock
        self._web: httpx.AsyncClient | None = None
        self._open: dict[str, _Question] = {}

    async def ask(self, words: Mapping[str, Word]) -> dict[str, ProcText | str]:
        """By pod what is answered by now: a text, or a word about why not; nothing from who takes their time."""
        for pod, word in words.items():
            if pod not in self._open:
                self._open[pod] = _Question(task=asyncio.create_task(self._one(word)))
        tasks = [question.task for question in self._open.values()]
        await asyncio.wait(tasks, timeout=WAIT_S)
        done = [pod for pod, question in self._open.items() if question.task.done()]
        return {pod: self._open.pop(pod).task.result() for pod in done}

    async def _one(self, word: Word) -> ProcText | str:
        asked_s = self._clock.now_s()
        text = await (self._of_app(word) if word.kind == APP else self._of_prometheus(word))
        if isinstance(text, Silence):
            return text.because
        return ProcText(text=text, asked_s=asked_s, read_s=self._clock.now_s())

    async def _of_app(self, word: Word) -> str | Silence:
        code, text = await self._client.raw(word.path, limit_s=LIMIT_S)
        if code == 200:
            return text
        said = " ".join(text.split())[:120]
        return Silence(because=f"{word.shown} answers {code}: {said}" if code else f"{word.shown}: {said}")

    async def _of_prometheus(self, word: Word) -> str | Silence:
        bodies: dict[str, object] = {}
        self._web = self._web or asker()
        for name, series in (("active", word.active), ("accepted", word.accepted)):
            url = f"{word.url}/api/v1/query"
            answer = await ask_url(self._web, url, timeout_s=LIMIT_S, query={"query": f"{series}[{RANGE}]"})
            if isinstance(answer, Silence):
                return answer
            try:
                bodies[name] = json.loads(answer.text)
            except ValueError:
                return Silence(because=f"{word.shown} answers {answer.status}, and no JSON")
        return json.dumps(bodies)

    async def close(self) -> None:
        """Ask no more."""
        tasks = [question.task for question in self._open.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._web is not None:
            await self._web.aclose()
