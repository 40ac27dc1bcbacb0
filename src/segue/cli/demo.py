"""`segue demo`: the seed's experiment, end to end, on a cluster of its own that is gone afterwards.

Whenever it is interrupted, nothing stays behind: no process, namespace, rule or file but finished reports.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from segue.cli.drill import drill_documents, perform, seed_manifest, show, write_report
from segue.cli.files import check_writable
from segue.cli.load import checked_rate
from segue.cli.output import note, say, width
from segue.drill.experiments import Ask, experiment
from segue.drill.oracle import Judgement
from segue.host import embedded
from segue.host.settings import ClusterSettings, checked
from segue.host.state import Running, state_dir
from segue.model.errors import Lost, SegueError

NAME = "demo"
LOAD_S = 14.0
DELETES = 5


def demo(
    *,
    rate: Annotated[float, Parameter(help="new connections per second")] = 1000.0,
    mode: Annotated[str, Parameter(help="auto, namespaces or loopback")] = "auto",
    reports: Annotated[Path, Parameter(help="where the reports go")] = Path("reports"),
) -> int:
    """Lose requests with plain Kubernetes, see why, then lose none with segue. Takes about 90 seconds.

    Starts an embedded cluster of its own in a temporary place and takes it away at the end, also after Ctrl-C.
    Exit code 9 when segue lost a request, 1 when plain Kubernetes lost none.

    Examples
    --------
    segue demo
    segue demo --mode loopback --rate 300
    """
    settings = checked(ClusterSettings(mode=mode))
    checked_rate(rate)
    documents, following = drill_documents(seed_manifest(), None)
    ask = Ask(
        objects=tuple(document.obj for document in documents),
        next_objects=tuple(document.obj for document in following),
        rate=rate,
        for_s=LOAD_S,
        deletes=DELETES,
    )
    plain, cured = reports / "demo-plain.html", reports / "demo-segue.html"
    check_writable(plain, "--reports")
    began_s = time.monotonic()
    with _cluster_of_our_own(settings) as (state, running):
        note(f"An embedded Kubernetes is up ({running.mode}: {running.reason}).")
        if running.mode == "loopback":
            _explain(
                "Pods share this machine's network and a proxy carries their Services: more is lost when one ends."
            )
        without, by_segue = _part_1(ask, state, plain), _part_2(ask, state, cured)
    say(f"\n== 3. The proof ==\n\nopen {plain.resolve()}\n     {cured.resolve()}")
    note(f"\nThe cluster is gone. {time.monotonic() - began_s:.0f} s in all.")
    if by_segue.lost_against_none:
        return Lost.exit_code
    return 0 if without.holds and by_segue.holds else SegueError.exit_code


def _part_1(ask: Ask, state: Path, report: Path) -> Judgement:
    _head("1. Plain Kubernetes")
    _explain(
        f"{ask.replicas} pods of a server that shuts down gracefully get {ask.rate:,g} new connections per second, and "
        f"{ask.deletes} of the pods are deleted, one by one. Some requests will be lost, and you will see why."
    )
    return _drilled("delete", ask, state, report)


def _part_2(ask: Ask, state: Path, report: Path) -> Judgement:
    _head("2. segue")
    _explain(
        "The same pods under the same load: segue releases version 2, undoes that, and scales down to half. No request "
        "may be lost."
    )
    return _drilled("cure", ask, state, report)


def _drilled(name: str, ask: Ask, state: Path, report: Path) -> Judgement:
    performed = asyncio.run(perform(experiment(name, ask), ask, state, quiet=False))
    show(performed)
    sys.stdout.flush()  # results and progress go to two streams, and a log shall have them in their order
    write_report(performed, report)
    return performed.judgement


def _head(text: str) -> None:
    say(f"\n== {text} ==\n")
    sys.stdout.flush()


def _explain(text: str) -> None:
    note(textwrap.fill(text, width()) + "\n")


@contextmanager
def _cluster_of_our_own(settings: ClusterSettings) -> Iterator[tuple[Path, Running]]:
    """A cluster with its files in a temporary place; nothing interrupts its being taken away."""
    outside = os.environ.get("SEGUE_HOME")
    with tempfile.TemporaryDirectory(prefix="segue-demo-") as home:
        os.environ["SEGUE_HOME"] = home
        state = state_dir(NAME)
        try:
            yield state, embedded.start(state, settings, with_me=True)
        finally:
            # The second Ctrl-C of somebody who cannot wait would leave behind what the first one began to clear away.
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)
            embedded.stop(state)
            if outside is None:
                del os.environ["SEGUE_HOME"]
            else:
                os.environ["SEGUE_HOME"] = outside
