"""What the API server refuses of a well-typed object, in its own words. Reads objects; changes and looks up nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from segue.cluster.gateway.objects import class_causes, gateway_causes, grant_causes, route_causes
from segue.cluster.kinds import Kind
from segue.cluster.refusals import Cause
from segue.cluster.validation.autoscalers import autoscaler_causes
from segue.cluster.validation.daemon_sets import daemon_set_causes
from segue.cluster.validation.jobs import job_causes, job_update_causes
from segue.cluster.validation.metadata import metadata_causes, metadata_update_causes
from segue.cluster.validation.pods import pod_causes, pod_update_causes
from segue.cluster.validation.policies import policy_binding_causes, policy_causes
from segue.cluster.validation.quotas import quota_causes
from segue.cluster.validation.rights import (
    binding_causes,
    binding_update_causes,
    cluster_binding_causes,
    cluster_role_causes,
    role_causes,
)
from segue.cluster.validation.services import (
    endpoint_slice_causes,
    service_causes,
)
from segue.cluster.validation.stateful_sets import (
    controller_revision_update_causes,
    stateful_set_causes,
    stateful_set_update_causes,
)
from segue.cluster.validation.workloads import (
    budget_causes,
    config_map_update_causes,
    deployment_causes,
    lease_causes,
    replica_set_causes,
    secret_causes,
    secret_update_causes,
    workload_update_causes,
)
from segue.model.objects import Obj

Rule: TypeAlias = Callable[[Obj], list[Cause]]
UpdateRule: TypeAlias = Callable[[Obj, Obj], list[Cause]]


def create_causes(kind: Kind, obj: Obj) -> list[Cause]:
    """Why this object may not be made."""
    causes = metadata_causes(kind, obj)
    rule = _RULES.get(kind.resource)
    return causes + rule(obj) if rule else causes


def update_causes(kind: Kind, obj: Obj, before: Obj) -> list[Cause]:
    """Why this object may not take the place of `before`."""
    causes = metadata_causes(kind, obj) + metadata_update_causes(obj, before)
    rule = _RULES.get(kind.resource)
    if rule:
        causes += rule(obj)
    update_rule = _UPDATE_RULES.get(kind.resource)
    return causes + update_rule(obj, before) if update_rule else causes


_RULES: dict[str, Rule] = {
    "pods": pod_causes,
    "secrets": secret_causes,
    "services": service_causes,
    "deployments.apps": deployment_causes,
    "replicasets.apps": replica_set_causes,
    "statefulsets.apps": stateful_set_causes,
    "daemonsets.apps": daemon_set_causes,
    "jobs.batch": job_causes,
    "horizontalpodautoscalers.autoscaling": autoscaler_causes,
    "endpointslices.discovery.k8s.io": endpoint_slice_causes,
    "leases.coordination.k8s.io": lease_causes,
    "poddisruptionbudgets.policy": budget_causes,
    "resourcequotas": quota_causes,
    "validatingadmissionpolicies.admissionregistration.k8s.io": policy_causes,
    "validatingadmissionpolicybindings.admissionregistration.k8s.io": policy_binding_causes,
    "gatewayclasses.gateway.networking.k8s.io": class_causes,
    "gateways.gateway.networking.k8s.io": gateway_causes,
    "httproutes.gateway.networking.k8s.io": route_causes,
    "grpcroutes.gateway.networking.k8s.io": route_causes,
    "referencegrants.gateway.networking.k8s.io": grant_causes,
    "roles.rbac.authorization.k8s.io": role_causes,
    "clusterroles.rbac.authorization.k8s.io": cluster_role_causes,
    "rolebindings.rbac.authorization.k8s.io": binding_causes,
    "clusterrolebindings.rbac.authorization.k8s.io": cluster_binding_causes,
}
_UPDATE_RULES: dict[str, UpdateRule] = {
    "pods": pod_update_causes,
    "deployments.apps": workload_update_causes,
    "replicasets.apps": workload_update_causes,
    "statefulsets.apps": stateful_set_update_causes,
    "controllerrevisions.apps": controller_revision_update_causes,
    "daemonsets.apps": workload_update_causes,
    "jobs.batch": job_update_causes,
    "secrets": secret_update_causes,
    "configmaps": config_map_update_causes,
    "rolebindings.rbac.authorization.k8s.io": binding_update_causes,
    "clusterrolebindings.rbac.authorization.k8s.io": binding_update_causes,
}
