"""What the API server fills into an object that leaves it open, so that applying the same file twice changes nothing.

Changes the object it is given (a copy of the caller's own); never looks at other objects, but for the state that this
one takes the place of, and never draws an address.
"""

from __future__ import annotations

import base64
from collections.abc import Callable

from segue.cluster.carried import TEMPLATE_GENERATION, carry_over
from segue.cluster.gateway.objects import default_class, default_gateway, default_grpc_route, default_http_route
from segue.cluster.pod_defaults import default_pod, default_pod_spec
from segue.cluster.quotas.amounts import amount
from segue.model.objects import Obj, name_of, uid_of


def set_defaults(resource: str, obj: Obj, before: Obj | None = None) -> None:
    """Fill in what is open, and what goes on from the state before, whatever the caller sends."""
    fill = _DEFAULTS.get(resource)
    if fill is not None:
        fill(obj)
    if before is not None:
        carry_over(resource, obj, before)
    elif resource == "jobs.batch":
        _new_job(obj)


def _template(spec: Obj) -> None:
    template = spec.get("template")
    if isinstance(template, dict):
        metadata = template.setdefault("metadata", {})
        metadata.pop("creationTimestamp", None)
        default_pod_spec(template.setdefault("spec", {}))


def _deployment(obj: Obj) -> None:
    """D1."""
    spec = obj.setdefault("spec", {})
    spec.setdefault("replicas", 1)
    spec.setdefault("revisionHistoryLimit", 10)
    spec.setdefault("progressDeadlineSeconds", 600)
    strategy = spec.setdefault("strategy", {})
    if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxSurge", "25%")
        rolling.setdefault("maxUnavailable", "25%")
    _template(spec)
    _drop_zeros(spec, "minReadySeconds")
    _drop_false(spec, "paused")


def _replica_set(obj: Obj) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("replicas", 1)
    _template(spec)
    _drop_zeros(spec, "minReadySeconds")
    obj.setdefault("status", {}).setdefault("replicas", 0)


def _stateful_set(obj: Obj) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("replicas", 1)
    spec.setdefault("podManagementPolicy", "OrderedReady")
    spec.setdefault("revisionHistoryLimit", 10)
    strategy = spec.setdefault("updateStrategy", {})
    if not strategy.get("type"):  # a type without numbers is left as it is
        strategy["type"] = "RollingUpdate"
        strategy.setdefault("rollingUpdate", {})
    if strategy["type"] == "RollingUpdate" and strategy.get("rollingUpdate") is not None:
        strategy["rollingUpdate"].setdefault("partition", 0)
        strategy["rollingUpdate"].setdefault("maxUnavailable", 1)
    retention = spec.setdefault("persistentVolumeClaimRetentionPolicy", {})
    retention.setdefault("whenDeleted", "Retain")
    retention.setdefault("whenScaled", "Retain")
    _template(spec)
    for claim in spec.get("volumeClaimTemplates") or []:
        claim.setdefault("apiVersion", "v1")
        claim.setdefault("kind", "PersistentVolumeClaim")
        _claim(claim)
    status = obj.setdefault("status", {})
    status.setdefault("replicas", 0)
    status.setdefault("availableReplicas", 0)


def _daemon_set(obj: Obj) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("revisionHistoryLimit", 10)
    strategy = spec.setdefault("updateStrategy", {})
    if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxUnavailable", 1)
        rolling.setdefault("maxSurge", 0)
    _template(spec)
    _drop_zeros(spec, "minReadySeconds")
    annotations = obj["metadata"].get("annotations") or {}
    obj["metadata"]["annotations"] = {TEMPLATE_GENERATION: "1", **annotations}
    status = obj.setdefault("status", {})
    for key in ("currentNumberScheduled", "desiredNumberScheduled", "numberMisscheduled", "numberReady"):
        status.setdefault(key, 0)


def _job(obj: Obj) -> None:
    spec = obj.setdefault("spec", {})
    if "completions" not in spec and "parallelism" not in spec:
        spec["completions"] = 1
    for key, value in (
        ("parallelism", 1),
        ("backoffLimit", 6),
        ("completionMode", "NonIndexed"),
        ("suspend", False),
        ("podReplacementPolicy", "TerminatingOrFailed"),
        ("manualSelector", False),
    ):
        spec.setdefault(key, value)
    _template(spec)
    labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels")
    if labels and not obj["metadata"].get("labels"):
        obj["metadata"]["labels"] = labels  # the same ones: what a new Job adds to them, it bears itself


