"""`segue`: the list of commands, and the one place where errors become exit codes.

Commands are registered by import path, so that `segue status` never pays for the imports of `segue drill`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from cyclopts import App, CycloptsError, Group

from segue import __version__
from segue.cli.output import complain, note
from segue.model.errors import SegueError, StatusError

RELEASES = Group.create_ordered("Releases")
PROOF = Group.create_ordered("Load and proof")
CLUSTER = Group.create_ordered("Embedded cluster")

app = App(
    name="segue",
    help="Zero-downtime releases on Kubernetes, proved.",
    help_epilogue="Start with `segue demo`. Exit codes: docs/reference/exit-codes.md.",
    version=__version__,
    version_flags=["--version"],
    help_format="plaintext",
)
cluster_app = App(name="cluster", help="Look at the embedded cluster.", group=CLUSTER)

_COMMANDS = [
    ("plan", RELEASES, "segue.cli.plan:plan", "Say what a release would do, and what stands in its way."),
    (
        "release",
        RELEASES,
        "segue.cli.release:release",
        "Move a Deployment to its next version without losing a request.",
    ),
    ("status", RELEASES, "segue.cli.status:status", "Show where a release stands and what it waits for."),
    ("undo", RELEASES, "segue.cli.undo:undo", "Go back to an earlier revision, with the same care."),
    ("abort", RELEASES, "segue.cli.release:abort", "Give a release up: back to where it began."),
    ("scale", RELEASES, "segue.cli.scale:scale", "Change the number of pods without losing a request."),
    ("history", RELEASES, "segue.cli.history:history", "List revisions."),
    ("load", PROOF, "segue.cli.load:load", "Send an open-loop load and account for every request."),
    ("drill", PROOF, "segue.cli.drill:drill", "Run a named experiment: what is lost, and why."),
    ("demo", PROOF, "segue.cli.demo:demo", "Lose requests, see why, then lose none (about 100 s)."),
    ("up", CLUSTER, "segue.cli.cluster:up", "Start the embedded cluster."),
    ("down", CLUSTER, "segue.cli.cluster:down", "Stop it; nothing stays behind."),
    ("kubeconfig", CLUSTER, "segue.cli.cluster:kubeconfig", "Print the path of its kubeconfig."),
]
for _name, _group, _path, _help in _COMMANDS:
    app.command(_path, name=_name, group=_group, help=_help)
cluster_app.command("segue.cli.cluster:status", name="status", help="Show whether it runs, how, and what it costs.")
app.command(cluster_app)


def run(argv: Sequence[str]) -> int:
    """Run one command line and return its exit code."""
    try:
        result = app(list(argv), exit_on_error=False, print_error=True, result_action="return_value")
    except CycloptsError:
        return 2
    except StatusError as error:
        return complain(SegueError(f"the API server answered {error.code} {error.reason}: {error.message}"))
    except SegueError as error:
        return complain(error)
    except KeyboardInterrupt:
        note("stopped")
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 141
    return result if isinstance(result, int) else 0


def main() -> None:
    """The console script."""
    sys.exit(run(sys.argv[1:]))
