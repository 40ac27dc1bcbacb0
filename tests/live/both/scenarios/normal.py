"""The normal form of what was seen in a scenario: one text without times and chosen names, equal on equal clusters.

For each act of the script:
  - what commands answered;
  - the story: every change of what actors write (specs, owners and labels of Deployments, ReplicaSets, Services), in
    the one order of the cluster's resource versions; fields that one write changed stand on one line;
  - the conditions of Deployments as they followed each other;
  - the most pods and the fewest ready endpoints at once;
  - what stands when everything has settled: counts, revisions, pods by state, endpoints by state.
At the end the lives of all pods with their endpoints (lives.py), equal ones counted: which of three equal pods was
first is chance.

What may be coalesced: counts in statuses on their way (only what stands is told); the reasons of a rollout on its way
(a new ReplicaSet made, found, updated) and of a pause that is over, which last for one sync and which a conflict of
its write swallows; that it was on its way, where it has arrived in the same act; the order in which one
decision takes its notes off two ReplicaSets; what an error tells about moments (events, troubles of pods, process ids);
whether an old pod was let go by evidence, by the timer or by the cap (a busy machine delays the evidence).
What a ReplicaSet makes in the place of pods that segue has taken out of traffic, and how often it is hurried to its
end, is a race of two controllers: in an act with such pods neither these nor the most pods at once are told.
Rule: a pure function; it reads no clock and knows no cluster.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from segue.model.objects import Obj, annotations_of, labels_of, name_of
from segue.model.workloads import ORPHAN_OF
from tests.live.both.scenarios.lives import (
    HASH,
    TAKEN_BACK,
    EndpointLives,
    PodLife,
    Words,
    roles_of,
    said_labels,
    version_of_template,
)
from tests.live.both.scenarios.sights import Act, Sight, View, in_order

_REVISION = "deployment.kubernetes.io/revision"
_SIZES = ("deployment.kubernetes.io/desired-replicas", "deployment.kubernetes.io/max-replicas")
_MEMORY = "segue.dev/release"
_STEPS = {"NewReplicaSetCreated", "FoundNewReplicaSet", "ReplicaSetUpdated"}
_ON_ITS_WAY = "True (on its way)"
_ARRIVED = "True (NewReplicaSetAvailable)"
_SERVICE_OF = "kubernetes.io/service-name"


def tale(acts: Sequence[Act]) -> str:
    """The normal form."""
    teller = _Teller(names=_names(acts))
    lines: list[str] = []
    for number, act in enumerate(acts, start=1):
        lines += [f"{number}. {act.title}", *(f"   {line}" for line in teller.act(number, act)), ""]
    lines += ["pods", *(f"   {line}" for line in teller.lives())]
    return "\n".join(lines).rstrip() + "\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Names:
    """What stands for chosen names."""

    sets: Mapping[str, str]  # uid -> role
    hashes: Mapping[str, str]
    pods: Mapping[str, str]  # pod name -> role of its first owner, or its own name
    words: Mapping[str, str]  # what to replace in answers

    def plain(self, text: str) -> str:
        """A text without chosen names."""
        for name in sorted(self.words, key=len, reverse=True):
            text = text.replace(name, self.words[name])
        return text


def _names(acts: Sequence[Act]) -> _Names:
    sights = in_order(sight for act in acts for sight in act.sights)
    sets = roles_of([sight.object for sight in sights if sight.resource == "replicasets"])
    hashes: dict[str, str] = {}
    words: dict[str, str] = {}
    pods: dict[str, str] = {}
    for sight in sights:
        if sight.resource == "replicasets":
            mark = labels_of(sight.object["spec"]["template"]).get(HASH, "")
            if mark:
                words[mark] = hashes[mark] = sets[sight.uid]
            words[sight.name] = sets[sight.uid]
        if sight.resource == "pods" and sight.name not in pods:
            owners = [str(one["uid"]) for one in sight.object["metadata"].get("ownerReferences") or []]
            pods[sight.name] = sets.get(owners[0], "a stranger") if owners else sight.name
            if owners:
                words[sight.name] = f"one of {pods[sight.name]}"
    return _Names(sets=sets, hashes=hashes, pods=pods, words=words)


_HURRIED = "which never served, within"


@dataclass(slots=True, kw_only=True)
class _Teller:
    names: _Names
    view: View = field(default_factory=View)
    pods: dict[str, PodLife] = field(default_factory=dict)  # by uid
    services: dict[str, EndpointLives] = field(default_factory=dict)
    conditions: dict[str, Words] = field(default_factory=dict)

    def act(self, number: int, act: Act) -> list[str]:
        """Everything of one act."""
        story: list[tuple[str, str]] = []  # what it is about, what happened to it
        extremes = _Extremes(pods=self._staying(), ready=self._ready_counts())
        for sight in in_order(act.sights):
            before = self.view.one(sight.resource, sight.name)
            story += [(self._subject(sight), line) for line in self._changes(sight, before)]
            if sight.resource == "deployments" and sight.type != "DELETED":
                _note_conditions(self.conditions, number, sight.object)
            if sight.resource == "pods":
                life = PodLife(name=sight.name, roles=self.names.sets, hashes=self.names.hashes)
                self.pods.setdefault(sight.uid, life).see(number, sight)
            if sight.resource == "endpointslices" and (service := labels_of(sight.object).get(_SERVICE_OF)):
                self.services.setdefault(service, EndpointLives()).see(number, sight)
            self.view.see(sight)
            extremes.note(self._staying(), self._ready_counts())
        lines = [
            line
            for said in act.said
            for line in (
                f"{said.argv}: exit {said.exit_code}",
                *(f"  {told}" for told in _even(said.lines, self.names) if _HURRIED not in told),
            )
        ]
        lines += _sorted_runs([f"{subject}: {change}" for subject, change in story], _NOTES_OFF)
        told = ((key, words.of(number)) for key, words in sorted(self.conditions.items()))
        lines += [f"{key}: {', '.join(words)}" for key, words in told if words]
        crowds = act.crowds and not any(_is_orphaned(sight) for sight in act.sights)
        return [*lines, *extremes.lines(crowds=crowds), *(f"= {line}" for line in self._standing())]

    # -- the story ---------------------------------------------------------------------------------------------------

    def _subject(self, sight: Sight) -> str:
        if sight.resource == "replicasets":
            return f"replicaset {self.names.sets[sight.uid]}"
        return f"{sight.resource.removesuffix('s')} {sight.name}"

    def _changes(self, sight: Sight, before: Obj) -> list[str]:
        """What one event changes in what actors write, on one line; none where it changed nothing of it."""
        match sight.resource:
            case "deployments":
                wishes = self._deployment
            case "replicasets":
                wishes = self._replica_set
            case "services":
                wishes = self._service
            case _:
                return []
        if sight.type == "DELETED":
            return ["gone"]
        old = wishes(before) if before else {}
        new = wishes(sight.object)
        changed = [f"{key} {value}" for key, value in new.items() if old.get(key, "") != value and value]
        changed += [f"no {key}" for key, value in old.items() if value and not new.get(key)]
        made = [] if before else ["made"]
        return [", ".join(made + changed)] if made or changed else []

    def _deployment(self, obj: Obj) -> dict[str, str]:
        spec = obj["spec"]
        strategy = spec["strategy"]
        rolling = strategy.get("rollingUpdate")
        return {
            "template": said_template(spec["template"]),
            "replicas": str(spec["replicas"]),
            "strategy": strategy["type"]
            + (f" (surge {rolling['maxSurge']}, unavailable {rolling['maxUnavailable']})" if rolling else ""),
            "minReadySeconds": str(spec.get("minReadySeconds") or ""),
            "progressDeadlineSeconds": str(spec["progressDeadlineSeconds"]),
            "paused": "yes" if spec.get("paused") else "",
            "memory": said_memory(annotations_of(obj).get(_MEMORY, "")),
            "deletion": _deletion(obj),
        }

    def _replica_set(self, obj: Obj) -> dict[str, str]:
        labels = {key: value for key, value in labels_of(obj).items() if key != HASH}
        notes = [key for key in annotations_of(obj) if key.startswith("segue.dev/")]
        return {
            "replicas": str(obj["spec"]["replicas"]),
            "labels": said_labels({}, labels),
            "owner": ", ".join(str(one["name"]) for one in obj["metadata"].get("ownerReferences") or []) or "nobody",
            "revision": annotations_of(obj).get(_REVISION, ""),
            "minReadySeconds": str(obj["spec"].get("minReadySeconds") or ""),
            "notes": ", ".join(sorted(notes)),
            "deletion": _deletion(obj),
        }

    def _service(self, obj: Obj) -> dict[str, str]:
        selector = {
            key: self.names.hashes.get(value, value) for key, value in (obj["spec"].get("selector") or {}).items()
        }
        return {"selector": said_labels({}, selector)}

    # -- what stands -------------------------------------------------------------------------------------------------

    def _standing(self) -> list[str]:
        lines = []
        for obj in self.view.all("deployments"):
            status = obj.get("status", {})
            keys = ("replicas", "updated", "ready", "available", "unavailable", "terminating")
            counts = [f"{status.get(_field(key), 0)} {'there' if key == 'replicas' else key}" for key in keys]
            observed = status.get("observedGeneration") == obj["metadata"]["generation"]
            collisions = f", {status['collisionCount']} collisions" if status.get("collisionCount") else ""
            # Where it stands, not when it came: the controller writes it while others write, and either may be first.
            revision = annotations_of(obj).get(_REVISION, "")
            counts += [f"revision {revision}"] if revision else []
            lines.append(
                f"deployment {name_of(obj)}: {', '.join(counts)}{'' if observed else ', not observed'}{collisions}"
            )
        sets = sorted(self.view.all("replicasets"), key=lambda obj: self.names.sets[obj["metadata"]["uid"]])
        for obj in sets:
            status = obj.get("status", {})
            counts = [f"{status.get(_field(key), 0)} {key}" for key in ("ready", "available")]
            sizes = "/".join(annotations_of(obj).get(key, "-") for key in _SIZES)
            role = self.names.sets[obj["metadata"]["uid"]]
            lines.append(
                f"replicaset {role}: {obj['spec']['replicas']} wanted, {status.get('replicas', 0)} there, "
                f"{', '.join(counts)}; desired/most {sizes}"
            )
        present = Counter(f"{self.names.pods[name_of(pod)]} {_state(pod)}" for pod in self.view.all("pods"))
        lines.append("pods: " + (_counted(present) or "none"))
        for service, lives in sorted(self.services.items()):
            endpoints = Counter(f"{self.names.pods[pod]} {word}" for pod, word in lives.now.items())
            lines.append(f"endpoints of {service}: " + (_counted(endpoints) or "none"))
        return lines

    def _staying(self) -> int:
        """Pods that are to stay: those of a ReplicaSet that is gone are the garbage collector's already."""
        sets = {str(one["metadata"]["uid"]) for one in self.view.all("replicasets")}
        owners = ([str(one["uid"]) for one in pod["metadata"].get("ownerReferences") or []] for pod in self._alive())
        return sum(not mine or mine[0] in sets for mine in owners)

    def _alive(self) -> list[Obj]:
        return [
            pod
            for pod in self.view.all("pods")
            if "deletionTimestamp" not in pod["metadata"]
            and pod.get("status", {}).get("phase") not in {"Succeeded", "Failed"}
        ]

    def _ready_counts(self) -> dict[str, int]:
        return {service: len(lives.ready) for service, lives in self.services.items()}

    def lives(self) -> list[str]:
        """All pods, equal lives counted."""
        told: Counter[str] = Counter()
        replaced = any(ORPHAN_OF in life.text() for life in self.pods.values())
        for life in self.pods.values():
            text = life.text()
            if replaced and text.endswith(TAKEN_BACK):
                continue
            beside = [
                f" | {service}: {_beside(life, lives.lives[life.name]).text()}"
                for service, lives in sorted(self.services.items())
                if life.name in lives.lives and lives.lives[life.name].told and not text.endswith(TAKEN_BACK)
            ]
            told[f"{self.names.pods[life.name]} {text}{''.join(beside)}"] += 1
        return [f"{count} x {text}" for text, count in sorted(told.items())]


