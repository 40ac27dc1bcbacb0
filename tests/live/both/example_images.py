"""The images of examples/gunicorn: on the embedded cluster by its map, on a real node brought once they changed."""

from __future__ import annotations

import fcntl
import subprocess
import sys
import zlib
from pathlib import Path

import segue.app

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
GUNICORN = EXAMPLES / "gunicorn"
IMAGE_MAP = str(GUNICORN / "images.yaml")
_APP = Path(segue.app.__file__).parent
_WITH = {
    "example.org/gunicorn:v1": [str(GUNICORN), "--entry", "serve.py", "--with", "gunicorn", "--with", "packaging"],
    "example.org/supervise:v1": [str(EXAMPLES / "supervise")],
}


def bring(state: Path) -> None:
    """Make the images on the node of this bed, once for all test processes, each text of theirs and each start."""
    crc = 0
    for file in sorted([*GUNICORN.glob("*.py"), *(EXAMPLES / "supervise").glob("*.py"), *_APP.glob("*.py")]):
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
