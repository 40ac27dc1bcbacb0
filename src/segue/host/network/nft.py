"""Run the system's `nft`: one text, one transaction.

It must never guess what went wrong: nft's own message is passed on. Imports little, because `isolation` uses it too.
"""

from __future__ import annotations

import os
import shutil

from segue.model.errors import HostError

_SEARCHED = ("/usr/sbin", "/sbin", "/usr/local/sbin")  # not on an ordinary user's PATH in Debian


def find_nft() -> str:
    """The path of nft; HostError naming the package where there is none."""
    found = shutil.which("nft", path=os.pathsep.join((os.environ.get("PATH", os.defpath), *_SEARCHED)))
    if found is None:
        raise HostError("nft is not installed", remedy="install it: apt-get install nftables")
    return found


def run_nft(text: str) -> None:
    """Apply `text` in one transaction (all or nothing); HostError with nft's first line where it is refused."""
    path = find_nft()
    given, said = os.memfd_create("nft-in"), os.memfd_create("nft-out")
    try:
        os.write(given, text.encode()) if text else None
        os.lseek(given, 0, os.SEEK_SET)
        moves = [(os.POSIX_SPAWN_DUP2, given, 0), (os.POSIX_SPAWN_DUP2, said, 1), (os.POSIX_SPAWN_DUP2, said, 2)]
        pid = os.posix_spawn(path, [path, "-f", "-"], {"LC_ALL": "C"}, file_actions=moves)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if code != 0:
            message = os.pread(said, 4000, 0).decode(errors="replace").strip()
            raise HostError(f"nft refused the rules: {message.splitlines()[0] if message else f'exit code {code}'}")
    finally:
        os.close(given)
        os.close(said)
