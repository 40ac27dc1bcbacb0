"""`--web`: the live page beside a command, for as long as that runs, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated

from cyclopts import Parameter

from segue.model.manifest import Document

ITSELF = (sys.executable, "-c", "from segue.cli.main import main; main()")
END_WITHIN_S = 10.0
_KINDS = ("Deployment", "StatefulSet", "DaemonSet")
WithPage = Annotated[bool, Parameter(name="--web", help="show it live in a browser while it runs: see segue web")]


@contextmanager
def page_beside(said: str, options: Sequence[tuple[str, str]]) -> Iterator[None]:
    """Serve the page of this workload ("": of none); its address goes to stderr, as all progress does."""
    if not said:
        yield
        return
    words = [word for option, value in options if value for word in (option, value)]
    process = subprocess.Popen([*ITSELF, "web", said, *words], stdin=subprocess.DEVNULL, stdout=sys.stderr)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(END_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def first_workload(documents: Sequence[Document]) -> str:
    """Kind and name of the first workload of a manifest, as a command line takes them."""
    return next((f"{one.kind}/{one.name}" for one in documents if one.kind in _KINDS), "")