def _new_job(obj: Obj) -> None:
    """A new Job makes its selector and the labels of its pods of its own uid, unless it is told not to."""
    spec = obj["spec"]
    template = spec.get("template")
    if spec["manualSelector"] or not isinstance(template, dict):
        return
    uid = uid_of(obj)
    labels = template["metadata"].setdefault("labels", {})
    for key, value in (("controller-uid", uid), ("job-name", name_of(obj))):
        labels |= {key: value, f"batch.kubernetes.io/{key}": value}
    spec.setdefault("selector", {}).setdefault("matchLabels", {})["batch.kubernetes.io/controller-uid"] = uid


def _cron_job(obj: Obj) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("concurrencyPolicy", "Allow")
    spec.setdefault("suspend", False)
    spec.setdefault("successfulJobsHistoryLimit", 3)
    spec.setdefault("failedJobsHistoryLimit", 1)
    job = (spec.get("jobTemplate") or {}).get("spec")
    if isinstance(job, dict):
        _template(job)


def _replication_controller(obj: Obj) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("replicas", 1)
    _template(spec)


def _service(obj: Obj) -> None:
    spec = obj.setdefault("spec", {})
    kind = spec.setdefault("type", "ClusterIP")
    spec.setdefault("sessionAffinity", "None")
    if spec["sessionAffinity"] == "ClientIP":
        affinity = spec.setdefault("sessionAffinityConfig", {}).setdefault("clientIP", {})
        affinity.setdefault("timeoutSeconds", 10800)  # K9
    for port in spec.get("ports") or []:
        port.setdefault("protocol", "TCP")
        if not port.get("targetPort") and "port" in port:
            port["targetPort"] = port["port"]
        _drop_zeros(port, "nodePort")
    if kind != "ExternalName":
        spec.setdefault("internalTrafficPolicy", "Cluster")
    if kind in {"NodePort", "LoadBalancer"}:
        spec.setdefault("externalTrafficPolicy", "Cluster")
    if kind == "LoadBalancer":
        spec.setdefault("allocateLoadBalancerNodePorts", True)
    obj.setdefault("status", {}).setdefault("loadBalancer", {})


def _endpoint_slice(obj: Obj) -> None:
    for port in obj.get("ports") or []:
        port.setdefault("name", "")
        port.setdefault("protocol", "TCP")
    obj.setdefault("endpoints", [])
    obj.setdefault("ports", [])


def _endpoints(obj: Obj) -> None:
    for subset in obj.get("subsets") or []:
        for port in subset.get("ports") or []:
            port.setdefault("protocol", "TCP")


def _namespace(obj: Obj) -> None:
    obj.setdefault("spec", {}).setdefault("finalizers", ["kubernetes"])
    obj.setdefault("status", {}).setdefault("phase", "Active")
    labels = obj["metadata"].get("labels") or {}
    obj["metadata"]["labels"] = {**labels, "kubernetes.io/metadata.name": name_of(obj)}


def _secret(obj: Obj) -> None:
    obj.setdefault("type", "Opaque")
    plain = obj.pop("stringData", None)
    if plain:
        encoded = {key: base64.b64encode(value.encode()).decode() for key, value in plain.items()}
        obj["data"] = {**(obj.get("data") or {}), **encoded}


def _autoscaler(obj: Obj) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("minReplicas", 1)
    if not spec.get("metrics"):
        target = {"type": "Utilization", "averageUtilization": 80}
        spec["metrics"] = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]
    for metric in spec["metrics"]:
        for source in metric.values():
            _canonical(source.get("target") or {} if isinstance(source, dict) else {}, "value", "averageValue")
    behavior = spec.get("behavior")
    fill_status("horizontalpodautoscalers.autoscaling", obj)
    if behavior is None:
        return
    doubled = {"type": "Percent", "value": 100, "periodSeconds": 15}
    four = {"type": "Pods", "value": 4, "periodSeconds": 15}
    up = {"stabilizationWindowSeconds": 0, "selectPolicy": "Max", "policies": [four, doubled]}
    # How long a scale down is held is an option of the controller: the API leaves it open
    down = {"selectPolicy": "Max", "policies": [doubled]}
    behavior["scaleUp"] = up | (behavior.get("scaleUp") or {})
    behavior["scaleDown"] = down | (behavior.get("scaleDown") or {})
    for rules in (behavior["scaleUp"], behavior["scaleDown"]):
        _canonical(rules, "tolerance")


