"""The options that give each version a Deployment of its own, beside the one that serves.

Rule: what does not fit together is a UsageError here, before anything of the cluster is read.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

from cyclopts import Parameter

from segue.model.errors import UsageError
from segue.release.beside import VERSION_LABEL, Naming
from segue.release.memory import WEIGHTED
from segue.release.plan import Approach


@dataclass(frozen=True, slots=True, kw_only=True)
class SideBySide:
    """As the command line says it."""

    side_by_side: Annotated[
        bool,
        Parameter(help="each version is a Deployment of its own, NAME-VERSION; not with handover, recreate"),
    ] = False
    version: Annotated[
        str, Parameter(metavar="VERSION", help="its name; else the manifest's version label, else the image's tag")
    ] = ""
    version_label: Annotated[str, Parameter(metavar="KEY", help="the label that tells versions apart")] = VERSION_LABEL
    delete_old: Annotated[
        bool, Parameter(help="delete the old Deployment at the end, which else stays at 0 for segue undo")
    ] = False

    @property
    def words(self) -> str:
        """Of the command line that says this again."""
        said = [" --side-by-side"] if self.side_by_side else []
        said += [f" --version {self.version}"] if self.version else []
        said += [f" --version-label {self.version_label}"] if self.version_label != VERSION_LABEL else []
        return "".join(said)

    def of(self, approach: Approach, *, from_manifest: bool) -> Approach:
        """The approach with it. UsageError where it does not fit together."""
        given = {
            "--version": bool(self.version),
            "--version-label": self.version_label != VERSION_LABEL,
            "--delete-old": self.delete_old,
        }
        for option, is_given in given.items():
            if is_given and not self.side_by_side:
                raise UsageError(f"{option} needs --side-by-side", remedy="it is about Deployments side by side")
        if not self.side_by_side:
            return approach
        if approach.strategy in {"handover", "recreate", WEIGHTED}:
            raise UsageError(
                f"--side-by-side cannot be --strategy {approach.strategy}",
                remedy="all-first, blue-green, ramped and canary can",
            )
        for option, is_given in (("--together", approach.together), ("--pin-config", approach.pins_config)):
            if is_given:
                raise UsageError(f"--side-by-side cannot be {option}", remedy="release in place for that")
        if not from_manifest:
            raise UsageError("--side-by-side needs a manifest", remedy="segue release -f FILE --side-by-side")
        naming = Naming(version=self.version, label=self.version_label, delete_old=self.delete_old)
        return replace(approach, naming=naming)


ALONE = SideBySide()
SideBySideOptions = Annotated[SideBySide, Parameter(name="*")]
