"""What each program of the bed is told: its command line and its configuration files. Pure text.

Whatever differs from upstream's defaults says why; all the timing rules are upstream's own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from testbed.layout import (
    API_PORT,
    CLUSTER_DOMAIN,
    CNI_PLUGINS,
    CONTAINERD_SOCKET,
    DNS_IP,
    ETCD_URL,
    METRICS_PORT,
    NODE_IP,
    NODE_NAME,
    NODE_POD_CIDR,
    POD_CIDR,
    SERVICE_CIDR,
    Bed,
)
from testbed.pki import FRONT_PROXY

PAUSE_IMAGE = "host.org/testbed/pause:v1"
VOLUME_PLUGINS = "/var/lib/kubelet/volumeplugins"  # the default lies in the host's /usr, and is made there


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All that decides what a bed runs."""

    release: str
    proxy: str  # nftables | iptables
    programs: Mapping[str, Path]  # program name to the folder with its files
    snapshotter: str = "overlayfs"  # native where the state folder lies on an overlay itself


def commands(bed: Bed, plan: Plan) -> dict[str, list[str]]:
    """The command line of each part, in the order in which they are started."""
    kube, pki, configs = plan.programs["kube"], bed.pki, bed.configs
    return {
        "etcd": [
            str(plan.programs["etcd"] / "etcd"),
            f"--data-dir={bed.data / 'etcd'}",
            f"--listen-client-urls={ETCD_URL}",
            f"--advertise-client-urls={ETCD_URL}",
            "--listen-peer-urls=http://127.0.0.1:2380",
            "--unsafe-no-fsync",  # a bed outlives no power loss, and others measure on the same disk
            "--log-level=warn",
        ],
        "containerd": [str(plan.programs["containerd"] / "containerd"), f"--config={configs / 'containerd.toml'}"],
        "kube-apiserver": [str(kube / "kube-apiserver"), *_apiserver_flags(pki)],
        "kube-controller-manager": [
            str(kube / "kube-controller-manager"),
            f"--kubeconfig={pki / 'controller-manager.kubeconfig'}",
            f"--service-account-private-key-file={pki / 'sa.key'}",
            f"--root-ca-file={pki / 'ca.crt'}",
            f"--cluster-signing-cert-file={pki / 'ca.crt'}",
            f"--cluster-signing-key-file={pki / 'ca.key'}",
            "--use-service-account-credentials=true",
            "--allocate-node-cidrs=true",
            f"--cluster-cidr={POD_CIDR}",
            "--leader-elect=false",  # there is one of it
            f"--flex-volume-plugin-dir={VOLUME_PLUGINS}",
        ],
        "kube-scheduler": [
            str(kube / "kube-scheduler"),
            f"--kubeconfig={pki / 'scheduler.kubeconfig'}",
            "--leader-elect=false",
        ],
        "kubelet": [
            str(kube / "kubelet"),
            f"--config={configs / 'kubelet.json'}",
            f"--kubeconfig={pki / 'kubelet.kubeconfig'}",
            f"--hostname-override={NODE_NAME}",
            f"--node-ip={NODE_IP}",
        ],
        "kube-proxy": [
            str(kube / "kube-proxy"),
            f"--config={configs / 'kube-proxy.json'}",
            f"--hostname-override={NODE_NAME}",
        ],
        "metrics-server": [
            str(plan.programs["metrics-server"] / "metrics-server"),
            *(f"{flag}={pki / 'metrics-server.kubeconfig'}" for flag in _KUBECONFIG_FLAGS),
            f"--secure-port={METRICS_PORT}",
            f"--tls-cert-file={pki / 'metrics-server-serving.crt'}",
            f"--tls-private-key-file={pki / 'metrics-server-serving.key'}",
            f"--kubelet-certificate-authority={pki / 'ca.crt'}",
            "--kubelet-preferred-address-types=InternalIP",
            "--metric-resolution=15s",  # of the manifest that most clusters use
        ],
    }


_KUBECONFIG_FLAGS = ("--kubeconfig", "--authentication-kubeconfig", "--authorization-kubeconfig")


