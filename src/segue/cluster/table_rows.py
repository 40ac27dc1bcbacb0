"""The cells behind the name in kubectl's tables, one function per kind, in Kubernetes' words and ages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from segue.cluster.quotas.amounts import ZERO, amounts, total
from segue.cluster.scale import selector_text
from segue.model.objects import Obj, condition_of, controller_of, is_terminating, labels_of, name_of, seconds_of

Cells: TypeAlias = list[str | int]
NONE, UNKNOWN, UNSET = "<none>", "<unknown>", "<unset>"
_ROLE = "node-role.kubernetes.io/"


def pod_cells(pod: Obj, now_s: float) -> Cells:
    """Ready, Status, Restarts, Age, IP, Node, Nominated Node, Readiness Gates."""
    spec, status = pod.get("spec", {}), pod.get("status", {})
    states: list[Obj] = status.get("containerStatuses") or []
    ready = sum(1 for one in states if one.get("ready"))
    restarts = sum(one.get("restartCount", 0) for one in states)
    ended = [
        one["lastState"]["terminated"]["finishedAt"]
        for one in states
        if (one.get("lastState") or {}).get("terminated", {}).get("finishedAt")
    ]
    restarted = (
        f"{restarts} ({human_duration(now_s - max(map(seconds_of, ended)))} ago)" if restarts and ended else None
    )
    gates = spec.get("readinessGates") or []
    passed = sum(1 for gate in gates if (condition_of(pod, gate["conditionType"]) or {}).get("status") == "True")
    return [
        f"{ready}/{len(spec.get('containers') or [])}",
        pod_status(pod),
        restarted or str(restarts),
        age_of(pod, now_s),
        status.get("podIP") or NONE,
        spec.get("nodeName") or NONE,
        status.get("nominatedNodeName") or NONE,
        f"{passed}/{len(gates)}" if gates else NONE,
    ]


def pod_status(pod: Obj) -> str:
    """The word in the STATUS column."""
    status = pod.get("status", {})
    reason: str = status.get("reason") or status.get("phase") or "Unknown"
    if (condition_of(pod, "PodScheduled") or {}).get("reason") == "SchedulingGated":
        reason = "SchedulingGated"
    starting = _init_status(pod)
    if starting:
        reason = starting
    else:
        running = False
        for one in reversed(status.get("containerStatuses") or []):
            state = one.get("state") or {}
            if (state.get("waiting") or {}).get("reason"):
                reason = state["waiting"]["reason"]
            elif "terminated" in state:
                reason = _ended_reason(state["terminated"])
            elif one.get("ready") and "running" in state:
                running = True
        if reason == "Completed" and running:
            reason = "Running" if (condition_of(pod, "Ready") or {}).get("status") == "True" else "NotReady"
    if is_terminating(pod) and status.get("phase") not in {"Succeeded", "Failed"}:
        return "Unknown" if status.get("reason") == "NodeLost" else "Terminating"
    return reason


def _init_status(pod: Obj) -> str:
    containers = pod.get("spec", {}).get("initContainers") or []
    for index, one in enumerate(pod.get("status", {}).get("initContainerStatuses") or []):
        state = one.get("state") or {}
        if "terminated" in state and state["terminated"].get("exitCode") == 0:
            continue
        always = index < len(containers) and containers[index].get("restartPolicy") == "Always"
        if always and one.get("started"):
            continue
        if "terminated" in state:
            return f"Init:{_ended_reason(state['terminated'])}"
        waiting = (state.get("waiting") or {}).get("reason")
        if waiting and waiting != "PodInitializing":
            return f"Init:{waiting}"
        return f"Init:{index}/{len(containers)}"
    return ""


def _ended_reason(terminated: Obj) -> str:
    if terminated.get("reason"):
        return str(terminated["reason"])
    if terminated.get("signal"):
        return f"Signal:{terminated['signal']}"
    return f"ExitCode:{terminated.get('exitCode', 0)}"


def deployment_cells(obj: Obj, now_s: float) -> Cells:
    """Ready, Up-to-date, Available, Age, Containers, Images, Selector."""
    spec, status = obj.get("spec", {}), obj.get("status", {})
    return [
        f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 0)}",
        status.get("updatedReplicas", 0),
        status.get("availableReplicas", 0),
        age_of(obj, now_s),
        *_template_cells(spec),
        selector_text(spec.get("selector") or {}),
    ]


def replica_set_cells(obj: Obj, now_s: float) -> Cells:
    """Desired, Current, Ready, Age, Containers, Images, Selector."""
    spec, status = obj.get("spec", {}), obj.get("status", {})
    return [
        spec.get("replicas", 0),
        status.get("replicas", 0),
        status.get("readyReplicas", 0),
        age_of(obj, now_s),
        *_template_cells(spec),
        selector_text(spec.get("selector") or {}),
    ]


def stateful_set_cells(obj: Obj, now_s: float) -> Cells:
    """Ready, Age, Containers, Images."""
    ready, wanted = obj.get("status", {}).get("readyReplicas", 0), obj.get("spec", {}).get("replicas", 0)
    return [f"{ready}/{wanted}", age_of(obj, now_s), *_template_cells(obj.get("spec", {}))]


def daemon_set_cells(obj: Obj, now_s: float) -> Cells:
    """Desired, Current, Ready, Up-to-date, Available, Node Selector, Age, Containers, Images, Selector."""
    spec, status = obj.get("spec", {}), obj.get("status", {})
    keys = (
        "desiredNumberScheduled",
        "currentNumberScheduled",
        "numberReady",
        "updatedNumberScheduled",
        "numberAvailable",
    )
    node_selector = (spec.get("template") or {}).get("spec", {}).get("nodeSelector") or {}
    return [
        *(status.get(key, 0) for key in keys),
        _pairs(node_selector),
        age_of(obj, now_s),
        *_template_cells(spec),
        selector_text(spec.get("selector") or {}),
    ]


def service_cells(obj: Obj, now_s: float) -> Cells:
    """Type, Cluster-IP, External-IP, Port(s), Age, Selector."""
    spec = obj.get("spec", {})
    kind = spec.get("type", "ClusterIP")
    external = ",".join(spec.get("externalIPs") or []) or NONE
    if kind == "ExternalName":
        external = spec.get("externalName") or NONE
    elif kind == "LoadBalancer" and external == NONE:
        external = "<pending>"
    ports = [
        f"{port['port']}:{port['nodePort']}/{port['protocol']}"
        if port.get("nodePort")
        else f"{port['port']}/{port['protocol']}"
        for port in spec.get("ports") or []
    ]
    return [
        kind,
        spec.get("clusterIP") or NONE,
        external,
        ",".join(ports) or NONE,
        age_of(obj, now_s),
        _pairs(spec.get("selector") or {}),
    ]


def endpoint_slice_cells(obj: Obj, now_s: float) -> Cells:
    """AddressType, Ports, Endpoints, Age."""
    ports = [str(port["port"]) if port.get("port") else "*" for port in obj.get("ports") or []]
    addresses = [address for one in obj.get("endpoints") or [] for address in one.get("addresses") or []]
    return [
        obj.get("addressType", ""),
        _some(ports, 3) if ports else UNSET,
        _some(addresses, 3) if addresses else UNSET,
        age_of(obj, now_s),
    ]


def endpoints_cells(obj: Obj, now_s: float) -> Cells:
    """Endpoints, Age."""
    pairs = [
        f"{address['ip']}:{port['port']}"
        for subset in obj.get("subsets") or []
        for port in subset.get("ports") or []
        for address in subset.get("addresses") or []
    ]
    return [_some(pairs, 3) if pairs else NONE, age_of(obj, now_s)]


def node_cells(obj: Obj, now_s: float) -> Cells:
    """Status, Roles, Age, Version, Internal-IP, External-IP, OS-Image, Kernel-Version, Container-Runtime."""
    ready = (condition_of(obj, "Ready") or {}).get("status")
    words = ["Ready" if ready == "True" else "NotReady" if ready else "Unknown"]
    if obj.get("spec", {}).get("unschedulable"):
        words.append("SchedulingDisabled")
    roles = sorted(key[len(_ROLE) :] for key in labels_of(obj) if key.startswith(_ROLE))
    status = obj.get("status", {})
    info: Mapping[str, str] = status.get("nodeInfo") or {}
    addresses = {one["type"]: one["address"] for one in status.get("addresses") or []}
    return [
        ",".join(words),
        ",".join(roles) or NONE,
        age_of(obj, now_s),
        info.get("kubeletVersion", ""),
        addresses.get("InternalIP", NONE),
        addresses.get("ExternalIP", NONE),
        info.get("osImage") or UNKNOWN,
        info.get("kernelVersion") or UNKNOWN,
        info.get("containerRuntimeVersion") or UNKNOWN,
    ]


def event_cells(obj: Obj, now_s: float) -> Cells:
    """Last Seen, Type, Reason, Object, Subobject, Source, Message, First Seen, Count, Name."""
    about = obj.get("involvedObject") or {}
    source = obj.get("source") or {}
    said = obj.get("eventTime") or obj["metadata"].get("creationTimestamp")
    first = _since(obj.get("firstTimestamp") or said, now_s)
    last = _since(obj.get("lastTimestamp") or said, now_s)
    count: int = obj.get("count") or 1
    return [
        f"{last} (x{count} over {first})" if count > 1 else last,
        obj.get("type", ""),
        obj.get("reason", ""),
        f"{about.get('kind', '').lower()}/{about.get('name', '')}",
        about.get("fieldPath", ""),
        ", ".join(one for one in (source.get("component"), source.get("host")) if one),
        str(obj.get("message", "")).strip(),
        first,
        str(count),
        name_of(obj),
    ]


def namespace_cells(obj: Obj, now_s: float) -> Cells:
    """Status, Age."""
    return [obj.get("status", {}).get("phase", "Active"), age_of(obj, now_s)]


def quota_cells(quota: Obj, now_s: float) -> Cells:
    """Request, Limit, Age."""
    status = quota.get("status", {})
    told = {name: f"{name}: {(status.get('used') or {}).get(name, 0)}/{hard}" for name, hard in _hard(quota)}
    requests = [text for name, text in told.items() if not name.startswith("limits.")]
    limits = [text for name, text in told.items() if name.startswith("limits.")]
    return [", ".join(requests), ", ".join(limits), age_of(quota, now_s)]


def _hard(quota: Obj) -> list[tuple[str, str]]:
    return sorted((quota.get("status", {}).get("hard") or {}).items())


def config_map_cells(obj: Obj, now_s: float) -> Cells:
    """Data, Age."""
    return [len(obj.get("data") or {}) + len(obj.get("binaryData") or {}), age_of(obj, now_s)]


def secret_cells(obj: Obj, now_s: float) -> Cells:
    """Type, Data, Age."""
    return [obj.get("type", ""), len(obj.get("data") or {}), age_of(obj, now_s)]


def service_account_cells(obj: Obj, now_s: float) -> Cells:
    """Secrets, Age."""
    return [len(obj.get("secrets") or []), age_of(obj, now_s)]


def lease_cells(obj: Obj, now_s: float) -> Cells:
    """Holder, Age."""
    return [(obj.get("spec") or {}).get("holderIdentity") or "", age_of(obj, now_s)]


def controller_revision_cells(obj: Obj, now_s: float) -> Cells:
    """Controller, Revision, Age."""
    owner = controller_of(obj)
    group = (owner or {}).get("apiVersion", "").rpartition("/")[0]
    whose = f"{owner['kind'].lower()}{'.' + group if group else ''}/{owner['name']}" if owner else NONE
    return [whose, obj.get("revision", 0), age_of(obj, now_s)]


def job_cells(obj: Obj, now_s: float) -> Cells:
    """Status, Completions, Duration, Age, Containers, Images, Selector."""
    status, spec = obj.get("status", {}), obj.get("spec", {})
    parallelism, wanted = spec.get("parallelism", 0), spec.get("completions")
    if wanted is None:
        wanted = f"1 of {parallelism}" if parallelism > 1 else 1
    started, ended = status.get("startTime"), status.get("completionTime")
    lasted = human_duration((seconds_of(ended) if ended else now_s) - seconds_of(started)) if started else ""
    return [
        _job_status(obj),
        f"{status.get('succeeded', 0)}/{wanted}",
        lasted,
        age_of(obj, now_s),
        *_template_cells(spec),
        selector_text(spec.get("selector") or {}),
    ]


def _job_status(job: Obj) -> str:
    conditions = job.get("status", {}).get("conditions") or []
    true = {one["type"] for one in conditions if one.get("status") == "True"}
    order = ["Complete", "Failed", "Terminating", "Suspended", "FailureTarget", "SuccessCriteriaMet"]
    if is_terminating(job):
        true.add("Terminating")
    return next((word for word in order if word in true), "Running")


def cron_job_cells(obj: Obj, now_s: float) -> Cells:
    """Schedule, Timezone, Suspend, Active, Last Schedule, Age."""
    spec, status = obj.get("spec", {}), obj.get("status", {})
    last = status.get("lastScheduleTime")
    return [
        spec.get("schedule", ""),
        spec.get("timeZone") or NONE,
        "True" if spec.get("suspend") else "False",
        len(status.get("active") or []),
        _since(last, now_s) if last else NONE,
        age_of(obj, now_s),
    ]


def ingress_cells(obj: Obj, now_s: float) -> Cells:
    """Class, Hosts, Address, Ports, Age."""
    spec = obj.get("spec", {})
    hosts = [rule["host"] for rule in spec.get("rules") or [] if rule.get("host")]
    entries = ((obj.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []
    address = ",".join(one.get("ip") or one.get("hostname") or "" for one in entries)
    ports = "80, 443" if spec.get("tls") else "80"
    return [spec.get("ingressClassName") or NONE, _some(hosts, 3) if hosts else "*", address, ports, age_of(obj, now_s)]


def volume_claim_cells(obj: Obj, now_s: float) -> Cells:
    """Status, Volume, Capacity, Access Modes, StorageClass, Age."""
    spec, status = obj.get("spec", {}), obj.get("status", {})
    short = {"ReadWriteOnce": "RWO", "ReadOnlyMany": "ROX", "ReadWriteMany": "RWX", "ReadWriteOncePod": "RWOP"}
    modes = ",".join(short.get(mode, mode) for mode in status.get("accessModes") or [])
    capacity = (status.get("capacity") or {}).get("storage", "")
    return [
        status.get("phase", ""),
        spec.get("volumeName", ""),
        capacity,
        modes,
        spec.get("storageClassName", ""),
        age_of(obj, now_s),
    ]


def autoscaler_cells(obj: Obj, now_s: float) -> Cells:
    """Reference, Targets, MinPods, MaxPods, Replicas, Age."""
    spec = obj.get("spec", {})
    target = spec.get("scaleTargetRef") or {}
    return [
        f"{target.get('kind', '')}/{target.get('name', '')}",
        _targets(spec.get("metrics") or [], obj.get("status", {}).get("currentMetrics") or []),
        str(spec.get("minReplicas", UNSET)),
        spec.get("maxReplicas", 0),
        obj.get("status", {}).get("currentReplicas", 0),
        age_of(obj, now_s),
    ]


def _targets(metrics: list[Obj], statuses: list[Obj]) -> str:
    """Each metric as what is found and what is wanted; two are shown, the others counted."""
    shown = [
        _target_cell(metric, statuses[index] if index < len(statuses) else {}) for index, metric in enumerate(metrics)
    ]
    more = f" + {len(shown) - 2} more..." if len(shown) > 2 else ""
    return (", ".join(shown[:2]) + more) if shown else NONE


def _target_cell(metric: Obj, status: Obj) -> str:
    key = metric["type"][:1].lower() + metric["type"][1:]
    source: Obj = metric.get(key) or {}
    target: Obj = source.get("target") or {}
    current: Obj = (status.get(key) or {}).get("current") or {}
    measured = key in {"resource", "containerResource"}
    if measured and "averageValue" not in target:
        share = current.get("averageUtilization")
        found = f"{share}%" if share is not None else UNKNOWN
        wanted = f"{target['averageUtilization']}%" if "averageUtilization" in target else "<auto>"
    else:
        of = "averageValue" if "averageValue" in target else "value"
        found, wanted = current.get(of, UNKNOWN), target.get(of, UNKNOWN)
        if key in {"object", "external"} and of == "averageValue":
            wanted = f"{wanted} (avg)"
    return f"{source.get('name', '')}: {found}/{wanted}" if measured else f"{found}/{wanted}"


def pod_metrics_cells(obj: Obj, now_s: float) -> Cells:
    """CPU, memory, window."""
    told = [container.get("usage") or {} for container in obj.get("containers") or []]
    summed = total(amounts(usage) for usage in told)
    return [str(summed.get("cpu", ZERO)), str(summed.get("memory", ZERO)), obj.get("window", "")]


def node_metrics_cells(obj: Obj, now_s: float) -> Cells:
    """CPU, memory, window."""
    usage = obj.get("usage") or {}
    return [usage.get("cpu", ""), usage.get("memory", ""), obj.get("window", "")]


def age_of(obj: Obj, now_s: float) -> str:
    """How long ago an object was made."""
    return _since(obj.get("metadata", {}).get("creationTimestamp"), now_s)


def human_duration(seconds: float) -> str:
    """A duration as kubectl prints it: 45s, 3m20s, 5h, 2d3h."""
    total = int(seconds)
    if total < -1:
        return "<invalid>"
    total = max(0, total)
    minutes, hours, days = total // 60, total // 3600, total // 86400
    if total < 120:
        return f"{total}s"
    if minutes < 10:
        return _two(minutes, "m", total % 60, "s")
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return _two(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    if days < 8:
        return _two(days, "d", hours % 24, "h")
    if days < 730:
        return f"{days}d"
    return _two(days // 365, "y", days % 365, "d") if days < 2920 else f"{days // 365}y"


def _two(large: int, unit: str, small: int, small_unit: str) -> str:
    return f"{large}{unit}{small}{small_unit}" if small else f"{large}{unit}"


def _since(timestamp: str | None, now_s: float) -> str:
    return human_duration(now_s - seconds_of(timestamp)) if timestamp else UNKNOWN


def _template_cells(spec: Obj) -> tuple[str, str]:
    containers = (spec.get("template") or {}).get("spec", {}).get("containers") or []
    return ",".join(one["name"] for one in containers), ",".join(one.get("image", "") for one in containers)


def _pairs(labels: Mapping[str, str]) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items())) or NONE


def _some(items: list[str], most: int) -> str:
    shown = ",".join(items[:most])
    return f"{shown} + {len(items) - most} more..." if len(items) > most else shown
