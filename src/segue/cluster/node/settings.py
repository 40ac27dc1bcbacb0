"""Every timing rule of the node agent that a drill may bend; the defaults are the kubelet's, or no delay at all."""

from __future__ import annotations

from dataclasses import dataclass, field

from segue.lifecycle.backoff import BackoffRules


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSettings:
    """Settings of one node agent."""

    node_ip: str = "127.0.0.1"
    see_delay_s: float = 0.0  # a pod's change reaches the agent this much later
    start_delay_s: float = 0.0  # as if pulling the image took so long
    status_delay_s: float = 0.0  # a status is written this much later
    sigterm_delay_s: float = 0.0  # the stop signal goes out this much later
    backoff: BackoffRules = field(default_factory=BackoffRules)
    pull_base_s: float = 10.0  # an image that no map knows is looked for again after this, doubling
    pull_cap_s: float = 300.0
    retry_s: float = 1.0  # network or status write that failed for now
    readiness_lies: bool = False  # readiness probes are taken for passed without being run
    watch_starting_s: float = 0.02  # how often listeners are looked for in a pod that starts,
    watch_ending_s: float = 0.005  # in one that ends,
    watch_idle_s: float = 1.0  # and otherwise
