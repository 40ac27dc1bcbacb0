"""The Node object a node agent registers itself with: who it is, what it has, that it is ready."""

from __future__ import annotations

from dataclasses import dataclass

from segue.model.objects import Obj, rfc3339


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFacts:
    """What the body knows of the machine that stands for the node."""

    name: str
    ip: str
    cpus: int
    memory_kb: int
    kernel: str
    mode: str


def node_object(facts: NodeFacts, now_s: float) -> Obj:
    """The Node, with conditions and capacity as a kubelet would write them."""
    capacity = {"cpu": str(facts.cpus), "memory": f"{facts.memory_kb}Ki", "pods": "250"}
    at = rfc3339(now_s)
    conditions = [
        ("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
        ("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        ("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        ("Ready", "True", "KubeletReady", f"segue's node agent is ready ({facts.mode})"),
    ]
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": facts.name,
            "labels": {
                "kubernetes.io/hostname": facts.name,
                "kubernetes.io/os": "linux",
                "kubernetes.io/arch": "amd64",
                "segue.dev/mode": facts.mode,
            },
        },
        "spec": {},
        "status": {
            "addresses": [
                {"type": "InternalIP", "address": facts.ip},
                {"type": "Hostname", "address": facts.name},
            ],
            "capacity": capacity,
            "allocatable": capacity,
            "conditions": [
                {
                    "type": kind,
                    "status": status,
                    "reason": reason,
                    "message": message,
                    "lastHeartbeatTime": at,
                    "lastTransitionTime": at,
                }
                for kind, status, reason, message in conditions
            ],
            "nodeInfo": {
                "machineID": "",
                "systemUUID": "",
                "bootID": "",
                "kernelVersion": facts.kernel,
                "osImage": "segue embedded node",
                "containerRuntimeVersion": "segue://processes",
                "kubeletVersion": "v1.37.2",
                "kubeProxyVersion": "",
                "operatingSystem": "linux",
                "architecture": "amd64",
            },
        },
    }
