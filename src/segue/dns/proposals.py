"""What goes with a CoreDNS: autoscalers, alerts, a cache on every node. Objects as values, each with what it gains.

Rule: nothing here is applied by itself. Each file says why it is there; the names are those that kubeadm has.
"""

from __future__ import annotations

from dataclasses import dataclass

from segue.dns.resolver import NODE_LOCAL
from segue.model.objects import Obj

REPLICAS_MAX = 20
CPU_SHARE = 50
CORES_PER_REPLICA, NODES_PER_REPLICA = 256, 16
NODE_LOCAL_IMAGE = "registry.k8s.io/dns/k8s-dns-node-cache:1.26.4"
NODE_CACHE_S = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """One file of objects, and what it gains."""

    file: str
    gains: str
    objects: tuple[Obj, ...]


def proposals(*, namespace: str, replicas: int, dns_ip: str, domain: str) -> tuple[Proposal, ...]:
    """All of them; one of the two autoscalers is to be chosen."""
    return (
        Proposal(
            file="autoscaler-by-cpu.yaml",
            gains="room for more queries when CPU is short; no shorter lookup before that",
            objects=(_by_cpu(namespace, replicas),),
        ),
        Proposal(
            file="autoscaler-by-size.yaml",
            gains="as many replicas as nodes and cores want, whatever the load (not beside the one by CPU)",
            objects=(_by_size(namespace, replicas),),
        ),
        Proposal(
            file="alerts.yaml",
            gains="overload, failures and refusals are told before programs notice",
            objects=(alerts(),),
        ),
        Proposal(
            file="node-local.yaml",
            gains="as many queries, answered on the node: 24 ms became 0.5 ms where CoreDNS is 5 ms away",
            objects=_node_local(dns_ip, domain),
        ),
    )


def dns_config(ndots: int) -> Obj:
    """What a pod template says for fewer queries."""
    return {"dnsConfig": {"options": [{"name": "ndots", "value": str(ndots)}]}}


def _by_cpu(namespace: str, replicas: int) -> Obj:
    """The seed's, in the API of today: v1 knows no behaviour, and a DNS should shrink slowly."""
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "coredns", "namespace": namespace},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "coredns"},
            "minReplicas": replicas,
            "maxReplicas": max(REPLICAS_MAX, replicas),
            "metrics": [
                {
                    "type": "Resource",
                    "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": CPU_SHARE}},
                }
            ],
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": 600}},
        },
    }


def _by_size(namespace: str, replicas: int) -> Obj:
    """What cluster-proportional-autoscaler reads."""
    linear = (
        f'{{"coresPerReplica":{CORES_PER_REPLICA},"nodesPerReplica":{NODES_PER_REPLICA},"min":{replicas},'
        f'"max":{max(REPLICAS_MAX, replicas)},"preventSinglePointFailure":true}}'
    )
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "dns-autoscaler", "namespace": namespace},
        "data": {"linear": linear},
    }


_ALERTS = (
    (
        "CoreDNSIsSlowAtItself",
        "histogram_quantile(0.99, sum by (instance, le) (rate(coredns_health_request_duration_seconds_bucket[5m])))"
        " > 0.25",
        "5m",
        "its own /health takes more than 250 ms: it has no CPU left",
    ),
    (
        "CoreDNSHealthFails",
        "rate(coredns_health_request_failures_total[5m]) > 0",
        "5m",
        "it does not answer itself",
    ),
    (
        "CoreDNSAnswersLate",
        "histogram_quantile(0.99, sum by (server, zone, le) (rate(coredns_dns_request_duration_seconds_bucket[5m])))"
        " > 1",
        "10m",
        "one query in a hundred takes more than a second",
    ),
    (
        "CoreDNSFails",
        'sum(rate(coredns_dns_responses_total{rcode="SERVFAIL"}[5m])) / sum(rate(coredns_dns_responses_total[5m]))'
        " > 0.01",
        "10m",
        "more than 1 % of the answers are SERVFAIL",
    ),
    (
        "CoreDNSUpstreamIsLate",
        "histogram_quantile(0.99, sum by (to, le) (rate(coredns_proxy_request_duration_seconds_bucket[5m]))) > 1",
        "10m",
        "an upstream takes more than a second for one query in a hundred",
    ),
    (
        "CoreDNSRefuses",
        "rate(coredns_forward_max_concurrent_rejects_total[5m]) > 0",
        "1m",
        "max_concurrent is reached: queries for names outside are refused",
    ),
    ("CoreDNSPanics", "increase(coredns_panics_total[10m]) > 0", "0m", "a plugin has crashed"),
    (
        "CoreDNSDidNotReload",
        "increase(coredns_reload_failed_total[10m]) > 0",
        "0m",
        "the Corefile is faulty: it runs with the one before, and would not start again",
    ),
)


