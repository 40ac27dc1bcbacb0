"""`segue load`: an open loop of HTTP requests at a stated rate, every one accounted for."""

from __future__ import annotations

import secrets
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from cyclopts import Parameter

from segue.cli.files import check_writable, write_whole
from segue.cli.output import Output, emit, note, say, table
from segue.load.plan import Mode, Plan, Scheme
from segue.model.errors import Lost, UsageError
from segue.model.objects import Obj, rfc3339_micro

SCHEMES = tuple(scheme.value for scheme in Scheme)
STARVED = 0.02  # of its time: beyond this a load that is late waited for a processor
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def seconds_from(text: str, option: str) -> float:
    """`20`, `20s`, `1.5m`, `500ms` in seconds; UsageError for anything else."""
    unit = next((name for name in ("ms", "s", "m", "h") if text.endswith(name)), "")
    try:
        found = float(text.removesuffix(unit)) * _UNITS.get(unit, 1.0)
    except ValueError:
        raise UsageError(f"{option} {text}: must be a time such as 20, 20s, 500ms or 2m") from None
    if not 0 < found < 1e7:
        raise UsageError(f"{option} {text}: must be above 0")
    return found


def load(  # noqa: PLR0913 - one parameter per option
    url: Annotated[str, Parameter(help="where to, such as http://127.0.0.1:31002/fast")],
    /,
    *,
    rate: Annotated[float, Parameter(help="requests per second, kept whatever the service does")] = 100.0,
    for_: Annotated[str, Parameter(name="--for", metavar="TIME", help="how long, such as 20s or 2m")] = "10s",
    keep_alive: Annotated[
        int, Parameter(help="use this many kept connections; 0: a new one per request, or 16 where all are kept")
    ] = 0,
    mixed: Annotated[bool, Parameter(help="new and kept connections by turns", negative="")] = False,
    paths: Annotated[
        list[str] | None, Parameter(metavar="/PATH", help="asked by turns; else the URL's own path")
    ] = None,
    slow: Annotated[int, Parameter(help="so many requests to --slow-path besides, evenly spread")] = 0,
    slow_path: Annotated[str, Parameter(metavar="/PATH", help="a path that takes long")] = "/slow",
    timeout: Annotated[str, Parameter(metavar="TIME", help="longest wait for an answer")] = "15s",
    records: Annotated[Path | None, Parameter(help="keep every request's record in this file (JSON lines)")] = None,
    junit: Annotated[Path | None, Parameter(metavar="FILE", help="write the verdict as JUnit XML, for CI")] = None,
    output: Annotated[Output, Parameter(name=["--output", "-o"], help="table, json or yaml")] = Output.TABLE,
) -> int:
    """Send an open-loop load and account for every request.

    Requests leave at their planned moments whether or not earlier ones were answered, and latency counts from there.
    The URL says what is spoken: http, h2c (HTTP/2), grpc, grpc-stream, ws (WebSocket), sse (events), tcp (lines that
    are echoed), dns (lookups through libc). Exit code 9 when requests were lost. Ctrl-C ends early and still sums up.

    Examples
    --------
    segue load http://127.0.0.1:31002/fast --rate 1000 --for 20s
    segue load http://127.0.0.1:31002 --paths /fast --slow 5 --keep-alive 16
    segue load http://127.0.0.1:31002/fast -o json --records requests.jsonl
    segue load ws://127.0.0.1:31002/echo --keep-alive 50 --rate 500 --for 60s
    segue load grpc://127.0.0.1:31002/grpc.health.v1.Health/Check --rate 200
    segue load dns://web.default.svc.cluster.local --rate 50
    """
    from segue.host.loading import client_prefix, fire, is_inside  # noqa: PLC0415 - the help must not pay for it
    from segue.host.state import read_running, state_dir  # noqa: PLC0415

    if keep_alive < 0 or slow < 0:
        raise UsageError("--keep-alive and --slow count things: 0 or more")
    if (mixed or slow) and not url.startswith("http://"):
        raise UsageError(f"{url}: --mixed and --slow belong to http:// URLs", remedy="leave them out")
    plan = Plan(
        url=checked_url(url),
        rate=checked_rate(rate),
        duration_s=seconds_from(for_, "--for"),
        mode=Mode.MIXED if mixed else Mode.KEEP_ALIVE if keep_alive else Mode.NEW,
        connections=keep_alive or 16,
        paths=tuple(checked_path(path) for path in paths or [path_of(url)]),
        slow=slow,
        slow_path=checked_path(slow_path),
        timeout_s=seconds_from(timeout, "--timeout"),
        run=f"load-{secrets.token_hex(4)}",
    )
    if records:
        check_writable(records, "--records")
    if junit:
        check_writable(junit, "--junit")
    state = state_dir()
    running = read_running(state)
    prefix = client_prefix(state, running) if running is not None and is_inside(url, running) else ()
    with tempfile.TemporaryDirectory(prefix="segue-load-") as place:
        summary = fire(plan, records or Path(place) / "records.jsonl", prefix, _progress(output))
    if junit:
        _write_junit(summary, url, junit)
    if output is not Output.TABLE:
        emit(summary, output)
    else:
        print_summary(summary)
    return Lost.exit_code if summary["lost"] else 0


