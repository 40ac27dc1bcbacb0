"""`segue supervise`: the supervisor of a pod, for images that have segue; `segue/app/supervise.py` needs none."""

from __future__ import annotations

import argparse
from typing import Annotated

from cyclopts import Parameter

from segue.model.errors import HostError, UsageError


def supervise(  # noqa: PLR0913 - one parameter per option
    *command: Annotated[str, Parameter(help="what to start and supervise, after --; none: beside an application")],
    check: Annotated[str, Parameter(metavar="SCRIPT", help="a line for sh; exit code 0 is well")] = "",
    check_url: Annotated[str, Parameter(metavar="URL", help="of this pod; 200 to 399 is well")] = "",
    check_log: Annotated[str, Parameter(metavar="FILE", help="well while few of its lines match --pattern")] = "",
    pattern: Annotated[str, Parameter(metavar="REGEX", help="which lines of --check-log count")] = "",
    lines: Annotated[int, Parameter(metavar="N", help="so many of them make it sick")] = 1,
    every: Annotated[float, Parameter(metavar="S", help="seconds between two checks")] = 2.0,
    failures: Annotated[int, Parameter(metavar="N", help="checks in a row that make it sick")] = 2,
    port: Annotated[str, Parameter(help="where /ready and /live are answered")] = "8082",
    ready_url: Annotated[str, Parameter(metavar="URL", help="the application's own readiness, joined to ours")] = "",
    told: Annotated[int, Parameter(metavar="N", help="the failureThreshold of both probes")] = 3,
    ports: Annotated[str, Parameter(metavar="P,P", help="that carry traffic; else all that are listened on")] = "",
    budget: Annotated[str, Parameter(metavar="NAME", help="pods with this name restart one after the other")] = "",
    spread: Annotated[float, Parameter(metavar="S", help="where pods cannot agree: within this time")] = 60.0,
    cap: Annotated[float, Parameter(metavar="S", help="ends any drain")] = 120.0,
    timer: Annotated[float, Parameter(metavar="S", help="stands in for evidence that cannot be had")] = 5.0,
) -> int:
    """In a pod: when the check fails, readiness goes first, then it waits for quiet, and only then restarts.

    Beside an application, whose probes ask /ready and /live of this port, or as PID 1 with the application's command.
    The same as `python3 segue/app/supervise.py`, which needs nothing but the standard library.

    Examples
    --------
    segue supervise --check-log /var/log/app.log --pattern 'thread .* died' --lines 2 --budget web
    segue supervise --check-url http://127.0.0.1:8080/healthz -- gunicorn app:application
    """
    from segue.app import supervise as standing  # noqa: PLC0415 - the help must not pay for it

    if sum(map(bool, (check, check_url, check_log))) != 1:
        raise UsageError("one of --check, --check-url and --check-log is needed", remedy="segue supervise --help")
    options = argparse.Namespace(
        check=check,
        check_url=check_url,
        check_log=check_log,
        pattern=pattern,
        lines=lines,
        every=every,
        failures=failures,
        port=port,
        ready_url=ready_url,
        told=told,
        ports=ports,
        budget=budget,
        spread=spread,
        cap=cap,
        timer=timer,
        command=list(command),
    )
    try:
        return standing.supervise(options)
    except ValueError as error:
        raise UsageError(str(error), remedy="segue supervise --help shows what is meant") from error
    except OSError as error:
        raise HostError(
            f"cannot supervise: {error}", remedy="free the port, or name a command that is there"
        ) from error
