"""The commands of the test bed.

python -m testbed up [--version 1.37|1.34] [--proxy nftables|iptables]
python -m testbed down | status [--json] | kubeconfig [--raw] [--of admin|client|viewer] | build [--version V]
python -m testbed can [--version V]
python -m testbed image NAME:TAG (--program FILE | --python FOLDER --entry FILE [--with PACKAGE ...]) [--env ...]
python -m testbed enter client|node -- COMMAND [ARGUMENT...]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec

from segue.host import syscalls
from segue.host.state import Running, read_running
from segue.model.errors import ClusterUnreachable, SegueError, UsageError
from testbed.building import build_all
from testbed.ending import down
from testbed.image_recipes import PythonApp, python_image, static_image
from testbed.layout import CONTAINERD_SOCKET, Bed, bed
from testbed.oci import write_archive
from testbed.preflight import must_be_able
from testbed.starting import Wish, import_command, read_started, up
from testbed.status import Status, status
from testbed.toolchain import install_packages
from testbed.versions import DEFAULT, RELEASES, release

_WITH = "an installed pure Python package that the application imports (gunicorn, segue.app)"


def main(argv: list[str]) -> int:
    """Run one command; its exit code."""
    options = _parser().parse_args(argv)
    try:
        return _run(options, bed())
    except SegueError as error:
        sys.stderr.write(error.message + (f" ({error.remedy})" if error.remedy else "") + "\n")
        return error.exit_code
    except KeyboardInterrupt:
        return 130


def _run(options: argparse.Namespace, here: Bed) -> int:
    match options.command:
        case "up":
            up(here, Wish(release=release(options.version), proxy=options.proxy), say)
        case "down":
            began_s = time.monotonic()
            if down(here, say):
                say(f"took {time.monotonic() - began_s:.1f} s")
            else:
                say("no bed was up")
        case "status":
            return _show_status(here, as_json=options.json)
        case "can":
            must_be_able(release(options.version), say)
        case "build":
            install_packages(say)
            build_all(release(options.version), say)
        case "kubeconfig":
            _must_run(here)
            files = {"admin": here.kubeconfig, "client": here.inner_kubeconfig, "viewer": here.viewer_kubeconfig}
            path = files[options.of]
            show(path.read_text().rstrip() if options.raw else str(path))
        case "image":
            _import(options, here)
        case "enter":
            _enter(options.where, options.argv, _must_run(here))
        case _:
            raise AssertionError(f"the parser let {options.command!r} through")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m testbed", description="A real single-node Kubernetes for tests.")
    commands = parser.add_subparsers(dest="command", required=True)
    starts = commands.add_parser("up", help="build what is missing, start it, wait until it is usable")
    starts.add_argument("--proxy", choices=("nftables", "iptables"), default="nftables")
    builds = commands.add_parser("build", help="only build what the cache lacks")
    can = commands.add_parser("can", help="whether this machine can hold one; the reason on stderr where not")
    for each in (starts, builds, can):
        each.add_argument("--version", choices=tuple(RELEASES), default=DEFAULT)
    commands.add_parser("down", help="end it and remove all it left, also after a crash")
    shows = commands.add_parser("status", help="versions, processes, memory")
    shows.add_argument("--json", action="store_true")
    config = commands.add_parser("kubeconfig", help="path of a kubeconfig")
    config.add_argument("--raw", action="store_true", help="its content")
    config.add_argument("--of", choices=("admin", "client", "viewer"), default="admin")
    image = commands.add_parser("image", help="turn a program or a Python folder into an image on the node")
    image.add_argument("name", help="host.org/images/mine:v1")
    what = image.add_mutually_exclusive_group(required=True)
    what.add_argument("--program", type=Path, help="a static program")
    what.add_argument("--python", type=Path, help="a folder with a Python application")
    image.add_argument("--entry", default="main.py", help="which file of the folder is run")
    image.add_argument("--with", action="append", default=[], metavar="PACKAGE", dest="packages", help=_WITH)
    image.add_argument("--env", action="append", default=[], metavar="NAME=VALUE")
    enters = commands.add_parser("enter", help="run a command in the client's network, or on the node")
    enters.add_argument("where", choices=("client", "node"))
    enters.add_argument("argv", nargs="+", metavar="COMMAND")
    return parser


def _show_status(here: Bed, *, as_json: bool) -> int:
    found = status(here)
    if as_json:
        show(msgspec.json.encode(found).decode())
    elif found is None:
        show("no bed is up")
    else:
        _print_status(found)
    return 0 if found else 1


def _print_status(found: Status) -> None:
    started = found.started
    if started:
        show(f"Kubernetes {started.kubernetes}, kube-proxy {started.proxy}, up after {started.up_s} s")
        show(f"etcd {started.etcd}, containerd {started.containerd}, CoreDNS {started.coredns}")
    else:
        show("coming up")
    show(f"API {found.api}")
    show(f"client network {found.client_netns}")
    for part in found.parts:
        show(f"  {part.name:<26}{part.pid:>8}{part.rss_mib:>8.0f} MiB")
    show(f"{found.pods} pods, {found.whole_mib:.0f} MiB in all")


def _import(options: argparse.Namespace, here: Bed) -> None:
    running, started = _must_run(here), read_started(here)
    if ":" not in options.name:
        raise UsageError(f"{options.name!r} has no tag", remedy="write NAME:TAG")
    if started is None:
        raise ClusterUnreachable("the bed is still coming up", remedy="try again when up has returned")
    pairs = [pair.partition("=") for pair in options.env]
    env = {name: value for name, _, value in pairs}
    if options.program:
        image = static_image(options.name, options.program, env)
    else:
        folder, packages = options.python.resolve(), tuple(options.packages)
        image = python_image(options.name, PythonApp(folder=folder, entry=options.entry, env=env, packages=packages))
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "image.tar"
        write_archive([image], archive)
        command = import_command(Path(started.ctr), f"/proc/{running.pid}/root{CONTAINERD_SOCKET}")
        done = subprocess.run([*command, str(archive)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SegueError(f"containerd refused the image: {done.stderr.strip()}")
    say(f"{options.name} is on the node")


def _enter(where: str, argv: list[str], running: Running) -> None:
    """Become the command, inside. By setns: `ip netns exec` would hide the control groups."""
    process = f"/proc/{running.pid}"
    doors = {
        "client": ["root/run/netns/client"],
        "node": ["ns/cgroup", "ns/ipc", "ns/uts", "ns/net", "ns/pid", "ns/mnt"],
    }
    files = [os.open(f"{process}/{door}", os.O_RDONLY | os.O_CLOEXEC) for door in doors[where]]
    for file in files:
        syscalls.setns(file)
    if where == "node":  # a pid namespace takes in children only
        if child := os.fork():
            raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) & 0xFF)
        os.chdir("/")
    try:
        os.execvp(argv[0], argv)  # noqa: S606 - a shell would read the words again
    except FileNotFoundError as error:
        raise UsageError(f"{argv[0]}: no such command") from error


def _must_run(here: Bed) -> Running:
    running = read_running(here.state)
    if running is None:
        raise ClusterUnreachable("no bed is up", remedy="start one with: python -m testbed up")
    return running


def show(text: str) -> None:
    """A line of the answer."""
    sys.stdout.write(text + "\n")


def say(text: str) -> None:
    """A line of progress."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
