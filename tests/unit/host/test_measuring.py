"""Sources asked for real, on loopback: what they say is counted, what they do not say is their trouble."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from segue.analysis.values import Analysis, CommandSource, Counts, Hook, HttpSource, Metric, PrometheusSource, Sample
from segue.analysis.values import Source as AnySource
from segue.drive.flow import Measure
from segue.host.analyses import hook_of
from segue.host.check_runner import CheckRunner
from segue.host.client import KubeClient
from segue.host.measuring import Measuring
from segue.model.objects import Obj
from segue.release.snapshot import Checked

FACTS = {"SEGUE_VERSION": "new", "SEGUE_NAMESPACE": "default"}
OLD = {**FACTS, "SEGUE_VERSION": "old"}


@dataclass
class House:
    """A server on loopback: `/fine`, `/broken`, and Prometheus' query API over counters that grow with each query."""

    port: int = 0
    asked: list[str] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def answer(self, path: str) -> tuple[int, bytes]:
        parts = urlsplit(path)
        if parts.path == "/fine":
            return 200, b"all fine"
        if parts.path != "/api/v1/query":
            return 500, b"broken"
        query = parse_qs(parts.query)["query"][0]
        self.asked.append(query)
        count = self.asked.count(query) * (10 if query.startswith("total") else 1)
        rows: list[Obj] = [{"metric": {"pod": "a"}, "value": [1.0, str(count)]}]
        body: Obj = {"status": "success", "data": {"resultType": "vector", "result": rows}}
        return 200, json.dumps(body).encode()


@pytest.fixture
def house() -> Iterator[House]:
    made = House()

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            made.tokens.append(self.headers.get("Authorization", ""))
            code, body = made.answer(self.path)
            self.send_response(code)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        made.port = server.server_port
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        yield made
        server.shutdown()
        serving.join()


def measured(source: AnySource, until: Callable[[Sample], bool], *, compares: bool = False) -> Sample:
    """What a source has said once this holds; its end is part of it."""
    metric = Metric(name="it", source=source, bad_at_most=0.1, worse_at_most=0.1 if compares else None)
    wanted = Analysis(metrics=(metric,), every_s=0.01)
    asked = Measure(analysis=wanted, facts=FACTS, old_facts=OLD)

    async def run() -> Sample:
        measuring = Measuring()
        found: Mapping[str, Sample] = {}
        async with asyncio.timeout(20):
            while not found or not until(found["it"]):
                found = await measuring.poll(asked)
                await asyncio.sleep(0.01)
        assert await measuring.poll(Measure(analysis=None)) == {}
        assert measuring.tasks == []
        return found["it"]

    return asyncio.run(run())


def test_counters_of_both_versions_are_followed(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "secret")
    source = PrometheusSource(
        url=house.url, bad='bad{v="$SEGUE_VERSION"}', total='total{v="$SEGUE_VERSION"}', token_from="TOKEN"
    )
    found = measured(source, lambda sample: sample.old.total >= 50, compares=True)

    assert found.trouble == ""
    for counts in (found.new, found.old):
        assert counts.total >= 50
        assert counts.bad == pytest.approx(counts.total / 10, abs=1.0)
    assert set(house.asked) == {'bad{v="new"}', 'total{v="new"}', 'bad{v="old"}', 'total{v="old"}'}
    assert set(house.tokens) == {"Bearer secret"}


def test_a_command_sees_the_facts_of_the_version_it_is_asked_about() -> None:
    source = CommandSource(command='test "$SEGUE_VERSION" = new')
    found = measured(source, lambda sample: sample.old.total >= 3, compares=True)

    assert found.new.bad == 0
    assert found.old.good == 0


@pytest.mark.parametrize(
    ("path", "contains", "good"), [("/fine", "fine", True), ("/fine", "else", False), ("/broken", "", False)]
)
def test_a_url_is_good_or_bad_at_each_look(house: House, path: str, contains: str, good: bool) -> None:
    found = measured(HttpSource(url=house.url + path, contains=contains), lambda sample: sample.new.total >= 3)

    assert found.trouble == ""
    assert (found.new.bad == 0) is good
    assert (found.new.good == 0) is not good


@pytest.mark.parametrize(
    ("source", "why"),
    [
        (CommandSource(command="echo lost; exit 4"), "exit code 4: lost"),
        (PrometheusSource(url="http://127.0.0.1:1", good="g", bad="b"), "/api/v1/query does not answer"),
        (PrometheusSource(url="http://127.0.0.1:1", good="g", bad="b", token_from="NOWHERE"), "has no NOWHERE"),
    ],
    ids=["command", "nobody there", "no token"],
)
def test_what_does_not_answer_is_in_trouble_and_counts_nothing(source: AnySource, why: str) -> None:
    found = measured(source, lambda sample: "it has not answered yet" not in sample.trouble)

    assert why in found.trouble
    assert found.new == Counts()


def test_what_is_no_prometheus_is_in_trouble(house: House) -> None:
    found = measured(
        PrometheusSource(url=f"{house.url}/fine?x=", good="g", bad="b"), lambda sample: "answers" in sample.trouble
    )

    assert "not as Prometheus does" in found.trouble


# -- checks ------------------------------------------------------------------------------------------------------------


NOWHERE = """
apiVersion: v1
kind: Config
current-context: none
contexts: [{name: none, context: {cluster: none, user: nobody}}]
clusters: [{name: none, cluster: {server: "http://127.0.0.1:1"}}]
users: [{name: nobody, user: {}}]
"""


@pytest.fixture
def checked(tmp_path: Path) -> Callable[[Hook], Checked]:
    """How a check ends; a command and a URL need no cluster."""
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(NOWHERE)

    async def run(hook: Hook) -> Checked:
        async with KubeClient.find(str(kubeconfig)) as client:
            runner = CheckRunner(client=client)
            while True:
                found = await runner.poll(hook, FACTS)
                if found is not None:
                    return found

    return lambda hook: asyncio.run(run(hook))


def test_a_url_decides_by_status_and_words(house: House, checked: Callable[[Hook], Checked]) -> None:
    fine = f"{house.url}/fine?of=$SEGUE_VERSION"

    assert checked(hook_of(fine)) == Checked(passed=True, said=f"{house.url}/fine?of=new answers 200")
    wordless = checked(Hook(kind="http", text=fine, contains="grand"))
    assert not wordless.passed
    assert wordless.said.endswith("answers 200, without 'grand' in it")
    assert checked(Hook(kind="http", text=f"{house.url}/broken", status=500)).passed
    assert not checked(hook_of(f"{house.url}/broken")).passed
    assert "does not answer" in checked(hook_of("http://127.0.0.1:1/")).said


def test_a_command_that_does_not_end_has_not_succeeded(checked: Callable[[Hook], Checked]) -> None:
    found = checked(Hook(kind="command", text="sleep 60", timeout_s=0.2))

    assert found == Checked(passed=False, said="it has not ended within 0.2 s")
    assert checked(hook_of("echo one; echo two; exit 3")) == Checked(passed=False, said="exit code 3: two")
