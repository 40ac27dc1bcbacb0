"""One rollout under load, measured: the same load and the same measuring for whatever rolls it out.

    load from the client's network, open loop, each request on a connection of its own
    pods and endpoints as the API shows them
    lost and sent within the exposure window: from the first action to the end of the last old pod

Loads go to the bed's own node address only, and are bounded.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench.watching import PodSeen, Sight, Watching
from segue.host.drilling import url_of
from segue.host.firing.child import FiringChild, read_records
from segue.host.loading import client_prefix
from segue.host.state import Running
from segue.load.plan import Plan
from segue.load.record import Record
from segue.model.objects import Obj, seconds_of
from segue.proof.receipt import counts

BIN = Path(sys.executable).parent
SEED = Path(__file__).resolve().parents[1] / "examples" / "seed" / "second-option.yaml"
NAME = "test"  # of the seed's Deployment and Service
LOAD_LIMIT_S = 240.0
BEFORE_S = 2.0
AFTER_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A running cluster and a namespace of our own in it."""

    state: Path
    running: Running
    kubeconfig: Path
    namespace: str

    def run(self, *argv: str, stdin: str = "", limit_s: float = 120.0) -> subprocess.CompletedProcess[str]:
        """A command of the project or kubectl against this namespace."""
        argv = (argv[0], "-n", self.namespace, *argv[1:]) if argv[0] == "kubectl" else (*argv, "-n", self.namespace)
        return subprocess.run(
            [str(BIN / argv[0]), *argv[1:]],
            env=self.env,
            input=stdin,
            text=True,
            capture_output=True,
            timeout=limit_s,
            check=False,
        )

    def kubectl(self, *argv: str, stdin: str = "") -> str:
        """What kubectl prints; AssertionError with its error where it fails."""
        done = self.run("kubectl", *argv, stdin=stdin)
        assert done.returncode == 0, f"kubectl {' '.join(argv)}: {done.stderr}"
        return done.stdout

    def get(self, *argv: str) -> Obj:
        """`kubectl get ... -o json`, parsed."""
        parsed: Obj = json.loads(self.kubectl("get", *argv, "-o", "json"))
        return parsed

    @property
    def env(self) -> dict[str, str]:
        """The environment of commands."""
        return {**os.environ, "KUBECONFIG": str(self.kubeconfig), "NO_COLOR": "1"}


def seed_manifest(version: str, *, image: str = "grace", replicas: int = 10, pre_stop_s: int = 0) -> str:
    """The seed's manifest, unchanged but for what is asked."""
    text = SEED.read_text().replace("replicas: 10", f"replicas: {replicas}")
    text = text.replace("images/grace:v0.1", f"images/{image}:{version}")
    if pre_stop_s:
        hook = f"lifecycle: {{preStop: {{sleep: {{seconds: {pre_stop_s}}}}}}}"
        text = text.replace("livenessProbe:", f"{hook}\n          livenessProbe:")
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One rollout. Seconds count from the first action; inf where it was not reached within the limit."""

    lost: int
    sent: int
    lost_elsewhere: int  # before the first action, or after the last old pod had gone
    first_made_s: float  # first new pod exists
    ready_s: float  # all new pods Ready
    switched_s: float  # every ready endpoint is a new pod
    gone_s: float  # the last old pod's object is gone
    peak: int
    restarts: int  # of containers while it was measured: whoever was slow for 1 s is restarted by the seed's own probe
    errors: dict[str, int] = field(default_factory=dict)  # outcome -> count, of the lost
    lost_at_s: tuple[float, ...] = ()  # when each of them had been planned
    receipt: Obj = field(default_factory=dict)  # segue's own

    @property
    def switch_gap_s(self) -> float:
        """From the last new pod's readiness to the switch."""
        return self.switched_s - self.ready_s

    @property
    def switch_limit_s(self) -> float:
        """What the gap may be: 5 % of the time that the pods themselves needed, or 0.7 s."""
        return max(0.05 * (self.ready_s - self.first_made_s), 0.7)

    @property
    def end_gap_s(self) -> float:
        """From the switch to the end of the last old pod."""
        return self.gone_s - self.switched_s

    def line(self) -> str:
        """For people."""
        text = (
            f"lost {self.lost} of {self.sent}, pods Ready {self.ready_s:.2f} s, switched {self.switched_s:.2f} s "
            f"(+{self.switch_gap_s:.2f}), last old pod gone {self.gone_s:.2f} s (+{self.end_gap_s:.2f}), "
            f"peak {self.peak} pods"
        )
        if self.restarts:
            text += f"; the kubelet restarted {self.restarts} containers meanwhile"
        if self.lost or self.lost_elsewhere:
            text += f"; {self.errors}, {self.lost_elsewhere} lost outside, at {[round(s, 1) for s in self.lost_at_s]}"
        return text


