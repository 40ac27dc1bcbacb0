"""`segue`: the list of commands, and the one place where errors become exit codes.

Rule 1: commands are registered by import path, so that `segue status` never pays for the imports of `segue drill`.
Rule 2: nobody ever sees a traceback: what is wrong outside is said in one line, a fault of our own is kept in a file.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import tempfile
import traceback
import types
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from inspect import getdoc
from typing import TYPE_CHECKING

from cyclopts import App, CycloptsError, Group, MissingArgumentError, Parameter, UnknownCommandError
from cyclopts.exceptions import CoercionError, UnusedCliTokensError

from segue import __version__
from segue.cli.output import complain, note
from segue.model.errors import HostError, SegueError, StatusError, UsageError

if TYPE_CHECKING:
    from cyclopts.help.protocols import HelpFormatter

RELEASES = Group.create_ordered("Releases")
MANIFESTS = Group.create_ordered("Manifests")
PROOF = Group.create_ordered("Load and proof")
CLUSTER = Group.create_ordered("Embedded cluster")
OTHER = Group.create_ordered("Other")
HELP = {"--help", "-h"}
EPILOGUE = """Start with `segue demo`. Every command has examples: segue COMMAND --help.
Exit codes: docs/reference/exit-codes.md."""
_KINDS = {"int": "a whole number", "float": "a number"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command: its words, where its function is, and one line for the list."""

    words: tuple[str, ...]
    group: Group
    path: str
    says: str


def _command(words: str, group: Group, path: str, says: str) -> Command:
    return Command(words=tuple(words.split()), group=group, path=f"segue.cli.{path}", says=says)


COMMANDS = (
    _command("plan", RELEASES, "plan:plan", "Say what a release would do, and what stands in its way."),
    _command("release", RELEASES, "release:release", "Move a Deployment to its next version without losing a request."),
    _command("status", RELEASES, "status:status", "Show where a release stands and what it waits for."),
    _command("web", RELEASES, "web:web", "Show a release live in a browser, with buttons."),
    _command("pause", RELEASES, "steering:pause", "Let a release under way begin no further step."),
    _command("resume", RELEASES, "steering:resume", "Let a paused release go on."),
    _command("promote", RELEASES, "steering:promote", "Let a release that holds at a stop go on to the next."),
    _command("undo", RELEASES, "undo:undo", "Go back to an earlier revision, with the same care."),
    _command("abort", RELEASES, "release:abort", "Give a release up: back to where it began."),
    _command("restart", RELEASES, "restart:restart", "Replace all pods by others of the same version, losing nothing."),
    _command("scale", RELEASES, "scale:scale", "Change the number of pods without losing a request."),
    _command("retire", RELEASES, "retire:retire", "Replace one pod without losing a request."),
    _command("history", RELEASES, "history:history", "List revisions."),
    _command("guard", RELEASES, "guard:guard", "Print a policy that refuses foreign changes during a release."),
    _command("traffic", RELEASES, "traffic:traffic", "Show who talks to pods now, and whether they are quiet."),
    _command("supervise", RELEASES, "supervise:supervise", "In a pod: restart what is sick without losing a request."),
    _command("check", MANIFESTS, "check:check", "Find what manifests would lose requests by, and say what to write."),
    _command("fix", MANIFESTS, "fix:fix", "Repair what check finds and what needs no answer of yours."),
    _command(
        "convert", MANIFESTS, "convert:convert", "Print a DeploymentConfig as a Deployment; old groups as new ones."
    ),
    _command("inject", MANIFESTS, "inject:inject", "Let pods end when they are quiet, whoever deletes them."),
    _command("uninject", MANIFESTS, "inject:uninject", "Take out of a manifest what inject put in."),
    _command("measure", PROOF, "measure:measure", "Measure how long a cluster sends to pods that are gone."),
    _command("metrics", PROOF, "metrics:metrics", "Serve connections and arrivals of pods, for autoscalers, too."),
    _command("load", PROOF, "load:load", "Send an open-loop load and account for every request."),
    _command("drill", PROOF, "drill:drill", "Run a named experiment: what is lost, and why."),
    _command("demo", PROOF, "demo:demo", "Lose requests, see why, then lose none (about 90 s)."),
    _command(
        "dns explain", PROOF, "dns:explain", "Say which queries a lookup of a name costs, and what would save them."
    ),
    _command("dns measure", PROOF, "dns_measure:measure", "Measure lookups from a pod, and tell what they wait for."),
    _command("dns plan", PROOF, "dns_plan:plan", "Judge and repair a Corefile, and say what CoreDNS needs."),
    _command("dns apply", PROOF, "dns_apply:apply", "Roll CoreDNS out with a better Corefile, losing no lookup."),
    _command("receipt show", PROOF, "receipts:show", "Show a receipt on one screen."),
    _command("receipt list", PROOF, "receipts:list_", "List the receipts that were kept."),
    _command("receipt verify", PROOF, "receipts:verify", "Compute a receipt's claims again from its raw record."),
    _command("receipt html", PROOF, "receipts:html", "Make the HTML report of a receipt."),
    _command("up", CLUSTER, "cluster:up", "Start the embedded cluster."),
    _command("down", CLUSTER, "cluster:down", "Stop it; nothing stays behind."),
    _command("kubeconfig", CLUSTER, "cluster:kubeconfig", "Print the path of its kubeconfig."),
    _command("cluster status", CLUSTER, "cluster:status", "Show whether it runs, how, and what it costs."),
    _command("completion", OTHER, "completing:completion", "Print what makes a shell complete segue's commands."),
)

