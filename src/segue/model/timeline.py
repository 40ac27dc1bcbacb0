"""What happened in a cluster and when: the facts that causes of errors are decided from.

`at_s` is seconds since the epoch on one machine's clock. A happening is a measurement, never an inference.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from segue.model.objects import Obj


class What(StrEnum):
    """The closed set of happenings."""

    POD_CREATED = "pod_created"
    POD_DELETION_SET = "pod_deletion_set"  # deletionTimestamp written (T1); data: grace_s
    POD_LET_GO = "pod_let_go"  # a release took it out of its ReplicaSet and its Services, alive
    POD_REMOVED = "pod_removed"  # API object gone
    SANDBOX_CREATED = "sandbox_created"  # network of the pod is there; data: ip
    SANDBOX_REMOVED = "sandbox_removed"
    CONTAINER_STARTED = "container_started"  # data: container
    CONTAINER_EXITED = "container_exited"  # data: container, exit_code, signal
    PRESTOP_STARTED = "prestop_started"
    PRESTOP_ENDED = "prestop_ended"
    SIGTERM_SENT = "sigterm_sent"
    SIGKILL_SENT = "sigkill_sent"
    LIVENESS_FAILED = "liveness_failed"  # threshold reached, the container will be killed (L1)
    POD_READY = "pod_ready"  # Ready condition became True; data: ip
    POD_UNREADY = "pod_unready"
    LISTENER_OPENED = "listener_opened"  # data: port; measured in the pod's network namespace
    LISTENER_CLOSED = "listener_closed"  # data: port, not_before_s: last moment it was seen open
    ENDPOINT_ADDED = "endpoint_added"  # EndpointSlice written with the address ready; data: service, ip
    ENDPOINT_REMOVED = "endpoint_removed"  # EndpointSlice written without it (or not ready); data: service, ip
    RULE_ADDED = "rule_added"  # the data plane sends new connections to it; data: service, ip, node
    RULE_REMOVED = "rule_removed"  # the data plane no longer does; data: service, ip, node
    FLOW = "flow"  # a connection was given to a pod; data: src_ip, src_port, ip, port, error if the pod refused


@dataclass(frozen=True, slots=True, kw_only=True)
class Happening:
    """One measured fact. `pod` is "namespace/name", "" where no pod is concerned; `data` holds what `What` says."""

    at_s: float
    what: What
    pod: str = ""
    data: Obj = field(default_factory=dict)
