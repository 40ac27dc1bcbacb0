"""Where the embedded cluster shows another sequence than a real one, with its reason.

Rule: a line that does not differ any more fails its scenario: nothing is listed that is not so.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One place of a scenario: what a real cluster tells, what the embedded one tells, and what follows from it."""

    real: str
    embedded: str
    because: str


_ENDED_ALONE = (
    "A pod that ends without being deleted: a real kubelet tells that it is not Ready before it tells its phase, and a "
    "phase alone calls for no sync of the slices (against E3), so its endpoint stays, not ready, until something else "
    "changes. The embedded node tells both at once, and the endpoint goes. Neither gets traffic."
)


def _ended_alone(life: str) -> tuple[Difference, ...]:
    """The endpoint of one pod that ended by itself."""
    return (
        Difference(
            real="   = endpoints of puppet: 1 x alone waiting\n\npods",
            embedded="   = endpoints of puppet: none\n\npods",
            because=_ENDED_ALONE,
        ),
        Difference(
            real=f"{life} | puppet: 1: waiting, ready; 2: waiting",
            embedded=f"{life} | puppet: 1: waiting, ready; 2: absent",
            because=_ENDED_ALONE,
        ),
    )


DIFFERENCES: dict[str, tuple[Difference, ...]] = {
    "a_version_whose_image_is_not_there_waits_beside_the_old_pods": (
        Difference(
            real="leaving within 5 s, exit 137, Failed, gone",
            embedded="leaving within 5 s, Failed, gone",
            because="A real kubelet makes up exit code 137 (ContainerStatusUnknown) for a container that never ran, in "
            "the last status before the pod is gone. A release looks at no exit codes of pods that end.",
        ),
    ),
    "a_pod_that_is_never_restarted_fails_with_its_container": _ended_alone("exit 3, Failed"),
    "a_pod_that_is_never_restarted_succeeds_with_its_container": _ended_alone("exit 0, Succeeded"),
    "a_pod_past_its_deadline_fails_and_its_container_is_ended": _ended_alone("exit 0, Failed (DeadlineExceeded)"),
    "a_replicaset_replaces_a_pod_that_failed": (
        Difference(real="ready; 2: waiting, absent", embedded="ready; 2: absent", because=_ENDED_ALONE),
    ),
}


def as_embedded(name: str, wanted: str) -> str:
    """What the embedded cluster is to tell, from what a real one told."""
    for each in DIFFERENCES.get(name, ()):
        assert each.real in wanted, f"{name}: a real cluster does not tell {each.real!r} any more"
        wanted = wanted.replace(each.real, each.embedded)
    return wanted
