"""The lives of pods and of their endpoints, from what watches told: sequences of words, act by act, without times.

A controller or the kubelet may tell two changes in one write or in two; which of them it does is chance. So within one
act, and nowhere else:
  - a pod that is Ready has been Running, and one that runs has been Pending: where a write skipped that, it is put in;
  - an exit is told once, from the state or from the last state, and before the restart or the back-off that follows it;
    that the pod is not Ready any more goes without saying, and so does a not-Ready that comes directly before;
  - how a container's reason of waiting for its image alternates between error and back-off is not told;
  - an endpoint that becomes ready has been waiting; one that leaves has been leaving before it is absent;
  - an endpoint that comes back while its pod leaves already (a Service is unpinned) is not told;
  - a pod that is told to leave in the act in which it was made, before it was Ready or had ended, was made and taken
    back;
  - a container that crashes as it crashed before, after its back-off, tells nothing new;
  - a pod deleted without grace is marked and gone in two writes: whether a slice is written between is not told.
Rule: only what a write can merge is merged. Everything else is a difference.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from segue.model.objects import Obj, labels_of, name_of
from tests.live.both.scenarios.sights import Sight

_IMAGE_TROUBLES = {"ErrImagePull", "ImagePullBackOff"}  # they take turns, as the back-off has it
_BACK_OFF = "waits: CrashLoopBackOff"
HASH = "pod-template-hash"
TAKEN_BACK = "made and taken back"


@dataclass(slots=True)
class Words:
    """A sequence of words, each with the act in which it was told."""

    told: list[tuple[int, str]] = field(default_factory=list)

    @property
    def last(self) -> str:
        """The newest word."""
        return self.told[-1][1] if self.told else ""

    def say(self, act: int, word: str) -> None:
        """One more word, unless it is the newest already."""
        if word != self.last:
            self.told.append((act, word))

    def unsay(self, act: int, *words: str) -> None:
        """Take the newest words back where they are of this act and among these."""
        while self.told and self.told[-1][0] == act and self.told[-1][1] in words:
            self.told.pop()

    def fold(self, act: int) -> None:
        """Rounds of the same crash after a back-off go, where they lead to nothing else in this act."""
        words = self.of(act)
        if _BACK_OFF not in words:
            return
        first = words.index(_BACK_OFF)
        same = {words[first - 1], _BACK_OFF}
        rest = words[first + 1 :]
        if "Ready" in rest:
            return
        kept = words[: first + 1] + [word for word in rest if word not in same and not word.startswith("started again")]
        others = [(at, word) for at, word in self.told if at != act]
        self.told = sorted([*others, *((act, word) for word in kept)], key=lambda pair: pair[0])

    def of(self, act: int) -> list[str]:
        """The words of one act."""
        return [word for at, word in self.told if at == act]

    def text(self) -> str:
        """The words, with a number where an act begins."""
        acts = sorted({act for act, _ in self.told})
        return "; ".join(f"{act}: " + ", ".join(word for at, word in self.told if at == act) for act in acts)


@dataclass(slots=True, kw_only=True)
class PodLife:
    """One pod, as its sights go by."""

    name: str
    roles: Mapping[str, str]  # uid of a ReplicaSet -> its role
    hashes: Mapping[str, str]
    words: Words = field(default_factory=Words)
    _owner: str | None = None
    _labels: dict[str, str] | None = None
    _exits: set[str] = field(default_factory=set)
    _restarts: int = 0
    _ready: bool = False
    _leaving: str = ""
    _waits: str = ""
    _disrupted: str = ""
    _exit_words: str = ""
    _phase: str = ""

    def see(self, act: int, sight: Sight) -> None:
        """Take one event in."""
        pod = sight.object
        self._whose(act, pod)
        self._leave(act, pod)
        for status in (pod.get("status", {}).get("containerStatuses") or [{}])[:1]:
            self._container(act, status)
        self._probed(act, pod)
        self._ended(act, pod)
        if sight.type == "DELETED":
            self.words.say(act, "gone")

    def text(self) -> str:
        """The words; one sentence for a pod that was never wanted for long."""
        for act in {at for at, _ in self.words.told}:
            self.words.fold(act)
        words = [word for _, word in self.words.told]
        leaves = next((place for place, word in enumerate(words) if word.startswith("leaving")), None)
        acts = {act for act, _ in self.words.told}
        eventful = any(word == "Ready" or word.startswith("exit") for word in words[:leaves])
        if leaves is not None and not eventful and len(acts) == 1 and words[-1] == "gone":
            return f"{min(acts)}: {TAKEN_BACK}"
        return self.words.text()

    def _whose(self, act: int, pod: Obj) -> None:
        owners = [one["uid"] for one in pod["metadata"].get("ownerReferences") or []]
        owner = self.roles.get(owners[0], "a stranger") if owners else "nobody"
        labels = {key: self.hashes.get(value, value) for key, value in labels_of(pod).items()}
        if self._owner is not None and owner != self._owner:
            self.words.say(act, f"owned by {owner}")
        if self._labels is not None and labels != self._labels:
            self.words.say(act, f"labelled {said_labels(self._labels, labels)}")
        self._owner, self._labels = owner, labels
        if not self.words.told:
            self.words.say(act, "Pending")

    def _leave(self, act: int, pod: Obj) -> None:
        found = (c for c in pod.get("status", {}).get("conditions") or [] if c["type"] == "DisruptionTarget")
        disrupted = next((str(c["reason"]) for c in found if c["status"] == "True"), "")
        if disrupted and disrupted != self._disrupted:
            self.words.say(act, f"to be disrupted ({disrupted})")
        self._disrupted = disrupted
        if "deletionTimestamp" in pod["metadata"]:
            leaving = f"leaving within {pod['metadata'].get('deletionGracePeriodSeconds')} s"
            # The kubelet's own deletion, at the end, is without grace; it is told by the word "gone"
            if leaving != self._leaving and not (self._leaving and leaving == "leaving within 0 s"):
                self.words.say(act, leaving)
                self._leaving = leaving

    def _container(self, act: int, status: Obj) -> None:
        state, last = status.get("state") or {}, status.get("lastState") or {}
        for ended in (last.get("terminated"), state.get("terminated")):
            if ended and (key := f"{ended.get('containerID')} {ended.get('finishedAt')}") not in self._exits:
                self._exits.add(key)
                if ended.get("startedAt"):  # else it never ran, and the kubelet says so when the pod ends
                    self._runs(act)
                self.words.unsay(act, "not Ready")
                self.words.say(act, f"exit {ended['exitCode']}")
                self._ready, self._waits = False, ""
        if int(status.get("restartCount") or 0) > self._restarts:
            self._restarts = int(status["restartCount"])
            self.words.say(act, f"started again ({self._restarts})")
        elif "running" in state:
            self._runs(act)
        reason = str((state.get("waiting") or {}).get("reason") or "")
        reason = "the image" if reason in _IMAGE_TROUBLES else reason
        if reason and reason not in {"ContainerCreating", "PodInitializing", self._waits}:
            self.words.say(act, f"waits: {reason}")
        self._waits = reason

    def _runs(self, act: int) -> None:
        if not any(word == "Running" for _, word in self.words.told):
            self.words.say(act, "Running")

    def _probed(self, act: int, pod: Obj) -> None:
        conditions = pod.get("status", {}).get("conditions") or []
        ready = any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
        if ready and not self._ready:
            self._runs(act)
            self.words.say(act, "Ready")
        if self._ready and not ready:
            self.words.say(act, "not Ready")
        self._ready = ready

    def _ended(self, act: int, pod: Obj) -> None:
        phase = str(pod.get("status", {}).get("phase") or "")
        if phase in {"Succeeded", "Failed"} and phase != self._phase:
            reason = str(pod["status"].get("reason") or "")
            self.words.say(act, f"{phase} ({reason})" if reason else phase)
        self._phase = phase


def said_labels(before: Mapping[str, str], after: Mapping[str, str]) -> str:
    """What changed: `a=b`, and `-a` where a label went."""
    changed = [f"{key}={value}" for key, value in sorted(after.items()) if before.get(key) != value]
    return ", ".join(changed + [f"-{key}" for key in sorted(before) if key not in after])


@dataclass(slots=True)
class EndpointLives:
    """All endpoints of one Service, as the sights of its slices go by."""

    lives: dict[str, Words] = field(default_factory=dict)  # pod name -> words
    _slices: dict[str, dict[str, str]] = field(default_factory=dict)  # slice -> pod -> condition
    _now: dict[str, str] = field(default_factory=dict)

    def see(self, act: int, sight: Sight) -> None:
        """Take one event of a slice in."""
        if sight.type == "DELETED":
            self._slices.pop(sight.name, None)
        else:
            endpoints = sight.object.get("endpoints") or []
            self._slices[sight.name] = {
                str(each["targetRef"]["name"]): said_conditions(each["conditions"])
                for each in endpoints
                if "targetRef" in each
            }
        now: dict[str, str] = {}
        for each in self._slices.values():
            now |= each
        for pod in sorted({*now, *self._now}):
            self._tell(act, pod, now.get(pod, "absent"))
        self._now = now

    def _tell(self, act: int, pod: str, word: str) -> None:
        words = self.lives.setdefault(pod, Words())
        if word == words.last:
            return
        if word == "ready" and not words.told:
            words.say(act, "waiting")
        if word == "absent":
            words.unsay(act, "leaving")
        if words.last in {"", "absent"} and (word == "absent" or word.startswith("leaving")):
            return
        words.say(act, word)

    @property
    def ready(self) -> list[str]:
        """The pods that get traffic."""
        return sorted(pod for pod, word in self._now.items() if word == "ready")

    @property
    def now(self) -> Mapping[str, str]:
        """Each pod's condition."""
        return self._now


def said_conditions(conditions: Obj) -> str:
    """An endpoint's conditions as a word; absent ones as consumers must read them (E2)."""
    serving = conditions.get("serving") is not False
    if conditions.get("terminating"):
        return "leaving and serving" if serving else "leaving"
    return "ready" if conditions.get("ready") is not False else "waiting"


def version_of_template(template: Obj) -> str:
    """The tag of the image that a template runs."""
    return str(template["spec"]["containers"][0]["image"]).rpartition(":")[2]


def roles_of(sets: Sequence[Obj]) -> dict[str, str]:
    """A role for each ReplicaSet by uid, in the order of their creation: its version, with a stroke for each that has
    had it before."""
    roles: dict[str, str] = {}
    for one in sets:
        uid = str(one["metadata"]["uid"])
        version = version_of_template(one["spec"]["template"])
        if uid not in roles:
            roles[uid] = version + "'" * sum(role.rstrip("'") == version for role in roles.values())
    return roles


__all__ = ["HASH", "EndpointLives", "PodLife", "Words", "name_of", "roles_of", "said_labels", "version_of_template"]
