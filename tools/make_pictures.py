"""Make the pictures of docs/questions out of drills that are run now. Usage: python tools/make_pictures.py [NAME ...]

Each run measures anew, so no test holds them equal; one holds that every picture that a page shows is made here.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
PICTURES = ROOT / "docs" / "questions" / "pictures"
NEXT = "examples/seed/second-option-v2.yaml"
DRILLS = {
    "delete": ("delete",),
    "cure": ("cure", "--to", NEXT, "--rate", "300"),
    "release": ("release", "-f", "examples/quick/web.yaml", "--to", "examples/quick/web-v2.yaml", "--rate", "100"),
}


def main(names: list[str]) -> None:
    """Run the named drills, or all, and keep each one's picture of its pods."""
    with tempfile.TemporaryDirectory() as home:
        env = {**os.environ, "SEGUE_HOME": home}
        segue = str(Path(sys.executable).with_name("segue"))
        try:
            subprocess.run([segue, "up"], env=env, check=True, capture_output=True)
            for name in names or DRILLS:
                report = Path(home) / f"{name}.html"
                argv = [segue, "drill", *DRILLS[name], "--report", str(report)]
                subprocess.run(argv, env=env, cwd=ROOT, check=True, capture_output=True)
                argv = [segue, "receipt", "html", str(report.with_suffix(".json")), "--pictures", home]
                subprocess.run(argv, env=env, cwd=ROOT, check=True, capture_output=True)
                shutil.copy(Path(home) / "pods.svg", PICTURES / f"{name}-pods.svg")
        finally:
            subprocess.run([segue, "down"], env=env, check=False, capture_output=True)


if __name__ == "__main__":
    main(sys.argv[1:])
