"""What strategies cost beyond their pods' own start, on the seed's ten pods under a light load; memory and status.

One cluster (CLUSTER=real: the test bed), two versions in turn. `work_per_step` of a ramped release is what its own
looks, decisions and calls take: from the look an action was decided on until it was accepted.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.figures import Figure
from bench.trial import Site, seed_manifest
from segue.analysis.values import Hook
from segue.drive.command import release
from segue.drive.driver import Driver
from segue.drive.flow import Flow, Progress
from segue.drive.loop import Outcome
from segue.drive.proposing import prepare
from segue.host import embedded
from segue.host.client import KubeClient
from segue.host.loading import client_prefix
from segue.host.performing import perform
from segue.host.releasing import driver
from segue.host.settings import ClusterSettings
from segue.host.state import must_run
from segue.model.manifest import parse
from segue.model.objects import Obj
from segue.release.plan import Approach

RUNS = 2
RATE = 100  # 10 old pods: at least 7 arrivals/s each
STEP = 2
FIRST_TRIES = 20
RECORDS = Path(tempfile.gettempdir()) / "segue-strategies.jsonl"  # stays, for whoever asks when one was lost
BIN = Path(sys.executable).parent
MANNERS = {
    "all_first": Approach(strategy="all-first"),
    "blue_green": Approach(strategy="blue-green", checks=(Hook.of("true"),)),
    "ramped": Approach(strategy="ramped", step=STEP),
}


def figures() -> Iterator[Figure]:
    """Seconds, megabytes and lost requests."""
    beyond: dict[str, list[float]] = {"all_first": [], "blue_green": []}
    work: list[float] = []
    real = os.environ.get("CLUSTER", "embedded") == "real"
    with _site(real=real) as site:
        version = 1
        with _load(site) as found:
            for _ in range(RUNS):
                for name, approach in MANNERS.items():
                    version += 1
                    outcome = _released(site, version, approach)
                    if name == "ramped":
                        work.append(_work_s(outcome) / (10 / STEP))
                    else:
                        beyond[name].append(_beyond_s(outcome))
        status = list(_status_times(site))
        resident = _resident_mb(site, version + 1)
    for name, values in beyond.items():
        yield Figure(name=f"{name}_beyond_pod_start", values=values, unit="s", goal=5.0 if real else 3.0)
    yield Figure(name="ramped_work_per_step", values=work, unit="s", goal=0.5)
    yield Figure(name="strategies_lost", values=[found["lost"]], unit="req", goal=0)
    yield Figure(name="strategies_sent", values=[found["requests"]], unit="req", goal=1000, at_most=False)
    yield Figure(name="status_beyond_python", values=status, unit="s", goal=0.3)
    yield Figure(name="release_resident", values=[resident], unit="MB", goal=80)


def _manifest(version: int) -> str:
    probe = "failureThreshold: 3\n            periodSeconds: 1"
    return seed_manifest(f"v0.{1 + version % 2}").replace("failureThreshold: 1", probe)


@contextmanager
def _site(*, real: bool) -> Iterator[Site]:
    """Ten pods that serve, on the test bed or on an embedded cluster of our own."""
    if real:
        from bench.release_real import bed_site  # noqa: PLC0415 - the test bed is not there on every machine

        with bed_site("bench-strategies") as site:
            yield _served(site)
        return
    with tempfile.TemporaryDirectory() as home:
        state = Path(home) / "default"
        embedded.start(state, ClusterSettings())
        kubeconfig = state / "kubeconfig"
        try:
            yield _served(Site(state=state, running=must_run(state), kubeconfig=kubeconfig, namespace="default"))
        finally:
            embedded.stop(state)


def _served(site: Site) -> Site:
    site.kubectl("apply", "-f", "-", stdin=_manifest(1))
    site.kubectl("wait", "--for=condition=Available", "deployment/test", "--timeout=120s")
    return site


@contextmanager
def _load(site: Site) -> Iterator[Obj]:
    """A light load from the client's side while the block runs; what it found, afterwards."""
    port = site.get("service", "test")["spec"]["ports"][0]["nodePort"]
    url = f"http://{site.running.node_ip}:{port}/fast"
    argv = [*client_prefix(site.state, site.running), str(BIN / "segue"), "load", url]
    found: Obj = {}
    with tempfile.TemporaryDirectory() as home:  # it is in the client's network already and must not look for a way
        env = {**site.env, "SEGUE_HOME": home}
        # that pods are Ready has yet to reach the node's rules
        for _ in range(FIRST_TRIES):
            if not subprocess.run(
                [*argv, "--rate", "20", "--for", "1s"], env=env, capture_output=True, check=False
            ).returncode:
                break
        how = ["--rate", str(RATE), "--for", "600s", "-o", "json", "--records", str(RECORDS)]
        with subprocess.Popen(
            [*argv, *how], env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as firing:
            try:
                yield found
            finally:
                firing.send_signal(signal.SIGINT)
                found.update(json.loads(firing.communicate(timeout=60)[0]))


def _released(site: Site, version: int, approach: Approach) -> Outcome:
    driving = driver(cap_s=None, timeout_s=120.0, approach=approach)
    documents = parse(_manifest(version), file="seed.yaml")

    def make(_: KubeClient, driving: Driver = driving) -> Flow[tuple[Outcome, ...]]:
        preparation = yield from prepare(documents, site.namespace, driving)
        return (yield from release(preparation, driving))

    (outcome,) = perform(make, kubeconfig=str(site.kubeconfig), context="", show=_silent)
    assert outcome.goes_on, outcome.end
    return outcome


def _silent(_: Progress, __: float) -> None:
    return


def _beyond_s(outcome: Outcome) -> float:
    """From the first action on, less the time from the new template to the last new pod's readiness."""
    entries = outcome.journal.actions
    patched_s = next(entry.ended_s for entry in entries if entry.action.startswith("change the template"))
    ready_s = next(entry.at_s for entry in entries if "serve" in entry.action and entry.at_s > patched_s)
    return (outcome.ended_s - entries[0].at_s) - (ready_s - patched_s)


def _work_s(outcome: Outcome) -> float:
    return sum(entry.ended_s - entry.at_s for entry in outcome.journal.actions)


def _status_times(site: Site) -> Iterator[float]:
    for _ in range(7):
        spent = []
        for argv in ([str(BIN / "segue"), "status", "test", "-n", site.namespace], [sys.executable, "-c", ""]):
            began_s = time.monotonic()
            subprocess.run(argv, env=site.env, check=True, capture_output=True)
            spent.append(time.monotonic() - began_s)
        yield spent[0] - spent[1]


def _resident_mb(site: Site, version: int) -> float:
    """The most memory a `segue release` of ten pods takes."""
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(_manifest(version))
        file.flush()
        quiet = [(os.POSIX_SPAWN_OPEN, number, "/dev/null", os.O_WRONLY, 0) for number in (1, 2)]
        argv = [str(BIN / "segue"), "release", "-f", file.name, "-n", site.namespace]
        pid = os.posix_spawn(argv[0], argv, site.env, file_actions=quiet)
        _, code, usage = os.wait4(pid, 0)
    assert code == 0, code
    return usage.ru_maxrss / 1024
