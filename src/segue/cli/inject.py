"""`segue inject` and `segue uninject`: manifests with the agent and its hook, and without."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from segue.cli.output import note
from segue.drain.inject import Told, Wanted, services_of
from segue.drain.inject import inject as injected
from segue.drain.inject import uninject as uninjected
from segue.host.manifests import files_of, text_of, write_text
from segue.model.errors import ManifestError, Place, UsageError
from segue.model.manifest import TEXT_MAX, parse

Files = Annotated[
    list[str],
    Parameter(
        name=["--filename", "-f"],
        metavar="FILE",
        negative_iterable=(),
        help="manifests: files, directories, or - for standard input",
    ),
]
Write = Annotated[bool, Parameter(name="--write", help="change the files instead of printing them")]
AgentImage = Annotated[
    str,
    Parameter(
        name="--agent-image",
        metavar="IMAGE",
        env_var="SEGUE_AGENT_IMAGE",
        help="image that runs the agent; else $SEGUE_AGENT_IMAGE",
    ),
]
WaitCap = Annotated[
    float,
    Parameter(name="--wait-cap", metavar="SECONDS", help="a pod that stays busy ends after so long"),
]
Propagation = Annotated[
    float,
    Parameter(
        name="--propagation",
        metavar="SECONDS",
        help="how long your data plane may go on sending to a pod that ends: waited where no rhythm was seen",
    ),
]
Ports = Annotated[
    list[int] | None,
    Parameter(
        name="--port",
        metavar="N",
        negative_iterable=(),
        help="a port whose connections count; else those that Services in these files send to, else all",
    ),
]
_REMEDY = "build it as docs/how-to/drain-any-delete.md shows; the embedded cluster has host.org/segue/agent:v1"


def inject(  # noqa: PLR0913 - one parameter per option
    *,
    filename: Files,
    agent_image: AgentImage = "",
    wait_cap: WaitCap = 60.0,
    propagation: Propagation = 5.0,
    port: Ports = None,
    write: Write = False,
) -> int:
    """Print manifests whose pods end when they are quiet, whoever deletes them: kubectl, a drain, an autoscaler.

    Each pod gets the agent as a native sidecar (Kubernetes 1.29), each of its containers a preStop hook that waits for
    the agent's word, and as much more grace as the hook may wait. Bytes that are not segue's stay as they are; only
    JSON and flow style are written anew. Pods that are changed are pods that are replaced: apply it as a release.

    Examples
    --------
    segue inject -f web.yaml --agent-image registry.example/segue-agent:v1 | segue release -f -
    segue inject -f k8s/ --agent-image registry.example/segue-agent:v1 --write
    kubectl get deploy web -o yaml | segue inject -f - --propagation 15
    """
    for value, option in ((wait_cap, "--wait-cap"), (propagation, "--propagation")):
        if not 0 < value <= 3600:
            raise UsageError(f"{option} {value:g}: must be above 0 and at most 3600 s")
    if propagation > wait_cap:
        raise UsageError(f"--propagation {propagation:g} is longer than --wait-cap {wait_cap:g}")
    if any(not 0 < one < 65536 for one in port or []):
        raise UsageError("--port: must be a port number")
    if not agent_image:
        raise UsageError("--agent-image is missing", remedy=_REMEDY)
    wanted = Wanted(image=agent_image, cap_s=wait_cap, timer_s=propagation, ports=tuple(port or ()))
    texts = _read(filename, write)
    services = [one for name, text in texts.items() for one in services_of(parse(text, file=name))]
    made = {name: injected(text, name, wanted, services) for name, text in texts.items()}
    if not any(told for _, told in made.values()):
        raise ManifestError("no Deployment, StatefulSet, DaemonSet, ReplicaSet or Pod in it", place=_place(texts))
    _hand_over(made, write)
    for told in (one for _, found in made.values() for one in found):
        names = ", ".join(told.containers)
        anew = "" if told.in_text else "; its document was written anew"
        grace = f"grace {told.grace_s} s -> {told.grace_s + wanted.whole_cap_s} s"
        note(f"{told.name}: agent, and a hook in {names}; {grace}{anew}")
    return 0


def uninject(*, filename: Files, write: Write = False) -> int:
    """Print manifests without what `segue inject` put in: byte for byte what they were, where its comments are there.

    What has been through a cluster has lost them; such a document is written anew.

    Examples
    --------
    segue uninject -f web.yaml --write
    kubectl get deploy web -o yaml | segue uninject -f -
    """
    made = {name: uninjected(text, name) for name, text in _read(filename, write).items()}
    _hand_over(made, write)
    for told in (one for _, found in made.values() for one in found):
        note(f"{told.name}: agent and hooks taken out{'' if told.in_text else '; its document was written anew'}")
    return 0


def _read(names: list[str], write: bool) -> dict[str, str]:
    texts: dict[str, str] = {}
    for name in names:
        if name == "-":
            if write:
                raise UsageError("--write needs files, not standard input")
            texts["<stdin>"] = _stdin()
        else:
            texts |= {str(path): text_of(path) for path in files_of(Path(name))}
    if write and (json := [name for name in texts if name.endswith(".json")]):
        raise UsageError(f"--write {json[0]}: JSON cannot keep what is noted for uninject", remedy="write it as YAML")
    if not any(parse(text, file=name) for name, text in texts.items()):
        raise ManifestError("there is no Kubernetes object in it", place=_place(texts))
    return texts


def _stdin() -> str:
    """With the line ends that it has."""
    try:
        return sys.stdin.buffer.read(4 * TEXT_MAX + 1).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ManifestError("not UTF-8 text", place=Place(file="<stdin>")) from error


def _place(texts: dict[str, str]) -> Place:
    return Place(file=", ".join(texts))


def _hand_over(made: dict[str, tuple[str, list[Told]]], write: bool) -> None:
    """To the files, of which those that did not change are left alone, or to standard output, as documents of one."""
    if write:
        for name, (text, told) in made.items():
            if told:
                write_text(Path(name), text)
        return
    for number, (text, _) in enumerate(made.values()):
        if number and not text.startswith("---"):
            sys.stdout.write("---\n")
        sys.stdout.write(text if text.endswith("\n") or len(made) == 1 else text + "\n")
