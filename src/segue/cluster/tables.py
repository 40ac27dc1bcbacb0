"""Objects as kubectl prints them: meta.k8s.io/v1 Tables with Kubernetes' columns. Reads objects; `now_s` makes ages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from segue.cluster.kinds import Kind
from segue.cluster.table_rows import (
    Cells,
    age_of,
    autoscaler_cells,
    config_map_cells,
    controller_revision_cells,
    cron_job_cells,
    daemon_set_cells,
    deployment_cells,
    endpoint_slice_cells,
    endpoints_cells,
    event_cells,
    ingress_cells,
    job_cells,
    lease_cells,
    namespace_cells,
    node_cells,
    node_metrics_cells,
    pod_cells,
    pod_metrics_cells,
    quota_cells,
    replica_set_cells,
    secret_cells,
    service_account_cells,
    service_cells,
    stateful_set_cells,
    volume_claim_cells,
)
from segue.model.objects import Obj, name_of

Include: TypeAlias = str  # "None" | "Metadata" | "Object"


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """A kind's columns as `Name Ready Status(wide)`, and what fills them behind the name."""

    columns: tuple[tuple[str, str, int], ...]  # name, type, priority
    cells: Callable[[Obj, float], Cells]


def _layout(text: str, cells: Callable[[Obj, float], Cells]) -> Layout:
    """Columns as text: parted by `|`; a leading `+` marks one of the wide view, a trailing `#` a number."""
    columns: list[tuple[str, str, int]] = [("Name", "string", 0)]
    for part in text.split("|"):
        name = part.strip().strip("+#")
        columns.append((name, "integer" if part.strip().endswith("#") else "string", int(part.strip()[0] == "+")))
    return Layout(columns=tuple(columns), cells=cells)


def _plain_cells(obj: Obj, now_s: float) -> Cells:
    return [age_of(obj, now_s)]


_PLAIN = _layout("Age", _plain_cells)
_POD_COLUMNS = "Ready | Status | Restarts | Age | +IP | +Node | +Nominated Node | +Readiness Gates"
_NODE_COLUMNS = (
    "Status | Roles | Age | Version | +Internal-IP | +External-IP | +OS-Image | +Kernel-Version | +Container-Runtime"
)
_LAYOUTS: dict[str, Layout] = {
    "pods": _layout(_POD_COLUMNS, pod_cells),
    "deployments.apps": _layout(
        "Ready | Up-to-date# | Available# | Age | +Containers | +Images | +Selector", deployment_cells
    ),
    "replicasets.apps": _layout(
        "Desired# | Current# | Ready# | Age | +Containers | +Images | +Selector", replica_set_cells
    ),
    "statefulsets.apps": _layout("Ready | Age | +Containers | +Images", stateful_set_cells),
    "daemonsets.apps": _layout(
        "Desired# | Current# | Ready# | Up-to-date# | Available# | Node Selector | Age "
        "| +Containers | +Images | +Selector",
        daemon_set_cells,
    ),
    "services": _layout("Type | Cluster-IP | External-IP | Port(s) | Age | +Selector", service_cells),
    "endpointslices.discovery.k8s.io": _layout("AddressType | Ports | Endpoints | Age", endpoint_slice_cells),
    "endpoints": _layout("Endpoints | Age", endpoints_cells),
    "nodes": _layout(_NODE_COLUMNS, node_cells),
    "namespaces": _layout("Status | Age", namespace_cells),
    "resourcequotas": _layout("Request | Limit | Age", quota_cells),
    "configmaps": _layout("Data# | Age", config_map_cells),
    "secrets": _layout("Type | Data# | Age", secret_cells),
    "serviceaccounts": _layout("Secrets# | Age", service_account_cells),
    "leases.coordination.k8s.io": _layout("Holder | Age", lease_cells),
    "jobs.batch": _layout("Status | Completions | Duration | Age | +Containers | +Images | +Selector", job_cells),
    "controllerrevisions.apps": _layout("Controller | Revision# | Age", controller_revision_cells),
    "cronjobs.batch": _layout("Schedule | Timezone | Suspend | Active# | Last Schedule | Age", cron_job_cells),
    "ingresses.networking.k8s.io": _layout("Class | Hosts | Address | Ports | Age", ingress_cells),
    "persistentvolumeclaims": _layout(
        "Status | Volume | Capacity | Access Modes | StorageClass | Age", volume_claim_cells
    ),
    "horizontalpodautoscalers.autoscaling": _layout(
        "Reference | Targets | MinPods | MaxPods | Replicas | Age", autoscaler_cells
    ),
    "pods.metrics.k8s.io": _layout("cpu | memory | Window", pod_metrics_cells),
    "nodes.metrics.k8s.io": _layout("cpu | memory | Window", node_metrics_cells),
}
# Events alone have no name column in front: the name is wide.
_EVENT_COLUMNS: tuple[tuple[str, str, int], ...] = (
    ("Last Seen", "string", 0),
    ("Type", "string", 0),
    ("Reason", "string", 0),
    ("Object", "string", 0),
    ("Subobject", "string", 1),
    ("Source", "string", 1),
    ("Message", "string", 0),
    ("First Seen", "string", 1),
    ("Count", "string", 1),
    ("Name", "string", 1),
)


def table_of(kind: Kind, objects: Sequence[Obj], *, now_s: float, include: Include, headed: bool = True) -> Obj:
    """The Table of some objects of one kind; a watch heads only its first one."""
    table: Obj = {"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": {}}
    table["columnDefinitions"] = _columns(kind) if headed else []
    table["rows"] = [_row(kind, obj, now_s, include) for obj in objects]
    return table


def metadata_only(obj: Obj) -> Obj:
    """The PartialObjectMetadata of an object."""
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": obj["metadata"]}


def _columns(kind: Kind) -> list[Obj]:
    columns = _EVENT_COLUMNS if kind.resource == "events" else _LAYOUTS.get(kind.resource, _PLAIN).columns
    return [
        {
            "name": name,
            "type": type_,
            "format": "name" if name == "Name" else "",
            "description": "",
            "priority": priority,
        }
        for name, type_, priority in columns
    ]


def _row(kind: Kind, obj: Obj, now_s: float, include: Include) -> Obj:
    if kind.resource == "events":
        cells = event_cells(obj, now_s)
    else:
        cells = [name_of(obj), *_LAYOUTS.get(kind.resource, _PLAIN).cells(obj, now_s)]
    row: Obj = {"cells": cells}
    if include == "Object":
        row["object"] = obj
    elif include != "None":
        row["object"] = metadata_only(obj)
    return row
