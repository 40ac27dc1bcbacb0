"""Reads what `segue check` and `segue fix` are given: files, whole directories, standard input, a configuration.

Rule 1: a file that cannot be read is said and left out; the others are checked.
Rule 2: a directory of a chart is no set of manifests: its templates are said once, not one by one.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from segue.check.gathering import Gathered
from segue.check.rulebook import IDS
from segue.check.settings import Settings, problems_of, settings_of
from segue.host.manifests import SUFFIXES, text_of
from segue.model.errors import ManifestError, Place
from segue.model.manifest import parse_mapping
from segue.model.marked import TEXT_MAX
from segue.model.objects import Obj

BYTES_MAX = 2 * TEXT_MAX  # most text has one byte per character
CONFIG = ".segue.yaml"
STDIN = "<stdin>"
_SKIPPED = frozenset({".git", "node_modules", ".venv", "__pycache__"})


def read_texts(names: Sequence[str], gathered: Gathered) -> Iterator[tuple[str, str]]:
    """File name and text of all that is named, directories with all below them; what cannot be read goes to errors."""
    for name in names:
        if name in {"-", "/dev/stdin"}:
            if (text := _decoded(sys.stdin.buffer.read(BYTES_MAX + 1), STDIN, gathered)) is not None:
                yield STDIN, text
            continue
        for path in _files(Path(name), gathered):
            if (text := _text(path, gathered)) is not None:
                yield str(path), text


def _files(path: Path, gathered: Gathered) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    found = False
    for folder, folders, files in os.walk(path):
        here = Path(folder)
        if "Chart.yaml" in files and (here / "templates").is_dir():
            found = True
            folders.clear()
            gathered.errors.append(
                ManifestError(
                    "a Helm chart: its templates are no manifests yet",
                    place=Place(file=folder),
                    remedy=f"helm template {folder} | segue check -",
                )
            )
            continue
        folders[:] = sorted(one for one in folders if one not in _SKIPPED)
        for file in sorted(files):
            if Path(file).suffix in SUFFIXES and file not in {CONFIG, "kustomization.yaml", "kustomization.yml"}:
                found = True
                yield here / file
    if not found:
        gathered.errors.append(
            ManifestError("no manifest in this directory", place=Place(file=str(path)), remedy="name a .yaml file")
        )


def _text(path: Path, gathered: Gathered) -> str | None:
    place = Place(file=str(path))
    try:
        if path.stat().st_size > BYTES_MAX:
            said = f"the file has {path.stat().st_size / 1e6:.0f} MB; {BYTES_MAX / 1e6:.0f} MB are allowed"
            gathered.errors.append(ManifestError(said, place=place, remedy="split it into several files"))
            return None
        return _decoded(path.read_bytes(), str(path), gathered)
    except FileNotFoundError:
        gathered.errors.append(ManifestError("no such file", place=place, remedy="check the path"))
    except OSError as error:
        gathered.errors.append(ManifestError(f"cannot read it: {error.strerror}", place=place))
    return None


def _decoded(raw: bytes, file: str, gathered: Gathered) -> str | None:
    encoding = "utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8"
    try:
        return raw.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        gathered.errors.append(
            ManifestError("not UTF-8 text", place=Place(file=file, line=line), remedy="save the file as UTF-8")
        )
        return None


def read_settings(config: str, namespace: str, measured: str = "") -> tuple[Settings, Obj]:
    """The configuration file, named or .segue.yaml of this directory: settings, and its words for options.

    What was measured comes first; what somebody has said in the configuration counts more.
    """
    found = _read_check(measured, "--measured", whole=False) if measured else {}
    path = Path(config or CONFIG)
    if config or path.is_file():
        found = {**found, **_read_check(str(path), "--config", whole=True)}
    elif not measured:
        return Settings(namespace=namespace), {}
    return settings_of(found, namespace=namespace), found


def _read_check(name: str, option: str, *, whole: bool) -> Obj:
    """The settings below `check` in a file; where it is `whole` there is nothing else in it."""
    document = parse_mapping(text_of(Path(name), option), file=name)
    said = document.obj.get("check", {} if whole else None)
    if not isinstance(said, dict) or (whole and set(document.obj) - {"check"}):
        what = "the file has one key, check, with the settings below it"
        raise ManifestError(
            what if whole else "there is no check with numbers below it: segue measure did not print this",
            place=Place(file=name, line=1),
            remedy="for example: check: {propagationSeconds: 5}" if whole else "segue measure -o json > FILE",
        )
    for key, remedy in problems_of(said, IDS):
        raise ManifestError(f"the setting {key} is off", place=document.place(f"check.{key}"), remedy=remedy)
    return said


def write_text(path: Path, text: str) -> None:
    """A file of the user's, changed in place: its mode, links and byte order mark stay."""
    mark = b"\xef\xbb\xbf" if path.read_bytes()[:3] == b"\xef\xbb\xbf" else b""
    try:
        path.write_bytes(mark + text.encode())
    except OSError as error:
        raise ManifestError(f"cannot be written: {error.strerror}", place=Place(file=str(path))) from error
