"""What a Job must hold. Reads one object, and the one it takes the place of."""

from __future__ import annotations

from segue.cluster.refusals import Cause, forbidden_field, invalid_value, required, unsupported
from segue.cluster.validation.metadata import label_causes
from segue.cluster.validation.pods import pod_spec_causes
from segue.cluster.validation.workloads import negative_causes, selector_causes
from segue.model.objects import Obj, copy_of, label_selector_matches, uid_of

CONTROLLER_UID = "batch.kubernetes.io/controller-uid"
_NUMBERS = ("parallelism", "completions", "activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished")
_NOT_DONE = "this cluster does not do that"
_INDEXED_ONLY = ("backoffLimitPerIndex", "maxFailedIndexes", "successPolicy")


def job_causes(obj: Obj) -> list[Cause]:
    """What is off in a Job."""
    spec = obj.get("spec") or {}
    causes = negative_causes(spec, *_NUMBERS)
    mode = spec.get("completionMode")
    if mode == "Indexed":
        causes.append(forbidden_field("spec.completionMode", f"{_NOT_DONE}: it has no Indexed Jobs"))
    elif mode != "NonIndexed":
        causes.append(unsupported("spec.completionMode", mode, ["Indexed", "NonIndexed"]))
    else:
        causes += [
            invalid_value(f"spec.{key}", spec[key], "requires indexed completion mode")
            for key in _INDEXED_ONLY
            if spec.get(key) is not None
        ]
    if spec.get("podFailurePolicy") is not None:
        causes.append(forbidden_field("spec.podFailurePolicy", _NOT_DONE))
    policy = spec.get("podReplacementPolicy")
    if policy not in {"TerminatingOrFailed", "Failed"}:
        causes.append(unsupported("spec.podReplacementPolicy", policy, ["Failed", "TerminatingOrFailed"]))
    return causes + _selector_causes(obj, spec) + _template_causes(spec)


def job_update_causes(obj: Obj, before: Obj) -> list[Cause]:
    """What stands from the beginning; of a suspended Job's template, where its pods may be can still change."""
    old, new = before["spec"], obj["spec"]
    causes = [
        invalid_value(f"spec.{key}", new.get(key), "field is immutable")
        for key in ("completions", "selector", "completionMode", "podFailurePolicy", "managedBy")
        if old.get(key) != new.get(key)
    ]
    kept, changed = old["template"], new["template"]
    if old.get("suspend"):
        kept, changed = _standing_part(kept), _standing_part(changed)
    if kept != changed:
        causes.append(invalid_value("spec.template", new["template"], "field is immutable"))
    return causes


def _selector_causes(obj: Obj, spec: Obj) -> list[Cause]:
    selector = spec.get("selector")
    labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels") or {}
    causes = [required("spec.selector")] if selector is None else selector_causes(selector, "spec.selector")
    if not spec.get("manualSelector") and selector != {"matchLabels": {CONTROLLER_UID: uid_of(obj)}}:
        causes.append(invalid_value("spec.selector", selector, "`selector` not auto-generated"))
    if selector is None or not label_selector_matches(selector, labels):
        detail = "`selector` does not match template `labels`"
        causes.append(invalid_value("spec.template.metadata.labels", labels, detail))
    return causes


def _template_causes(spec: Obj) -> list[Cause]:
    template = spec.get("template") or {}
    inner, path = template.get("spec") or {}, "spec.template.spec"
    causes = label_causes((template.get("metadata") or {}).get("labels") or {}, "spec.template.labels")
    causes += pod_spec_causes(inner, path)
    policy = inner.get("restartPolicy")
    if policy == "Always":
        causes.append(required(f"{path}.restartPolicy", 'valid values: "OnFailure", "Never"'))
    elif policy not in {"OnFailure", "Never"}:
        causes.append(unsupported(f"{path}.restartPolicy", policy, ["OnFailure", "Never"]))
    return causes


def _standing_part(template: Obj) -> Obj:
    """A template without what directs the scheduler and without resources."""
    rest = copy_of(template)
    for key in ("labels", "annotations"):
        (rest.get("metadata") or {}).pop(key, None)
    spec = rest["spec"]
    for key in ("nodeSelector", "tolerations", "schedulingGates"):
        spec.pop(key, None)
    if "affinity" in spec:
        spec["affinity"].pop("nodeAffinity", None)
        if not spec["affinity"]:
            del spec["affinity"]
    for container in (spec.get("containers") or []) + (spec.get("initContainers") or []):
        container.pop("resources", None)
    return rest