@dataclass(slots=True, kw_only=True)
class _Extremes:
    """The most pods that stay and the fewest ready endpoints, at any moment of an act."""

    pods: int
    ready: dict[str, int]
    _most: int = 0
    _fewest: dict[str, int] = field(default_factory=dict)

    def note(self, pods: int, ready: Mapping[str, int]) -> None:
        """One moment."""
        self._most = max(self._most, pods, self.pods)
        for service, count in ready.items():
            self._fewest[service] = min(count, self._fewest.get(service, count), self.ready.get(service, 0))

    def lines(self, *, crowds: bool) -> list[str]:
        """Both, where anything happened."""
        most = [f"most pods: {self._most}"] if crowds else []
        fewest = [f"fewest ready endpoints of {name}: {count}" for name, count in sorted(self._fewest.items())]
        return ["; ".join([*most, *fewest])] if self._most else []


def _is_orphaned(sight: Sight) -> bool:
    return sight.resource == "pods" and ORPHAN_OF in labels_of(sight.object)


def _beside(life: PodLife, endpoint: Words) -> Words:
    """A pod deleted without grace is marked and gone in two writes: whether a slice is written between is chance."""
    forced = {act for act, word in life.words.told if word == "leaving within 0 s"}
    return Words([(act, word) for act, word in endpoint.told if act not in forced or not word.startswith("leaving")])


