"""Puts a container's own files where it expects them, inside its private mount namespace.

A target that exists is bound over. For one that does not, its nearest existing directory becomes a mirror: a tmpfs
in which every entry of the directory is bound again, and in which the missing path can be made without touching the
machine's own files. Standard library and system calls only: it runs between fork and exec.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from segue.host import syscalls

_BIND = syscalls.MS_BIND | syscalls.MS_REC


def bind_all(binds: Iterable[tuple[str, str]], staging: str) -> None:
    """Bind each (from, to), outer targets first; `staging` is an empty directory for mirrors."""
    for source, target in binds:
        if not os.path.lexists(target):
            _mirror(_existing_parent(target), staging)
            _make_like(source, target)
        syscalls.mount(source, target, "", _BIND)


def _existing_parent(path: str) -> str:
    parent = os.path.dirname(path)  # noqa: PTH120 - pathlib costs a forked child 10 ms to import
    while not os.path.isdir(parent):  # noqa: PTH112 - likewise
        parent = os.path.dirname(parent)  # noqa: PTH120 - likewise
    return parent


def _mirror(directory: str, staging: str) -> None:
    syscalls.mount("tmpfs", staging, "tmpfs", syscalls.MS_NOSUID | syscalls.MS_NODEV, "mode=755")
    for entry in os.scandir(directory):
        copy = f"{staging}/{entry.name}"
        if entry.is_symlink():
            os.symlink(os.readlink(entry.path), copy)  # noqa: PTH115, PTH211 - likewise
            continue
        _make_like(entry.path, copy)
        syscalls.mount(entry.path, copy, "", _BIND)
    if directory == "/":
        _become_root(staging)
    else:
        syscalls.mount(staging, directory, "", _BIND)
        syscalls.umount(staging)


def _become_root(staging: str) -> None:
    """Make the mirror the root, so that whoever joins this namespace later finds it too."""
    old = f"{staging}/.old"
    os.mkdir(old)  # noqa: PTH102 - likewise
    syscalls.pivot_root(staging, old)
    os.chdir("/")
    syscalls.umount("/.old")
    os.rmdir("/.old")  # noqa: PTH106 - likewise


def _make_like(source: str, target: str) -> None:
    if os.path.isdir(source):  # noqa: PTH112 - likewise
        os.makedirs(target, exist_ok=True)  # noqa: PTH103 - likewise
        return
    os.makedirs(os.path.dirname(target), exist_ok=True)  # noqa: PTH103, PTH120 - likewise
    os.close(os.open(target, os.O_CREAT | os.O_CLOEXEC | os.O_WRONLY, 0o644))
