"""Where receipts lie: each a JSON file, its raw record beside it, compressed, with its digest in the receipt.

Rule 1: the record is written first, and both appear whole or not at all.
Rule 2: a receipt names its record by a bare file name, so that nobody's receipt leads out of its own directory.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import msgspec

from segue.host.state import state_dir
from segue.model.errors import SegueError, UsageError
from segue.model.objects import Obj
from segue.proof.raw import Raw, lines_of, read_lines
from segue.proof.receipt import FORMAT

SUFFIX = ".record.gz"
LEVEL = 6
RECEIPT_MAX = 64 << 20  # bytes of a receipt that is read: one of 2,000 errors has some 2 MB
LINE_MAX = 16 << 20  # bytes of one line: what unpacks to endless zeros must not fill the memory


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A receipt as it was found in a file."""

    path: Path
    document: Obj


def receipts_dir() -> Path:
    """Where receipts are kept that nobody named a file for."""
    return state_dir("receipts")


def keep(raws: list[Raw], path: Path) -> list[Obj]:
    """Write records and receipts; the receipts with their records' names and digests. A device gets no record."""
    documents = [raw.receipt() for raw in raws]
    plain = not path.exists() or path.is_file()
    try:
        if plain:
            path.parent.mkdir(parents=True, exist_ok=True)
            for number, raw in enumerate(raws):
                part = f"-{number + 1}" if len(raws) > 1 else ""
                documents[number]["record"] = _write_record(raw, path.with_name(f"{path.stem}{part}{SUFFIX}"))
        whole = documents[0] if len(documents) == 1 else {"receipts": documents}
        text = msgspec.json.format(msgspec.json.encode(whole), indent=2) + b"\n"
        if plain:
            with _whole(path) as file:
                file.write(text)
        else:
            path.write_bytes(text)
    except OSError as error:
        raise SegueError(f"the receipt cannot be written to {path}: {error.strerror}") from error
    return documents


def _write_record(raw: Raw, path: Path) -> Obj:
    with (
        _whole(path) as file,
        gzip.GzipFile(fileobj=file, mode="wb", filename="", mtime=0, compresslevel=LEVEL) as pack,
    ):
        happenings = -1 - len(raw.records)
        for line in lines_of(raw):
            pack.write(line)
            happenings += 1
    return {"file": path.name, "sha256": digest_of(path), "happenings": happenings, "requests": len(raw.records)}


@contextmanager
def _whole(path: Path) -> Iterator[BinaryIO]:
    """A file that takes the place of `path` once all of it is written."""
    fresh = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        with fresh.open("wb") as file:
            yield file
        fresh.replace(path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise


def digest_of(path: Path) -> str:
    """SHA-256 of a file, as `sha256sum` says it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_receipts(path: Path) -> list[Kept]:
    """The receipts of a file, several where a release moved several workloads; SegueError where it holds none."""
    try:
        if path.stat().st_size > RECEIPT_MAX:
            raise SegueError(f"{path}: too large for a receipt")
        found = msgspec.json.decode(path.read_bytes())
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}", remedy="segue receipt list shows those that are kept") from error
    except msgspec.DecodeError as error:
        raise SegueError(f"{path}: no receipt: {error}") from error
    documents = found.get("receipts") if isinstance(found, dict) and "receipts" in found else [found]
    if not isinstance(documents, list) or not documents:
        raise SegueError(f"{path}: no receipt: it holds none")
    for document in documents:
        if not isinstance(document, dict) or document.get("format") != FORMAT:
            raise SegueError(f"{path}: no receipt: its format is not {FORMAT}")
    return [Kept(path=path, document=document) for document in documents]


def kept_receipts() -> list[Path]:
    """The files in our own place, the newest first."""
    place = receipts_dir()
    return sorted(place.glob("*.json"), key=lambda path: (path.stat().st_mtime, path.name), reverse=True)


def has_record(kept: Kept) -> bool:
    """Whether it names a record."""
    return bool((kept.document.get("record") or {}).get("file"))


def record_of(kept: Kept) -> tuple[Raw, list[str]]:
    """The record beside a receipt, and what is wrong with its digest; SegueError where there is none to read."""
    told = kept.document.get("record") or {}
    name = told.get("file") if isinstance(told, dict) else None
    if not name:
        raise SegueError(f"{kept.path}: it names no raw record, so nothing of it can be recomputed")
    if not isinstance(name, str) or Path(name).name != name or name in {".", ".."}:
        raise SegueError(f"{kept.path}: its record must lie beside it, {name!r} leads elsewhere")
    path = kept.path.with_name(name)
    try:
        digest = digest_of(path)
        with gzip.open(path, "rb") as lines:
            raw = read_lines(iter(lambda: lines.readline(LINE_MAX), b""), str(path))
    except OSError as error:  # gzip's own errors are OSErrors, too
        said = error.strerror or str(error)
        raise SegueError(f"{path}: {said}", remedy="a receipt and its record belong into one directory") from error
    except (EOFError, zlib.error) as error:
        raise SegueError(f"{path}: it is cut off or damaged: {error}") from error
    if digest == told.get("sha256"):
        return raw, []
    return raw, [f"record.sha256: the receipt says {told.get('sha256')!r}, the file has {digest!r}"]
