"""What a release did, as the receipt will tell it: every action with why, barrier and evidence; the end of each pod."""

from __future__ import annotations

from dataclasses import dataclass, field

from segue.drive.sightings import Sightings
from segue.release.decision import PodDrained


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionEntry:
    """One action that the API accepted; `ended_s` is when its answer came."""

    at_s: float
    ended_s: float
    action: str
    because: str
    barrier: str
    evidence: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PodEnd:
    """One pod that was ended on purpose and what its drain had shown: quiet | timer | capped | forced."""

    pod: str
    version: str
    reason: str
    at_s: float
    evidence_source: str
    because: str = ""


@dataclass(slots=True, kw_only=True)
class Journal:
    """Collects them."""

    actions: list[ActionEntry] = field(default_factory=list)
    ends: list[PodEnd] = field(default_factory=list)
    seen: Sightings = field(default_factory=Sightings)

    def end(self, drained: PodDrained, at_s: float) -> None:
        """Note one pod's end."""
        self.ends.append(
            PodEnd(
                pod=drained.pod,
                version=drained.version,
                reason=drained.reason,
                at_s=at_s,
                evidence_source=drained.source,
                because=drained.because,
            )
        )
