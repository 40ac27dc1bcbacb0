"""A pod's files on this machine: /etc/hosts and its like, volumes, logs; all below the cluster's state directory."""

from __future__ import annotations

import shutil
from pathlib import Path

from segue.cluster.node.environment import Lookup
from segue.model.objects import Obj, name_of, namespace_of, uid_of


class PodFiles:
    """The directory of each pod: `pods/UID/` with `etc/`, `volumes/NAME/` and `logs/CONTAINER/N.log`."""

    def __init__(self, state: Path, lookup: Lookup) -> None:
        self._pods = state / "pods"
        self._lookup = lookup

    def log(self, pod: Obj, container: str, attempt: int) -> Path:
        """Where a run of a container logs."""
        return self._pods / uid_of(pod) / "logs" / container / f"{attempt}.log"

    def binds(self, pod: Obj, container: Obj, ip: str) -> tuple[tuple[str, str], ...]:
        """(from, to) of what the container sees in place of the machine's own files."""
        etc = self._pods / uid_of(pod) / "etc"
        if not etc.exists():
            etc.mkdir(parents=True)
            for name, text in self._etc(pod, ip).items():
                (etc / name).write_text(text)
        return tuple((str(etc / name), f"/etc/{name}") for name in _ETC if Path("/etc", name).exists())

    def forget(self, pod_uid: str) -> None:
        """Remove the pod's directory."""
        shutil.rmtree(self._pods / pod_uid, ignore_errors=True)

    def _etc(self, pod: Obj, ip: str) -> dict[str, str]:
        spec = pod["spec"]
        name = str(spec.get("hostname") or name_of(pod))
        lines = ["# Kubernetes-managed hosts file.", "127.0.0.1\tlocalhost", "::1\tlocalhost", f"{ip}\t{name}"]
        lines += [f"{one['ip']}\t{' '.join(one.get('hostnames') or [])}" for one in spec.get("hostAliases") or []]
        return {
            "hosts": "\n".join(lines) + "\n",
            "hostname": f"{name}\n",
            "resolv.conf": _resolv_conf(pod),
        }


_ETC = ("hosts", "hostname", "resolv.conf")


def _resolv_conf(pod: Obj) -> str:
    config = pod["spec"].get("dnsConfig") or {}
    servers = config.get("nameservers") or []
    searches = [f"{namespace_of(pod)}.svc.cluster.local", "svc.cluster.local", "cluster.local"]
    searches += config.get("searches") or []
    options = {"ndots": "5"} | {one["name"]: str(one.get("value") or "") for one in config.get("options") or []}
    lines = [f"nameserver {server}" for server in servers]
    lines.append(f"search {' '.join(searches)}")
    lines.append("options " + " ".join(f"{name}:{value}" if value else name for name, value in options.items()))
    return "\n".join(lines) + "\n"