# -- words -------------------------------------------------------------------------------------------------------------


def said_template(template: Obj) -> str:
    """Version and the strings that make it misbehave."""
    env = template["spec"]["containers"][0].get("env") or []
    strings = next((str(each.get("value") or "") for each in env if each["name"] == "PUPPET"), "")
    notes = [f"{key}={value}" for key, value in sorted((template["metadata"].get("annotations") or {}).items())]
    return " ".join([version_of_template(template), *([f"({strings})"] if strings else []), *notes])


def said_memory(text: str) -> str:
    """Where the release that is under way says it stands."""
    if not text:
        return ""
    memory = json.loads(text)
    flags = [key for key in ("patched", "switched", "aborting") if memory.get(key)]
    known = ["the new version is known"] if memory.get("new_hash") else []
    return f"({'; '.join([memory['kind'], 'serving ' + memory['serving'], *flags, *known])})"


def _deletion(obj: Obj) -> str:
    return (
        ", ".join(obj["metadata"].get("finalizers") or ["asked for"]) if "deletionTimestamp" in obj["metadata"] else ""
    )


def _field(key: str) -> str:
    return key if key == "replicas" else f"{key}Replicas"


def _state(pod: Obj) -> str:
    conditions = pod.get("status", {}).get("conditions") or []
    ready = any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
    phase = str(pod.get("status", {}).get("phase") or "Pending")
    leaving = "leaving, " if "deletionTimestamp" in pod["metadata"] else ""
    return leaving + ("Ready" if ready else f"{phase}, not Ready")


