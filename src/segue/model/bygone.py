"""Manifests of other times and other platforms as what Kubernetes serves now: OpenShift's DeploymentConfig, old groups.

Rule 1: what maps is carried over with the value that counted there; what does not is said, each field by itself.
Rule 2: nothing is invented: no hook becomes a Job, no image is looked up. What only a person knows is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from segue.model.objects import Obj, copy_of

APPS = "apps/v1"
_OLD_APPS = {"extensions/v1beta1", "apps/v1beta1", "apps/v1beta2"}
_BOUNDS = ("maxSurge", "maxUnavailable")
_SAME = ("replicas", "minReadySeconds", "revisionHistoryLimit", "paused")
_OF_THE_DEPLOYER = {
    "resources": "there is no deployer pod that would need them",
    "labels": "there is no deployer pod that would have them",
    "annotations": "there is no deployer pod that would have them",
    "activeDeadlineSeconds": "there is no deployer pod that would end by it",
}
_PACE = "a Deployment watches instead of asking in intervals"


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What became of one field."""

    path: str
    says: str


@dataclass(slots=True, kw_only=True)
class Bygone:
    """An object as it is written now, and what is to be said about that."""

    obj: Obj
    notes: list[Note] = field(default_factory=list)

    def say(self, path: str, says: str) -> None:
        """One more."""
        self.notes.append(Note(path=path, says=says))


def renewed(obj: Obj) -> Bygone | None:
    """The object as it is written now; None where it is already."""
    kind, version = obj.get("kind"), obj.get("apiVersion")
    if kind == "DeploymentConfig":
        return _of_config(obj)
    if version in _OLD_APPS and kind in {"Deployment", "StatefulSet", "DaemonSet", "ReplicaSet"}:
        return _of_old_group(obj)
    if kind == "HorizontalPodAutoscaler" and _part(obj, "spec", "scaleTargetRef").get("kind") == "DeploymentConfig":
        made = Bygone(obj=copy_of(obj))
        made.obj["spec"]["scaleTargetRef"] |= {"apiVersion": APPS, "kind": "Deployment"}
        made.say("spec.scaleTargetRef", "scales the Deployment of this name now")
        return made
    return None


# -- old groups --------------------------------------------------------------------------------------------------------


def _of_old_group(obj: Obj) -> Bygone:
    made = Bygone(obj={**copy_of(obj), "apiVersion": APPS})
    version, kind, spec = str(obj["apiVersion"]), str(obj["kind"]), _part(made.obj, "spec")
    made.say("apiVersion", f"{version} is no longer served; {APPS} is")
    _select(made, spec)
    if spec.pop("rollbackTo", None) is not None:
        made.say("spec.rollbackTo", "is gone: segue undo goes back to an earlier revision")
    spec.pop("templateGeneration", None)
    rolling = _part(spec, "strategy", "rollingUpdate")
    if kind == "Deployment" and version != "apps/v1beta2" and _part(spec, "strategy").get("type") != "Recreate":
        lacking = [key for key in _BOUNDS if key not in rolling]
        if lacking:
            was = "1" if version == "extensions/v1beta1" else "25 %"
            spec["strategy"] = {
                "type": "RollingUpdate",
                "rollingUpdate": {**dict.fromkeys(lacking, _bound(was)), **rolling},
            }
            made.say("spec.strategy", f"{' and '.join(lacking)} had the default {was} there: written down")
    return made


def _bound(said: str) -> int | str:
    return 1 if said == "1" else said.replace(" ", "")


def _select(made: Bygone, spec: Obj) -> None:
    if not spec.get("selector"):
        spec["selector"] = {"matchLabels": dict(_part(spec, "template", "metadata", "labels"))}
        made.say("spec.selector", f"was the template's labels where nothing was said; {APPS} wants it written")


# -- DeploymentConfig --------------------------------------------------------------------------------------------------


