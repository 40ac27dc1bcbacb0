"""Reads manifests: files, directories, standard input. What is in them is `model.manifest`'s."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path

from segue.model.errors import ManifestError, Place, SegueError
from segue.model.manifest import TEXT_MAX, Document, parse

SUFFIXES = {".yaml", ".yml", ".json"}


def read_manifests(names: Iterable[str]) -> tuple[Document, ...]:
    """All documents of files, directories (their .yaml, .yml and .json files by name) and "-" (standard input)."""
    found: list[Document] = []
    for name in names:
        if name == "-":
            found.extend(parse(sys.stdin.read(TEXT_MAX + 1), file="<stdin>"))
            continue
        for path in files_of(Path(name)):
            found.extend(parse(text_of(path), file=str(path)))
    if not found:
        raise ManifestError("there is no Kubernetes object in it", place=Place(file=", ".join(names)))
    return tuple(found)


def files_of(path: Path) -> list[Path]:
    """The file, or the manifests of the directory; ManifestError where it has none."""
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.suffix in SUFFIXES and file.is_file())
        if not files:
            raise ManifestError(
                "no manifest in this directory", place=Place(file=str(path)), remedy="name a file, or add a .yaml file"
            )
        return files
    return [path]


def text_of(path: Path, option: str = "-f") -> str:
    """A text file of the user's; ManifestError where it cannot be read. `option` is what named it."""
    try:
        with path.open("rb") as file:
            raw = file.read(4 * TEXT_MAX + 1)
        return raw.decode("utf-8-sig")
    except FileNotFoundError as error:
        raise ManifestError(
            "no such file", place=Place(file=str(path)), remedy=f"check the path after {option}"
        ) from error
    except OSError as error:
        raise ManifestError(f"cannot read it: {error.strerror}", place=Place(file=str(path))) from error
    except UnicodeDecodeError as error:
        raise ManifestError("not UTF-8 text", place=Place(file=str(path))) from error


def write_text(path: Path, text: str) -> None:
    """Put a text in the place of a file, whole or not at all; its rights stay."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        fresh.write_bytes(text.encode())
        fresh.chmod(path.stat().st_mode)
        fresh.replace(path)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise SegueError(f"{path} cannot be written: {error.strerror}") from error
