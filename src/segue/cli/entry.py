"""Where the `segue` command begins: what must hold before anything else is imported.

Rule: nothing is imported here that the standard library does not have, or it would be imported too early.
"""

from __future__ import annotations

import gc

# A command imports some 500 modules, which all stay: looking through them every 700 objects costs 17 ms of 300.
ALLOCATIONS = 50_000


def main() -> None:
    """Run the command line."""
    gc.set_threshold(ALLOCATIONS)
    from segue.cli.main import main as run  # noqa: PLC0415 - the threshold comes first

    run()
