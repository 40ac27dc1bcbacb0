"""Run a command in the cluster's client namespace: loads go out from there, so that refused stays refused.

    python -m segue.host.network.enter --state DIR -- argv...

Rule: an ordinary user joins the user namespace first, which only a single-threaded process may do; so this runs
before anything that starts threads is imported.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from segue.host import syscalls
from segue.host.state import Running, must_run
from segue.model.errors import HostError, SegueError, UsageError


def enter_client_namespace(running: Running) -> bool:
    """Move this single-threaded process there; False in loopback mode, which has none."""
    if not running.client_netns:
        return False
    try:
        net = os.open(running.client_netns, os.O_RDONLY | os.O_CLOEXEC)
        if os.geteuid() != 0:  # root has every right in namespaces of others, too
            user = os.open(f"/proc/{running.node_pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
            syscalls.setns(user, syscalls.CLONE_NEWUSER)
            os.close(user)
        syscalls.setns(net, syscalls.CLONE_NEWNET)
        os.close(net)
    except OSError as error:
        raise HostError(f"the cluster's client namespace cannot be entered: {error}") from error
    return True


def _main(argv: list[str]) -> int:
    try:
        if len(argv) < 4 or argv[0] != "--state" or argv[2] != "--":
            raise UsageError("expected: --state DIR -- COMMAND [ARGUMENT...]")
        enter_client_namespace(must_run(Path(argv[1])))
        os.execvp(argv[3], argv[3:])  # noqa: S606 - a shell would read the words again
    except FileNotFoundError:
        sys.stderr.write(f"{argv[3]}: no such command\n")
        return UsageError.exit_code
    except SegueError as error:
        sys.stderr.write(error.message + (f" ({error.remedy})" if error.remedy else "") + "\n")
        return error.exit_code


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
