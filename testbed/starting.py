"""`up`: from nothing to a node that is Ready and a DNS that answers. What an earlier bed left is removed first."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

import msgspec

from segue.host.state import Running, read_running
from segue.model.errors import HostError, SegueError
from testbed.api import Api
from testbed.building import build_all
from testbed.configs import Plan, commands, files
from testbed.dns import NAMESPACE, coredns_image, dns_objects
from testbed.ending import down
from testbed.image_recipes import bed_images
from testbed.layout import CONTAINERD_SOCKET, NODE_NAME, SOURCES, Bed
from testbed.metrics import metrics_objects
from testbed.node import Orders
from testbed.oci import write_archive
from testbed.pki import make_pki
from testbed.toolchain import Say, install_packages
from testbed.versions import Release

ROOT = SOURCES.parent
READY_LIMIT_S = 120.0
POLL_S = 0.1


class Started(msgspec.Struct, frozen=True, kw_only=True):
    """What a running bed is made of; kept beside its files while it is whole."""

    release: str
    kubernetes: str
    etcd: str
    coredns: str
    containerd: str
    proxy: str
    up_s: float
    ctr: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a person asked `up` for."""

    release: Release
    proxy: str = "nftables"


def up(bed: Bed, wish: Wish, say: Say) -> Running:
    """Start the bed, or leave the one be that runs as wished already."""
    if os.geteuid() != 0:
        raise HostError(
            "a real Kubernetes needs root: containers, control groups", remedy="run it as root, or with sudo"
        )
    running, started = read_running(bed.state), read_started(bed)
    is_as_wished = started is not None and (started.release, started.proxy) == (wish.release.name, wish.proxy)
    # A PID 1 that has just been killed is still seen for a moment: only an answer proves that it lives
    if running and started and is_as_wished and Api(bed, running.api).is_ready():
        say(f"Kubernetes {started.kubernetes} runs already")
        return running
    install_packages(say)
    programs = build_all(wish.release, say)
    began_s = time.monotonic()
    down(bed, say)
    plan = Plan(
        release=wish.release.kubernetes, proxy=wish.proxy, programs=programs, snapshotter=_snapshotter(bed.state)
    )
    try:
        running = _launch(bed, plan, wish, say)
        _make_usable(bed, running, wish, say)
    except BaseException:
        kept = _last_words(bed)
        down(bed, say)
        if kept:
            say(f"the last words of its programs:\n{kept}")
        raise
    told = wish.release
    started = Started(
        release=told.name,
        kubernetes=told.kubernetes,
        etcd=told.etcd,
        coredns=told.coredns,
        containerd=told.containerd,
        proxy=wish.proxy,
        up_s=round(time.monotonic() - began_s, 1),
        ctr=str(programs["containerd"] / "ctr"),
    )
    _started_file(bed).write_bytes(msgspec.json.encode(started))
    say(f"Kubernetes {told.kubernetes} is up after {started.up_s} s: export KUBECONFIG={bed.kubeconfig}")
    return running


def read_started(bed: Bed) -> Started | None:
    """What was brought up, None where nothing was, or not to its end."""
    try:
        return msgspec.json.decode(_started_file(bed).read_bytes(), type=Started)
    except (OSError, msgspec.DecodeError):
        return None


def _started_file(bed: Bed) -> Path:
    return bed.state / "started.json"


def _launch(bed: Bed, plan: Plan, wish: Wish, say: Say) -> Running:
    """Write all files, then start PID 1."""
    for folder in (bed.configs / "cni", bed.logs, bed.data):
        folder.mkdir(parents=True, exist_ok=True)
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    make_pki(bed, listener.getsockname()[1])
    for name, text in files(bed, plan).items():
        (bed.configs / name).write_text(text)
    archive = bed.data / "images.tar"
    write_archive(list(bed_images(plan.programs, coredns_image(wish.release.coredns))), archive)
    (bed.data / "etcd").mkdir(mode=0o700)
    orders = Orders(
        commands=commands(bed, plan),
        archives=[str(archive)],
        importer=import_command(plan.programs["containerd"] / "ctr", CONTAINERD_SOCKET),
        logs=str(bed.logs),
        path=f"{plan.programs['containerd']}:/usr/sbin:/usr/bin:/sbin:/bin",
    )
    (bed.state / "orders.json").write_bytes(msgspec.json.encode(orders))
    with (bed.logs / "bed.log").open("wb") as log:
        launcher = subprocess.run(
            [sys.executable, "-m", "testbed.launch", str(bed.state), str(listener.fileno())],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=[listener.fileno()],
            start_new_session=True,
            check=False,
        )
    listener.close()
    running = read_running(bed.state)
    if launcher.returncode != 0 or running is None:
        raise HostError("the bed's namespaces could not be made", remedy=f"see {bed.logs / 'bed.log'}")
    say(f"node started, pid {running.pid}; logs in {bed.logs}")
    return running


def import_command(ctr: Path, containerd_socket: str) -> list[str]:
    """How an archive is brought to where kubelet looks for images; the archive's path comes last."""
    return [str(ctr), "-a", containerd_socket, "-n", "k8s.io", "images", "import"]


def _make_usable(bed: Bed, running: Running, wish: Wish, say: Say) -> None:
    """Wait for the parts in their order, and give the cluster its DNS."""
    api = Api(bed, running.api)
    _wait(bed, api.is_ready, "the API server to be ready")
    say("API server ready")
    _wait(bed, lambda: api.has("/api/v1/namespaces/default/serviceaccounts/default"), "the controllers")
    for path, body in (*dns_objects(wish.release.coredns), *metrics_objects((bed.pki / "ca.crt").read_bytes())):
        code, answer = api.call("POST", path, body)
        if code not in {HTTPStatus.CREATED, HTTPStatus.CONFLICT}:
            raise SegueError(f"the API server refused {path}: {code} {answer.get('message', '')}")
    _wait(bed, lambda: api.condition(f"/api/v1/nodes/{NODE_NAME}", "Ready"), "the node to be Ready")
    say("node Ready")
    deployment = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/coredns"
    _wait(bed, lambda: api.condition(deployment, "Available"), "the cluster's DNS")
    say("DNS ready")


def _wait(bed: Bed, holds: Callable[[], bool], what: str) -> None:
    deadline_s = time.monotonic() + READY_LIMIT_S
    while not holds():
        if read_running(bed.state) is None:
            raise HostError(f"the bed ended while waiting for {what}", remedy="its last words follow, or precede, this")
        if time.monotonic() > deadline_s:
            raise HostError(f"waited {READY_LIMIT_S:.0f} s in vain for {what}", remedy=f"see {bed.logs}")
        time.sleep(POLL_S)


def _last_words(bed: Bed) -> str:
    words: list[str] = []
    for log in sorted(bed.logs.glob("*.log")) if bed.logs.is_dir() else []:
        tail = log.read_text(errors="replace").splitlines()[-3:]
        words += [f"{log.stem}: {line[:300]}" for line in tail]
    return "\n".join(words)


def _snapshotter(state: Path) -> str:
    """An overlay cannot lie on an overlay, which is what a container's own files are."""
    state.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(["stat", "-f", "-c", "%T", str(state)], capture_output=True, text=True, check=False)
    return "native" if done.stdout.strip() in {"overlayfs", "tmpfs"} else "overlayfs"
