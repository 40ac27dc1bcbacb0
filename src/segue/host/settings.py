"""What a person may set of an embedded cluster, as one value; every timing rule of Kubernetes it shows is here.

Defaults are Kubernetes' own. Kept as JSON beside the cluster, so that `segue up` after a stop starts the same one.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace

import msgspec

from segue.model.errors import UsageError
from segue.model.objects import Obj


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
    kubelet_delay_s: float = 0.0  # the node agent sees a pod's change this much later
    backoff_base_s: float = 10.0  # restart back-off (L5)
    backoff_cap_s: float = 300.0


def as_json(settings: ClusterSettings) -> Obj:
    """The settings as plain JSON."""
    return asdict(settings)


def from_json(obj: Obj) -> ClusterSettings:
    """The settings of `as_json`; names unknown to this version are left out."""
    return msgspec.convert(obj, ClusterSettings)


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
            settings = replace(settings, **{name: type(current)(text)})
        except ValueError as error:
            raise UsageError(f"--set {assignment}: {text!r} is not a {type(current).__name__}") from error
    return settings
