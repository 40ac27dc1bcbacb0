"""From Go modules to programs: each built once per version and source, kept in the cache, resumable.

The module file of a program is written here at build time; upstream's own module file tells which staging modules
there are. A build that was interrupted goes on where it was: Go keeps what it has compiled.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from segue.model.errors import HostError
from testbed.layout import SOURCES, cache_dir
from testbed.toolchain import Say, find_go
from testbed.versions import Release

REPORT_EVERY_S = 15.0
_ERROR_CHARS = 1500
_STAGING = re.compile(r"^\s*(k8s\.io/\S+) => \./staging/", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """One Go module of ours, and the programs that come out of it."""

    name: str
    module: str = ""  # the upstream module it is about, "" for the standard library alone
    version: str = ""
    packages: tuple[tuple[str, str], ...]  # (file that comes out, Go package: "." is our own source)
    source: str = ""  # folder with our own main.go, below testbed/
    staged: str = ""  # version of upstream's staging modules
    ldflags: str = ""
    tags: str = ""
    aliases: tuple[str, ...] = ()  # other names for the first file


KUBERNETES_PARTS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy")


def programs(release: Release) -> tuple[Program, ...]:
    """Everything that a bed of this release runs."""
    git_version = f"-X k8s.io/component-base/version.gitVersion={release.kubernetes}"
    containerd = "github.com/containerd/containerd/v2"
    return (
        Program(
            name="kube",
            module="k8s.io/kubernetes",
            version=release.kubernetes,
            packages=(("kube", "."),),
            source="programs/kube",
            staged=release.staging,
            ldflags=git_version,
            aliases=KUBERNETES_PARTS,
        ),
        Program(
            name="etcd",
            module="go.etcd.io/etcd/server/v3",
            version=release.etcd,
            packages=(("etcd", "go.etcd.io/etcd/server/v3"),),
        ),
        Program(
            name="containerd",
            module=containerd,
            version=release.containerd,
            packages=tuple((name, f"{containerd}/cmd/{name}") for name in _CONTAINERD_PARTS),
            ldflags=f"-X {containerd}/version.Version={release.containerd}",
            tags="no_btrfs no_devmapper no_zfs",
        ),
        Program(
            name="coredns",
            module="github.com/coredns/coredns",
            version=release.coredns,
            packages=(("coredns", "."),),
            source="programs/coredns",
        ),
        Program(
            name="metrics-server",
            module=_METRICS_SERVER,
            version=release.metrics_server,
            packages=(("metrics-server", f"{_METRICS_SERVER}/cmd/metrics-server"),),
        ),
        Program(name="pause", packages=(("pause", "."),), source="programs/pause"),
        Program(name="grace-static", packages=(("grace", "."),), source="images/grace"),
    )


# What tests run beside a cluster
HELM = Program(
    name="helm",
    module="helm.sh/helm/v3",
    version="v3.22.0",
    packages=(("helm", "helm.sh/helm/v3/cmd/helm"),),
    ldflags="-X helm.sh/helm/v3/internal/version.version=v3.22.0",
)
HELM_4 = Program(
    name="helm4",
    module="helm.sh/helm/v4",
    version="v4.3.1",
    packages=(("helm", "helm.sh/helm/v4/cmd/helm"),),
    ldflags="-X helm.sh/helm/v4/internal/version.version=v4.3.1",
)
_METRICS_SERVER = "sigs.k8s.io/metrics-server"
_CONTAINERD_PARTS = ("containerd", "containerd-shim-runc-v2", "ctr")


def build_all(release: Release, say: Say) -> dict[str, Path]:
    """Build what the cache lacks; program name to the folder with its files."""
    wanted = programs(release)
    missing = [program for program in wanted if not is_built(program)]
    if missing:
        say(f"building {', '.join(program.name for program in missing)} (once; kept in {cache_dir()})")
        go = find_go(say)
        for program in missing:
            _build(program, go, say)
    return {program.name: folder_of(program) for program in wanted}


def build_tool(program: Program, say: Say) -> Path:
    """A program that is no part of a bed, built where the cache lacks it; the folder with its files."""
    if not is_built(program):
        _build(program, find_go(say), say)
    return folder_of(program)


def is_built(program: Program) -> bool:
    """Whether the cache holds it, whole."""
    return folder_of(program).is_dir()  # moved there only when whole


def folder_of(program: Program) -> Path:
    """Where its files are, or will be: the name says version and source."""
    told = hashlib.sha256(repr(program).encode())
    for file in _own_files(program):
        told.update(file.name.encode() + b"\0" + file.read_bytes())
    return cache_dir() / "bin" / f"{program.name}-{program.version or 'ours'}-{told.hexdigest()[:12]}"


def _own_files(program: Program) -> list[Path]:
    return sorted((SOURCES / program.source).glob("*.go")) if program.source else []


def _build(program: Program, go: Path, say: Say) -> None:
    began_s = time.monotonic()
    target = folder_of(program)
    work = cache_dir() / "src" / target.name
    fresh = work / "out"
    shutil.rmtree(work, ignore_errors=True)
    fresh.mkdir(parents=True)
    for file in _own_files(program):
        shutil.copy(file, work)
    env = {**os.environ, "CGO_ENABLED": "0", "GOWORK": "off", "GOTOOLCHAIN": "local"}
    env["GOFLAGS"] = f"{os.environ.get('GOFLAGS', '')} -mod=mod -trimpath".strip()
    (work / "go.mod").write_text(_module_text(program, go))
    for name, package in program.packages:
        flags = ["-v", "-ldflags", f"-s -w {program.ldflags}", "-tags", program.tags, "-o", str(fresh / name)]
        _run_go([str(go), "build", *flags, package], work, env, Progress(what=name, say=say))
    for alias in program.aliases:
        (fresh / alias).symlink_to(program.packages[0][0])
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(target, ignore_errors=True)
    fresh.rename(target)
    shutil.rmtree(work, ignore_errors=True)
    say(f"{program.name} {program.version} built in {time.monotonic() - began_s:.0f} s")


def _module_text(program: Program, go: Path) -> str:
    lines = [f"module segue.testbed/{program.name}", "", "go 1.26.0", ""]
    if program.module:
        lines += [f"require {program.module} {program.version}", ""]
    if program.staged:
        staged = _staging_modules(program, go)
        lines += ["replace (", *(f"\t{name} => {name} {program.staged}" for name in staged), ")", ""]
    return "\n".join(lines)


def fetch(program: Program, go: Path) -> Path | None:
    """Fetch the upstream module that a program is about, and no other; its module file. HostError where it cannot."""
    if not program.module:
        return None
    command = [str(go), "mod", "download", "-json", f"{program.module}@{program.version}"]
    # outside any module, -mod means nothing
    plain = {**os.environ, "GOWORK": "off", "GOTOOLCHAIN": "local", "GOFLAGS": ""}
    done = subprocess.run(command, env=plain, cwd="/", capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise HostError(
            f"{program.module} {program.version} cannot be fetched: {(done.stdout + done.stderr).strip()[-300:]}",
            remedy="the Go module proxy must be reachable (GOPROXY)",
        )
    found: dict[str, str] = json.loads(done.stdout)
    return Path(found["GoMod"])


def _staging_modules(program: Program, go: Path) -> Sequence[str]:
    """Upstream develops these inside its own repository and says so in its module file."""
    told = fetch(program, go)
    names = _STAGING.findall(told.read_text()) if told else []
    assert names, f"no staging modules in {told}"
    return sorted(names)


@dataclass(slots=True, kw_only=True)
class Progress:
    """Says now and then how many packages a build has compiled."""

    what: str
    say: Say
    count: int = 0
    said_s: float = 0.0

    def note(self, line: str) -> None:
        """A line of `go build -v`."""
        self.count += 1
        now_s = time.monotonic()
        if now_s - self.said_s >= REPORT_EVERY_S:
            self.said_s = now_s
            self.say(f"  {self.what}: {self.count} packages compiled or fetched, now {line.strip()[-70:]}")


def _run_go(command: list[str], work: Path, env: dict[str, str], progress: Progress) -> None:
    progress.say(f"  {progress.what}: go build")
    told: list[str] = []
    with subprocess.Popen(
        command, cwd=work, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as going:
        assert going.stdout is not None
        try:
            for line in going.stdout:
                told.append(line)
                progress.note(line)
        except BaseException:
            going.terminate()  # Go keeps what it has compiled: the next build goes on from here
            raise
    if going.returncode != 0:
        raise HostError(
            f"building {progress.what} failed:\n{''.join(told)[-_ERROR_CHARS:]}",
            remedy="the same command goes on where it stopped; usual causes: a full disk, an unreachable GOPROXY",
        )
