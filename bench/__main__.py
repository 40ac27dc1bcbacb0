"""`python -m bench [NAME]`: run the named benchmark, or all, and print one line per figure."""

from __future__ import annotations

import importlib
import sys

NAMES = [
    "startup",
    "check",
    "pods",
    "release",
    "strategies",
    "load",
    "agent",
    "supervisor",
    "deletion",
    "names",
    "live_page",
]


def main(argv: list[str]) -> int:
    """Run; exit code 2 for a name that does not exist."""
    wanted = argv or NAMES
    for name in wanted:
        if name not in NAMES:
            print(f"no benchmark {name!r}; there are: {', '.join(NAMES)}", file=sys.stderr)
            return 2
    for name in wanted:
        for figure in importlib.import_module(f"bench.{name}").figures():
            print(figure.line(), flush=True)
    return 0


sys.exit(main([argument for argument in sys.argv[1:] if argument]))
