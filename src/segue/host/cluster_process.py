"""The process that is an embedded cluster: `python -m segue.host.cluster_process --state DIR --ready-fd N`.

Becomes the doorman, starts the wiring inside the cluster's own namespaces, and tells the starter in one JSON line on
the ready fd whether it answers. Rule: nothing heavy is imported here, because the doorman lives on in this process.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from segue.host.isolation import Doorman, Mode, choose, launch
from segue.host.starting import start_time, tell
from segue.model.errors import SegueError


def main(argv: list[str]) -> int:
    """Run until told to end."""
    options = dict(zip(argv[::2], argv[1::2], strict=True))
    state, ready_fd = Path(options["--state"]), int(options["--ready-fd"])
    try:
        settings = json.loads((state / "settings.json").read_text())
        mode = choose(settings["mode"])
    except SegueError as error:
        tell(ready_fd, error)
        return error.exit_code

    started = start_time(os.getpid())  # seen from here: inside the namespaces /proc shows other processes

    def inside(doorman: Doorman, mode: Mode) -> int:
        from segue.host.wiring import Starter, run_cluster  # noqa: PLC0415 - heavy: only the cluster itself pays for it

        return run_cluster(state, doorman, mode, Starter(ready_fd=ready_fd, started=started))

    try:
        return launch(inside, mode)
    except SegueError as error:
        tell(ready_fd, error)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
