"""A newcomer's first command, on a fresh clone, as an ordinary user: `make demo` in both modes, and without `nft`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from segue.host.network.nft import find_nft
from segue.model.errors import HostError
from tests.live.conftest import ROOT
from tests.live.demo_world import Demo, descendants, leftovers, networks

pytestmark = [pytest.mark.live, pytest.mark.full, pytest.mark.timeout(900)]

NOBODY = 65534
INSTALL_LIMIT_S = 600.0
DEMO_LIMIT_S = 120.0
FITS = "import sys, ssl, venv, ensurepip; sys.exit(sys.version_info < (3, 11))"
# What a machine may need to reach its package registry; everything else is not the newcomer's.
_PASSED_ON = (
    "PIP_",
    "SSL_",
    "REQUESTS_",
    "CURL_",
    "http_proxy",
    "https_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
)
_AS_NOBODY = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")


class Clone:
    """A fresh clone that belongs to an ordinary user with a home of its own."""

    def __init__(self, place: Path, python: str) -> None:
        self.place = place
        self.tree = place / "segue"
        self.python = python
        passed_on = {name: value for name, value in os.environ.items() if name.startswith(_PASSED_ON)}
        self.env = {"HOME": str(place), "PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", **passed_on}

    def make(self, target: str, before: tuple[str, ...] = ()) -> Demo:
        """`make TARGET` as the ordinary user; `before` are words of a command that runs another one."""
        return self.run(("make", target, f"PYTHON={self.python}"), before)

    def run(self, words: tuple[str, ...], before: tuple[str, ...] = ()) -> Demo:
        """A command as the ordinary user, in the clone."""
        return Demo((*before, *as_user(), *words), place=self.place, cwd=self.tree, env=self.env)

    def install(self) -> None:
        """What `make demo` does first, once."""
        done = self.make(".venv/.installed")
        assert done.end(INSTALL_LIMIT_S) == 0, done.said


def as_user() -> tuple[str, ...]:
    return _AS_NOBODY if os.geteuid() == 0 else ()


def interpreter() -> str:
    """A Python that the ordinary user may run and that makes virtual environments."""
    found = (os.environ.get("PYTHON"), shutil.which("python3", path="/usr/local/bin:/usr/bin"), sys.executable)
    for python in filter(None, found):
        tried = subprocess.run([*as_user(), python, "-I", "-c", FITS], capture_output=True, cwd="/", check=False)
        if tried.returncode == 0:
            return python
    pytest.skip("no Python >= 3.11 with venv that an ordinary user of this machine may run")


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clone]:
    """One clone for all tests here: what is installed once stays installed."""
    if os.geteuid() == 0 and shutil.which("setpriv") is None:
        pytest.skip("setpriv is missing (Debian: util-linux)")
    python = interpreter()
    # Not below pytest's own directory, which nobody else may enter.
    place = Path("/tmp") / f"segue-clone-{os.getpid()}"
    place.mkdir(mode=0o755)
    try:
        made = Clone(place, python)
        subprocess.run(["git", "clone", "-q", "--no-hardlinks", str(ROOT), str(made.tree)], check=True)
        (place / "tmp").mkdir()
        if os.geteuid() == 0:
            subprocess.run(["chown", "-R", f"{NOBODY}:{NOBODY}", str(place)], check=True)
        yield made
    finally:
        shutil.rmtree(place)


def watched(demo: Demo, limit_s: float) -> list[str]:
    """Wait for a demo's good end; what is left of it."""
    demo.hear("An embedded Kubernetes is up", limit_s)
    demo.hear("segue undo test", DEMO_LIMIT_S)
    family = descendants(demo.process.pid)
    spaces = networks(family)
    code = demo.end(DEMO_LIMIT_S)

    assert code == 0, demo.said
    assert "no request was lost: 0 of" in demo.said.partition("== 2.")[2]
    return leftovers(demo, family, spaces)


def test_one_command_installs_all_and_shows_the_cure(clone: Clone) -> None:
    """In namespaces where the machine has them, else in loopback mode: the reason is said."""
    demo = clone.make("demo")

    assert watched(demo, INSTALL_LIMIT_S) == []
    suffixes = sorted(path.suffix for path in (clone.tree / "reports").iterdir())
    assert suffixes == [".gz", ".gz", ".html", ".html", ".json", ".json"]
    assert "Kubernetes is up (namespaces: " in demo.said or "Kubernetes is up (loopback: " in demo.said


def test_loopback_mode_needs_no_more_than_an_ordinary_user_has(clone: Clone) -> None:
    clone.install()
    demo = clone.run((".venv/bin/segue", "demo", "--mode", "loopback"))

    assert watched(demo, 20) == []


def test_without_nft_the_demo_falls_back_and_says_so_in_one_line(clone: Clone) -> None:
    """In a mount namespace where nft cannot be run; as an ordinary user, who may not install it."""
    try:
        nft = find_nft()
    except HostError:
        nft = ""
    if nft and os.geteuid() != 0:
        pytest.skip("nft is installed, and only root can hide it from a process")
    clone.install()
    hide = f"mount --make-rprivate / && mount --bind /dev/null {nft} && exec " if nft else "exec "
    demo = clone.make("demo", ("unshare", "--mount", "sh", "-c", hide + '"$@"', "sh") if nft else ())
    left = watched(demo, 20)
    (line,) = [line for line in demo.said.splitlines() if "nft" in line]

    assert left == []
    assert "loopback" in line
    assert "apt-get install nftables" in line