def _canonical(obj: Obj, *keys: str) -> None:
    """Quantities as the API server writes them: 0.2 is 200m."""
    for key in keys:
        if obj.get(key) is not None:
            obj[key] = str(amount(obj[key]))


def fill_status(resource: str, obj: Obj) -> None:
    """What a status says even where nothing is known. Nulls of a caller are gone by now."""
    if resource == "horizontalpodautoscalers.autoscaling":
        obj["status"] = {"desiredReplicas": 0, "currentMetrics": None, **(obj.get("status") or {})}


def _network_policy(obj: Obj) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("podSelector", {})
    spec.setdefault("policyTypes", ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"])
    for rule in (spec.get("ingress") or []) + (spec.get("egress") or []):
        for port in rule.get("ports") or []:
            port.setdefault("protocol", "TCP")


def _claim(obj: Obj) -> None:
    obj.setdefault("spec", {}).setdefault("volumeMode", "Filesystem")
    obj.setdefault("status", {}).setdefault("phase", "Pending")


def _volume(obj: Obj) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("volumeMode", "Filesystem")
    spec.setdefault("persistentVolumeReclaimPolicy", "Retain")
    obj.setdefault("status", {}).setdefault("phase", "Pending")


def _storage_class(obj: Obj) -> None:
    obj.setdefault("reclaimPolicy", "Delete")
    obj.setdefault("volumeBindingMode", "Immediate")


def _role_binding(obj: Obj) -> None:
    reference = obj.get("roleRef")
    if isinstance(reference, dict):
        reference.setdefault("apiGroup", "rbac.authorization.k8s.io")
    for subject in obj.get("subjects") or []:
        if subject.get("kind") in {"User", "Group"}:
            subject.setdefault("apiGroup", "rbac.authorization.k8s.io")


def _priority_class(obj: Obj) -> None:
    obj.setdefault("preemptionPolicy", "PreemptLowerPriority")


def _drop_zeros(obj: Obj, *keys: str) -> None:
    """A zero in a plain (not pointer) number is not written out by the API server."""
    for key in keys:
        if obj.get(key) == 0:
            del obj[key]


def _drop_false(obj: Obj, key: str) -> None:
    if obj.get(key) is False:
        del obj[key]


def _admission_policy(obj: Obj) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("failurePolicy", "Fail")
    _match_resources(spec.setdefault("matchConstraints", {}))


def _admission_binding(obj: Obj) -> None:
    spec = obj.setdefault("spec", {})
    if isinstance(spec.get("matchResources"), dict):
        _match_resources(spec["matchResources"])


def _match_resources(matching: Obj) -> None:
    matching.setdefault("namespaceSelector", {})
    matching.setdefault("objectSelector", {})
    matching.setdefault("matchPolicy", "Equivalent")
    for rules in ("resourceRules", "excludeResourceRules"):
        for rule in matching.get(rules) or []:
            rule.setdefault("scope", "*")


_DEFAULTS: dict[str, Callable[[Obj], None]] = {
    "pods": default_pod,
    "podtemplates": _template,
    "services": _service,
    "namespaces": _namespace,
    "secrets": _secret,
    "endpoints": _endpoints,
    "replicationcontrollers": _replication_controller,
    "persistentvolumeclaims": _claim,
    "persistentvolumes": _volume,
    "deployments.apps": _deployment,
    "replicasets.apps": _replica_set,
    "statefulsets.apps": _stateful_set,
    "daemonsets.apps": _daemon_set,
    "jobs.batch": _job,
    "gatewayclasses.gateway.networking.k8s.io": default_class,
    "gateways.gateway.networking.k8s.io": default_gateway,
    "httproutes.gateway.networking.k8s.io": default_http_route,
    "grpcroutes.gateway.networking.k8s.io": default_grpc_route,
    "cronjobs.batch": _cron_job,
    "endpointslices.discovery.k8s.io": _endpoint_slice,
    "horizontalpodautoscalers.autoscaling": _autoscaler,
    "networkpolicies.networking.k8s.io": _network_policy,
    "storageclasses.storage.k8s.io": _storage_class,
    "rolebindings.rbac.authorization.k8s.io": _role_binding,
    "clusterrolebindings.rbac.authorization.k8s.io": _role_binding,
    "priorityclasses.scheduling.k8s.io": _priority_class,
    "validatingadmissionpolicies.admissionregistration.k8s.io": _admission_policy,
    "validatingadmissionpolicybindings.admissionregistration.k8s.io": _admission_binding,
}
