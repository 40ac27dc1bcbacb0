"""The analysis file: what it may say, and what is said about one that is off."""

from __future__ import annotations

import pytest

from segue.analysis.file import read_analysis, read_job
from segue.analysis.values import Analysis, CommandSource, Hook, HttpSource, LoadSource, Metric, PrometheusSource
from segue.model.errors import ManifestError

WHOLE = """
every: 2s
atLeast: 500ms
atMost: 5m
risk: 1%
checks:
- command: ./smoke.sh
- http: http://127.0.0.1:8080/health
  status: 204
  contains: fine
  timeout: 3s
- job: smoke.yaml
  timeout: 1m
metrics:
- name: errors
  prometheus:
    url: http://127.0.0.1:9090/
    bad: requests_total{code="500", pod=~"$SEGUE_PODS_PATTERN"}
    total: requests_total{pod=~"$SEGUE_PODS_PATTERN"}
  badAtMost: 1%
  worseAtMost: 0.005
- name: p99
  prometheus: {url: "http://127.0.0.1:9090", value: p99, below: 0.3, tokenFrom: TOKEN}
  badAtMost: 20%
- name: load
  load: {url: "http://127.0.0.1:31002/fast", rate: 50, slowerThan: 300ms, version: v2}
  worseAtMost: 2 %
  minimum: 500
- name: script
  command: ./look.sh
  badAtMost: 10%
- name: page
  http: {url: "http://127.0.0.1/", contains: welcome}
  badAtMost: 10%
"""


def test_all_that_can_be_said() -> None:
    found = read_analysis(WHOLE, file="a.yaml")

    assert found == Analysis(
        every_s=2.0,
        least_s=0.5,
        most_s=300.0,
        risk=0.01,
        hooks=(
            Hook(kind="command", text="./smoke.sh", timeout_s=0.0),
            Hook(kind="http", text="http://127.0.0.1:8080/health", status=204, contains="fine", timeout_s=3.0),
            Hook(kind="job", text="smoke.yaml", timeout_s=60.0),
        ),
        metrics=(
            Metric(
                name="errors",
                source=PrometheusSource(
                    url="http://127.0.0.1:9090",
                    bad='requests_total{code="500", pod=~"$SEGUE_PODS_PATTERN"}',
                    total='requests_total{pod=~"$SEGUE_PODS_PATTERN"}',
                ),
                bad_at_most=0.01,
                worse_at_most=0.005,
            ),
            Metric(
                name="p99",
                source=PrometheusSource(url="http://127.0.0.1:9090", value="p99", below=0.3, token_from="TOKEN"),
                bad_at_most=0.2,
            ),
            Metric(
                name="load",
                source=LoadSource(url="http://127.0.0.1:31002/fast", rate=50.0, slower_s=0.3, version="v2"),
                worse_at_most=0.02,
                minimum=500,
            ),
            Metric(name="script", source=CommandSource(command="./look.sh"), bad_at_most=0.1),
            Metric(name="page", source=HttpSource(url="http://127.0.0.1/", contains="welcome"), bad_at_most=0.1),
        ),
    )


ONE = "metrics:\n- name: a\n  command: x\n  badAtMost: 1%\n"


