"""The seed's Deployment on a real Kubernetes through three rollouts under one load: native, native with a preStop
sleep, segue. Needs the test bed; starts one where none is up, and ends what it started.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from bench.figures import Figure
from bench.trial import NAME, Act, Measured, Site, apply, release, seed_manifest, trial
from segue.host.state import must_run, read_running
from testbed.ending import down
from testbed.image_recipes import SAMPLER
from testbed.layout import bed
from testbed.starting import Wish, up
from testbed.versions import DEFAULT
from testbed.versions import release as version_named

RATE = 850.0  # new connections per second; bounded: ten Python pods and the bed itself share two cores
CALM_RATE = 300.0  # thirty per old pod and second: what is left of the machine is Kubernetes' own
NAMESPACE = "bench-release"
READY_LIMIT_S = 90.0
SETTLED_S = 3.0
MEASURED_MAX = 3


def figures() -> Iterator[Figure]:
    """The three ways, one after the other, each from a fresh Deployment."""
    with bed_site(NAMESPACE) as site:
        native = _measure(site, "native", apply(site, seed_manifest("v0.2")), seed_manifest("v0.1"))
        yield from _rows("native", native)
        slept = seed_manifest("v0.1", pre_stop_s=5)
        sleeping = _measure(site, "preStop", apply(site, seed_manifest("v0.2", pre_stop_s=5)), slept)
        yield from _rows("prestop", sleeping)
        ours = _measure(site, "segue", release(site, seed_manifest("v0.2")), seed_manifest("v0.1"))
        static = seed_manifest("v0.1", image="grace-static")
        act = release(site, seed_manifest("v0.2", image="grace-static"), "--sampler-image", SAMPLER)
        no_exec = _measure(site, "segue, an image without a shell", act, static)
        act = release(site, seed_manifest("v0.2"))
        calm = _measure(site, "segue, calm", act, seed_manifest("v0.1"), rate=CALM_RATE)
        act = release(site, seed_manifest("v0.2", image="grace-static"), "--sampler-image", SAMPLER)
        calm_no_exec = _measure(site, "segue, an image without a shell, calm", act, static, rate=CALM_RATE)
    yield from _rows("segue", ours, ours=True)
    yield from _rows("segue_static", no_exec, ours=True)
    for name, measured in (("segue_calm", calm), ("segue_static_calm", calm_no_exec)):
        yield Figure(name=f"{name}_lost", values=[measured.lost], unit="req", goal=0)
        yield Figure(name=f"{name}_gone_after_switch", values=[measured.end_gap_s], unit="s", goal=5.0)
    for name, other in (("native", native), ("prestop", sleeping)):
        yield Figure(name=f"segue_time_beside_{name}", values=[ours.gone_s / other.gone_s], unit="ratio", goal=1.0)


def _measure(site: Site, name: str, act: Act, before: str, *, rate: float = RATE) -> Measured:
    """One way. Where the seed's own probes restarted containers because the machine was busy with other things, the
    figures are those of the machine: measured again."""
    for left in reversed(range(MEASURED_MAX)):
        deploy_afresh(site, before)
        measured = asyncio.run(trial(site, act, rate=rate))
        void = measured.restarts > 0 and left > 0
        print(f"# {name}: {measured.line()}{'; void, again' if void else ''}", file=sys.stderr, flush=True)
        if not void:
            return measured
    raise AssertionError("the last one counts, whatever it is")


def _rows(name: str, measured: Measured, *, ours: bool = False) -> Iterator[Figure]:
    """One way's figures; goals are for segue only, the others are there to be compared with."""
    yield Figure(name=f"{name}_lost", values=[measured.lost], unit="req", goal=0 if ours else None)
    yield Figure(name=f"{name}_sent", values=[measured.sent], unit="req", goal=10_000, at_most=False)
    yield Figure(name=f"{name}_switched", values=[measured.switched_s], unit="s", goal=None)
    if ours:
        limit_s = round(measured.switch_limit_s, 3)
        yield Figure(name=f"{name}_switch_after_ready", values=[measured.switch_gap_s], unit="s", goal=limit_s)
    yield Figure(name=f"{name}_last_old_pod_gone", values=[measured.gone_s], unit="s", goal=None)
    if ours:
        yield Figure(name=f"{name}_gone_after_switch", values=[measured.end_gap_s], unit="s", goal=None)
    yield Figure(name=f"{name}_peak_pods", values=[measured.peak], unit="pods", goal=20 if ours else None)


@contextmanager
def bed_site(namespace: str) -> Iterator[Site]:
    """A namespace of our own on the running bed, or on one started for it; nothing stays behind."""
    here = bed()
    started = read_running(here.state) is None
    try:
        if started:
            up(here, Wish(release=version_named(DEFAULT)), lambda line: print(f"# {line}", file=sys.stderr))
        site = Site(state=here.state, running=must_run(here.state), kubeconfig=here.kubeconfig, namespace=namespace)
        site.run("kubectl", "delete", "namespace", namespace, "--ignore-not-found")
        site.kubectl("create", "namespace", namespace)
        try:
            yield site
        finally:
            site.run("kubectl", "delete", "pods", "--all", "--force", "--grace-period=0")
            site.run("kubectl", "delete", "namespace", namespace)
    finally:
        if started:
            down(here, lambda line: print(f"# {line}", file=sys.stderr))


def deploy_afresh(site: Site, manifest: str) -> None:
    """A Deployment that has had no rollout, all of it Ready and in the data plane for a while."""
    site.run("kubectl", "delete", "deployment", NAME, "--ignore-not-found")
    site.run("kubectl", "delete", "pods", "--all", "--force", "--grace-period=0")
    # A connection that an earlier rollout lost leaves an entry for up to 120 s, which sends the next one from the same
    # port of the same client to the same dead pod: no loss of the rollout to come.
    subprocess.run([sys.executable, "-m", "testbed", "enter", "node", "--", "conntrack", "-F"], check=True)
    site.kubectl("apply", "-f", "-", stdin=manifest)
    end_s = time.monotonic() + READY_LIMIT_S
    while not _is_whole(site):
        assert time.monotonic() < end_s, f"the pods of {site.namespace} are not Ready after {READY_LIMIT_S} s"
        threading.Event().wait(0.25)
    threading.Event().wait(SETTLED_S)


def _is_whole(site: Site) -> bool:
    deployment = site.get("deployment", NAME)
    wanted = deployment["spec"]["replicas"]
    pods = site.get("pods")["items"]
    ready = deployment.get("status", {}).get("readyReplicas", 0)
    return bool(ready == wanted == len(pods))