def _apiserver_flags(pki: Path) -> list[str]:
    return [
        f"--etcd-servers={ETCD_URL}",
        f"--secure-port={API_PORT}",
        f"--advertise-address={NODE_IP}",
        f"--service-cluster-ip-range={SERVICE_CIDR}",
        f"--tls-cert-file={pki / 'apiserver.crt'}",
        f"--tls-private-key-file={pki / 'apiserver.key'}",
        f"--client-ca-file={pki / 'ca.crt'}",
        f"--token-auth-file={pki / 'tokens.csv'}",
        f"--kubelet-client-certificate={pki / 'apiserver-kubelet-client.crt'}",
        f"--kubelet-client-key={pki / 'apiserver-kubelet-client.key'}",
        f"--kubelet-certificate-authority={pki / 'ca.crt'}",
        "--kubelet-preferred-address-types=InternalIP",
        f"--proxy-client-cert-file={pki / 'front-proxy-client.crt'}",
        f"--proxy-client-key-file={pki / 'front-proxy-client.key'}",
        f"--requestheader-client-ca-file={pki / 'ca.crt'}",
        f"--requestheader-allowed-names={FRONT_PROXY}",
        "--requestheader-username-headers=X-Remote-User",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        f"--service-account-issuer=https://kubernetes.default.svc.{CLUSTER_DOMAIN}",
        f"--service-account-key-file={pki / 'sa.pub'}",
        f"--service-account-signing-key-file={pki / 'sa.key'}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
    ]


def files(bed: Bed, plan: Plan) -> dict[str, str]:
    """Configuration files below `bed.configs`: name to text."""
    return {
        "containerd.toml": containerd_toml(bed, plan),
        "kubelet.json": json.dumps(_kubelet(bed), indent=1),
        "kube-proxy.json": json.dumps(_proxy(bed, plan), indent=1),
        "cni/10-bridge.conflist": json.dumps(_cni(), indent=1),
        "resolv.conf": "# a pod with dnsPolicy Default, and CoreDNS itself, know nobody outside\n",
    }


def containerd_toml(bed: Bed, plan: Plan) -> str:
    """containerd with its CRI plugin, on files of the bed's own."""
    runtime = "io.containerd.cri.v1.runtime"
    return f"""version = 3
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.nri.v1.nri", "io.containerd.tracing.processor.v1.otlp"]

[grpc]
  address = "{CONTAINERD_SOCKET}"

[plugins."io.containerd.internal.v1.opt"]
  path = "/var/lib/containerd/opt"

[plugins."io.containerd.cri.v1.images"]
  snapshotter = "{plan.snapshotter}"
[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = "{PAUSE_IMAGE}"

[plugins."{runtime}"]
  # A pod may not ask for a score below the one that this whole bed runs with.
  restrict_oom_score_adj = true
[plugins."{runtime}".containerd]
  default_runtime_name = "runc"
[plugins."{runtime}".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
[plugins."{runtime}".containerd.runtimes.runc.options]
  SystemdCgroup = false
[plugins."{runtime}".cni]
  bin_dirs = ["{CNI_PLUGINS}"]
  conf_dir = "{bed.configs / "cni"}"
"""


def _kubelet(bed: Bed) -> dict[str, object]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(bed.pki / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(bed.pki / "kubelet-server.crt"),
        "tlsPrivateKeyFile": str(bed.pki / "kubelet-server.key"),
        "containerRuntimeEndpoint": f"unix://{CONTAINERD_SOCKET}",
        "volumePluginDir": VOLUME_PLUGINS,
        "clusterDNS": [DNS_IP],
        "clusterDomain": CLUSTER_DOMAIN,
        "resolvConf": str(bed.configs / "resolv.conf"),
        # The machine may still have version 1 of control groups, and its tree is not ours to manage.
        "failCgroupV1": False,
        "cgroupDriver": "cgroupfs",
        "cgroupsPerQOS": False,
        "enforceNodeAllocatable": [],
        "failSwapOn": False,
        # The host's disk is shared: it must never decide what a test sees.
        "evictionHard": {"memory.available": "1Mi", "nodefs.available": "0%", "imagefs.available": "0%"},
        "imageGCHighThresholdPercent": 100,
    }


def _proxy(bed: Bed, plan: Plan) -> dict[str, object]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": str(bed.pki / "kube-proxy.kubeconfig")},
        "mode": plan.proxy,
        "clusterCIDR": POD_CIDR,
        # The host's limits are not the bed's to raise, and a network namespace may not.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    }


def _cni() -> dict[str, object]:
    return {
        "cniVersion": "0.4.0",
        "name": "bed",
        "plugins": [
            {
                "type": "bridge",
                "bridge": "cni0",
                "isGateway": True,
                "ipMasq": False,  # pods talk to pods, Services, node and client: all of them know the way back
                "hairpinMode": True,
                "ipam": {
                    "type": "host-local",
                    "ranges": [[{"subnet": NODE_POD_CIDR}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": True}},
        ],
    }
