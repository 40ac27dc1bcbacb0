"""The process that is an embedded cluster: `python -m segue.host.cluster_process --state DIR --settings JSON ...`.

Becomes the doorman, starts the wiring inside the cluster's own namespaces, and tells the starter in one JSON line on
the ready fd whether it answers. Rule: nothing heavy is imported here, because the doorman lives on in this process.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

from segue.host import syscalls
from segue.host.isolation import Doorman, Mode, choose, launch
from segue.host.starting import start_time, tell
from segue.host.state import must_run, take_lock
from segue.model.errors import ClusterUnreachable, HostError, SegueError

LOCK_LIMIT_S = 10.0


def main(argv: list[str]) -> int:
    """Run until told to end."""
    options = dict(zip(argv[::2], argv[1::2], strict=True))
    state, ready_fd = Path(options["--state"]), int(options["--ready-fd"])
    if "--with" in options and not _ends_with(int(options["--with"])):
        return 1
    try:
        if take_lock(state, limit_s=LOCK_LIMIT_S) is None:
            must_run(state)  # somebody else was quicker: his cluster will do
            tell(ready_fd)
            return 0
        _begin(state, options["--settings"], fresh="--fresh" in options)
        mode = choose(json.loads(options["--settings"])["mode"])
    except ClusterUnreachable as error:
        tell(ready_fd, HostError("processes of an earlier run do not end", remedy=error.remedy))
        return HostError.exit_code
    except SegueError as error:
        tell(ready_fd, error)
        return error.exit_code
    except OSError as error:
        said = HostError(f"{error.filename}: {error.strerror}", remedy="set SEGUE_HOME to a directory you may write to")
        tell(ready_fd, said)
        return said.exit_code

    started = start_time(os.getpid())  # seen from here: inside the namespaces /proc shows other processes

    def inside(doorman: Doorman, mode: Mode) -> int:
        from segue.host.wiring import Starter, run_cluster  # noqa: PLC0415 - heavy: only the cluster itself pays for it

        return run_cluster(state, doorman, mode, Starter(ready_fd=ready_fd, started=started))

    try:
        return launch(inside, mode)
    except SegueError as error:
        tell(ready_fd, error)
        return error.exit_code


def _begin(state: Path, settings: str, *, fresh: bool) -> None:
    """From here on the directory is ours."""
    (state / "cluster.json").unlink(missing_ok=True)
    if fresh:
        for stale in state.glob("store.db*"):
            stale.unlink()
    (state / "settings.json").write_text(settings)


def _ends_with(starter: int) -> bool:
    """Let the kernel end this cluster with its starter, however that ends; False where it is gone already."""
    syscalls.prctl_pdeathsig(signal.SIGTERM)
    return os.getppid() == starter


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
