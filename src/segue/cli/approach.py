"""The options that say how a release is done: strategy, steps and stops, what is tried before the switch.

Rule: what a strategy cannot do is a UsageError here, before anything of the cluster is read.
"""

from __future__ import annotations

import re
from collections.abc import Container
from dataclasses import dataclass
from typing import Annotated, Literal

from cyclopts import Parameter

from segue.analysis.values import Analysis
from segue.host.analyses import analysis_of, hook_of
from segue.model.errors import UsageError
from segue.release.memory import RAMPED
from segue.release.plan import Approach

NoWait = Annotated[bool, Parameter(name="--no-wait", help="end at a stop instead of waiting to be promoted")]
_STOP = re.compile(r"([1-9]\d*)(%?)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """As the command line says it."""

    strategy: Annotated[
        Literal["all-first", "ramped", "canary", "blue-green", "handover", "recreate"] | None,
        Parameter(metavar="NAME", help="all-first (default), ramped, canary, blue-green, handover, recreate"),
    ] = None
    step: Annotated[
        int | None, Parameter(metavar="PODS", help="ramped, canary: most pods replaced at once; else maxSurge")
    ] = None
    stop: Annotated[
        list[str] | None,
        Parameter(metavar="PODS", help="ramped, canary: hold with so many new pods, or N% of all, until promoted"),
    ] = None
    preview: Annotated[
        str, Parameter(metavar="SERVICE", help="blue-green: reaches the new pods before the switch; made if not there")
    ] = ""
    check: Annotated[
        str,
        Parameter(
            metavar="CHECK",
            help="command, http://... or job:FILE: before the switch, or at each stop; if it fails all is taken back",
        ),
    ] = ""
    analysis: Annotated[
        str,
        Parameter(metavar="FILE", help="what is measured there: pass goes on, fail goes back, no verdict holds"),
    ] = ""
    keep_old: Annotated[
        float, Parameter(metavar="SECONDS", help="blue-green: the old pods stand by for so long after the switch")
    ] = 0.0

    pin_config: Annotated[
        bool,
        Parameter(negative="", help="each version reads its own copies of the manifest's ConfigMaps and Secrets"),
    ] = False
    together: Annotated[
        bool, Parameter(negative="", help="all Deployments of the manifest behind one barrier: all switch, or none")
    ] = False

    force: Annotated[
        bool, Parameter(negative="", help="also where somebody else applies the template (a GitOps controller, say)")
    ] = False

    def approach(self, *, no_wait: bool = False) -> Approach:
        """What was asked for. UsageError where it does not fit together."""
        stops = tuple(one.strip() for said in self.stop or () for one in said.split(","))
        for one in stops:
            found = _STOP.fullmatch(one)
            if found is None or (found[2] and int(found[1]) > 100):
                raise UsageError(
                    f"--stop {one}: must be a number of pods or a percentage", remedy="for example --stop 1,25%,50%"
                )
        if self.step is not None and self.step < 1:
            raise UsageError(
                f"--step {self.step}: must be at least 1", remedy="it is how many pods are replaced at once"
            )
        if self.keep_old < 0:
            raise UsageError(f"--keep-old {self.keep_old:g}: must not be negative", remedy="it is a number of seconds")
        self._fits({"--step": bool(self.step), "--stop": bool(stops)}, RAMPED, "ramped or canary")
        tries = {"--check": bool(self.check), "--analysis": bool(self.analysis)}
        others = {None, "all-first", "blue-green", "handover", *RAMPED}
        self._fits(tries, others, "all-first, blue-green, handover, canary or ramped")
        tried = {"--preview": bool(self.preview), "--keep-old": bool(self.keep_old)}
        self._fits(tried, {"blue-green"}, "blue-green")
        for option, is_given in tries.items():
            if is_given and self.strategy == "ramped" and not stops:
                raise UsageError(f"{option} needs a --stop with --strategy ramped", remedy="for example --stop 1,50%")
        return Approach(
            strategy=self.strategy or "",
            step=self.step,
            stops=stops,
            waits=not no_wait,
            preview=self.preview,
            checks=(hook_of(self.check),) if self.check else (),
            analysis=analysis_of(self.analysis) if self.analysis else Analysis(),
            keep_s=self.keep_old,
            pins_config=self.pin_config,
            together=self.together,
            forces=self.force,
        )

    def _fits(self, given: dict[str, bool], strategies: Container[str | None], names: str) -> None:
        for option, is_given in given.items():
            if is_given and self.strategy not in strategies:
                raise UsageError(
                    f"{option} needs --strategy {names}",
                    remedy=f"this is {self.strategy or 'all-first'}; docs/how-to/choose-a-strategy.md compares them",
                )


USUAL = Manner()
MannerOptions = Annotated[Manner, Parameter(name="*")]
