"""`segue drill`: named experiments under load, each loss joined with its cause."""

from __future__ import annotations

import asyncio
import shutil
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from segue.cli.documents import read_documents
from segue.cli.files import check_writable, write_whole
from segue.cli.load import checked_path, checked_rate, seconds_from
from segue.cli.output import Output, coloured, emit, note, say
from segue.drill.experiments import EXPERIMENTS, Ask, Experiment, experiment
from segue.drive.flow import Flow
from segue.drive.prepare import locate, try_out
from segue.host.client import KubeClient, find_config
from segue.host.drilling import Drilling, Performed, Site, service_for
from segue.host.loading import client_prefix
from segue.host.performing import run_flow
from segue.host.receipts import keep
from segue.host.state import must_run, named, state_dir
from segue.load.plan import Mode
from segue.model.errors import ClusterUnreachable, Lost, ManifestError, Place, SegueError, UsageError
from segue.model.manifest import Document
from segue.model.objects import Obj, name_of, namespace_of
from segue.report.junit import Claim, suite_of
from segue.report.junit import junit as write_junit
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
    junit: Annotated[Path | None, Parameter(metavar="FILE", help="write the verdict as JUnit XML, for CI")] = None,
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
    if name not in EXPERIMENTS:
        raise UsageError(f"there is no drill named {name}", remedy="the drills: " + ", ".join(EXPERIMENTS))
    if deletes < 0 or keep_alive < 0 or slow < 0:
        raise UsageError("--deletes, --keep-alive and --slow count things: 0 or more")
    rate, for_s, path = checked_rate(rate), seconds_from(for_, "--for"), checked_path(path)
    target = report or Path("reports") / f"{name}.html"
    documents, following = drill_documents(filename or seed_manifest(), to)
    state = state_dir(named(cluster))
    _must_run(state)
    _check_files(target, junit)
    asyncio.run(_try_out((*documents, *following), state))
    ask = Ask(
        objects=tuple(document.obj for document in documents),
        next_objects=tuple(document.obj for document in following),
        rate=rate,
        for_s=for_s,
        deletes=deletes,
        mode=Mode.KEEP_ALIVE if keep_alive else Mode.NEW,
        connections=keep_alive or 16,
        path=path,
        slow=slow,
        segue=segue,
    )
    _check_reachable(ask, documents[0].file)
    chosen = experiment(name, ask)
    quiet = output is not Output.TABLE
    if not quiet:
        note(f"drill {name}: {chosen.title}")
    performed = asyncio.run(perform(chosen, ask, state, quiet=quiet))
    try:
        written = write_report(performed, target)
        _write_junit(performed, name, junit)
    finally:  # a full disk hides no result
        emit(performed.receipt, output) if quiet else show(performed)
    if not quiet:
        say(f"\nreport:  {written}\nreceipt: {written.with_suffix('.json')}")
    judgement = performed.judgement
    return Lost.exit_code if judgement.lost_against_none else 0 if judgement.holds else SegueError.exit_code


def _check_files(report: Path, junit: Path | None) -> None:
    check_writable(report, "--report")
    if junit:
        check_writable(junit, "--junit")


def _write_junit(performed: Performed, name: str, path: Path | None) -> None:
    """One test case, where a file is named for it: whether what was expected came true."""
    if path is None:
        return
    claim = Claim(name=f"drill {name}", failed="" if performed.judgement.holds else performed.judgement.words)
    write_whole(path, write_junit([suite_of(performed.receipt, expected=claim)]).encode())


def _must_run(state: Path) -> None:
    """ClusterUnreachable that says why another cluster will not do."""
    try:
        must_run(state)
    except ClusterUnreachable as error:
        raise ClusterUnreachable(
            f"{error.message}, and a drill needs one: only it tells what happened to each connection",
            remedy=f"{error.remedy}\n$KUBECONFIG is not used here: elsewhere run segue load beside segue release",
        ) from error


def show(performed: Performed) -> None:
    """The result for people."""
    screen = Screen(width=shutil.get_terminal_size().columns, colours=coloured(sys.stdout))
    for line in lines_of(performed.receipt, performed.judgement.words, screen):
        say(line)


