"""A pod's files on this machine: /etc/hosts and its like, volumes, logs; all below the cluster's state directory."""

from __future__ import annotations

import shutil
from pathlib import Path

from segue.cluster.node.account import MOUNT, Accounts, account_of, files_for, is_mounted
from segue.cluster.node.environment import Lookup, Place
from segue.cluster.node.volumes import VolumeFile, files_of, mounts_of
from segue.dns.resolver import ClusterDns, hostname_of, of_pod, written, written_hosts
from segue.model.objects import Obj, uid_of


class PodFiles:
    """The directory of each pod: `UID/` with `etc/`, `volumes/NAME/` and `logs/CONTAINER/N.log`."""

    def __init__(
        self, state: Path, lookup: Lookup, *, accounts: Accounts | None = None, dns: ClusterDns | None = None
    ) -> None:
        self._dns = dns or ClusterDns()
        self._pods = state
        self._lookup = lookup
        self._accounts = accounts

    def log(self, pod: Obj, container: str, attempt: int) -> Path:
        """Where a run of a container logs."""
        return self._pods / uid_of(pod) / "logs" / container / f"{attempt}.log"

    def staging(self, pod: Obj) -> str:
        """An empty directory that a container's mount namespace may use as it likes."""
        path = self._pods / uid_of(pod) / "staging"
        path.mkdir(parents=True, exist_ok=True)
        return str(path)

    def binds(self, pod: Obj, container: Obj, place: Place) -> tuple[tuple[str, str], ...]:
        """(from, to) of what the container sees in place of the machine's own files; ConfigError where it cannot."""
        etc = self._pods / uid_of(pod) / "etc"
        if not etc.exists():
            etc.mkdir(parents=True)
            for name, text in self._etc(pod, place.ip).items():
                (etc / name).write_text(text)
        found = [(str(etc / name), f"/etc/{name}") for name in _ETC if Path("/etc", name).exists()]
        volumes = {one["name"]: one for one in pod["spec"].get("volumes") or []}
        for mount in mounts_of(pod, container):
            source = self._volume(pod, volumes[mount.volume], place)
            if mount.sub_path:
                source = source / mount.sub_path
                if not source.exists():
                    source.mkdir(parents=True)
            found.append((str(source), mount.path))
        account = self._account(pod) if not is_mounted(container) else None
        return (*found, (str(account), MOUNT)) if account else tuple(found)

    def _account(self, pod: Obj) -> Path | None:
        """The directory with the token of the pod's account, None where it has none."""
        account = account_of(pod, self._lookup)
        if self._accounts is None or account is None:
            return None
        directory = self._pods / uid_of(pod) / "account"
        if not directory.exists():
            directory.mkdir(parents=True)
            _fill(directory, files_for(pod, account, self._accounts))
        return directory

    def _volume(self, pod: Obj, volume: Obj, place: Place) -> Path:
        """The volume's directory, filled when first asked for: later changes of its sources do not reach it."""
        directory = self._pods / uid_of(pod) / "volumes" / str(volume["name"])
        if directory.exists():
            return directory
        files = files_of(pod, volume, place, self._lookup)
        directory.mkdir(parents=True)
        if "emptyDir" in volume:
            directory.chmod(0o777)
        _fill(directory, files)
        return directory

    def forget(self, pod_uid: str) -> None:
        """Remove the pod's directory."""
        assert pod_uid
        shutil.rmtree(self._pods / pod_uid, ignore_errors=True)

    def _etc(self, pod: Obj, ip: str) -> dict[str, str]:
        resolver = of_pod({**pod, "status": {**(pod.get("status") or {}), "podIP": ip}}, self._dns)
        return {
            "hosts": "# Kubernetes-managed hosts file.\n" + written_hosts(resolver.hosts),
            "hostname": f"{hostname_of(pod)}\n",
            "resolv.conf": written(resolver),
        }


def _fill(directory: Path, files: tuple[VolumeFile, ...]) -> None:
    for file in files:
        path = directory / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.data)
        path.chmod(file.mode)


_ETC = ("hosts", "hostname", "resolv.conf")
