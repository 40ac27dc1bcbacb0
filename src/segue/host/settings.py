"""What a person may set of an embedded cluster, as one value; every timing rule of Kubernetes it shows is here.

Defaults are Kubernetes' own. They belong to one run, whose process keeps them as JSON beside the cluster: so a second
`segue up` can tell what it asks for from what runs. What is off is a UsageError here, before anything starts.
"""

from __future__ import annotations

import ipaddress
import math
import re
from dataclasses import asdict, dataclass, fields, replace

import msgspec

from segue.model.errors import UsageError
from segue.model.objects import Obj

MODES = ("auto", "namespaces", "loopback")
SECONDS_MAX = 3600.0
_NODE_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSettings:
    """Settings by name; `--set NAME=VALUE` of `segue up` sets any of them."""

    mode: str = "auto"  # auto | namespaces | loopback
    api_port: int = 0  # on the host's loopback; 0 takes 16443 or any free one
    node_name: str = "node-1"
    image_maps: tuple[str, ...] = ()  # files, later ones win
    min_sync_s: float = 1.0  # least time between two data plane syncs (K5)
    data_plane_delay_s: float = 0.05  # a change becomes effective this much later (a real single node: about 0.1 s)
    endpoint_slice_delay_s: float = 0.0  # the EndpointSlice controller acts this much later
    deployment_delay_s: float = 0.0  # so does the Deployment controller
    replica_set_delay_s: float = 0.0  # and the ReplicaSet controller
    scheduler_delay_s: float = 0.0  # and the scheduler
    kubelet_delay_s: float = 0.0  # the node agent sees a pod's change this much later
    pod_start_delay_s: float = 0.0  # containers start this much later, as if an image were pulled
    pod_status_delay_s: float = 0.0  # the node agent writes a status this much later
    sigterm_delay_s: float = 0.0  # the stop signal goes out this much later
    metrics_every_s: float = 15.0  # what pods use is read so often
    dns: bool = True  # a DNS server of the cluster's own, behind the Service kube-dns; False leaves that to you
    dns_ttl_s: int = 5  # of its names
    dns_cache_s: float = 30.0  # answers from upstreams are remembered at most so long
    dns_upstreams: str = ""  # ADDRESS[:PORT], blanks between: who is asked for other names; "" refuses them
    dns_search: str = ""  # search domains of the node's own, which pods get after the cluster's
    backoff_base_s: float = 10.0  # restart back-off (L5)
    backoff_cap_s: float = 300.0


def as_json(settings: ClusterSettings) -> Obj:
    """The settings as plain JSON."""
    return asdict(settings)


def from_json(obj: Obj) -> ClusterSettings:
    """The settings of `as_json`; names unknown to this version are left out."""
    return msgspec.convert(obj, ClusterSettings)


def checked(settings: ClusterSettings) -> ClusterSettings:
    """The settings; UsageError for a value that no cluster can have."""
    if settings.mode not in MODES:
        raise UsageError(f"--mode {settings.mode}: must be auto, namespaces or loopback")
    if not 0 <= settings.api_port <= 65535:
        raise UsageError(f"--port {settings.api_port}: must be 1 to 65535, or 0 for any free one")
    if not _NODE_NAME.fullmatch(settings.node_name):
        remedy = "small letters, digits and -, at most 63 of them, as Kubernetes wants it"
        raise UsageError(f"--set node_name={settings.node_name}: is no name of a node", remedy=remedy)
    upstreams_of(settings)
    if settings.dns_ttl_s < 0:
        raise UsageError(f"--set dns_ttl_s={settings.dns_ttl_s}: must not be negative")
    for field in fields(settings):
        value = getattr(settings, field.name)
        if isinstance(value, float) and not (math.isfinite(value) and 0 <= value <= SECONDS_MAX):
            raise UsageError(f"--set {field.name}={value:g}: must be 0 to {SECONDS_MAX:g} seconds")
    return settings


def upstreams_of(settings: ClusterSettings) -> tuple[tuple[str, int], ...]:
    """Who is asked for names outside; UsageError for what is no address."""
    found = []
    for said in settings.dns_upstreams.split():
        ip, _, port = said.partition(":")
        try:
            found.append((str(ipaddress.IPv4Address(ip)), int(port or 53)))
        except ValueError as error:
            remedy = "IPv4 addresses, each with :PORT where that is not 53, blanks between"
            raise UsageError(f"--set dns_upstreams={settings.dns_upstreams}: {error}", remedy=remedy) from error
    return tuple(found)


def with_assignments(settings: ClusterSettings, assignments: list[str]) -> ClusterSettings:
    """Apply `NAME=VALUE`s; UsageError for a name or value that does not exist."""
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        name = name.strip().replace("-", "_")
        current = getattr(settings, name, None) if equals else None
        if current is None or isinstance(current, tuple):
            names = ", ".join(field.name for field in fields(settings) if field.name != "image_maps")
            raise UsageError(
                f"--set {assignment}: not a setting of the cluster", remedy=f"NAME=VALUE with one of: {names}"
            )
        try:
            value: Obj = {name: _switch(text) if isinstance(current, bool) else type(current)(text)}
            settings = replace(settings, **value)
        except ValueError as error:
            kind = {bool: "true or false", int: "a whole number"}.get(type(current), "a number")
            raise UsageError(f"--set {assignment}: {text!r} is not {kind}") from error
    return checked(settings)


def not_as_asked(asked: ClusterSettings, running: ClusterSettings) -> list[str]:
    """Which settings a person asked for and a running cluster does not have; a default counts as not asked for."""
    default = ClusterSettings()
    return [
        f"{field.name} is {_shown(getattr(running, field.name))}, asked for was {_shown(getattr(asked, field.name))}"
        for field in fields(asked)
        if getattr(asked, field.name) not in (getattr(default, field.name), getattr(running, field.name))
    ]


def _switch(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError(text)
    return text == "true"


def _shown(value: str | float | tuple[str, ...]) -> str:
    return (", ".join(value) or "none") if isinstance(value, tuple) else str(value)