def seed_manifest() -> Path:
    """The seed's second option; UsageError where we do not stand in the project's directory."""
    if not SEED.is_file():
        raise UsageError("which manifest? The seed's is not in this directory", remedy="name one with -f FILE")
    return SEED


def drill_documents(manifest: Path, to: Path | None) -> tuple[tuple[Document, ...], tuple[Document, ...]]:
    """The manifest and its next version: --to, else NAME-v2.yaml beside NAME.yaml, as the examples are laid out."""
    following = to or manifest.with_name(f"{manifest.stem}-v2{manifest.suffix}")
    documents = _one_deployment(manifest)
    return documents, _one_deployment(following) if to or following.is_file() else ()


def _one_deployment(manifest: Path) -> tuple[Document, ...]:
    """Its documents; `replicas` is said where the file leaves it out, for a drill starts from what the file means."""
    documents = read_documents([str(manifest)], [])
    found = [document for document in documents if document.kind == "Deployment"]
    if len(found) != 1:
        raise ManifestError(
            f"a drill needs a manifest with one Deployment, this one has {len(found)}",
            place=Place(file=str(manifest)),
            remedy="name such a file with -f or --to",
        )
    if isinstance(found[0].obj.get("spec"), dict):
        found[0].obj["spec"].setdefault("replicas", 1)
    return documents


async def _try_out(documents: tuple[Document, ...], state: Path) -> None:
    """Every document is tried on the server: what is off is named by file and line, before a load begins."""

    def flow() -> Flow[None]:
        for placed in (yield from locate(documents, "default")):
            yield from try_out(placed)

    async with KubeClient(find_config(str(state / "kubeconfig"))) as client:
        await run_flow(flow(), client, lambda *_: None)


def _check_reachable(ask: Ask, file: str) -> None:
    if not service_for(ask.objects, ask.deployment()):
        raise ManifestError(
            "no Service of it selects the Deployment's pods, so no load can reach them",
            place=Place(file=file),
            remedy="add a Service whose selector the pods' labels fulfil",
        )


async def perform(chosen: Experiment, ask: Ask, state: Path, *, quiet: bool) -> Performed:
    """Do it, telling of each step; on a terminal the load's progress stays on one line below."""
    running = must_run(state)
    deployment = ask.deployment()
    kubeconfig = str(state / "kubeconfig")
    site = Site(
        namespace=namespace_of(deployment) or "default",
        deployment=name_of(deployment),
        service=service_for(ask.objects, deployment),
        node_ip=running.node_ip,
        prefix=client_prefix(state, running),
        environment={"KUBECONFIG": kubeconfig},
        cluster={"kind": "embedded", "mode": running.mode, "api": running.api},
    )
    live = sys.stderr.isatty() and not quiet

    def progress(now: Obj) -> None:
        if live:
            text = f"  {now['passedS']:6.1f} s   {now['fired']:,} sent   {now['lost']:,} lost"
            sys.stderr.write(f"\r\033[2K{text}")
            sys.stderr.flush()

    def tell(text: str) -> None:
        if not quiet:
            note(("\r\033[2K" if live else "") + text)

    async with KubeClient(find_config(kubeconfig)) as client:
        drilling = Drilling(client, site, say=tell, on_progress=progress)
        asked: Obj = {"ratePerSecond": ask.rate, "forS": ask.for_s, "deletes": ask.deletes, "segue": ask.segue}
        try:
            performed = await drilling.perform(chosen, asked)
        finally:
            if live:  # whatever is told next begins on a fresh line
                sys.stderr.write("\r\033[2K")
                sys.stderr.flush()
    tell("")
    return performed


def write_report(performed: Performed, path: Path) -> Path:
    """The HTML file, and beside it the receipt with its record; returns where the former lies."""
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
        performed.receipt["record"] = keep([performed.raw], path.with_suffix(".json"))[0]["record"]
        path.write_text(page(story))
    except OSError as error:
        raise SegueError(f"the report cannot be written to {path}: {error.strerror}") from error
    return path