def _counted(things: Counter[str]) -> str:
    return ", ".join(f"{count} x {text}" for text, count in sorted(things.items()))


def _note_conditions(conditions: dict[str, Words], act: int, deployment: Obj) -> None:
    if "deletionTimestamp" in deployment["metadata"]:
        return
    for each in deployment.get("status", {}).get("conditions") or []:
        words = conditions.setdefault(f"deployment {name_of(deployment)} {each['type']}", Words())
        word = _ON_ITS_WAY if each["reason"] in _STEPS else f"{each['status']} ({each['reason']})"
        words.unsay(act, "Unknown (DeploymentResumed)", *([_ON_ITS_WAY] if word == _ARRIVED else []))
        words.say(act, word)


_NOTES_OFF = re.compile(r"^(take the memory off ReplicaSet .*|replicaset .*: no notes)$")
_MOMENTS = (
    (re.compile(r"\. Events: .*"), ""),
    (re.compile(r" \((one of|the image).*\)"), ""),
    (re.compile(r"segue@[^ .,;]*"), "SOMEBODY"),
    (re.compile(r"/\S*/(manifest-\d+\.yaml)"), r"\1"),
    (re.compile(r" ended: (timer|quiet|capped)$"), " ended"),
)


def _even(lines: Sequence[str], names: _Names) -> list[str]:
    """Lines of answers without moments; how old pods ended is told in no order."""
    even = []
    for line in lines:
        plain = names.plain(line)
        for pattern, instead in _MOMENTS:
            plain = pattern.sub(instead, plain)
        even.append(plain)
    ends = sorted(line for line in even if line.startswith("pod "))
    return _sorted_runs([line for line in even if not line.startswith("pod ")], _NOTES_OFF) + ends


def _sorted_runs(lines: list[str], pattern: re.Pattern[str]) -> list[str]:
    """Neighbours that match are sorted: their order is chance."""
    told: list[str] = []
    run: list[str] = []
    for line in [*lines, ""]:
        if pattern.match(line):
            run.append(line)
            continue
        told += [*sorted(run), line]
        run = []
    return told[:-1]