PARENTS = {  # words that only lead to others
    "dns": (PROOF, "Look at what names cost, and make them cheap."),
    "receipt": (PROOF, "Read receipts, and compute their claims again."),
    "cluster": (CLUSTER, "Look at the embedded cluster."),
}


class Ended(KeyboardInterrupt):
    """SIGTERM or SIGHUP: like Ctrl-C, so that whatever we started is taken down."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def make_app(argv: Sequence[str] = ()) -> App:
    """The commands. Where `argv` asks for the help of one, its function is imported, for its docstring is its help."""
    from_docs = bool(HELP.intersection(argv))
    chosen = next((one for one in COMMANDS if from_docs and tuple(argv[: len(one.words)]) == one.words), None)
    app = App(
        name="segue",
        help="Zero-downtime releases on Kubernetes, proved.",
        help_epilogue="" if chosen else EPILOGUE,
        version=f"segue {__version__}",
        version_flags=["--version"],
        help_format="plaintext",
        help_formatter=_formatter() if from_docs or not argv or argv[0] in PARENTS else None,
        default_parameter=Parameter(negative=()),
        suppress_keyboard_interrupt=False,
    )
    parents: dict[str, App] = {}
    for name, (owner, says) in PARENTS.items():
        place = next(index for index, command in enumerate(COMMANDS) if command.words[0] == name)
        parents[name] = App(name=name, help=says, group=owner, sort_key=place if name == "receipt" else len(COMMANDS))
        app.command(parents[name])
    for index, command in enumerate(COMMANDS):
        parent, group = (app, command.group) if len(command.words) == 1 else (parents[command.words[0]], None)
        said = _docstring(command.path) if command is chosen else command.says
        parent.command(command.path, name=command.words[-1], group=group, help=said, sort_key=index)
    return app


def _formatter() -> HelpFormatter:
    from segue.cli.helping import Columns  # noqa: PLC0415 - draws with rich, which only the help needs

    return Columns()


def _docstring(path: str) -> str:
    """A command's docstring. Its last section goes without the underline: cyclopts leaves out sections it knows."""
    module, _, name = path.partition(":")
    return (getdoc(getattr(import_module(module), name)) or "").replace("Examples\n--------\n", "Examples\n")


