"""`place`: a namespace of a test's own, on the cluster that SEGUE_CLUSTER names (embedded, or real: the test bed)."""

from __future__ import annotations

import fcntl
import itertools
import os
import signal
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from segue.cluster.node.heartbeat import STOPPED
from segue.host import embedded
from segue.host.settings import ClusterSettings
from segue.host.state import must_run
from testbed.image_recipes import AGENT, lay_out_agent
from testbed.layout import NODE_NAME, bed
from testbed.starting import read_started
from testbed.status import status
from tests.live.both import core_dns, example_images
from tests.live.both.manifests import PUPPET
from tests.live.both.world import HERE, Place, World, client_env, doors
from tests.live.console import BIN
from tests.waiting import wait_until

_numbers = itertools.count(1)
_VERSIONS = ("v1", "v2", "v3")
_IMAGE_MAP = f"""
images:
  - image: {PUPPET}:*
    command: ["{{python}}", "-I", "-S", "{HERE}/puppet/puppet.py"]
    env:
      VERSION: "{{tag}}"
  - image: {core_dns.IMAGE}
    command: ["{core_dns.BINARY}"]
"""


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The cluster: the running test bed with SEGUE_CLUSTER=real, else an embedded one of this process."""
    if os.environ.get("SEGUE_CLUSTER") == "real":
        yield from _real()
    else:
        yield from _embedded(tmp_path_factory.mktemp("cluster"))


def _embedded(home: Path) -> Iterator[World]:
    images = home / "images.yaml"
    images.write_text(_IMAGE_MAP)
    state = home / "default"
    settings = ClusterSettings(image_maps=(str(images), *example_images.IMAGE_MAPS))
    running = embedded.start(state, settings, with_me=True)
    try:
        with doors(state, state / "kubeconfig") as (door, port):
            made = World(
                label="embedded",
                state=state,
                kubeconfig=state / "kubeconfig",
                running=running,
                door=door,
                api_port=port,
                node=settings.node_name,
                stop_kubelet=lambda stop: made.annotate_node(STOPPED, "stopped" if stop else None),
                kill_kubelet=_impossible,
            )
            yield made
    finally:
        embedded.stop(state)


def _impossible() -> None:
    raise AssertionError("this cluster's node agent is no process of its own")


def _real() -> Iterator[World]:
    here = bed()
    running = must_run(here.state)

    def tell_kubelet(what: signal.Signals) -> None:
        found = status(here)
        assert found is not None
        kubelet = next(part for part in found.parts if part.name == "kubelet")
        os.kill(kubelet.pid, what)

    with doors(here.state, here.kubeconfig) as (door, port):
        made = World(
            label="real",
            state=here.state,
            kubeconfig=here.kubeconfig,
            running=running,
            door=door,
            api_port=port,
            node=NODE_NAME,
            stop_kubelet=lambda stop: tell_kubelet(signal.SIGSTOP if stop else signal.SIGCONT),
            kill_kubelet=lambda: tell_kubelet(signal.SIGKILL),
        )
        version = made.call("GET", "/version")[1]
        _import_puppets(here.state)
        example_images.bring(here.state)
        started = read_started(here)
        proxy = f"-{started.proxy}" if started is not None and started.proxy != "nftables" else ""
        yield replace(made, label=f"real-{version['major']}.{version['minor']}{proxy}")


def _import_puppets(state: Path) -> None:
    """Bring the images of tests to the node, once for all test processes, each text of theirs and each start."""
    with tempfile.TemporaryDirectory() as folder:
        entry = lay_out_agent(Path(folder))
        _import(state, "agent", Path(folder), entry, {AGENT: []})
    envs = {f"{PUPPET}:{tag}": ["--env", f"VERSION={tag}"] for tag in _VERSIONS}
    _import(state, "puppet", HERE / "puppet", "puppet.py", envs)


def _import(state: Path, what: str, folder: Path, entry: str, images: Mapping[str, Sequence[str]]) -> None:
    texts = b"".join(file.read_bytes() for file in sorted(folder.rglob("*.py")))
    stamp = state / "data" / f"{what}-{zlib.crc32(texts):x}"
    with (state / "puppet.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if stamp.exists():
            return
        for name, env in images.items():
            argv = [sys.executable, "-m", "testbed", "image", name, "--python", str(folder), "--entry", entry, *env]
            subprocess.run(argv, check=True, capture_output=True)
        stamp.touch()


@pytest.fixture
def place(world: World, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Place]:
    """A namespace of the test's own; it goes with the test."""
    request.node.user_properties.append(("cluster", world.label))
    for marker in request.node.iter_markers("only"):
        if not world.label.startswith(marker.args[0]):
            pytest.skip(f"only on {marker.args[0]}: {marker.args[1]}")
    # Processes that share a cluster must not share names
    name = f"t{os.getpid()}-{next(_numbers)}"
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(world.kubeconfig.read_text())
    made = Place(world=world, namespace=name, env=client_env(kubeconfig, world.state))
    subprocess.run(
        [BIN / "kubectl", "config", "set-context", "--current", "--namespace", name],
        env=made.env,
        check=True,
        capture_output=True,
    )
    code, told = world.call("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    assert code == 201, told
    # A real cluster takes pods only after it has made this
    wait_until(lambda: made.get("serviceaccounts", "default"), what="the namespace's service account")
    yield made
    made.leave()


@pytest.fixture
def measured(request: pytest.FixtureRequest) -> Callable[[str, float, str], None]:
    """Keep a figure of this test for the table in the docs: name, value, unit. It never fails a test."""

    def keep(name: str, value: float, unit: str) -> None:
        request.node.user_properties.append(("measured", f"{name} {value:.3g} {unit}"))

    return keep
