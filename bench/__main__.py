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
    "peak",
    "report",
    "agent",
    "supervisor",
    "deletion",
    "names",
    "live_page",
]
BY_NAME_ONLY = ["many"]  # minutes each


def main(argv: list[str]) -> int:
    """Run; exit code 2 for a name that does not exist."""
    wanted = argv or NAMES
    for name in wanted:
        if name not in (*NAMES, *BY_NAME_ONLY):
            print(f"no benchmark {name!r}; there are: {', '.join((*NAMES, *BY_NAME_ONLY))}", file=sys.stderr)
            return 2
    for name in wanted:
        for figure in importlib.import_module(f"bench.{name}").figures():
            print(figure.line(), flush=True)
    return 0


sys.exit(main([argument for argument in sys.argv[1:] if argument]))
