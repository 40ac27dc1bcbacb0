"""`segue up`, `segue down`, `segue kubeconfig`, `segue cluster status`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from segue.cli.output import Output, emit, note, say
from segue.host import embedded
from segue.host.settings import ClusterSettings, not_as_asked, with_assignments
from segue.host.state import Running, must_run, named, read_running, state_dir
from segue.model.errors import Conflict

Name = Annotated[str, Parameter(metavar="NAME", help="which embedded cluster, where there are several")]
OutputOption = Annotated[Output, Parameter(name=["--output", "-o"], help="table, json or yaml")]


def up(  # noqa: PLR0913 - one parameter per option
    *,
    name: Name = "default",
    mode: Annotated[str, Parameter(metavar="MODE", help="auto, namespaces or loopback")] = "auto",
    port: Annotated[int, Parameter(help="port of the API server on 127.0.0.1; 0 takes 16443 or any free one")] = 0,
    image_map: Annotated[list[Path] | None, Parameter(help="what command stands for which image")] = None,
    set_: Annotated[
        list[str] | None,
        Parameter(name="--set", metavar="NAME=VALUE", help="a timing of it: docs/reference/embedded-cluster.md"),
    ] = None,
    fresh: Annotated[bool, Parameter(help="forget the objects of an earlier run", negative="")] = False,
    output: OutputOption = Output.TABLE,
) -> int:
    """Start the embedded cluster: a Kubernetes API with pods as real processes. Needs no root and no Docker.

    Examples
    --------
    segue up
    segue up --set data_plane_delay_s=8      # a cluster whose proxies lag
    segue up --mode loopback                 # where namespaces are refused
    export KUBECONFIG=$(segue kubeconfig); kubectl get nodes
    """
    maps = tuple(str(path.resolve()) for path in image_map or ())
    settings = with_assignments(ClusterSettings(mode=mode, api_port=port, image_maps=maps), set_ or [])
    state = state_dir(named(name))
    already = read_running(state)
    if already is not None:
        _check_same(state, already, settings, fresh=fresh)
    running = already or embedded.start(state, settings, fresh=fresh)
    if output is not Output.TABLE:
        emit(embedded.describe(state, running), output)
        return 0
    note(("already up: " if already else "up: ") + f"{running.api} ({running.mode}: {running.reason})")
    say(f"export KUBECONFIG={state / 'kubeconfig'}")
    return 0


def _check_same(state: Path, running: Running, asked: ClusterSettings, *, fresh: bool) -> None:
    """Conflict where what runs is not what is asked for: settings belong to a start."""
    port = int(running.api.rpartition(":")[2])
    has = replace(embedded.settings_of(state), mode=running.mode, api_port=port)
    lacking = not_as_asked(asked, has) + (["its objects are kept, asked for was --fresh"] if fresh else [])
    if lacking:
        again = "segue down" if state.name == "default" else f"segue down --name {state.name}"
        raise Conflict(
            f"the cluster is up already, with other settings: {'; '.join(lacking)}",
            remedy=f"stop it with {again}, then start it as you want it",
        )


def down(
    *,
    name: Name = "default",
    purge: Annotated[bool, Parameter(help="remove its objects and logs, too", negative="")] = False,
) -> int:
    """Stop the embedded cluster. No process, namespace or rule of it stays.

    Examples
    --------
    segue down
    segue down --purge
    """
    stopped = embedded.stop(state_dir(named(name)), purge=purge)
    note("stopped" if stopped else "was not running")
    return 0


def kubeconfig(
    *,
    name: Name = "default",
    raw: Annotated[bool, Parameter(help="print the content, not the path", negative="")] = False,
) -> int:
    """Print the path of the embedded cluster's kubeconfig.

    Examples
    --------
    export KUBECONFIG=$(segue kubeconfig)
    segue kubeconfig --raw > ~/.kube/segue
    """
    state = state_dir(named(name))
    must_run(state)
    path = state / "kubeconfig"
    say(path.read_text().rstrip() if raw else str(path))
    return 0


def status(*, name: Name = "default", output: OutputOption = Output.TABLE) -> int:
    """Show whether the embedded cluster runs, in which mode, and what it costs.

    Examples
    --------
    segue cluster status
    segue cluster status -o json
    """
    state = state_dir(named(name))
    described = embedded.describe(state, must_run(state))
    if output is not Output.TABLE:
        emit(described, output)
        return 0
    for key, value in described.items():
        say(f"{key + ':':<14}{value}")
    return 0
