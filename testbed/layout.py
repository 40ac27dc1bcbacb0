"""Where a bed's files lie, and who has which address. Pure, but for the environment variables that move folders.

    client 10.10.0.2 --veth-- 10.10.0.1 node 10.244.0.1 (bridge) --veth per pod-- 10.244.0.x

The addresses are the embedded cluster's, so that a test need not know which of the two it was given. All of them are
inside namespaces of the bed: the host's own network never sees one.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from segue.host.state import state_dir
from segue.model.errors import UsageError

SOURCES = Path(__file__).resolve().parent  # of programs in Go, and of images

NODE_NAME = "real-node"
NODE_IP = "10.10.0.1"
CLIENT_IP = "10.10.0.2"
POD_CIDR = "10.244.0.0/16"
NODE_POD_CIDR = "10.244.0.0/24"
SERVICE_CIDR = "10.96.0.0/12"
API_CLUSTER_IP = "10.96.0.1"
DNS_IP = "10.96.0.10"
CLUSTER_DOMAIN = "cluster.local"
API_PORT = 6443
METRICS_PORT = 4443
ETCD_URL = "http://127.0.0.1:2379"  # loopback of a network namespace that only the bed's own programs share

CONTAINERD_SOCKET = "/run/containerd/containerd.sock"  # inside: /run is the bed's own
CLIENT_NETNS = "/run/netns/client"  # inside; the host sees it below /proc/PID/root
CNI_PLUGINS = "/usr/lib/cni"
HIDDEN_BY_THE_BED = (Path("/var"), Path("/run"))  # the node has its own of these


def cache_dir() -> Path:
    """Built programs: $SEGUE_TESTBED_CACHE, else below the XDG cache."""
    named = os.environ.get("SEGUE_TESTBED_CACHE")
    if named:
        return Path(named).resolve()
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base).resolve() / "segue-testbed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bed:
    """One bed's files."""

    state: Path

    @property
    def pki(self) -> Path:
        """Keys, certificates, kubeconfigs of the parts."""
        return self.state / "pki"

    @property
    def configs(self) -> Path:
        """What each program is told."""
        return self.state / "configs"

    @property
    def logs(self) -> Path:
        """One file per program, and `bed` for PID 1."""
        return self.state / "logs"

    @property
    def data(self) -> Path:
        """etcd's data, and what the node sees as /var."""
        return self.state / "data"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's, over the host's loopback."""
        return self.state / "kubeconfig"

    @property
    def inner_kubeconfig(self) -> Path:
        """The administrator's, over the node's address: for whoever is inside the client namespace."""
        return self.state / "kubeconfig.client"

    @property
    def viewer_kubeconfig(self) -> Path:
        """Of somebody who may look and do nothing else; authenticates by token."""
        return self.state / "kubeconfig.viewer"

    @property
    def cgroup(self) -> str:
        """The name of its control group: one per state folder, so that beds do not meet."""
        return "segue-testbed-" + hashlib.sha256(str(self.state).encode()).hexdigest()[:8]


def bed(state: Path | None = None) -> Bed:
    """The bed of a state folder ($SEGUE_TESTBED_STATE, else `real` beside the embedded clusters)."""
    named = os.environ.get("SEGUE_TESTBED_STATE")
    folder = (state or (Path(named) if named else state_dir("real"))).resolve()
    for hidden in HIDDEN_BY_THE_BED:
        for what in (folder, cache_dir()):
            if what.is_relative_to(hidden):
                raise UsageError(
                    f"{what} cannot be used: the node has a {hidden} of its own",
                    remedy="set SEGUE_TESTBED_STATE and SEGUE_TESTBED_CACHE to folders elsewhere",
                )
    return Bed(state=folder)