@dataclass(frozen=True, slots=True, kw_only=True)
class Acted:
    """What the act itself tells: when its first action was, and a receipt where it has one."""

    at_s: float
    receipt: Obj = field(default_factory=dict)
    ends_old: bool = True  # whether the pods that were there before are to go


Act = Callable[[], Awaitable[Acted]]


async def trial(site: Site, act: Act, *, rate: float, limit_s: float = 150.0) -> Measured:
    """Load, act, wait until the last old pod is gone (at most `limit_s`), sum up."""
    service = site.get("service", NAME)
    plan = Plan(
        url=url_of(service, site.running.node_ip), rate=rate, duration_s=LOAD_LIMIT_S, paths=("/fast",), run="bench"
    )
    with tempfile.TemporaryDirectory(prefix="segue-bench-") as place:
        records = Path(place) / "records.jsonl"
        async with Watching(str(site.kubeconfig), site.namespace, NAME) as sight:
            old = frozenset(name for name, pod in sight.pods.items() if not pod.ending_s)
            restarts = sum(pod.restarts for pod in sight.pods.values())
            child = await FiringChild.start(plan, records, prefix=client_prefix(site.state, site.running))
            try:
                await child.started.wait()
                await asyncio.sleep(BEFORE_S)
                acted = await act()
                if acted.ends_old:
                    await _until_gone(sight, old, acted.at_s + limit_s)
                await asyncio.sleep(AFTER_S)
                child.stop()
                await child.finish()
            finally:
                await child.kill()
        measured = sum_up(acted, sight, old, list(read_records(records)))
        return replace(measured, restarts=measured.restarts - restarts)


async def _until_gone(sight: Sight, old: frozenset[str], end_s: float) -> None:
    while time.time() < end_s and not all(sight.pods[name].gone_s for name in old):  # noqa: ASYNC110 - it has a limit
        await asyncio.sleep(0.05)


def sum_up(acted: Acted, sight: Sight, old: frozenset[str], records: Sequence[Record]) -> Measured:
    """The figures of one rollout. Pods that came up later than the new version's first ones count as new, too."""
    zero_s = acted.at_s
    new: dict[str, PodSeen] = {name: pod for name, pod in sight.pods.items() if name not in old}
    gone = [sight.pods[name].gone_s for name in old]
    gone_s = max(gone) if gone and all(gone) else float("inf")
    ready = sorted(pod.ready_s for pod in new.values() if pod.ready_s)
    ready_s = ready[len(old) - 1] if len(ready) >= len(old) else float("inf")
    switched_s = sight.first_served_by(lambda name: name in new, zero_s) or float("inf")
    window = (zero_s, min(gone_s, max(record.planned_s for record in records)))
    inside = [record for record in records if counts(record, window)]
    lost = [record for record in inside if record.outcome.lost]
    outcomes = [record.outcome.value for record in lost]
    return Measured(
        lost=len(lost),
        sent=sum(record.outcome.value != "own-fault" for record in inside),
        lost_elsewhere=sum(record.outcome.lost for record in records) - len(lost),
        first_made_s=min((pod.made_s for pod in new.values()), default=float("inf")) - zero_s,
        ready_s=ready_s - zero_s,
        switched_s=switched_s - zero_s,
        gone_s=gone_s - zero_s,
        peak=sight.peak(zero_s),
        restarts=sum(pod.restarts for pod in sight.pods.values()),
        errors={outcome: outcomes.count(outcome) for outcome in sorted(set(outcomes))},
        lost_at_s=tuple(record.planned_s - zero_s for record in lost[:20]),
        receipt=acted.receipt,
    )


def apply(site: Site, manifest: str) -> Act:
    """The native way: kubectl apply, and the controllers do the rest."""

    async def act() -> Acted:
        at_s = time.time()
        await asyncio.to_thread(site.kubectl, "apply", "-f", "-", stdin=manifest)
        return Acted(at_s=at_s)

    return act


def release(site: Site, manifest: str, *options: str) -> Act:
    """`segue release`, with nothing but the kubeconfig."""

    async def act() -> Acted:
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            file.write(manifest)
            file.flush()
            process = await asyncio.create_subprocess_exec(
                str(BIN / "segue"), "release", "-f", file.name, "-n", site.namespace, "-o", "json", *options,
                env=site.env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            )  # fmt: skip
            out, said = await process.communicate()
        assert process.returncode == 0, said.decode()
        receipt: Obj = json.loads(out)
        return Acted(
            at_s=seconds_of(receipt["zeroAt"]) + float(receipt["actions"][0]["atS"]),
            receipt={**receipt, "progress": said.decode().splitlines()},
        )

    return act
