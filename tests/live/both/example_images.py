"""The images of examples: on the embedded cluster by their maps, on a real node brought once they changed."""

from __future__ import annotations

import fcntl
import subprocess
import sys
import zlib
from pathlib import Path

import segue.app

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
GUNICORN = EXAMPLES / "gunicorn"
UVICORN = EXAMPLES / "uvicorn"
IMAGE_MAPS = (str(GUNICORN / "images.yaml"), str(UVICORN / "images.yaml"))
_APP = Path(segue.app.__file__).parent
_WITH = {
    "example.org/gunicorn:v1": [str(GUNICORN), "--entry", "serve.py", "--with", "gunicorn", "--with", "packaging"],
    "example.org/uvicorn:v1": [
        *(str(UVICORN), "--entry", "serve.py"),
        *("--with", "uvicorn", "--with", "click", "--with", "h11"),
    ],
    "example.org/supervise:v1": [str(EXAMPLES / "supervise")],
}


def bring(state: Path) -> None:
    """Make the images on the node of this bed, once for all test processes, each text of theirs and each start."""
    crc = 0
    folders = (GUNICORN, UVICORN, EXAMPLES / "supervise", _APP)
    for file in sorted(file for folder in folders for file in folder.glob("*.py")):
        crc = zlib.crc32(file.read_bytes(), crc)
    stamp = state / "data" / f"examples-{crc:x}"
    with (state / "examples.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if stamp.exists():
            return
        for name, what in _WITH.items():
            argv = [sys.executable, "-m", "testbed", "image", name, "--python", *what, "--with", "segue.app"]
            subprocess.run(argv, check=True, capture_output=True)
        stamp.touch()
