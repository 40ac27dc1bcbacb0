"""Why Kubernetes loses requests, cause by cause, in whole sentences for a report."""

from __future__ import annotations

from segue.proof.causes import CauseKind

WHY: dict[CauseKind, str] = {
    CauseKind.LISTENER_CLOSED_FIRST: (
        "Deleting a pod starts two things that know nothing of each other. The node sends SIGTERM within milliseconds, "
        "and a well-behaved server stops listening at once. Meanwhile the pod has to leave the EndpointSlice, every "
        "node has to hear of it and rewrite its rules, which it does at most once a second. Until then new connections "
        "are still sent to a pod that no longer listens. Nothing in Kubernetes waits for the second before it does the "
        "first."
    ),
    CauseKind.QUEUE_RESET: (
        "The kernel completes a handshake before the server accepts it. When a server closes its listener, whatever "
        "waits in that queue is reset, although the client has long been connected."
    ),
    CauseKind.KILLED: (
        "A pod has its grace period for everything: the preStop hook and the end of what is under way. When it is "
        "over, SIGKILL ends the process, and with it every request that still waits."
    ),
    CauseKind.READY_TOO_EARLY: (
        "Without a readiness probe a container counts as ready as soon as its process has started, and gets traffic "
        "while it still prepares to listen."
    ),
    CauseKind.LIVENESS_KILL: (
        "A failing liveness probe ends a container but does not make its pod unready: the endpoint stays until the "
        "exit is observed, so new connections come all the while. A preStop sleep only postpones this."
    ),
    CauseKind.KEEP_ALIVE_RACE: (
        "A server may close a connection that is idle; a client may use it at the same moment. Neither can know."
    ),
    CauseKind.ADDRESS_GONE: (
        "The pod, its network included, was gone before the last node stopped sending to it."
    ),
}  # fmt: skip
