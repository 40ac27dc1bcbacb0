"""`segue drill`: named experiments under load, each loss joined with its cause."""

from __future__ import annotations

import asyncio
import shutil
import sys
from pathlib import Path
from typing import Annotated

import msgspec
from cyclopts import Parameter

from segue.cli.documents import read_documents
from segue.cli.load import checked_path, checked_rate, seconds_from
from segue.cli.output import Output, emit, note, say
from segue.drill.experiments import Ask, Experiment, experiment
from segue.host.client import KubeClient, find_config
from segue.host.drilling import Drilling, Performed, Site, service_for
from segue.host.loading import client_prefix
from segue.host.state import must_run, state_dir
from segue.load.plan import Mode
from segue.model.errors import Lost, SegueError, UsageError
from segue.model.objects import Obj, name_of, namespace_of
from segue.report.page import Story, page
from segue.report.terminal import Screen, lines_of

SEED = Path("examples/seed/second-option.yaml")


def drill(  # noqa: PLR0913 - one parameter per option
    name: str,
    /,
    *,
    filename: Annotated[Path | None, Parameter(name=["--filename", "-f"], help="manifest; else the seed's")] = None,
    to: Annotated[Path | None, Parameter(help="manifest of the next version (release, undo, cure)")] = None,
    rate: Annotated[float, Parameter(help="requests per second")] = 1000.0,
    for_: Annotated[str, Parameter(name="--for", help="how long the load lasts")] = "20s",
    deletes: Annotated[int, Parameter(help="how many pods to delete, one by one")] = 5,
    keep_alive: Annotated[int, Parameter(help="so many kept connections; 0: a new one per request")] = 0,
    path: Annotated[str, Parameter(help="what is asked for")] = "/fast",
    slow: Annotated[int, Parameter(help="so many requests to /slow besides")] = 0,
    segue: Annotated[bool, Parameter(help="let segue do it (undo, scale), and expect no loss", negative="")] = False,
    report: Annotated[Path | None, Parameter(help="where the HTML report goes; the receipt goes beside it")] = None,
    cluster: Annotated[str, Parameter(help="which embedded cluster, where there are several")] = "default",
    output: Annotated[Output, Parameter(name=["--output", "-o"], help="table, json or yaml")] = Output.TABLE,
) -> int:
    """Run a named experiment on the embedded cluster: what is lost under load, and why.

    baseline, delete, restart, scale, undo: what Kubernetes does by itself. release, cure: what segue does.
    slow, grace-1, sigkill, readiness-lies: other things that lose requests, or do not.
    Exit code 0 when what was expected came true, 9 when requests were lost that must not be.

    Examples
    --------
    segue drill delete
    segue drill delete --rate 500 --deletes 3 --report delete.html
    segue drill release -f app-v1.yaml --to app-v2.yaml
    segue drill undo --segue
    segue drill grace-1 -o json
    """
    manifest = filename or _seed()
    ask = Ask(
        objects=_objects(manifest),
        next_objects=_objects(to) if to else _beside(manifest),
        rate=checked_rate(rate),
        for_s=seconds_from(for_, "--for"),
        deletes=deletes,
        mode=Mode.KEEP_ALIVE if keep_alive else Mode.NEW,
        connections=keep_alive or 16,
        path=checked_path(path),
        slow=slow,
        segue=segue,
    )
    chosen = experiment(name, ask)
    performed = asyncio.run(_perform(chosen, ask, cluster, quiet=output is not Output.TABLE))
    written = write_report(performed, report or Path("reports") / f"{name}.html")
    if output is not Output.TABLE:
        emit(performed.receipt, output)
    else:
        screen = Screen(width=shutil.get_terminal_size().columns, colours=sys.stdout.isatty())
        for line in lines_of(performed.receipt, performed.judgement.words, screen):
            say(line)
        say(f"\nreport:  {written}\nreceipt: {written.with_suffix('.json')}")
    if performed.judgement.lost_against_none:
        return Lost.exit_code
    return 0 if performed.judgement.holds else SegueError.exit_code


def _seed() -> Path:
    if not SEED.is_file():
        raise UsageError("which manifest? The seed's is not in this directory", remedy="name one with -f FILE")
    return SEED


def _objects(path: Path) -> tuple[Obj, ...]:
    return tuple(document.obj for document in read_documents([str(path)], []))


def _beside(manifest: Path) -> tuple[Obj, ...]:
    """NAME-v2.yaml beside NAME.yaml, where there is one: how the examples are laid out."""
    following = manifest.with_name(f"{manifest.stem}-v2{manifest.suffix}")
    return _objects(following) if following.is_file() else ()


async def _perform(chosen: Experiment, ask: Ask, cluster: str, *, quiet: bool) -> Performed:
    state = state_dir(cluster)
    running = must_run(state)
    deployment = ask.deployment()
    service = service_for(ask.objects, deployment)
    if not service:
        raise UsageError("no Service of the manifest selects the Deployment's pods, so no load can reach them")
    kubeconfig = str(state / "kubeconfig")
    site = Site(
        namespace=namespace_of(deployment) or "default",
        deployment=name_of(deployment),
        service=service,
        node_ip=running.node_ip,
        prefix=client_prefix(state, running),
        environment={"KUBECONFIG": kubeconfig},
        cluster={"kind": "embedded", "mode": running.mode, "api": running.api},
    )
    live = sys.stderr.isatty() and not quiet

    def show(now: Obj) -> None:
        if live:
            text = f"  {now['passedS']:6.1f} s   {now['fired']:,} sent   {now['lost']:,} lost"
            sys.stderr.write(f"\r\033[2K{text}")
            sys.stderr.flush()

    def tell(text: str) -> None:
        if not quiet:
            note(("\r\033[2K" if live else "") + text)

    tell(f"drill {chosen.name}: {chosen.title}")
    async with KubeClient(find_config(kubeconfig)) as client:
        drilling = Drilling(client, site, say=tell, on_progress=show)
        asked: Obj = {"ratePerSecond": ask.rate, "forS": ask.for_s, "deletes": ask.deletes, "segue": ask.segue}
        performed = await drilling.perform(chosen, asked)
    tell("")
    return performed


def write_report(performed: Performed, path: Path) -> Path:
    """The HTML file, and the receipt beside it; returns where the former lies."""
    story = Story(
        receipt=performed.receipt,
        judgement=performed.judgement.words,
        timeline=performed.timeline,
        records=performed.records,
        explained=performed.explained,
        zero_s=performed.zero_s,
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page(story))
        path.with_suffix(".json").write_bytes(msgspec.json.format(msgspec.json.encode(performed.receipt), indent=2))
    except OSError as error:
        raise SegueError(f"the report cannot be written to {path}: {error.strerror}") from error
    return path
