"""What the cluster process tells its starter, one JSON line on the ready fd; and who a process is.

Rule: imports nothing heavy; the doorman uses it, too.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from segue.model.errors import Place, SegueError


def tell(ready_fd: int, error: SegueError | None = None) -> None:
    """Say that the cluster answers, or why it does not; said once, later calls find the pipe closed."""
    said = _words_of(error) if error else {"ready": True}
    try:
        os.write(ready_fd, json.dumps(said).encode() + b"\n")
        os.close(ready_fd)
    except OSError:
        return


def _words_of(error: SegueError) -> dict[str, object]:
    place = error.place or Place()
    return {
        "error": error.message,
        "remedy": error.remedy,
        "code": error.exit_code,
        "place": {"file": place.file, "line": place.line, "path": place.path},
    }


def start_time(pid: int) -> str:
    """Field 22 of /proc/PID/stat, "" where no such process lives."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    fields = stat.rpartition(")")[2].split()
    return "" if fields[0] in ("Z", "X") else fields[19]
