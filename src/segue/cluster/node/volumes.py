"""What stands in a pod's volumes: emptyDir, configMap, secret, downwardAPI and projected ones as files by path.

Pure: the files are values; somebody else puts them on a disk. Volumes of other kinds raise `ConfigError`.
"""

from __future__ import annotations

from dataclasses import dataclass

from segue.cluster.node.environment import ConfigError, Lookup, Place, data_of, field_of
from segue.model.objects import Obj, Ref, namespace_of

_DEFAULT_MODE = 0o644


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeFile:
    """One file of a volume, its path relative to the mount."""

    path: str
    data: bytes
    mode: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """Where a container sees a volume (or one path of it)."""

    volume: str
    path: str
    sub_path: str


def mounts_of(pod: Obj, container: Obj) -> tuple[Mount, ...]:
    """The container's mounts in the order in which they are to be made: outer paths first."""
    known = {one["name"] for one in pod["spec"].get("volumes") or []}
    mounts = []
    for one in container.get("volumeMounts") or []:
        if one["name"] not in known:
            raise ConfigError(f'volume "{one["name"]}" of the mount at {one["mountPath"]} does not exist')
        path = "/" + str(one["mountPath"]).strip("/")
        mounts.append(Mount(volume=one["name"], path=path, sub_path=str(one.get("subPath") or "")))
    return tuple(sorted(mounts, key=lambda mount: mount.path.count("/")))


def files_of(pod: Obj, volume: Obj, place: Place, lookup: Lookup) -> tuple[VolumeFile, ...]:
    """The files that the volume begins with; none for an emptyDir."""
    if "emptyDir" in volume:
        return ()
    if (projected := volume.get("projected")) is not None:
        mode = int(projected.get("defaultMode") or _DEFAULT_MODE)
        sources = projected.get("sources") or []
        return tuple(file for source in sources for file in _source(pod, {"mode": mode, **source}, place, lookup))
    for kind in ("configMap", "secret", "downwardAPI"):
        if (source := volume.get(kind)) is not None:
            mode = int(source.get("defaultMode") or _DEFAULT_MODE)
            return _source(pod, {"mode": mode, kind: source}, place, lookup)
    kinds = ", ".join(key for key in volume if key != "name")
    raise ConfigError(f'volume "{volume["name"]}": this node has no volumes of kind {kinds}')


def _source(pod: Obj, source: Obj, place: Place, lookup: Lookup) -> tuple[VolumeFile, ...]:
    mode = int(source["mode"])
    if (downward := source.get("downwardAPI")) is not None:
        return tuple(
            VolumeFile(
                path=_inside(str(item["path"])),
                data=field_of(pod, str((item.get("fieldRef") or {}).get("fieldPath")), place).encode(),
                mode=int(item.get("mode") or mode),
            )
            for item in downward.get("items") or []
        )
    for kind, resource, key in (("configMap", "configmaps", "name"), ("secret", "secrets", "secretName")):
        if (reference := source.get(kind)) is None:
            continue
        name = str(reference.get(key) or reference.get("name") or "")
        obj = lookup(Ref(resource=resource, namespace=namespace_of(pod), name=name))
        if obj is None:
            if reference.get("optional"):
                return ()
            raise ConfigError(f'MountVolume.SetUp failed: {kind.lower()} "{name}" not found')
        return _chosen(data_of(kind, obj), reference, mode, name)
    return ()  # a service account's token: this cluster has no use for one inside pods


def _chosen(data: dict[str, bytes], reference: Obj, mode: int, name: str) -> tuple[VolumeFile, ...]:
    items = reference.get("items")
    if not items:
        return tuple(VolumeFile(path=key, data=value, mode=mode) for key, value in sorted(data.items()))
    missing = [item["key"] for item in items if item["key"] not in data]
    if missing and not reference.get("optional"):
        raise ConfigError(f"MountVolume.SetUp failed: {name} has no key {missing[0]}")
    return tuple(
        VolumeFile(path=_inside(str(item["path"])), data=data[item["key"]], mode=int(item.get("mode") or mode))
        for item in items
        if item["key"] in data
    )


def _inside(path: str) -> str:
    if path.startswith("/") or ".." in path.split("/"):
        raise ConfigError(f"the path {path} leads out of its volume")
    return path
