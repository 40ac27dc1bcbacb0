"""The stage of a scripted scenario: it records what the API shows, waits for conditions, and compares with what a real
cluster showed.

Rule 1: a script waits on what was recorded, so that an act ends on both clusters in the same state.
Rule 2: only a real cluster writes what is expected (SEGUE_RECORD=1 SEGUE_CLUSTER=real).
"""

from __future__ import annotations

import difflib
import functools
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path

import pytest

from segue.model.objects import Obj, annotations_of, labels_of, name_of
from tests.live.both.manifests import PORT
from tests.live.both.scenarios.differences import as_embedded
from tests.live.both.scenarios.normal import tale
from tests.live.both.scenarios.sights import RESOURCES, Act, Said, Sight, View
from tests.live.both.world import Place, Watched, is_ready
from tests.live.console import BIN
from tests.waiting import wait_until

EXPECTED = Path(__file__).resolve().parent / "expected"
_QUIET_S = 0.7  # nothing happened for so long, and all counts fit: what follows from an act has followed
_LIMIT_S = 90.0  # the machine may be busy with other tests


@dataclass(slots=True, kw_only=True)
class Stage:
    """What a script has: a place, acts, conditions."""

    place: Place
    folder: Path  # for manifests
    watched: dict[str, Watched]
    acts: list[Act] = field(default_factory=list)
    view: View = field(default_factory=View)
    may_leave: bool = False  # the script says how long pods leave, so an act may end while some do
    may_wait: bool = False  # no kubelet tells what becomes of pods, so an act may end while some are Pending
    _gone: dict[str, set[str]] = field(default_factory=lambda: {resource: set() for resource in RESOURCES})
    _taken: dict[str, int] = field(default_factory=lambda: dict.fromkeys(RESOURCES, 0))

    # -- acts --------------------------------------------------------------------------------------------------------

    def act(self, title: str, *, crowds: bool = True) -> None:
        """Let everything settle, then begin the next step of the script."""
        if self.acts:
            self.settle()
        self.acts.append(Act(title=title, crowds=crowds))

    def settle(self) -> None:
        """Wait until all counts fit and nothing has happened for a while."""
        self._catch_up()
        # A machine that is busy with other things needs longer for what follows from an act
        quiet_s = _QUIET_S * min(3.0, max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1) / 2))
        quiet_since_s = time.monotonic()

        def settled() -> bool:
            nonlocal quiet_since_s
            if self._take() or self._unsettled():
                quiet_since_s = time.monotonic()
            return time.monotonic() - quiet_since_s >= quiet_s

        try:
            wait_until(settled, limit_s=_LIMIT_S, what="everything to settle")
        except AssertionError as error:
            why = self._unsettled()
            raise AssertionError(f"{error}: {why}\n{self.tale()}") from None

    def _unsettled(self) -> str:
        return unsettled(self.view, may_leave=self.may_leave, may_wait=self.may_wait)

    def _catch_up(self) -> None:
        """Wait until the watches have told all that the script has written: conditions are judged on them alone."""
        listed = {resource: self.place.all(resource) for resource in RESOURCES}

        def told() -> bool:
            self._take()
            return all(
                version_number(self.view.one(resource, name_of(obj))) >= version_number(obj)
                or name_of(obj) in self._gone[resource]
                for resource, objects in listed.items()
                for obj in objects
            )

        wait_until(told, limit_s=_LIMIT_S, what="the watches to tell what is there")

    def _take(self) -> int:
        """Take in what the watches have told since the last time."""
        taken = 0
        for resource, watched in self.watched.items():
            told = watched.happenings[self._taken[resource] :]
            self._taken[resource] += len(told)
            taken += len(told)
            for each in told:
                sight = Sight(resource=resource, type=each.type, object=each.object)
                self.acts[-1].sights.append(sight)
                self.view.see(sight)
                if each.type == "DELETED":
                    self._gone[resource].add(sight.name)
        return taken

    def wait(self, what: str, wanted: Callable[[View], object], limit_s: float = _LIMIT_S) -> None:
        """Wait until what was recorded is like this."""
        self._catch_up()

        def met() -> object:
            self._take()
            return wanted(self.view)

        try:
            wait_until(met, limit_s=limit_s, what=what)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.tale()}") from None

    def tale(self) -> str:
        """What has happened, in its normal form."""
        return tale(self.acts)

    # -- conditions that many scripts wait for -----------------------------------------------------------------------

    def rolled_out(self, name: str, count: int) -> None:
        """Wait until all pods of a Deployment are its newest, available and alone, and its endpoints are they."""
        self.wait(f"{name} to be rolled out", lambda view: complete(view.one("deployments", name), count))
        self.wait(f"{count} pods alone", lambda view: len(view.all("pods")) == count and all_ready(view, count))

    def ready(self, count: int, version: str = "") -> None:
        """Wait until so many pods of a version (any, if none is named) are Ready and stay, and are ready endpoints."""
        self.wait(f"{count} ready pods {version}", lambda view: all_ready(view, count, version))

    def pods(self, version: str = "") -> list[Obj]:
        """Pods of a version that are not leaving, the oldest first."""
        self._take()
        found = [pod for pod in self.view.all("pods") if version in ("", version_of_pod(pod))]
        return sorted(
            (pod for pod in found if "deletionTimestamp" not in pod["metadata"]),
            key=lambda pod: (str(pod["metadata"]["creationTimestamp"]), name_of(pod)),
        )

    def pull(self, pod: Obj, **strings: str) -> None:
        """Pull strings of one pod, as it is now: it may have had no address when it was looked at."""
        name = name_of(pod)
        self.wait(f"{name} to run", lambda view: runs(view.one("pods", name)))
        address = str(self.view.one("pods", name)["status"]["podIP"])

        def pulled() -> bool:
            try:
                self.place.pull(address, **strings)
            except OSError:  # it runs, but does not listen yet
                return False
            return True

        wait_until(pulled, limit_s=15.0, what=f"{name} to listen")

    # -- commands ----------------------------------------------------------------------------------------------------

    def kubectl(self, *argv: str, stdin: str = "") -> None:
        """Run kubectl, which must succeed."""
        self.place.kubectl(*argv, stdin=stdin)

    def manifest(self, *objects: Obj) -> str:
        """A file of these objects."""
        file = self.folder / f"manifest-{len(list(self.folder.glob('manifest-*')))}.yaml"
        file.write_text("\n---\n".join(json.dumps(each, indent=1) for each in objects))
        return str(file)

    def segue(self, *argv: str, tell: bool = True) -> None:
        """Run segue and note what it answered; its exit code alone where its actions are chance."""
        done = self.place.run("segue", *argv, "-o", "json", limit_s=_LIMIT_S + 60)
        told = (done.stdout, done.stderr) if tell else ("", "")
        self.said(argv[0], done.returncode, *told)

    def ended(self, command: str, process: subprocess.Popen[str]) -> None:
        """Wait for a segue that was started before, and note what it answered."""
        stdout, stderr = process.communicate(timeout=_LIMIT_S)
        self.said(command, process.returncode, stdout, stderr)

    def exits(self, pod: Obj, code: int) -> None:
        """The process of a pod's container ends with this code: nobody answers."""
        address = str(self.view.one("pods", name_of(pod))["status"]["podIP"])
        with suppress(OSError, HTTPException):
            self.place.ask(address, PORT, f"/exit?code={code}")
            raise AssertionError("it answered")

    @staticmethod
    def is_ready(pod: Obj) -> bool:
        """Whether its condition Ready is True."""
        return is_ready(pod)

    def said(self, command: str, exit_code: int, stdout: str, stderr: str) -> None:
        """Note what a segue answered: its exit code, the actions of its receipts, its error."""
        self.acts[-1].said.append(Said(argv=f"segue {command}", exit_code=exit_code, lines=answer_of(stdout, stderr)))

    @contextmanager
    def segue_running(self, *argv: str) -> Iterator[subprocess.Popen[str]]:
        """A segue that runs while the block does; ended with it."""
        command = [str(BIN / "segue"), *argv, "-o", "json"]
        with subprocess.Popen(
            command, env=self.place.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            try:
                yield process
            except AssertionError as error:
                process.kill()
                said = process.communicate()
                raise AssertionError(f"{error}\nsegue {argv[0]} said: {said}") from None
            finally:
                if process.poll() is None:
                    process.kill()

    # -- the comparison ----------------------------------------------------------------------------------------------

    def compare(self, name: str) -> None:
        """The tale is what a real cluster showed; or, recording, it becomes that."""
        told = self.tale()
        file = EXPECTED / f"{name}.txt"
        real = self.place.world.label.startswith("real")
        if os.environ.get("SEGUE_RECORD") == "1" and real:
            file.write_text(told)
            return
        assert file.exists(), f"nothing is expected of {name} yet: SEGUE_RECORD=1 SEGUE_CLUSTER=real writes it\n{told}"
        wanted = file.read_text() if real else as_embedded(name, file.read_text())
        if told != wanted:
            lines = difflib.unified_diff(
                wanted.splitlines(), told.splitlines(), "a real cluster", self.place.world.label, lineterm="", n=4
            )
            pytest.fail("\n".join(["the sequences differ:", *lines]), pytrace=False)


@contextmanager
def opened(place: Place, folder: Path) -> Iterator[Stage]:
    """A stage whose watches run while the block does."""
    with ExitStack() as stack:
        watched = {resource: stack.enter_context(place.watch(resource)) for resource in RESOURCES}
        yield Stage(place=place, folder=folder, watched=watched)


def scenario(script: Callable[[Stage], None]) -> Callable[[Stage], None]:
    """A test that plays a script and compares what was seen with what a real cluster showed."""

    @functools.wraps(script)
    def play(stage: Stage) -> None:
        script(stage)
        stage.settle()
        stage.compare(script.__name__.removeprefix("test_"))

    return play


# -- conditions over what was recorded ---------------------------------------------------------------------------------


def version_of_pod(pod: Obj) -> str:
    """The tag of its image."""
    return str(pod["spec"]["containers"][0]["image"]).rpartition(":")[2]


def version_number(obj: Obj) -> int:
    """An object's resource version; 0 where there is no object."""
    return int(obj.get("metadata", {}).get("resourceVersion") or 0)


def unsettled(view: View, *, may_leave: bool, may_wait: bool = False) -> str:
    """What still has to follow from what is there: the first count that does not fit; "" where all do."""
    pods = view.all("pods")
    leaving = [pod for pod in pods if "deletionTimestamp" in pod["metadata"]]
    if leaving and not may_leave:
        return f"{name_of(leaving[0])} is leaving"
    for pod in pods:
        if pod.get("status", {}).get("phase") == "Pending" and not is_waiting(pod) and not may_wait:
            return f"{name_of(pod)} is Pending"
    for one in view.all("replicasets"):
        mine = [pod for pod in pods if owner_of(pod) == one["metadata"]["uid"] and pod not in leaving]
        mine = [pod for pod in mine if pod["status"].get("phase") not in {"Succeeded", "Failed"}]
        status = one.get("status", {})
        wanted = (one["spec"]["replicas"], len(mine), sum(is_ready(pod) for pod in mine))
        said = (status.get("replicas", 0), status.get("replicas", 0), status.get("readyReplicas", 0))
        if said != wanted or status.get("observedGeneration") != one["metadata"]["generation"]:
            return f"ReplicaSet {name_of(one)} counts {said}, there are {wanted}"
        if not one["spec"].get("minReadySeconds") and status.get("availableReplicas", 0) != wanted[2]:
            return f"ReplicaSet {name_of(one)} counts {status.get('availableReplicas')} available of {wanted[2]}"
    for one in view.all("deployments"):
        mine = [each for each in view.all("replicasets") if owner_of(each) == one["metadata"]["uid"]]
        status = one.get("status", {})
        for key in ("replicas", "readyReplicas", "availableReplicas"):
            wanted_count = sum(each["status"].get(key, 0) for each in mine)
            if status.get(key, 0) != wanted_count:
                return f"Deployment {name_of(one)}: {key} is {status.get(key, 0)}, there are {wanted_count}"
        if status.get("observedGeneration") != one["metadata"]["generation"]:
            return f"Deployment {name_of(one)} is not observed"
        if not leaving and status.get("terminatingReplicas"):
            return f"Deployment {name_of(one)} counts leaving pods"
    for service in view.all("services"):
        said_pods = {name_of(pod) for pod in pods if is_selected(pod, service) and is_ready(pod) and pod not in leaving}
        if said_pods != ready_endpoints(view, name_of(service)):
            return f"the endpoints of {name_of(service)} are not yet {said_pods}"
    return ""


def is_waiting(pod: Obj) -> bool:
    """Whether its container waits for something that does not come by itself."""
    waiting = {"ErrImagePull", "ImagePullBackOff", "CrashLoopBackOff", "CreateContainerConfigError"}
    return is_unschedulable(pod) or any(waits_for(pod, reason) for reason in waiting)


def is_unschedulable(pod: Obj) -> bool:
    """Whether the scheduler has said that no node takes it."""
    conditions = pod.get("status", {}).get("conditions") or []
    return any(each["type"] == "PodScheduled" and each.get("reason") == "Unschedulable" for each in conditions)


def owner_of(obj: Obj) -> str:
    """The uid of its first owner, or ""."""
    return next((str(each["uid"]) for each in obj["metadata"].get("ownerReferences") or []), "")


def is_selected(pod: Obj, service: Obj) -> bool:
    """Whether a Service selects the pod."""
    wanted: dict[str, str] = service["spec"].get("selector") or {}
    return wanted.items() <= labels_of(pod).items()


def runs(pod: Obj) -> bool:
    """Whether its container runs now."""
    statuses = pod.get("status", {}).get("containerStatuses") or []
    return bool(pod.get("status", {}).get("podIP")) and any("running" in each["state"] for each in statuses)


def restarts(pod: Obj) -> int:
    """How often its container was started again."""
    return sum(int(each["restartCount"]) for each in pod.get("status", {}).get("containerStatuses") or [])


def waits_for(pod: Obj, reason: str) -> bool:
    """Whether its container waits for this reason."""
    statuses = pod.get("status", {}).get("containerStatuses") or []
    return any(each["state"].get("waiting", {}).get("reason") == reason for each in statuses)


def complete(deployment: Obj, count: int) -> bool:
    """As `kubectl rollout status` judges, and with nobody terminating any more."""
    status = deployment.get("status", {})
    counts = [status.get(key, 0) for key in ("replicas", "updatedReplicas", "availableReplicas", "readyReplicas")]
    observed = status.get("observedGeneration") == deployment.get("metadata", {}).get("generation")
    return observed and counts == [count] * 4 and not status.get("terminatingReplicas")


def progressing(deployment: Obj) -> str:
    """The reason of the condition Progressing."""
    found = deployment.get("status", {}).get("conditions") or []
    return next((str(each["reason"]) for each in found if each["type"] == "Progressing"), "")


def memory_of(view: View, deployment: str) -> Obj:
    """What the release under way remembers; empty where there is none."""
    found: Obj = json.loads(annotations_of(view.one("deployments", deployment)).get("segue.dev/release", "{}"))
    return found


def is_pinned(service: Obj) -> bool:
    """Whether it selects one version."""
    return "pod-template-hash" in service["spec"]["selector"]


def all_ready(view: View, count: int, version: str = "") -> bool:
    """So many pods are Ready and stay; all of them whom a Service selects are ready endpoints of it."""
    pods = [pod for pod in view.all("pods") if is_ready(pod) and "deletionTimestamp" not in pod["metadata"]]
    mine = [pod for pod in pods if version in ("", version_of_pod(pod))]
    for service in view.all("services"):
        selected = {name_of(pod) for pod in pods if is_selected(pod, service)}
        if selected != ready_endpoints(view, name_of(service)):
            return False
    return len(mine) == count


def ready_endpoints(view: View, service: str) -> set[str]:
    """The pods that a Service sends to."""
    slices = [one for one in view.all("endpointslices") if labels_of(one).get("kubernetes.io/service-name") == service]
    return {
        str(each["targetRef"]["name"])
        for one in slices
        for each in one.get("endpoints") or []
        if each["conditions"].get("ready")
    }


def answer_of(stdout: str, stderr: str) -> tuple[str, ...]:
    """What a segue answered: the actions of its receipts, how the old pods ended, its error."""
    lines: list[str] = []
    try:
        parsed = json.loads(stdout) if stdout.strip() else []
    except ValueError:
        parsed = []
    for receipt in parsed if isinstance(parsed, list) else [parsed]:
        lines += [str(each["action"]) for each in receipt.get("actions", [])]
        lines += [f"pod {each['pod']} ended: {each['reason']}" for each in receipt.get("pods", [])]
    lines += [line for line in stderr.splitlines() if line.startswith("error: ")]
    return tuple(lines)
