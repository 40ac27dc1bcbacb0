"""Every kind the embedded cluster knows: names, scope, subresources. A table, and look-ups in it; never behaviour.

Kinds marked `stored` have no controller: the cluster keeps their objects and nothing acts on them.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind as discovery shows it; `model` is its name in the field table."""

    group: str
    version: str
    plural: str
    kind: str
    model: str
    namespaced: bool = True
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    status: bool = False  # has a status subresource
    scale: bool = False  # has a scale subresource
    generation: bool = False  # metadata.generation counts changes of the spec

    @property
    def resource(self) -> str:
        """The key of the store: "pods", "deployments.apps"."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def singular(self) -> str:
        """The name kubectl prints: "deployment"."""
        return self.kind.lower()

    @property
    def api_version(self) -> str:
        """apiVersion of its objects: "v1", "apps/v1"."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def group_kind(self) -> str:
        """The name in messages: "Pod", "Deployment.apps"."""
        return f"{self.kind}.{self.group}" if self.group else self.kind


# One line per kind: plural, kind, short names, marks.
# Marks: c cluster-scoped, s status, x scale, g generation, a in "all".
_CORE = """
bindings Binding - -
configmaps ConfigMap cm -
endpoints Endpoints ep -
events Event ev -
limitranges LimitRange limits -
namespaces Namespace ns cs
nodes Node no cs
persistentvolumeclaims PersistentVolumeClaim pvc s
persistentvolumes PersistentVolume pv cs
pods Pod po sga
podtemplates PodTemplate - -
replicationcontrollers ReplicationController rc sxga
resourcequotas ResourceQuota quota s
secrets Secret - -
serviceaccounts ServiceAccount sa -
services Service svc sa
"""
_GROUPED = """
admissionregistration.k8s.io v1 mutatingwebhookconfigurations MutatingWebhookConfiguration - cg
admissionregistration.k8s.io v1 validatingadmissionpolicies ValidatingAdmissionPolicy - csg
admissionregistration.k8s.io v1 validatingadmissionpolicybindings ValidatingAdmissionPolicyBinding - cg
admissionregistration.k8s.io v1 validatingwebhookconfigurations ValidatingWebhookConfiguration - cg
apiextensions.k8s.io v1 customresourcedefinitions CustomResourceDefinition crd,crds csg
apiregistration.k8s.io v1 apiservices APIService - cs
apps v1 controllerrevisions ControllerRevision - -
apps v1 daemonsets DaemonSet ds sga
apps v1 deployments Deployment deploy sxga
apps v1 replicasets ReplicaSet rs sxga
apps v1 statefulsets StatefulSet sts sxga
autoscaling v2 horizontalpodautoscalers HorizontalPodAutoscaler hpa sga
batch v1 cronjobs CronJob cj sga
batch v1 jobs Job - sga
coordination.k8s.io v1 leases Lease - -
discovery.k8s.io v1 endpointslices EndpointSlice - g
gateway.networking.k8s.io v1 gatewayclasses GatewayClass gc csg
gateway.networking.k8s.io v1 gateways Gateway gtw sg
gateway.networking.k8s.io v1 grpcroutes GRPCRoute - sg
gateway.networking.k8s.io v1 httproutes HTTPRoute - sg
gateway.networking.k8s.io v1beta1 referencegrants ReferenceGrant refgrant g
gateway.networking.k8s.io v1 gatewayclasses GatewayClass gc csg
gateway.networking.k8s.io v1 gateways Gateway gtw sg
gateway.networking.k8s.io v1 grpcroutes GRPCRoute - sg
gateway.networking.k8s.io v1 httproutes HTTPRoute - sg
gateway.networking.k8s.io v1beta1 referencegrants ReferenceGrant refgrant g
networking.k8s.io v1 ingressclasses IngressClass - cg
networking.k8s.io v1 ingresses Ingress ing sg
networking.k8s.io v1 networkpolicies NetworkPolicy netpol g
policy v1 poddisruptionbudgets PodDisruptionBudget pdb sg
rbac.authorization.k8s.io v1 clusterrolebindings ClusterRoleBinding - c
rbac.authorization.k8s.io v1 clusterroles ClusterRole - c
rbac.authorization.k8s.io v1 rolebindings RoleBinding - -
rbac.authorization.k8s.io v1 roles Role - -
scheduling.k8s.io v1 priorityclasses PriorityClass pc cg
storage.k8s.io v1 storageclasses StorageClass sc c
"""
GATEWAY_GROUP = "gateway.networking.k8s.io"  # brought by CustomResourceDefinitions elsewhere: no strategic patches
GATEWAY_GROUP = "gateway.networking.k8s.io"  # brought by CustomResourceDefinitions elsewhere: no strategic patches
# The field table's module for a group, where it is not simply the group's first part.
_MODULES = {"": "core", "apiextensions.k8s.io": "apiextensions", "rbac.authorization.k8s.io": "rbac"}


def _kind(group: str, version: str, row: list[str]) -> Kind:
    plural, kind, short_names, marks = row
    module = _MODULES.get(group, group.partition(".")[0])
    return Kind(
        group=group,
        version=version,
        plural=plural,
        kind=kind,
        model=f"{module}_{version}.{kind}",
        namespaced="c" not in marks,
        short_names=() if short_names == "-" else tuple(short_names.split(",")),
        categories=("all",) if "a" in marks else (),
        status="s" in marks,
        scale="x" in marks,
        generation="g" in marks,
    )


KINDS: tuple[Kind, ...] = (
    *(_kind("", "v1", line.split()) for line in _CORE.strip().splitlines()),
    *(_kind(row[0], row[1], row[2:]) for row in map(str.split, _GROUPED.strip().splitlines())),
)
_BY_RESOURCE: dict[str, Kind] = {kind.resource: kind for kind in KINDS}
_BY_KIND: dict[tuple[str, str], Kind] = {(kind.api_version, kind.kind): kind for kind in KINDS}


def kind_of(resource: str) -> Kind:
    """The kind of a resource key that is known to exist."""
    return _BY_RESOURCE[resource]


def find_resource(group: str, version: str, plural: str) -> Kind | None:
    """The kind behind a URL, or None."""
    kind = _BY_RESOURCE.get(f"{plural}.{group}" if group else plural)
    return kind if kind is not None and kind.version == version else None


def find_kind(api_version: str, kind: str) -> Kind | None:
    """The kind of an object by its apiVersion and kind, or None."""
    return _BY_KIND.get((api_version, kind))


def group_versions() -> dict[tuple[str, str], list[Kind]]:
    """Kinds by (group, version), in the table's order."""
    found: dict[tuple[str, str], list[Kind]] = {}
    for kind in KINDS:
        found.setdefault((kind.group, kind.version), []).append(kind)
    return found