@pytest.mark.parametrize(
    ("text", "line", "path", "words"),
    [
        ("", 0, "", "0 documents"),
        ("- a\n", 1, "$", "this is a list, not a mapping"),
        ("a: [\n", 2, "", "not YAML"),
        ("every: 5s\n", 1, "$", "neither metrics nor checks"),
        (ONE + "evry: 5s\n", 1, "$", "unknown field `evry`"),
        ("metrics:\n- name: a\n  command: x\n  badAtMost: 1%\n  wors: 1\n", 2, "$.metrics[0]", "unknown field `wors`"),
        ("metrics:\n- command: x\n  badAtMost: 1%\n", 2, "$.metrics[0]", "missing required field `name`"),
        ("metrics:\n- name: a\n  command: x\n", 2, "$.metrics[0]", "neither badAtMost nor worseAtMost"),
        ("metrics:\n- name: a\n  badAtMost: 1%\n", 2, "$.metrics[0]", "nothing to ask"),
        (
            "metrics:\n- name: a\n  command: x\n  http: {url: 'http://a'}\n  badAtMost: 1%\n",
            2,
            "$.metrics[0]",
            "both command and http",
        ),
        (ONE.replace("1%", "0"), 4, "$.metrics[0].badAtMost", "badAtMost is 0.0, not a share"),
        (ONE.replace("1%", "100%"), 4, "$.metrics[0].badAtMost", "not a share"),
        (ONE.replace("1%", "few"), 4, "$.metrics[0].badAtMost", "not a share"),
        (ONE + "  minimum: 0\n", 5, "$.metrics[0].minimum", "minimum is 0"),
        (ONE + "- name: a\n  command: x\n  badAtMost: 1%\n", 5, "$.metrics[1].name", "stands twice"),
        (ONE + "every: soon\n", 5, "$.every", "'soon' is no time"),
        (ONE + "every: 10ms\n", 5, "$.every", "at most 10 times a second"),
        (ONE + "atLeast: 10m\n", 1, "$.atMost", "longer than atLeast"),
        (ONE + "risk: 2\n", 5, "$.risk", "risk is 2"),
        (ONE.replace("command: x", "http: {url: ftp://a}"), 3, "$.metrics[0].http.url", "no http:// or https:// URL"),
        (
            ONE.replace("command: x", "load: {url: 'https://a/'}"),
            3,
            "$.metrics[0].load.url",
            "does not speak TLS",
        ),
        (ONE.replace("command: x", "load: {url: 'http://a/', rate: 0}"), 3, "$.metrics[0].load.rate", "rate is 0"),
        (
            ONE.replace("command: x", "load: {url: 'http://a/'}").replace("badAtMost", "worseAtMost"),
            4,
            "$.metrics[0].worseAtMost",
            "does not tell the versions apart",
        ),
        (
            ONE.replace("command: x", "prometheus: {url: 'http://a/', good: x}"),
            3,
            "$.metrics[0].prometheus",
            "do not fit together",
        ),
        (
            ONE.replace("command: x", "prometheus: {url: 'http://a/', value: x}"),
            3,
            "$.metrics[0].prometheus",
            "do not fit together",
        ),
        ("checks:\n- job: a\n  status: 200\n", 2, "$.checks[0]", "status and contains are of http, not of job"),
        ("checks:\n- timeout: 3s\n", 2, "$.checks[0]", "nothing to ask"),
        ("metrics: 3\n", 1, "$.metrics", "Expected `array`, got `int`"),
    ],
)
def test_what_is_off_is_named_with_its_place(text: str, line: int, path: str, words: str) -> None:
    with pytest.raises(ManifestError) as caught:
        read_analysis(text, file="a.yaml")

    assert words in caught.value.message
    assert caught.value.place is not None
    assert (caught.value.place.line, caught.value.place.path) == (line, path)


JOB = """
apiVersion: batch/v1
kind: Job
metadata: {name: smoke}
spec:
  template:
    spec: {containers: [{name: a, image: b}]}
"""


def test_a_job_is_one_job() -> None:
    assert read_job(JOB, file="j.yaml")["metadata"]["name"] == "smoke"
    for text, words in [
        ("", "this is nothing"),
        (JOB + "---" + JOB, "this is Job, Job"),
        (JOB.replace("Job", "Pod").replace("batch/v1", "v1"), "this is Pod"),
        (JOB.partition("spec:")[0], "no pod template"),
    ]:
        with pytest.raises(ManifestError, match=words):
            read_job(text, file="j.yaml")


def test_the_short_forms_of_a_check() -> None:
    assert Hook.of("http://a/b") == Hook(kind="http", text="http://a/b", timeout_s=10.0)
    assert Hook.of("job:smoke.yaml").said == "job:smoke.yaml"
    assert Hook.of("curl http://a") == Hook(kind="command", text="curl http://a", timeout_s=0.0)
