"""Image archives that containerd imports: files in, one tar out, the same bytes for the same files.

A layout as the OCI image specification has it (`oci-layout`, `index.json`, `blobs/sha256/...`), with uncompressed
layers: the archive never leaves the machine. Knows nothing of what is in an image; see image_recipes.
"""

from __future__ import annotations

import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_LAYER = "application/vnd.oci.image.layer.v1.tar"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_INDEX = "application/vnd.oci.image.index.v1+json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One path of a layer: a file with its bytes, a link with its target, else a folder."""

    content: bytes | None = None
    link: str = ""
    mode: int = 0o755


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image: what it is called, what is in it, what it runs."""

    name: str  # with its tag: host.org/images/grace:v0.1
    files: Mapping[str, Entry]  # absolute path to entry
    entrypoint: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)


def file_entry(path: Path, mode: int | None = None) -> Entry:
    """A file of this machine as it is."""
    return Entry(content=path.read_bytes(), mode=path.stat().st_mode & 0o777 if mode is None else mode)


def write_archive(images: Sequence[Image], target: Path) -> None:
    """Write all of them into one archive; layers that are equal are stored once."""
    blobs: dict[str, bytes] = {}
    manifests = [_add_image(image, blobs) for image in images]
    index = {"schemaVersion": 2, "mediaType": _INDEX, "manifests": manifests}
    with tarfile.open(target, "w") as archive:
        _add(archive, "oci-layout", json.dumps({"imageLayoutVersion": "1.0.0"}).encode())
        _add(archive, "index.json", json.dumps(index).encode())
        for digest, content in sorted(blobs.items()):
            _add(archive, f"blobs/{digest.replace(':', '/')}", content)


def _add_image(image: Image, blobs: dict[str, bytes]) -> dict[str, object]:
    layer = _describe(_LAYER, layer_tar(image.files), blobs)
    config = {
        "architecture": architecture(),
        "os": "linux",
        "config": {
            "Entrypoint": list(image.entrypoint),
            "Env": [f"{name}={value}" for name, value in {"PATH": "/usr/bin:/bin", **image.env}.items()],
            "WorkingDir": "/",
        },
        "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": _MANIFEST,
        "config": _describe(_CONFIG, json.dumps(config).encode(), blobs),
        "layers": [layer],
    }
    annotations = {
        "io.containerd.image.name": image.name,
        "org.opencontainers.image.ref.name": image.name.rpartition(":")[2],
    }
    platform_of = {"architecture": architecture(), "os": "linux"}
    described = _describe(_MANIFEST, json.dumps(manifest).encode(), blobs)
    return {**described, "platform": platform_of, "annotations": annotations}


def _describe(kind: str, content: bytes, blobs: dict[str, bytes]) -> dict[str, object]:
    digest = "sha256:" + hashlib.sha256(content).hexdigest()
    blobs[digest] = content
    return {"mediaType": kind, "digest": digest, "size": len(content)}


def layer_tar(files: Mapping[str, Entry]) -> bytes:
    """The layer with these files; parent folders are added."""
    whole: dict[str, Entry] = {}
    for path, entry in files.items():
        for parent in reversed(Path(path).parents[:-1]):
            whole.setdefault(str(parent), Entry())
        whole[path] = entry
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as layer:
        for path in sorted(whole):
            entry = whole[path]
            told = tarfile.TarInfo(path.lstrip("/"))
            told.mode = entry.mode
            if entry.link:
                told.type, told.linkname = tarfile.SYMTYPE, entry.link
                layer.addfile(told)
            elif entry.content is None:
                told.type = tarfile.DIRTYPE
                layer.addfile(told)
            else:
                told.size = len(entry.content)
                layer.addfile(told, io.BytesIO(entry.content))
    return buffer.getvalue()


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    told = tarfile.TarInfo(name)
    told.size = len(content)
    archive.addfile(told, io.BytesIO(content))


def architecture() -> str:
    """This machine, in Go's and OCI's words."""
    return _ARCHITECTURES.get(platform.machine(), platform.machine())