def run(argv: Sequence[str]) -> int:
    """Run one command line and return its exit code."""
    if argv and argv[0] == "help":
        argv = [*argv[1:], "--help"]
    argv = _with_stdin(argv)
    try:
        result = make_app(argv)(list(argv), exit_on_error=False, print_error=False, result_action="return_value")
        sys.stdout.flush()
    except CycloptsError as error:
        return complain(_usage(error))
    except StatusError as error:
        return complain(_refusal(error))
    except SegueError as error:
        return complain(error)
    except KeyboardInterrupt as end:
        note("stopped")
        return 128 + (end.number if isinstance(end, Ended) else signal.SIGINT)
    except BrokenPipeError:
        _drop_stdout()
        return 128 + signal.SIGPIPE
    except OSError as error:
        _drop_stdout()
        return complain(_machine(error))
    except Exception as error:  # noqa: BLE001 - the last frame: whatever comes here is a fault of segue itself
        return complain(_own_fault(error))
    return result if isinstance(result, int) else 0


def _with_stdin(argv: Sequence[str]) -> list[str]:
    """A lone hyphen in words that cyclopts does not take for an option."""
    joined: list[str] = []
    for word in argv:
        if word == "-" and argv[0] in {"check", "fix"}:
            joined.append("/dev/stdin")
            continue
        if word == "-" and joined and joined[-1] in {"-f", "--filename"}:
            joined[-1] = "--filename=-"
        else:
            joined.append(word)
    return joined


def _usage(error: CycloptsError) -> UsageError:
    """What is off, in our words, and which help tells more."""
    words = " ".join(error.command_chain or ())
    remedy = f"segue {words} --help shows how it is used" if words else "segue --help lists the commands"
    unknown = [token for token in error.unused_tokens or () if token.startswith("-") and len(token) > 1]
    match error:
        case UnknownCommandError():
            said = str(error).partition(" Available commands")[0]
        case MissingArgumentError() if error.argument is not None:
            given = [name for name in error.argument.names if name in unknown]
            if unknown and not given:
                return UsageError(f"unknown option: {unknown[0]}", remedy=remedy)
            said = f"{given[0]} needs a value" if given else f"{error.argument.name} is missing"
        case UnusedCliTokensError():
            said = f"too many arguments: {' '.join(error.unused_tokens or ())}"
        case CoercionError():
            said = str(error).replace("unable to convert ", "", 1)
            for kind, words_of_kind in _KINDS.items():
                said = said.replace(f" into {kind}", f" is not {words_of_kind}")
        case _:
            said = str(error)
    said = said.strip().rstrip(".")
    return UsageError(said[:1].lower() + said[1:] if said[1:2].islower() else said, remedy=remedy)


def _refusal(error: StatusError) -> SegueError:
    if error.code == 404:
        return SegueError(error.message, remedy="segue status lists what is there; -n names another namespace")
    return SegueError(f"the API server answered {error.code} {error.reason}: {error.message}")


def _machine(error: OSError) -> HostError:
    """A file or the network of this machine, where no room nearer to it knew a better word."""
    where = f"{error.filename}: " if error.filename else ""
    return HostError(f"{where}{error.strerror or error}", remedy="this machine refused it; free or allow what it names")


def _own_fault(error: Exception) -> SegueError:
    said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    try:
        with tempfile.NamedTemporaryFile("w", prefix="segue-fault-", suffix=".txt", delete=False) as file:
            file.write(f"segue {__version__} {' '.join(sys.argv[1:])}\n\n")
            traceback.print_exception(error, file=file)
    except OSError:
        traceback.print_exception(error)
        return SegueError(f"a fault of segue itself: {said}", remedy="please report it with the lines above")
    return SegueError(f"a fault of segue itself: {said}", remedy=f"please report it, with {file.name}")


def _drop_stdout() -> None:
    """Nobody reads on: what is still buffered must not fail once more when the process ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _end(number: int, _frame: types.FrameType | None) -> None:
    raise Ended(number)


def main() -> None:
    """The console script."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:  # else somebody decided already: nohup ignores SIGHUP
            signal.signal(number, _end)
    try:
        sys.exit(run(sys.argv[1:]))
    finally:
        gc.freeze()  # what is left ends with the process: to look for cycles in it took 45 ms of a `status` of 300