def _of_config(obj: Obj) -> Bygone:
    old = _part(obj, "spec")
    meant = copy_of(_part(obj, "metadata"))
    made = Bygone(obj={"apiVersion": APPS, "kind": "Deployment", "metadata": meant})
    for key in ("resourceVersion", "uid", "generation", "creationTimestamp", "managedFields", "selfLink"):
        meant.pop(key, None)
    spec: Obj = {key: copy_of(old)[key] for key in _SAME if key in old}
    made.obj["spec"] = spec
    if "replicas" not in old:
        spec["replicas"] = 1
    if old.get("selector"):
        spec["selector"] = {"matchLabels": dict(_part(old, "selector"))}
    spec["template"] = copy_of(_part(old, "template"))
    _select(made, spec)
    _strategy(made, old, spec)
    _triggers(made, old, spec)
    if old.get("test"):
        made.say("spec.test", "not carried over: a Deployment keeps its pods; segue release --check tries them out")
    return made


def _strategy(made: Bygone, old: Obj, spec: Obj) -> None:
    said = _part(old, "strategy")
    kind = str(said.get("type") or "Rolling")
    if kind == "Custom":
        made.say("spec.strategy.customParams", "not carried over: a Deployment has no strategy of its own making")
    where = "recreateParams" if kind == "Recreate" else "rollingParams"
    params = _part(said, where)
    if kind == "Recreate":
        spec["strategy"] = {"type": "Recreate"}
    else:
        rolling = {key: params.get(key, "25%") for key in _BOUNDS}
        for at, holder in (("spec.strategy", said), ("spec", old)):
            for key in _BOUNDS:
                if key in holder and key not in params:
                    rolling[key] = holder[key]
                    made.say(
                        f"{at}.{key}", f"nobody read it there: 25 % counted. It counts now, as {key} {holder[key]}"
                    )
        spec["strategy"] = {"type": "RollingUpdate", "rollingUpdate": rolling}
    if "timeoutSeconds" in params:
        spec["progressDeadlineSeconds"] = params["timeoutSeconds"]
        made.say(
            f"spec.strategy.{where}.timeoutSeconds", "is progressDeadlineSeconds: it is told, and nothing goes back"
        )
    for key in ("updatePeriodSeconds", "intervalSeconds"):
        if key in params:
            made.say(f"spec.strategy.{where}.{key}", f"not carried over: {_PACE}")
    for key, why in _OF_THE_DEPLOYER.items():
        if said.get(key):
            made.say(f"spec.strategy.{key}", f"not carried over: {why}")
    made.notes.extend(_hooks(params, f"spec.strategy.{where}"))


def _hooks(params: Obj, path: str) -> Iterator[Note]:
    instead = {
        "pre": "run it as a Job before segue release",
        "mid": "run it as a Job while no pod runs; a Deployment has no such moment",
        "post": "run it as a Job after segue release, or before the switch: --check job:FILE",
    }
    for name, remedy in instead.items():
        hook = _part(params, name)
        if not hook:
            continue
        what = "tags an image" if hook.get("tagImages") else "runs a pod"
        policy = str(hook.get("failurePolicy") or "Abort")
        yield Note(path=f"{path}.{name}", says=f"not carried over: this hook {what} (failurePolicy {policy}). {remedy}")


def _triggers(made: Bygone, old: Obj, spec: Obj) -> None:
    found = old.get("triggers")
    triggers = [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
    if not any(one.get("type") == "ConfigChange" for one in triggers):
        made.say(
            "spec.triggers", "without ConfigChange nothing rolled by itself; a Deployment rolls when it is applied"
        )
    for at, one in enumerate(triggers):
        if one.get("type") != "ImageChange":
            continue
        params = _part(one, "imageChangeParams")
        source = str(_part(params, "from").get("name") or "")
        names = params.get("containerNames") or []
        shown = ", ".join(map(str, names)) or "its containers"
        made.say(
            f"spec.triggers[{at}]",
            f"not carried over: nobody sets the image of {shown} when {source} changes. segue release --image NAME=TAG",
        )
    containers = _part(spec, "template", "spec").get("containers")
    for at, row in enumerate(containers if isinstance(containers, list) else []):
        if isinstance(row, dict) and not str(row.get("image") or "").strip():
            path = f"spec.template.spec.containers[{at}].image"
            made.say(path, f"is empty, for a trigger set it: segue release --image {row.get('name')}=IMAGE")


def _part(obj: Obj, *keys: str) -> Obj:
    for key in keys:
        found = obj.get(key)
        if not isinstance(found, dict):
            return {}
        obj = found
    return obj
