"""Checks and analyses at the stops of a release, as a user meets them: URLs, Jobs, a load, a real Prometheus."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from segue.model.objects import Obj
from tests.live.both.user.app import NAME, V2, App, changes, error_of, users_part
from tests.live.both.user.prometheus import Prometheus, prometheus, relayed
from tests.waiting import wait_until

pytestmark = pytest.mark.live

STATEMENTS = {
    "segue checks": "A command, a URL or a Job is tried before the new version gets all traffic; where it fails, or "
    "cannot be carried out, all is taken back. The Job and its pods are deleted.",
    "segue analysis": "Measures the new version at each stop, by its own load, a command or Prometheus: goes on by "
    "itself where it is shown to be good, takes it back where it is shown to be bad, else holds.",
}
NOT_COVERED: dict[str, str] = {}
DIFFERENCES: dict[str, str] = {}
Measured = Callable[[str, float, str], None]
LIES = """          env:
            - name: READY_LIES_S
              value: "900"
          livenessProbe:
"""
BROKEN = V2.replace("          livenessProbe:\n", LIES)  # Ready, and answers 503
JOB = """
apiVersion: batch/v1
kind: Job
metadata:
  name: smoke
spec:
  backoffLimit: 0
  template:
    spec:
      restartPolicy: Never
      containers:
        - name: smoke
          image: host.org/images/grace:v0.2
          command: ["sh", "-c", "echo looking at $SEGUE_TAG of $SEGUE_DEPLOYMENT; exit CODE"]
"""
LOAD = """
every: 1s
atMost: 90s
metrics:
  - name: own load
    load:
      url: http://127.0.0.1:PORT/fast
      rate: 40
      slowerThan: 2s
      version: $SEGUE_TAG
    badAtMost: 10%
"""
QUERIES = """
every: 1s
atMost: MOST
metrics:
  - name: errors
    prometheus:
      url: URL
      bad: http_requests_total{version="$SEGUE_VERSION", code=~"5.."}
      total: http_requests_total{version="$SEGUE_VERSION"}
    badAtMost: 10%
    worseAtMost: 15%
  - name: pods
    prometheus:
      url: URL
      value: min(up{pod=~"$SEGUE_PODS_PATTERN"})
      above: 0
    badAtMost: 40%
