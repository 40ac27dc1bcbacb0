"""How the API server finds the metrics-server, a part of the node: an APIService, a Service, its address. Pure objects.

The Service has no selector, because no pod serves it; and people may read metrics where they may read pods.
"""

from __future__ import annotations

import base64

from segue.model.objects import Obj
from testbed.layout import METRICS_PORT, NODE_IP

NAMESPACE, SERVICE = "kube-system", "metrics-server"
NAME = f"{SERVICE}.{NAMESPACE}.svc"  # as which the API server knows it


def metrics_objects(authority: bytes) -> list[tuple[str, Obj]]:
    """(collection path, object), in the order of creation; `authority` is the certificate that signed its own."""
    port: Obj = {"name": "https", "port": 443, "targetPort": METRICS_PORT}
    service: Obj = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": SERVICE},
        "spec": {"ports": [port]},
    }
    addresses: Obj = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": SERVICE, "labels": {"kubernetes.io/service-name": SERVICE}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [NODE_IP]}],
        "ports": [{"name": "https", "port": METRICS_PORT}],
    }
    reader: Obj = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {
            "name": "system:aggregated-metrics-reader",
            "labels": {f"rbac.authorization.k8s.io/aggregate-to-{role}": "true" for role in ("view", "edit", "admin")},
        },
        "rules": [{"apiGroups": ["metrics.k8s.io"], "resources": ["pods", "nodes"], "verbs": ["get", "list", "watch"]}],
    }
    group: Obj = {
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": "v1beta1.metrics.k8s.io"},
        "spec": {
            "group": "metrics.k8s.io",
            "version": "v1beta1",
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
            "service": {"name": SERVICE, "namespace": NAMESPACE},
            "caBundle": base64.b64encode(authority).decode(),
        },
    }
    return [
        (f"/api/v1/namespaces/{NAMESPACE}/services", service),
        (f"/apis/discovery.k8s.io/v1/namespaces/{NAMESPACE}/endpointslices", addresses),
        ("/apis/rbac.authorization.k8s.io/v1/clusterroles", reader),
        ("/apis/apiregistration.k8s.io/v1/apiservices", group),
    ]
