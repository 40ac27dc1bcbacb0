"""Asks the sources of an analysis, each in its own rhythm, for as long as a release stands at one stop.

Rule 1: nothing is judged here. What a source does not say, or says that cannot be understood, is its trouble.
Rule 2: a new stop begins anew; who is let go is asked no more, and its load ends.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field

import httpx2 as httpx
import msgspec

from segue.analysis.answers import Heard, Silence, from_command, from_prometheus, is_good_answer, series_from
from segue.analysis.counting import Series, Tally
from segue.analysis.values import (
    ASK_TIMEOUT_S,
    TIMEOUT_S,
    CommandSource,
    HttpSource,
    LoadSource,
    Metric,
    PrometheusSource,
    Sample,
)
from segue.drive.flow import Measure
from segue.host.asking import ask_url, asker, filled
from segue.host.load_source import LoadRun
from segue.host.shell import run_command
from segue.model.objects import Obj

UNHEARD = "it has not answered yet"


@dataclass(slots=True, kw_only=True)
class _Run:
    """One metric at one stop."""

    metric: Metric
    new: Tally = field(default_factory=Tally)
    old: Tally = field(default_factory=Tally)
    trouble: str = UNHEARD

    def sample(self) -> Sample:
        return Sample(new=self.new.counts, old=self.old.counts, trouble=self.trouble)


@dataclass(slots=True)
class Measuring:
    """The sources of one stop."""

    stage: int = -1
    asked: Measure | None = None
    runs: list[_Run] = field(default_factory=list)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    client: httpx.AsyncClient | None = None

    async def poll(self, asked: Measure) -> Mapping[str, Sample]:
        """Begin where it does not run; what the sources have said until now. Without an analysis: end."""
        if asked.analysis is None:
            await self.close()
            return {}
        if not self.tasks or self.stage != asked.stage:
            await self.close()
            self.stage, self.asked, self.client = asked.stage, asked, asker()
            self.runs = [_Run(metric=metric) for metric in asked.analysis.metrics]
            self.tasks = [asyncio.create_task(self._follow(run, asked.analysis.every_s)) for run in self.runs]
        self.asked = asked  # pods may have been replaced: what is asked next is about those of now
        for task in self.tasks:
            if task.done():
                task.result()  # a fault of our own is not kept to itself
        return {run.metric.name: run.sample() for run in self.runs}

    async def close(self) -> None:
        """Ask no more."""
        tasks, self.tasks, self.runs = self.tasks, [], []
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task
        if self.client is not None:
            await self.client.aclose()
            self.client = None

    async def _follow(self, run: _Run, every_s: float) -> None:
        """Ask one source again and again."""
        if isinstance(run.metric.source, LoadSource):
            await self._follow_load(run, run.metric.source)
            return
        clock = asyncio.get_running_loop()
        due_s = clock.time()
        while True:
            run.trouble = await self._ask_both(run)
            due_s = max(due_s + every_s, clock.time())
            await asyncio.sleep(due_s - clock.time())

    async def _ask_both(self, run: _Run) -> str:
        """Ask about the new version, and about the old one where that is compared; the trouble, "" for none."""
        assert self.asked is not None
        sides = [(run.new, self.asked.facts, "")]
        if run.metric.worse_at_most is not None:
            sides.append((run.old, self.asked.old_facts, "of the old version: "))
        for tally, facts, whose in sides:
            heard = await self._ask(run.metric, facts)
            if isinstance(heard, Silence):
                return whose + heard.because
            if heard.trial is not None:
                tally.trial(heard.trial)
            if heard.counters is not None:
                tally.note(heard.counters)
        return ""

    async def _ask(self, metric: Metric, facts: Mapping[str, str]) -> Heard | Silence:
        match metric.source:
            case CommandSource(command=command):
                return await _by_command(command, facts)
            case HttpSource() as source:
                return await self._by_http(source, facts)
            case PrometheusSource() as source:
                return await self._by_prometheus(source, facts)
            case LoadSource():
                raise AssertionError("a load is followed, not asked")

    async def _by_http(self, source: HttpSource, facts: Mapping[str, str]) -> Heard | Silence:
        """Here no answer is a bad one: the version is asked itself, not somebody about it."""
        assert self.client is not None
        answer = await ask_url(self.client, filled(source.url, facts), timeout_s=ASK_TIMEOUT_S)
        if isinstance(answer, Silence):
            return Heard(trial=False)
        return Heard(trial=is_good_answer(answer.status, answer.text, wanted=source.status, contains=source.contains))

    async def _by_prometheus(self, source: PrometheusSource, facts: Mapping[str, str]) -> Heard | Silence:
        assert self.client is not None
        token = os.environ.get(source.token_from, "") if source.token_from else ""
        if source.token_from and not token:
            return Silence(because=f"the environment has no {source.token_from}")
        answers: dict[str, Series] = {}
        # The whole first: a part that is read after it is too large by little, and then cut; never too small.
        for name in sorted(source.queries, key=lambda one: one != "total"):
            query = {"query": filled(source.queries[name], facts)}
            url = f"{source.url}/api/v1/query"
            answer = await ask_url(self.client, url, timeout_s=ASK_TIMEOUT_S, query=query, token=token)
            if isinstance(answer, Silence):
                return answer
            try:
                body = msgspec.json.decode(answer.body, type=Obj)
            except msgspec.DecodeError:
                return Silence(because=f"{url} answers {answer.status}, not as Prometheus does")
            series = series_from(body)
            if isinstance(series, Silence):
                return series
            answers[name] = series
        return from_prometheus(source, answers)

    async def _follow_load(self, run: _Run, source: LoadSource) -> None:
        """Fire until we are let go."""
        assert self.asked is not None
        assert self.asked.analysis is not None
        async with LoadRun(source, self.asked.facts) as load:
            while True:
                run.trouble = load.read(run.new, run.old)
                await asyncio.sleep(0.2)


async def _by_command(command: str, facts: Mapping[str, str]) -> Heard | Silence:
    try:
        return from_command(*await run_command(command, facts, timeout_s=TIMEOUT_S))
    except TimeoutError:
        return Silence(because=f"{command} has not ended within {TIMEOUT_S:g} s")
