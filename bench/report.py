"""What the report of a run of a million requests costs: to make, to keep, and to open in a browser.

How long it opens is the time of a headless Chromium with the page less that with an empty one.
"""

from __future__ import annotations

import random
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench.figures import Figure
from segue.load.outcome import Outcome, Phase
from segue.load.plan import Plan
from segue.load.record import Record
from segue.model.objects import Obj
from segue.model.timeline import Happening, What
from segue.proof.raw import Raw
from segue.proof.receipt import ActionEntry, Case
from segue.report.page import page, story_of

RUNS = 3
REQUESTS = 1_000_000
LOST = 5_000
PODS = 10
RATE = 10_000.0
T0 = 1_800_000_000.0
SERVICE = "default/web"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def figures() -> Iterator[Figure]:
    """Seconds to make it, its size, and seconds to open it where a browser is installed."""
    began_s = time.perf_counter()
    text = made(REQUESTS)
    yield Figure(name="report_of_1e6_made", values=[time.perf_counter() - began_s], unit="s", goal=None)
    yield Figure(name="report_of_1e6_size", values=[len(text.encode()) / 1e6], unit="MB", goal=2)
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser:
        yield Figure(name="report_of_1e6_opens", values=opens_s(browser, text), unit="s", goal=2)


def made(requests: int) -> str:
    """The page of a run in which pods end one after the other and lose requests as they do."""
    raw = a_run(requests)
    return page(story_of(raw, raw.receipt()))


def a_run(requests: int) -> Raw:
    """The record of such a run."""
    chance = random.Random(10)
    length_s = requests / RATE
    happenings: list[Happening] = []
    ends: list[float] = []
    for number in range(PODS):
        end_s = T0 + length_s * (number + 1) / (PODS + 1)
        happenings += _a_pod(number, end_s)
        ends.append(end_s)
    lost = {chance.randrange(requests) for _ in range(LOST)}
    records: list[Record] = []
    for index in range(requests):
        planned_s = T0 + index / RATE
        if index in lost:  # it comes a little after the end of some pod
            planned_s = chance.choice(ends) + 0.02 + chance.uniform(0.0, 0.7)
        records.append(_request(index, planned_s, chance.expovariate(1000), lost=index in lost))
    case = Case(
        title="A release under load",
        asked={"drill": "restart"},
        zero_s=T0,
        exposure=(T0, T0 + length_s),
        tool_version="bench",
        plan=Plan(url="http://10.88.0.1:31002", rate=RATE, duration_s=length_s),
        actions=tuple(ActionEntry(at_s=end_s, action=f"end pod web-{number}") for number, end_s in enumerate(ends)),
    )
    return Raw(case=case, service=SERVICE, happenings=happenings, records=records)


def _a_pod(number: int, end_s: float) -> list[Happening]:
    pod, ip = f"default/a-service-with-a-long-name-7d9f8b6c5d-x2x4{number}", f"10.0.0.{number + 1}"
    told: list[tuple[float, What, Obj]] = [
        (T0 - 9.0, What.POD_CREATED, {"image": "web:v1"}),
        (T0 - 8.9, What.SANDBOX_CREATED, {"ip": ip}),
        (T0 - 8.8, What.CONTAINER_STARTED, {"container": "web"}),
        (T0 - 8.7, What.LISTENER_OPENED, {"port": 8080}),
        (T0 - 8.0, What.POD_READY, {"ip": ip}),
        (T0 - 8.0, What.RULE_ADDED, {"service": SERVICE, "ip": ip, "node": "node"}),
        (end_s, What.POD_DELETION_SET, {"grace_s": 30}),
        (end_s + 0.005, What.SIGTERM_SENT, {}),
        (end_s + 0.01, What.LISTENER_CLOSED, {"port": 8080, "not_before_s": end_s + 0.008}),
        (end_s + 0.1, What.CONTAINER_EXITED, {"exit_code": 0, "container": "web"}),
        (end_s + 0.8, What.RULE_REMOVED, {"service": SERVICE, "ip": ip, "node": "node"}),
        (end_s + 1.0, What.SANDBOX_REMOVED, {}),
    ]
    return [Happening(at_s=at_s, what=what, pod=pod, data=data) for at_s, what, data in told]


def _request(index: int, planned_s: float, took_s: float, *, lost: bool) -> Record:
    return Record(
        index=index,
        planned_s=planned_s,
        sent_s=0.0 if lost else planned_s,
        opened_s=planned_s,
        connected_s=0.0 if lost else planned_s,
        first_byte_s=0.0 if lost else planned_s + took_s,
        done_s=planned_s + took_s,
        local_ip="10.99.0.2",
        local_port=20000 + index % 40000,
        remote_ip="10.88.0.1",
        remote_port=31002,
        conn=index,
        nth=1,
        bytes_out=0 if lost else 80,
        bytes_in=0 if lost else 90,
        status=0 if lost else 200,
        errno="ECONNREFUSED" if lost else "",
        phase=Phase.CONNECT if lost else Phase.DONE,
        outcome=Outcome.CONNECT_REFUSED if lost else Outcome.OK,
        version="" if lost else "v1" if planned_s % 1 < 0.5 else "v2",
        path="/",
        request_id=f"load-{index}",
    )


def opens_s(browser: str, text: str) -> list[float]:
    """How much longer the browser takes with this page than with an empty one."""
    with tempfile.TemporaryDirectory() as place:
        shown, empty = Path(place) / "page.html", Path(place) / "empty.html"
        shown.write_text(text)
        empty.write_text("<!doctype html><title>empty</title>")
        once = [_browse(browser, empty, place), *(_browse(browser, empty, place) for _ in range(RUNS))]
        return [max(0.0, _browse(browser, shown, place) - min(once)) for _ in range(RUNS)]


def _browse(browser: str, path: Path, home: str) -> float:
    quiet = [
        "--headless",
        "--disable-gpu",
        "--no-sandbox",
        f"--user-data-dir={home}/profile",
        "--window-size=1200,4000",
    ]
    began_s = time.perf_counter()
    subprocess.run(
        [browser, *quiet, f"--screenshot={home}/page.png", path.as_uri()], check=True, capture_output=True, timeout=60
    )
    return time.perf_counter() - began_s
