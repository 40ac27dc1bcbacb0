"""A user of segue at a place: the seed's Deployment behind its Service, commands, a small load from the client's side.

Rule: nothing here knows which cluster it is; segue is given a kubeconfig and a home of its own.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path

from segue.model.objects import Obj
from tests.live.both.world import Place
from tests.live.conftest import seed
from tests.live.console import BIN
from tests.waiting import wait_until

NAME = "test"
LABEL = "app/name=test"
# A machine that is busy with other tests must not have the seed's containers restarted at their first late answer
V1 = seed().replace("failureThreshold: 1", "failureThreshold: 9", 1)
V2 = V1.replace("grace:v0.1", "grace:v0.2")
UNHEALTHY = V2.replace("path: /health", "path: /nowhere")
DEPLOYMENT, _, SERVICE = V1.partition("---")
RATE = 60  # per second: over 7 arrivals for each of 3 pods are proof enough to end them early
KINDS = "deployments,replicasets,pods,services,configmaps,secrets,serviceaccounts,leases"


@dataclass(slots=True, kw_only=True)
class Tally:
    """What a load has found, once its block has ended."""

    records: Path
    found: Obj = field(default_factory=dict)

    def check_none_lost(self) -> None:
        """AssertionError that shows the lost ones."""
        if self.found["lost"] or self.found["ownFaults"]:
            lost = [line for line in self.records.read_text().splitlines() if '"ok"' not in line]
            raise AssertionError("\n".join([json.dumps(self.found), *lost[:10]]))


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """A user in a namespace; `home` is where their files are."""

    place: Place
    home: Path
    started: list[Going] = field(default_factory=list)

    @property
    def env(self) -> dict[str, str]:
        """Of their commands."""
        return {**self.place.env, "SEGUE_HOME": str(self.home / "segue"), "HOME": str(self.home), "COLUMNS": "120"}

    def file(self, text: str, name: str = "app.yaml") -> str:
        """A file of theirs."""
        path = self.home / name
        path.write_text(text)
        return str(path)

    def segue(
        self, *argv: str, stdin: str = "", limit_s: float = 120.0, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run segue to its end."""
        try:
            return subprocess.run(
                [str(BIN / "segue"), *argv],
                env={**self.env, **(env or {})},
                cwd=self.home,
                input=stdin,
                text=True,
                capture_output=True,
                timeout=limit_s,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            said = (error.stderr or b"").decode()
            raise AssertionError(f"segue {' '.join(argv)} runs for {limit_s} s:\n{said}") from None

    def done(self, *argv: str, stdin: str = "") -> str:
        """What a command that must succeed has to say on standard output."""
        ended = self.segue(*argv, stdin=stdin)
        assert ended.returncode == 0, f"segue {' '.join(argv)}: {ended.returncode}\n{ended.stderr}{ended.stdout}"
        return ended.stdout

    def refused(self, *argv: str, code: int, stdin: str = "", env: dict[str, str] | None = None) -> str:
        """The one error of a command that must change nothing."""
        before = self.kept()
        said = error_of(self.segue(*argv, stdin=stdin, env=env), code)
        assert self.kept() == before
        return said

    def start(self, *argv: str) -> Going:
        """Start segue and go on."""
        going = Going(
            process=subprocess.Popen(
                [str(BIN / "segue"), *argv],
                env=self.env,
                cwd=self.home,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        self.started.append(going)
        return going

    def leave(self) -> None:
        """End what a test that failed has left running."""
        for going in self.started:
            if going.process.returncode is None:
                going.kill()

    @contextmanager
    def load(self, path: str = "/fast", rate: int = RATE) -> Iterator[Tally]:
        """A small load on the Service from the client's network while the block runs."""
        ip, port = self.place.world.node_ip, self.place.node_port(NAME)
        self.wait_reached(ip, port)
        url = f"http://{ip}:{port}{path}"
        told = Tally(records=self.home / "records.jsonl")
        how = ["--rate", str(rate), "--for", "300s", "--records", str(told.records), "-o", "json"]
        argv = self.place.from_client(str(BIN / "segue"), "load", url, *how)
        # A home of its own: it is in the client's network already and must not look for a way into it
        with subprocess.Popen(argv, env=self.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as firing:
            try:
                yield told
            finally:
                firing.send_signal(signal.SIGINT)
                said, complaint = firing.communicate(timeout=60)
            assert said, complaint
            told.found = json.loads(said)

    def wait_reached(self, ip: str, port: int) -> None:
        """Pods are Ready a moment before the data plane knows of the first of them."""

        def answers() -> bool:
            with suppress(OSError, HTTPException):
                return self.place.ask(ip, port, "/fast")[0] == 200
            return False

        wait_until(answers, limit_s=30, what="the Service to be reached")

    # -- what is there -------------------------------------------------------------------------------------------------

    def objects(self) -> list[Obj]:
        """Every object of the namespace that segue or its user could have changed."""
        found: list[Obj] = json.loads(self.place.kubectl("get", KINDS, "-o", "json"))["items"]
        return found

    def kept(self) -> list[Obj]:
        """What only a user or segue writes, and how often: pods and statuses change by themselves."""
        return [
            {**users_part(each), "generation": each["metadata"].get("generation")}
            for each in self.objects()
            if each["kind"] != "Pod"
        ]

    def deployment(self) -> Obj:
        """The Deployment."""
        return self.place.get("deployments", NAME)

    def selector(self) -> dict[str, str]:
        """Of the Service."""
        found: dict[str, str] = self.place.get("services", NAME)["spec"]["selector"]
        return found

    def memory(self) -> Obj | None:
        """What a release that is under way has written down."""
        text = self.deployment()["metadata"].get("annotations", {}).get("segue.dev/release")
        return json.loads(text) if text else None

    def status(self) -> Obj:
        """As machines read it."""
        found: Obj = json.loads(self.done("status", NAME, "-o", "json"))
        return found

    def pods(self, count: int = 3) -> list[Obj]:
        """The pods, when so many are Ready and none more stays."""
        return self.place.wait_ready_pods(count, LABEL)

    def versions(self, count: int = 3) -> set[str]:
        """Image tags of the pods that stay."""
        return {pod["spec"]["containers"][0]["image"].rpartition(":")[2] for pod in self.pods(count)}

    def check_clean(self) -> None:
        """Nothing of segue's is left on any object that stays."""
        staying = [each for each in self.objects() if "deletionTimestamp" not in each["metadata"]]
        assert "segue.dev" not in json.dumps([without_managed_fields(each) for each in staying])
        assert "pod-template-hash" not in self.selector()
        assert self.place.all("leases") == []
        assert self.memory() is None


@dataclass(slots=True, kw_only=True)
class Going:
    """A segue that runs, and what it says."""

    process: subprocess.Popen[str]
    told: list[str] = field(default_factory=list)

    def until(self, text: str, limit_s: float = 90.0) -> bool:
        """Read its progress until it says this; False when it ended before, or was killed for being late."""
        assert self.process.stderr is not None
        watchdog = threading.Timer(limit_s, self.process.kill)
        watchdog.start()
        try:
            for line in self.process.stderr:
                self.told.append(line)
                if text in line:
                    return True
            return False
        finally:
            watchdog.cancel()

    def kill(self) -> None:
        """As a machine that loses its power would."""
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.communicate(timeout=10)

    def end(self, limit_s: float = 90.0) -> tuple[int, str, str]:
        """Wait for its end: code, standard output, all it said on the way."""
        watchdog = threading.Timer(limit_s, self.process.kill)
        watchdog.start()
        out, rest = self.process.communicate()
        watchdog.cancel()
        return self.process.returncode, out, "".join(self.told) + rest


def error_of(done: subprocess.CompletedProcess[str], code: int) -> str:
    """The error of a finished command, held to how errors look."""
    assert done.returncode == code, f"exit {done.returncode}, not {code}: {done.stderr}{done.stdout}"
    assert "Traceback" not in done.stderr + done.stdout
    assert "fault of segue itself" not in done.stderr
    assert "\033" not in done.stderr + done.stdout
    lines = done.stderr.splitlines()
    starts = [index for index, line in enumerate(lines) if line.startswith("error: ")]
    assert len(starts) == 1, done.stderr
    return "\n".join(lines[starts[0] :]).removeprefix("error: ")


def without_managed_fields(obj: Obj) -> Obj:
    """An object without the API server's own bookkeeping of who set what."""
    return {**obj, "metadata": {key: value for key, value in obj["metadata"].items() if key != "managedFields"}}


def users_part(obj: Obj) -> Obj:
    """An object without what the cluster counts for itself: all that remains is the user's."""
    counted = {"managedFields", "resourceVersion", "generation"}
    metadata = {key: value for key, value in obj["metadata"].items() if key not in counted}
    annotations = dict(metadata.pop("annotations", {}))
    annotations.pop("deployment.kubernetes.io/revision", None)
    return {
        **{key: value for key, value in obj.items() if key != "status"},
        "metadata": metadata | ({"annotations": annotations} if annotations else {}),
    }


def changes(before: object, after: object, path: str = "$") -> dict[str, tuple[object, object]]:
    """Where two objects differ: path to what was there and what is there now."""
    match before, after:
        case {}, {}:
            keys = sorted({*before, *after})
            rows = [changes(before.get(key), after.get(key), f"{path}.{key}") for key in keys]
        case [*_], [*_] if len(before) == len(after):
            pairs = enumerate(zip(before, after, strict=True))
            rows = [changes(one, other, f"{path}[{index}]") for index, (one, other) in pairs]
        case _:
            return {} if before == after else {path: (before, after)}
    return {key: value for row in rows for key, value in row.items()}
