"""Commands of the project and kubectl against a cluster: what every kind of cluster in these tests can do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

BIN = Path(sys.executable).parent


class Console:
    """Runs commands in the environment that names a cluster."""

    __slots__ = ()
    env: dict[str, str]

    def run(self, *argv: str, stdin: str = "", limit_s: float = 60.0) -> subprocess.CompletedProcess[str]:
        """Run segue, kubectl or python against this cluster."""
        return subprocess.run(
            [str(BIN / argv[0]), *argv[1:]],
            env=self.env,
            input=stdin,
            text=True,
            capture_output=True,
            timeout=limit_s,
            check=False,
        )

    def kubectl(self, *argv: str, stdin: str = "", limit_s: float = 60.0) -> str:
        """kubectl's standard output; AssertionError with its error where it fails."""
        done = self.run("kubectl", *argv, stdin=stdin, limit_s=limit_s)
        assert done.returncode == 0, f"kubectl {' '.join(argv)}: {done.stderr}"
        return done.stdout