def _write_junit(summary: Obj, url: str, path: Path) -> None:
    """The verdict for CI."""
    from segue.report.junit import junit, suite_of_load  # noqa: PLC0415 - most loads write none

    write_whole(path, junit([suite_of_load(summary, url, rfc3339_micro(float(summary["startS"])))]).encode())


def checked_url(url: str) -> str:
    """A URL that can be asked; UsageError for https, a host that is missing, a port that cannot be."""
    example = "such as http://127.0.0.1:31002/fast"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise UsageError(f"{url}: {error}", remedy=f"an http:// URL is needed, {example}") from error
    if parts.scheme in ("https", "wss", "grpcs"):
        raise UsageError(f"{url}: TLS is not spoken here yet", remedy="use a URL without it, such as http:// or ws://")
    if parts.scheme not in SCHEMES or not parts.hostname or port == 0:
        raise UsageError(
            f"{url}: must be an http:// URL {example}", remedy="or one of: " + ", ".join(f"{one}://" for one in SCHEMES)
        )
    if parts.username is not None:
        raise UsageError(f"{url}: user and password are not sent", remedy="leave them out")
    if parts.scheme == Scheme.TCP and port is None:
        raise UsageError(f"{url}: which port?", remedy="such as tcp://127.0.0.1:31002")
    if parts.scheme == Scheme.DNS and (port is not None or parts.path not in ("", "/")):
        raise UsageError(f"{url}: a lookup has a name only", remedy=f"such as dns://{parts.hostname}")
    if parts.scheme in (Scheme.GRPC, Scheme.GRPC_STREAM) and parts.path.count("/") != 2:
        raise UsageError(
            f"{url}: which method?", remedy=f"such as {parts.scheme}://{parts.netloc}/package.Service/Method"
        )
    return url


def checked_rate(rate: float) -> float:
    """A rate that one process can keep."""
    if not 0 < rate <= 200_000:
        raise UsageError(f"--rate {rate:g}: must be above 0 and at most 200000")
    return rate


def checked_path(path: str) -> str:
    """A path that fits a request line."""
    if not path.startswith("/") or not path.isascii() or not path.isprintable() or " " in path:
        raise UsageError(f"path {path!r}: must begin with / and hold no blanks")
    return path


def path_of(url: str) -> str:
    """The path of a URL, / where it has none."""
    return "/" + url.partition("://")[2].partition("/")[2]


def _progress(output: Output) -> Callable[[Obj], None]:
    """One line that renews itself on a terminal; nothing where somebody else reads."""
    if output is not Output.TABLE or not sys.stderr.isatty():
        return lambda _: None

    def show(now: Obj) -> None:
        sys.stderr.write(f"\r{now['passedS']:6.1f} s   {now['fired']:,} sent   {now['lost']:,} lost   ")
        sys.stderr.flush()

    return show


def print_summary(summary: Obj) -> None:
    """The summary as a person reads it."""
    if sys.stderr.isatty():
        note("")
    lost, total = summary["lost"], summary["requests"] - summary["ownFaults"]
    say(f"{summary['ok']:,} of {total:,} requests answered well, {lost:,} lost, in {summary['tookS']:.1f} s")
    latency = summary["latencyMs"]
    if summary["ok"]:
        say("latency from the planned moment, ms: " + "   ".join(f"{name} {latency[name]:g}" for name in latency))
    say(f"longest time without a good answer: {summary['longestGapMs']:g} ms")
    if set(summary["versions"]) - {"?"}:
        say("versions: " + "   ".join(f"{name} {count:,}" for name, count in summary["versions"].items()))
    if lost:
        rows = [[name, f"{count:,}"] for name, count in summary["outcomes"].items() if name not in ("ok", "own-fault")]
        table(["OUTCOME", "COUNT"], rows)
    if summary["ownFaults"]:
        note(
            f"warning: {summary['ownFaults']:,} requests failed on this side {summary['errnos']}; "
            "they count as not sent"
        )
    if summary["late"]:
        waited_s = summary["waitedForCpuS"]
        starved = waited_s > STARVED * summary["tookS"]
        why = f"other processes had the processor for {waited_s:g} s" if starved else "too much for one core of it"
        note(
            f"warning: {summary['late']:,} requests left late (up to {summary['latenessMaxMs']:g} ms), "
            f"which is this machine's own doing: {why}"
        )
