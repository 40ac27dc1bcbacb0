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


DIFFERENCES: dict[str, tuple[Difference, ...]] = {
    "a_version_whose_image_is_not_there_waits_beside_the_old_pods": (
        Difference(
            real="leaving within 5 s, exit 137, Failed, gone",
            embedded="leaving within 5 s, Failed, gone",
            because="A real kubelet makes up exit code 137 (ContainerStatusUnknown) for a container that never ran, in "
            "the last status before the pod is gone. A release looks at no exit codes of pods that end.",
        ),
    ),
}


def as_embedded(name: str, wanted: str) -> str:
    """What the embedded cluster is to tell, from what a real one told."""
    for each in DIFFERENCES.get(name, ()):
        assert each.real in wanted, f"{name}: a real cluster does not tell {each.real!r} any more"
        wanted = wanted.replace(each.real, each.embedded)
    return wanted
