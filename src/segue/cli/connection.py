"""Options that every command about a Deployment shares, and how its progress is shown."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Sequence
from typing import Annotated

from cyclopts import Parameter, Token

from segue.cli.output import Output, note
from segue.drive.flow import Progress
from segue.model.sayings import differing_word

Kubeconfig = Annotated[
    str,
    Parameter(metavar="FILE", help="else $KUBECONFIG, the running embedded cluster's, ~/.kube/config"),
]
Context = Annotated[str, Parameter(metavar="NAME", help="context of the kubeconfig")]
Namespace = Annotated[str, Parameter(name=["--namespace", "-n"], metavar="NAME", help="namespace; else the context's")]


def deployment_named(_type: object, tokens: Sequence[Token]) -> str:
    """A Deployment's name, also as kubectl writes it: web, deployment/web, deploy/web, deployment.apps/web."""
    said = tokens[0].value
    kind, slash, name = said.rpartition("/")
    if slash and (kind.lower() not in _KINDS or not name):
        raise ValueError(f"{said} is no Deployment: write its name, or deployment/NAME")
    return name


def workload_named(_type: object, tokens: Sequence[Token]) -> str:
    """The same of any workload: of a StatefulSet or a DaemonSet whose kind is said, StatefulSet/NAME."""
    kind, slash, name = tokens[0].value.rpartition("/")
    native = _NATIVES.get(kind.lower().removesuffix(".apps"), "")
    if slash and not native and kind.lower() not in _KINDS:
        known = "deployment/, statefulset/ or daemonset/NAME"
        raise ValueError(f"{tokens[0].value} is no Deployment, StatefulSet or DaemonSet: write its name, or {known}")
    return f"{native}/{name}" if native and name else deployment_named(_type, tokens)


_NATIVES = {
    **dict.fromkeys(("statefulset", "statefulsets", "sts"), "StatefulSet"),
    **dict.fromkeys(("daemonset", "daemonsets", "ds"), "DaemonSet"),
}
_KINDS = frozenset(f"{kind}{group}" for kind in ("deployment", "deployments", "deploy") for group in ("", ".apps"))
DeploymentName = Annotated[str, Parameter(help="name of the Deployment", converter=deployment_named)]
WorkloadName = Annotated[
    str,
    Parameter(help="name of the Deployment, StatefulSet or DaemonSet", converter=workload_named),
]
OutputOption = Annotated[Output, Parameter(name=["--output", "-o"], help="table, json or yaml")]
Timeout = Annotated[
    float | None,
    Parameter(metavar="SECONDS", help="limit for new pods to become Ready; else progressDeadlineSeconds"),
]
Sampler = Annotated[
    str,
    Parameter(
        name="--sampler-image",
        metavar="IMAGE",
        env_var="SEGUE_SAMPLER_IMAGE",
        help="image with sh, cat, sleep to look from into old pods without a shell; else $SEGUE_SAMPLER_IMAGE",
    ),
]
Cap = Annotated[
    float | None,
    Parameter(
        name="--drain-cap", metavar="SECONDS", help="a busy old pod is ended after so long (default 30; handover 3600)"
    ),
]
Outbound = Annotated[
    bool,
    Parameter(
        name="--drain-outbound",
        help="a pod is quiet when its own connections to others are, too: workers, consumers that nobody calls",
    ),
]


QUIET_S = 2.0  # between two lines that tell the same wait with other numbers, where lines cannot be rewritten


class Lines:
    """Progress as lines: one per action, its reason below it, once where the same is done to several objects; what is
    waited for in one line that changes, on terminals."""

    def __init__(self) -> None:
        self._began_s: float | None = None
        self._live = sys.stderr.isatty()
        self._said, self._said_s = "", 0.0
        self._done = Progress(because="")

    def __call__(self, progress: Progress, now_s: float) -> None:
        """Show one thing."""
        if self._began_s is None:
            self._began_s = now_s
        at = f"{now_s - self._began_s:7.2f} s"
        if progress.action:
            self._clear()
            note(f"{at}  {progress.action}")
            if not _alike(self._done, progress):
                note(f"            because {progress.because}")
            self._done = progress
            return
        ready = ", ".join(f"{version} {count}" for version, count in progress.ready.items())
        text = f"{at}  ... {progress.because}" + (f"  [Ready: {ready}]" if ready else "")
        if self._live:
            self._clear()
            sys.stderr.write(text[: shutil.get_terminal_size().columns - 1])  # what wraps cannot be taken back
            sys.stderr.flush()
        elif now_s - self._said_s >= QUIET_S or _without_numbers(progress.because) != self._said:
            self._said_s, self._said = now_s, _without_numbers(progress.because)
            note(text)

    def _clear(self) -> None:
        if self._live:
            sys.stderr.write("\r\033[2K")

    def done(self) -> None:
        """Leave the line."""
        self._clear()


def _alike(one: Progress, other: Progress) -> bool:
    """Whether the same is done for the same reason, to another object."""
    return one.because == other.because and differing_word(one.action, other.action) >= 0


def _without_numbers(text: str) -> str:
    return re.sub(r"\d[\d.]*", "#", text.partition(";")[0])
