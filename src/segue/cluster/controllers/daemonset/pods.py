"""A DaemonSet's pods: what one is made of, which node it is for, and which nodes are to have one (W20, W21)."""

from __future__ import annotations

from collections.abc import Iterable

from segue.cluster.controllers import owners
from segue.cluster.controllers.placement import NODE_NAME_FIELD, chooses, untolerated
from segue.model.objects import Obj, annotations_of, labels_of, name_of, namespace_of

HASH_LABEL = "controller-revision-hash"
GENERATION_LABEL = "pod-template-generation"
GENERATION = "deprecated.daemonset.template.generation"  # annotation: the API counts changes of the template in it
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_TOLERATED = (
    ("not-ready", "NoExecute"),
    ("unreachable", "NoExecute"),
    ("disk-pressure", "NoSchedule"),
    ("memory-pressure", "NoSchedule"),
    ("pid-pressure", "NoSchedule"),
    ("unschedulable", "NoSchedule"),
)
_TOLERATED_ON_HOST = ("network-unavailable", "NoSchedule")


def pod_for(daemon_set: Obj, digest: str, name: str, node: str) -> Obj:
    """The pod of a node, made from the present template; the scheduler binds it."""
    template = daemon_set["spec"]["template"]
    given = template.get("metadata") or {}
    metadata: Obj = {
        "name": name,
        "generateName": f"{name_of(daemon_set)}-",
        "namespace": namespace_of(daemon_set),
        "labels": {**(given.get("labels") or {}), HASH_LABEL: digest},
        "ownerReferences": [owners.owner_reference(daemon_set)],
    }
    if generation := annotations_of(daemon_set).get(GENERATION):
        metadata["labels"][GENERATION_LABEL] = generation
    for field in ("annotations", "finalizers"):
        if given.get(field):
            metadata[field] = given[field]
    affinity = template["spec"].get("affinity") or {}
    bound = {"nodeSelectorTerms": [{"matchFields": [{"key": NODE_NAME_FIELD, "operator": "In", "values": [node]}]}]}
    spec = {
        **template["spec"],
        "affinity": {**affinity, "nodeAffinity": {**(affinity.get("nodeAffinity") or {}), _REQUIRED: bound}},
        "tolerations": tolerations_of(template["spec"]),
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def tolerations_of(spec: Obj) -> list[Obj]:
    """The template's tolerations and those that each of these pods has."""
    found: list[Obj] = list(spec.get("tolerations") or [])
    more = [*_TOLERATED, _TOLERATED_ON_HOST] if spec.get("hostNetwork") else [*_TOLERATED]
    for trouble, effect in more:
        wanted: Obj = {"key": f"node.kubernetes.io/{trouble}", "operator": "Exists", "effect": effect}
        alike = [index for index, item in enumerate(found) if _without_time(item) == wanted]
        if alike:
            found[alike[0]] = wanted  # for ever, whatever time the template gives
        else:
            found.append(wanted)
    return found


def is_wanted(daemon_set: Obj, node: Obj) -> tuple[bool, bool]:
    """Whether a node is to get a pod, and whether one that is there may stay."""
    spec = daemon_set["spec"]["template"]["spec"]
    if spec.get("nodeName") not in (None, "", name_of(node)) or not chooses(spec, node):
        return False, False
    taints, tolerations = node.get("spec", {}).get("taints") or [], tolerations_of(spec)
    if untolerated(taints, tolerations) is None:
        return True, True
    return False, untolerated(taints, tolerations, ("NoExecute",)) is None


def node_of(pod: Obj) -> str:
    """The node that a pod is on, or is made for; "" where neither is said."""
    spec = pod["spec"]
    if spec.get("nodeName"):
        return str(spec["nodeName"])
    required = ((spec.get("affinity") or {}).get("nodeAffinity") or {}).get(_REQUIRED) or {}
    for term in required.get("nodeSelectorTerms") or []:
        for field in term.get("matchFields") or []:
            if field.get("key") == NODE_NAME_FIELD and field.get("operator") == "In" and len(field["values"]) == 1:
                return str(field["values"][0])
    return ""


def is_updated(daemon_set: Obj, pod: Obj, digest: str) -> bool:
    """Whether a pod is of the present template."""
    generation = annotations_of(daemon_set).get(GENERATION)
    labels = labels_of(pod)
    return labels.get(HASH_LABEL) == digest or (generation is not None and labels.get(GENERATION_LABEL) == generation)


def oldest_first(pods: Iterable[Obj]) -> list[Obj]:
    """Pods with a node first, then by age, then by name."""
    return sorted(
        pods,
        key=lambda pod: (
            not pod["spec"].get("nodeName"),
            pod["metadata"].get("creationTimestamp", ""),
            name_of(pod),
        ),
    )


def _without_time(toleration: Obj) -> Obj:
    return {key: value for key, value in toleration.items() if key != "tolerationSeconds"}