"""


def leftovers(app: App) -> list[str]:
    """Jobs, and pods that are no pods of the Deployment."""
    jobs = [each["metadata"]["name"] for each in app.place.all("jobs")]
    pods = [each["metadata"] for each in app.place.all("pods")]
    return [*jobs, *(pod["name"] for pod in pods if "batch.kubernetes.io/job-name" in pod["labels"])]


def at_version(app: App, version: str) -> None:
    assert app.versions() == {version}
    app.check_clean()


# -- checks ------------------------------------------------------------------------------------------------------------


@pytest.mark.states("segue checks")
def test_a_url_is_asked_before_the_switch(serving: App) -> None:
    before = users_part(serving.deployment())
    place = serving.place
    target = f"{place.world.node_ip}:{place.node_port(NAME)}"
    serving.wait_reached(place.world.node_ip, place.node_port(NAME))
    with serving.load() as tally, relayed(place, target) as port:
        url = f"http://127.0.0.1:{port}"
        argv = ("release", "-f", serving.file(V2), "--check")
        nowhere = error_of(serving.segue(*argv, f"{url}/nowhere?of=$SEGUE_TAG"), 8)
        silent = error_of(serving.segue(*argv, "http://127.0.0.1:1/"), 8)
        back = users_part(serving.deployment())
        done = serving.segue(*argv, f"{url}/fast")

    assert f"the check failed ({url}/nowhere?of=v0.2 answers 404); Deployment {NAME} is at version" in nowhere
    assert "the check failed (http://127.0.0.1:1/ does not answer" in silent
    assert changes(before, back) == {}
    assert done.returncode == 0, done.stderr
    assert f"because {url}/fast answers 200" in done.stderr
    tally.check_none_lost()
    at_version(serving, "v0.2")


@pytest.mark.states("segue checks")
def test_a_job_is_run_before_the_switch_and_taken_away_again(serving: App) -> None:
    before = users_part(serving.deployment())
    serving.file(JOB.replace("CODE", "0"), "good.yaml")
    serving.file(JOB.replace("CODE", "3"), "bad.yaml")
    reached = JOB.replace("template:\n", 'template:\n    metadata:\n      labels: {"app/name": test}\n')
    serving.file(reached.replace("CODE", "0"), "reached.yaml")
    analysis = serving.file("checks:\n  - job: good.yaml\n    timeout: 60s\n", "analysis.yaml")
    argv = ("release", "-f", serving.file(V2))
    with serving.load() as tally:
        failed = error_of(serving.segue(*argv, "--check", "job:bad.yaml"), 8)
        wait_until(lambda: not leftovers(serving), limit_s=60, what="the Job and its pods to be gone")
        refused = error_of(serving.segue(*argv, "--check", "job:reached.yaml"), 8)
        back = users_part(serving.deployment())
        done = serving.segue(*argv, "--analysis", analysis)

    assert "the check failed (Job smoke-" in failed
    assert "BackoffLimitExceeded" in failed
    assert f"looking at v0.2 of {NAME}" in failed
    assert f"Service {NAME} would send traffic to the pods of Job smoke-" in refused
    assert changes(before, back) == {}
    assert done.returncode == 0, done.stderr
    assert "run the check" not in done.stderr
    assert "the check has passed" in done.stderr
    assert f"because looking at v0.2 of {NAME}" in done.stderr
    tally.check_none_lost()
    wait_until(lambda: not leftovers(serving), limit_s=60, what="the Job and its pods to be gone")
    at_version(serving, "v0.2")


@pytest.mark.full
@pytest.mark.states("segue checks")
def test_a_job_does_not_outlive_a_release_that_is_stopped(serving: App) -> None:
    serving.file(JOB.replace("exit CODE", "sleep 60"), "long.yaml")
    going = serving.start("release", "-f", serving.file(V2), "--check", "job:long.yaml")
    assert going.until("the check runs: job:long.yaml"), going.told
    wait_until(lambda: leftovers(serving), limit_s=30, what="the Job")
    going.process.terminate()

    assert going.end()[0] == 130
    wait_until(lambda: not leftovers(serving), limit_s=60, what="the Job and its pods to be gone")
    serving.done("abort", NAME)
    at_version(serving, "v0.1")


@pytest.mark.states("segue checks", "segue analysis")
def test_what_is_off_in_a_file_changes_nothing(serving: App) -> None:
    argv = ("release", "-f", serving.file(V2), "--strategy", "canary", "--analysis")
    off = serving.refused(*argv, serving.file("metrics:\n- name: a\n  command: x\n", "a.yaml"), code=3)
    missing = serving.refused(*argv, "nowhere.yaml", code=3)
    job = serving.refused("release", "-f", serving.file(V2), "--check", f"job:{serving.file(V2)}", code=3)
    recreate = serving.refused("release", "-f", serving.file(V2), "--strategy", "recreate", "--check", "true", code=2)

    assert "neither badAtMost nor worseAtMost" in off
    assert "a.yaml:2 $.metrics[0]" in off
    assert "check the path after --analysis" in missing
    assert "a check needs one Job (this is Deployment, Service)" in job
    assert "--check needs --strategy all-first" in recreate


# -- analysis ----------------------------------------------------------------------------------------------------------


@pytest.mark.full
@pytest.mark.states("segue analysis")
def test_a_canary_is_judged_by_a_load_of_its_own(serving: App, measured: Measured) -> None:
    place = serving.place
    target = f"{place.world.node_ip}:{place.node_port(NAME)}"
    before = users_part(serving.deployment())
    manner = ("--strategy", "canary", "--stop", "1,2", "--no-wait", "--analysis")
    with relayed(place, target) as port:
        analysis = serving.file(LOAD.replace("PORT", str(port)), "analysis.yaml")
        failed = error_of(serving.segue("release", "-f", serving.file(BROKEN), *manner, analysis), 8)
        back = users_part(serving.deployment())
        at_version(serving, "v0.1")
        with serving.load() as tally:
            passed = json.loads(serving.done("release", "-f", serving.file(V2), *manner, analysis, "-o", "json"))

    assert "the analysis failed (own load: " in failed
    assert changes(before, back) == {}
    said = [
        each["because"] for each in passed["actions"] if "the analysis has passed (own load: 0 of " in each["because"]
    ]
    assert len(said) == 2, passed["actions"]
    measured("requests to the new version until the first stop was passed, at most 10 % bad", _total(said[0]), "")
    tally.check_none_lost()
    at_version(serving, "v0.2")


def _total(because: str) -> float:
    return float(because.partition("0 of ")[2].partition(" bad")[0])


@pytest.mark.full
@pytest.mark.states("segue analysis")
def test_without_evidence_it_holds_until_somebody_promotes_it(serving: App) -> None:
    text = "every: 1s\natMost: 4s\nmetrics:\n- name: mine\n  command: echo no such place; exit 7\n  badAtMost: 10%\n"
    argv = ("release", "-f", serving.file(V2), "--analysis", serving.file(text, "analysis.yaml"), "--no-wait")
    with serving.load() as tally:
        held = serving.done(*argv)
        versions = serving.status()["versions"]
        serving.done("promote", NAME)

    assert "not enough evidence after 4 s (mine: exit code 7: no such place)" in held
    assert f"segue promote {NAME} goes on" in held
    assert len(versions) == 2
    tally.check_none_lost()
    at_version(serving, "v0.2")


@pytest.mark.states("segue analysis")
def test_prometheus_says_how_the_new_version_does(serving: App, measured: Measured) -> None:
    before = users_part(serving.deployment())
    manner = ("--strategy", "canary", "--stop", "1", "--no-wait", "--analysis")
    with prometheus(serving.place, serving.home, pods=3) as told:
        analysis = serving.file(_queries(told), "analysis.yaml")
        with serving.load():
            failed = error_of(serving.segue("release", "-f", serving.file(BROKEN), *manner, analysis), 8)
        back = users_part(serving.deployment())
        at_version(serving, "v0.1")
        with serving.load() as tally:
            released = json.loads(serving.done("release", "-f", serving.file(V2), *manner, analysis, "-o", "json"))
        told.stop()

    assert "the analysis failed (errors: " in failed
    assert changes(before, back) == {}
    passed = next(each for each in released["actions"] if "the analysis has passed" in each["because"])
    assert "errors: 0 of " in passed["because"]
    assert ", errors: new 0 of " in passed["because"]
    assert "pods: 0 of " in passed["because"]
    measured("until Prometheus had shown that the stop may be passed", _waited(released), "s")
    tally.check_none_lost()
    at_version(serving, "v0.2")


@pytest.mark.full
@pytest.mark.states("segue analysis")
def test_a_prometheus_that_knows_nothing_or_is_gone_lets_nothing_pass(serving: App) -> None:
    manner = ("--strategy", "canary", "--stop", "1", "--no-wait", "--analysis")
    with prometheus(serving.place, serving.home, pods=3) as told:
        empty = _queries(told, "6s").replace("http_requests_total", "no_such_metric")
        argv = ("release", "-f", serving.file(V2), *manner)
        unknown = serving.done(*argv, serving.file(empty, "analysis.yaml"))
        wrong = serving.done(*argv, serving.file(_queries(told, "6s").replace("min(up", "min(((up"), "wrong.yaml"))
        told.stop()
        gone = serving.done(*argv, serving.file(_queries(told, "3s"), "gone.yaml"))

    assert "errors: no series for bad and total: no_such_metric" in unknown
    assert "pods: Prometheus: " in wrong
    assert "parse error" in wrong
    assert f"errors: {told.url}/api/v1/query does not answer" in gone
    serving.done("abort", NAME)
    at_version(serving, "v0.1")


def _queries(told: Prometheus, most: str = "60s") -> str:
    return QUERIES.replace("URL", told.url).replace("MOST", most)


def _waited(released: Obj) -> float:
    """From the first pod to the promotion."""
    first = next(each["atS"] for each in released["actions"] if "new pod" in each["because"])
    passed = next(each["atS"] for each in released["actions"] if "the analysis has passed" in each["because"])
    return float(passed) - float(first)
