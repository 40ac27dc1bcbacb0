"""How long after the API a change stands on the live page: a watch of our own says when the API showed it, the page's
document (and the same in a Chromium's DOM, Debian: chromium) when the page did. One clock, for all is on one machine.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import httpx2 as httpx
from playwright.async_api import async_playwright

from bench.figures import Figure
from segue.host import embedded
from segue.host.client import KubeClient
from segue.host.settings import ClusterSettings
from segue.model.http import ApiRequest
from tests.live.console import BIN

CHANGES = 40
CHANGE_EVERY_S = 0.7
GOAL_MS = 300
PATH = "/apis/apps/v1/namespaces/default/deployments"
QUICK = Path(__file__).parents[1] / "examples" / "quick" / "web.yaml"


def figures() -> Iterator[Figure]:
    """Worst of a number of changes: into the document that the page is told, and into the DOM."""
    with tempfile.TemporaryDirectory() as home:
        state = Path(home) / "default"
        embedded.start(state, ClusterSettings())
        env = {**os.environ, "SEGUE_HOME": home, "KUBECONFIG": str(state / "kubeconfig")}
        web = None
        try:
            for argv in (["apply", "-f", str(QUICK)], ["rollout", "status", "deployment/web"]):
                subprocess.run([str(BIN / "kubectl"), *argv], env=env, check=True, capture_output=True)
            web = subprocess.Popen([str(BIN / "segue"), "web", "web"], env=env, stdout=subprocess.PIPE, text=True)
            assert web.stdout is not None
            url = web.stdout.readline().strip()
            told, drawn = asyncio.run(_measure(state / "kubeconfig", url))
        finally:
            if web is not None:
                web.terminate()
                web.wait(20)
            embedded.stop(state)
    yield Figure(name="live_page_told_after_api", values=told, unit="ms", goal=GOAL_MS)
    yield Figure(name="live_page_told_worst", values=[max(told)], unit="ms", goal=GOAL_MS)
    if drawn:
        yield Figure(name="live_page_drawn_after_api", values=drawn, unit="ms", goal=GOAL_MS)
        yield Figure(name="live_page_drawn_worst", values=[max(drawn)], unit="ms", goal=GOAL_MS)


Times = list[float]  # when each change of spec.replicas was first seen, in order


async def _measure(kubeconfig: Path, url: str) -> tuple[list[float], list[float]]:
    shown: Times = []
    told: Times = []
    async with KubeClient.find(str(kubeconfig)) as client, _drawing(url) as drawing:
        followers = [asyncio.create_task(_follow_api(kubeconfig, shown)), asyncio.create_task(_follow_page(url, told))]
        await asyncio.sleep(1.0)
        for number in range(CHANGES):
            body = {"spec": {"replicas": 4 - number % 2}}
            kind = "application/merge-patch+json"
            await client.request(ApiRequest(method="PATCH", path=f"{PATH}/web", body=body, content_type=kind))
            await asyncio.sleep(CHANGE_EVERY_S)
        drawn = await drawing()
        for one in followers:
            one.cancel()
            with suppress(asyncio.CancelledError):
                await one
    return _late_ms(shown, told), _late_ms(shown, drawn) if drawn else []


def _late_ms(shown: Times, seen: Times) -> list[float]:
    assert len(shown) == len(seen) == CHANGES, f"{len(shown)} changes were shown, {len(seen)} were told"
    return [1000 * (late - early) for early, late in zip(shown, seen, strict=True)]


def _note(times: Times, before: int | None, replicas: int) -> int:
    if before is not None and replicas != before:
        times.append(time.time())
    return replicas


async def _follow_api(kubeconfig: Path, times: Times) -> None:
    """What any client is told by a watch of its own."""
    async with KubeClient.find(str(kubeconfig)) as client:
        before: int | None = None
        async with client._http.stream("GET", f"{PATH}?watch=true", timeout=None) as answer:
            async for line in answer.aiter_lines():
                before = _note(times, before, int(json.loads(line)["object"]["spec"]["replicas"]))


async def _follow_page(url: str, times: Times) -> None:
    """What the page is told."""
    at = urlsplit(url)
    before: int | None = None
    async with httpx.AsyncClient(timeout=None) as client:
        await client.get(url)  # the cookie
        async with client.stream("GET", f"http://{at.netloc}/events") as answer:
            async for line in answer.aiter_lines():
                if line.startswith("data: "):
                    before = _note(times, before, int(json.loads(line[6:])["workload"]["replicas"]))


@asynccontextmanager
async def _drawing(url: str) -> AsyncIterator[Callable[[], Awaitable[Times]]]:
    """A Chromium that writes down when the text about the pods changed; nothing where there is none."""
    program = shutil.which("chromium")
    if program is None:
        yield _nothing
        return
    async with async_playwright() as play:
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = await play.chromium.launch(executable_path=program, args=arguments)
        page = await browser.new_page()
        await page.goto(url)
        await page.wait_for_selector(".pod")
        await page.evaluate(
            """() => { const node = document.getElementById("state");
            const wanted = () => /of (\\d+) pods/.exec(node.textContent)[1];
            let before = wanted(); window.times = [];
            new MutationObserver(() => { const now = wanted();
              if (now !== before) { before = now; window.times.push(Date.now() / 1000); } })
            .observe(node, {childList: true, characterData: true, subtree: true}); }"""
        )

        async def times() -> Times:
            return [float(one) for one in await page.evaluate("window.times")]

        yield times
        await browser.close()


async def _nothing() -> Times:
    return []
