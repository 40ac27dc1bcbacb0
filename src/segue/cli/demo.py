"""`segue demo`: the seed's experiment, end to end, on a cluster of its own that is gone afterwards."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from segue.cli.drill import drill, seed_manifest
from segue.cli.files import check_writable
from segue.cli.load import checked_rate
from segue.cli.output import note, say
from segue.host import embedded
from segue.host.settings import ClusterSettings, checked
from segue.host.state import state_dir
from segue.model.errors import Lost

NAME = "demo"


def demo(
    *,
    rate: Annotated[float, Parameter(help="new connections per second")] = 1000.0,
    mode: Annotated[str, Parameter(help="auto, namespaces or loopback")] = "auto",
    reports: Annotated[Path, Parameter(help="where the reports go")] = Path("reports"),
) -> int:
    """Lose requests with plain Kubernetes, see why, then lose none with segue. Takes about 100 seconds.

    Starts an embedded cluster of its own in a temporary place and takes it away at the end, also after Ctrl-C.
    Exit code 9 when segue lost a request, 1 when plain Kubernetes lost none.

    Examples
    --------
    segue demo
    segue demo --mode loopback --rate 300
    """
    settings = checked(ClusterSettings(mode=mode))
    checked_rate(rate)
    check_writable(reports / "demo-plain.html", "--reports")
    seed_manifest()
    began_s = time.monotonic()
    outside = os.environ.get("SEGUE_HOME")
    with tempfile.TemporaryDirectory(prefix="segue-demo-") as home:
        os.environ["SEGUE_HOME"] = home
        try:
            code = _run(settings, rate, reports)
        finally:
            embedded.stop(state_dir(NAME))
            if outside is None:
                del os.environ["SEGUE_HOME"]
            else:
                os.environ["SEGUE_HOME"] = outside
    note(f"\nThe cluster is gone. {time.monotonic() - began_s:.0f} s in all.")
    return code


def _run(settings: ClusterSettings, rate: float, reports: Path) -> int:
    running = embedded.start(state_dir(NAME), settings, with_me=True)
    note(f"An embedded Kubernetes is up ({running.mode}: {running.reason}).\n")
    say("== 1. Plain Kubernetes: ten pods of a server that shuts down gracefully, five of them deleted under load ==\n")
    plain, cured = reports / "demo-plain.html", reports / "demo-segue.html"
    lost = drill("delete", rate=rate, for_="14s", deletes=5, report=plain, cluster=NAME)
    say("\n== 2. The same load; segue releases version 2, undoes it, and scales down to half ==\n")
    kept = drill("cure", rate=rate, report=cured, cluster=NAME)
    say(f"\n== 3. The proof ==\n\nopen {plain.resolve()}\n     {cured.resolve()}")
    return Lost.exit_code if kept else lost