def alerts() -> Obj:
    """A rule file of Prometheus."""
    rules = [
        {
            "alert": name,
            "expr": expression,
            "for": lasting,
            "labels": {"severity": "warning"},
            "annotations": {"summary": f"CoreDNS: {says}"},
        }
        for name, expression, lasting, says in _ALERTS
    ]
    return {"groups": [{"name": "coredns", "rules": rules}]}


def node_local_corefile(dns_ip: str, domain: str) -> str:
    """Of the cache on a node: what is asked often is refreshed in time, and what has ended is told once more."""
    inner = f"""\
    errors
    cache {NODE_CACHE_S} {{
        prefetch 2 1m 20%
        serve_stale 30s immediate
    }}
    reload
    loop
    bind {NODE_LOCAL} {dns_ip}
    prometheus :9253
"""
    cluster = (
        f"{domain}:53 in-addr.arpa:53 ip6.arpa:53 {{\n{inner}    forward . __PILLAR__CLUSTER__DNS__ {{\n"
        f"        force_tcp\n    }}\n    health {NODE_LOCAL}:8080\n}}\n"
    )
    return cluster + f".:53 {{\n{inner}    forward . __PILLAR__UPSTREAM__SERVERS__\n}}\n"


def _node_local(dns_ip: str, domain: str) -> tuple[Obj, ...]:
    labels = {"k8s-app": "node-local-dns"}
    meta = {"name": "node-local-dns", "namespace": "kube-system", "labels": labels}
    ports = [{"name": "dns", "port": 53, "protocol": "UDP"}, {"name": "dns-tcp", "port": 53, "protocol": "TCP"}]
    return (
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta},
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "kube-dns-upstream", "namespace": "kube-system", "labels": labels},
            "spec": {"ports": ports, "selector": {"k8s-app": "kube-dns"}},
        },
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": meta,
            "data": {"Corefile": node_local_corefile(dns_ip, domain)},
        },
        {
            "apiVersion": "apps/v1",
            "kind": "DaemonSet",
            "metadata": meta,
            "spec": {
                "updateStrategy": {"rollingUpdate": {"maxUnavailable": 1}},
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": _node_local_pod(dns_ip)},
            },
        },
    )


def _node_local_pod(dns_ip: str) -> Obj:
    """On the node's own network, so a second one beside it is not possible: an upgrade is a gap on the node."""
    listen = f"{NODE_LOCAL},{dns_ip}"
    return {
        "priorityClassName": "system-node-critical",
        "serviceAccountName": "node-local-dns",
        "hostNetwork": True,
        "dnsPolicy": "Default",
        "tolerations": [
            {"effect": "NoExecute", "operator": "Exists"},
            {"effect": "NoSchedule", "operator": "Exists"},
        ],
        "containers": [
            {
                "name": "node-cache",
                "image": NODE_LOCAL_IMAGE,
                "args": ["-localip", listen, "-conf", "/etc/Corefile", "-upstreamsvc", "kube-dns-upstream"],
                "resources": {"requests": {"cpu": "25m", "memory": "5Mi"}},
                "securityContext": {"capabilities": {"add": ["NET_ADMIN"]}},
                "livenessProbe": {
                    "httpGet": {"host": NODE_LOCAL, "path": "/health", "port": 8080},
                    "initialDelaySeconds": 60,
                    "timeoutSeconds": 5,
                },
                "volumeMounts": [
                    {"name": "lock", "mountPath": "/run/xtables.lock"},
                    {"name": "config", "mountPath": "/etc/coredns"},
                ],
            }
        ],
        "volumes": [
            {"name": "lock", "hostPath": {"path": "/run/xtables.lock", "type": "FileOrCreate"}},
            {
                "name": "config",
                "configMap": {"name": "node-local-dns", "items": [{"key": "Corefile", "path": "Corefile.base"}]},
            },
        ],
    }
