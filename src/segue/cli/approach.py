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
from segue.release.memory import RAMPED, WEIGHTED
from segue.release.plan import Approach
from segue.release.weights import USUAL_STEPS, Weights
from segue.route.shares import WHOLE, share_of

NoWait = Annotated[bool, Parameter(name="--no-wait", help="end at a stop instead of waiting to be promoted")]
_PIN = re.compile(r"(header|cookie):([!#$%&'*+.^_`|~0-9A-Za-z-]+)=([^;,\s]+)")
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

    route: Annotated[
        str,
        Parameter(
            metavar="KIND/NAME",
            help="canary: by weights of httproute/NAME or grpcroute/NAME; the share of requests, not of pods, grows",
        ),
    ] = ""
    steps: Annotated[
        str, Parameter(metavar="N,N", help="with --route: percent of the requests, one after the other, up to 100")
    ] = ""
    margin: Annotated[
        float | None,
        Parameter(
            metavar="POINTS", help="with --route: how far a proved share may be from the asked one; else by share"
        ),
    ] = None
    pin_to_new: Annotated[
        list[str] | None,
        Parameter(
            metavar="WHAT", help="with --route: header:NAME=VALUE or cookie:NAME=VALUE always gets the new version"
        ),
    ] = None
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
        weights = self._weights(stops)
        return Approach(
            strategy=WEIGHTED if weights is not None else self.strategy or "",
            route=weights,
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

    def _weights(self, stops: tuple[str, ...]) -> Weights | None:
        """What is wanted of a route; None where none is named."""
        given = {
            "--steps": bool(self.steps),
            "--margin": self.margin is not None,
            "--pin-to-new": bool(self.pin_to_new),
        }
        if not self.route:
            for option, is_given in given.items():
                if is_given:
                    raise UsageError(f"{option} needs --route", remedy="for example --route httproute/web")
            return None
        self._fits({"--route": True}, {"canary"}, "canary")
        if self.together or self.step is not None:
            option = "--together" if self.together else "--step"
            raise UsageError(f"{option} does not go with --route", remedy="a route has --steps, of one Deployment")
        kind, _, name = self.route.partition("/")
        kinds = {"httproute": "HTTPRoute", "grpcroute": "GRPCRoute"}
        if kind.lower().removesuffix("s") not in kinds or not name:
            raise UsageError(f"--route {self.route}: must be httproute/NAME or grpcroute/NAME")
        if any(not stop.endswith("%") for stop in stops):
            raise UsageError("--stop with --route is a share of the requests", remedy="for example --stop 5%")
        steps = {share_of(one) for one in self.steps.split(",")} if self.steps else set(USUAL_STEPS)
        steps |= {share_of(stop) for stop in stops} | {WHOLE}
        if 0 in steps:
            raise UsageError("--steps: a step must be more than 0", remedy="for example --steps 1,5,25,50,100")
        if self.margin is not None and not 0 < self.margin < 50:
            raise UsageError(f"--margin {self.margin:g}: must be more than 0 and less than 50 points")
        return Weights(
            kind=kinds[kind.lower().removesuffix("s")],
            name=name,
            steps=tuple(sorted(steps)),
            margin=None if self.margin is None else self.margin / 100,
            pins=tuple(_pin_of(one) for one in self.pin_to_new or ()),
        )

    def _fits(self, given: dict[str, bool], strategies: Container[str | None], names: str) -> None:
        for option, is_given in given.items():
            if is_given and self.strategy not in strategies:
                raise UsageError(
                    f"{option} needs --strategy {names}",
                    remedy=f"this is {self.strategy or 'all-first'}; docs/how-to/choose-a-strategy.md compares them",
                )


def _pin_of(text: str) -> tuple[str, str, str]:
    found = _PIN.fullmatch(text)
    if found is None:
        raise UsageError(
            f"--pin-to-new {text}: must be header:NAME=VALUE or cookie:NAME=VALUE",
            remedy="for example --pin-to-new cookie:track=next",
        )
    return found[1], found[2], found[3]


USUAL = Manner()
MannerOptions = Annotated[Manner, Parameter(name="*")]
