"""A CoreDNS of a test's own in its namespace, on either cluster: what it needs, and its Corefiles."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from segue.model.objects import Obj
from testbed.building import folder_of, is_built, programs
from testbed.dns import coredns_image
from testbed.versions import DEFAULT, release
from tests import dns_asking
from tests.live.both import lookup_load
from tests.live.both.world import Place
from tests.waiting import wait_until

NAME = "coredns"
IMAGE = coredns_image(release(DEFAULT).coredns)
BINARY = next(folder_of(one) for one in programs(release(DEFAULT)) if one.name == "coredns") / "coredns"
BUILT = any(one.name == "coredns" and is_built(one) for one in programs(release(DEFAULT)))
LABELS = {"app": NAME}
# The seed's, in one block, as a cluster without anything outside can have it
PLAIN = """\
.:53 {
    errors
    health
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        pods insecure
        fallthrough in-addr.arpa ip6.arpa
    }
    prometheus :9153
    cache 30
    reload
    loadbalance
}
"""


def objects(namespace: str, corefile: str) -> list[Obj]:
    """All of it, as kubeadm has it but for the names."""
    return [
        {"kind": "ServiceAccount", "apiVersion": "v1", "metadata": {"name": NAME}},
        {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": NAME}, "data": {"Corefile": corefile}},
        _service(),
        _deployment(),
        *_rights(namespace),
    ]


def _rights(namespace: str) -> list[Obj]:
    group = "rbac.authorization.k8s.io"
    rules = [
        {"apiGroups": [""], "resources": ["services", "pods", "namespaces"], "verbs": ["list", "watch"]},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
    ]
    name = f"{NAME}-{namespace}"
    return [
        {"kind": "ClusterRole", "apiVersion": f"{group}/v1", "metadata": {"name": name}, "rules": rules},
        {
            "kind": "ClusterRoleBinding",
            "apiVersion": f"{group}/v1",
            "metadata": {"name": name},
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": NAME, "namespace": namespace}],
        },
    ]


def _service() -> Obj:
    ports = [{"name": name, "port": 53, "protocol": kind} for name, kind in (("dns", "UDP"), ("dns-tcp", "TCP"))]
    return {
        "kind": "Service",
        "apiVersion": "v1",
        "metadata": {"name": NAME},
        "spec": {"selector": LABELS, "ports": ports},
    }


def second(corefile: str) -> list[Obj]:
    """Another Deployment with a Corefile of its own; no Service selects it."""
    name = f"{NAME}-b"
    config: Obj = {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": name}, "data": {"Corefile": corefile}}
    made = _deployment()
    made["metadata"] = {"name": name}
    made["spec"]["selector"] = {"matchLabels": {"app": name}}
    made["spec"]["template"]["metadata"] = {"labels": {"app": name}}
    made["spec"]["template"]["spec"]["volumes"][0]["configMap"]["name"] = name
    return [config, made]


def _deployment() -> Obj:
    container: Obj = {
        "name": NAME,
        "image": IMAGE,
        "args": ["-conf", "/etc/coredns/Corefile"],
        "ports": [{"containerPort": 53, "protocol": kind, "name": f"dns-{kind.lower()}"} for kind in ("UDP", "TCP")],
        "resources": {"limits": {"memory": "170Mi"}, "requests": {"cpu": "100m", "memory": "70Mi"}},
        "readinessProbe": {"httpGet": {"path": "/ready", "port": 8181}},
        "livenessProbe": {"httpGet": {"path": "/health", "port": 8080}, "initialDelaySeconds": 60},
        "volumeMounts": [{"name": "config", "mountPath": "/etc/coredns", "readOnly": True}],
    }
    spec: Obj = {
        "serviceAccountName": NAME,
        "dnsPolicy": "Default",
        "containers": [container],
        "volumes": [
            {"name": "config", "configMap": {"name": NAME, "items": [{"key": "Corefile", "path": "Corefile"}]}}
        ],
    }
    return {
        "kind": "Deployment",
        "apiVersion": "apps/v1",
        "metadata": {"name": NAME},
        "spec": {
            "replicas": 2,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1}},
            "selector": {"matchLabels": LABELS},
            "template": {"metadata": {"labels": LABELS}, "spec": spec},
        },
    }


@contextmanager
def core_dns(place: Place, corefile: str = PLAIN) -> Iterator[str]:
    """It runs and answers; the address of its Service."""
    rights = [f"{kind}/{NAME}-{place.namespace}" for kind in ("clusterrolebinding", "clusterrole")]
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects(place.namespace, corefile)})
    try:
        place.kubectl("apply", "-f", "-", stdin=text)
        place.wait_ready_pods(2, f"app={NAME}", limit_s=60.0)
        wait_until(lambda: len(place.endpoints(NAME)) == 2, what="both to be endpoints")
        ip = place.cluster_ip(NAME)
        wait_until(lambda: answers(place, ip), what="the Service to lead to them")
        yield ip
    finally:
        place.kubectl("delete", "--ignore-not-found", *rights)


def answers(place: Place, ip: str) -> bool:
    """Whether a name of the cluster is found there."""
    with place.datagram(ip, 53) as way:
        way.settimeout(1)
        with suppress(OSError):
            way.send(dns_asking.packet("kubernetes.default.svc.cluster.local", "A"))
            return bool(dns_asking.said(way.recv(4096)).answers)
        return False


class Load:
    """Lookups for so long from the client's network; `told` waits for their end."""

    def __init__(self, place: Place, server: str, rate: float, for_s: float) -> None:
        names = [f"{NAME}.{place.namespace}.svc.cluster.local", "kubernetes.default.svc.cluster.local"]
        argv = [sys.executable, str(lookup_load.__file__), server, str(rate), str(for_s), *names]
        self._limit_s = for_s + 30
        self._process = subprocess.Popen(place.from_client(*argv), stdout=subprocess.PIPE, text=True)

    def told(self) -> Obj:
        """What came of them."""
        text, _ = self._process.communicate(timeout=self._limit_s)
        found: Obj = json.loads(text)
        return found


def config_of(place: Place) -> str:
    """The ConfigMap that its Deployment reads now."""
    spec = place.get("deployments", NAME)["spec"]["template"]["spec"]
    return str(spec["volumes"][0]["configMap"]["name"])
