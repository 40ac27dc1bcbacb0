"""The store's journal in SQLite: every write is in the file before it is acknowledged, so a killed process loses none.

Write-ahead log with synchronous=NORMAL: a write is handed to the kernel at once and synced to disk at checkpoints only
(power loss is out of scope). One process has it open, on one thread.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

import msgspec

from segue.model.errors import HostError
from segue.model.objects import Obj

_SCHEMA = """
CREATE TABLE IF NOT EXISTS objects (
    resource TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL, version INTEGER NOT NULL, body BLOB,
    PRIMARY KEY (resource, namespace, name)
) WITHOUT ROWID
"""
_PUT = "INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?, ?)"
_SWEEP_EVERY = 2000  # removals between two sweeps of what they left


class SqliteJournal:
    """`ports.Journal` on a file. A removed object leaves an empty row, so the newest version outlives it."""

    def __init__(self, path: Path) -> None:
        try:
            self._base = sqlite3.connect(path, isolation_level=None)
            self._base.execute("PRAGMA journal_mode=WAL")
            self._base.execute("PRAGMA synchronous=NORMAL")
            self._base.execute("PRAGMA wal_autocheckpoint=4000")
            self._base.execute(_SCHEMA)
        except sqlite3.Error as error:
            remedy = f"remove {path} to start with an empty cluster"
            raise HostError(f"the cluster's store cannot be opened: {error}", remedy=remedy) from error
        self._encode = msgspec.json.Encoder().encode
        self._removals = 0

    def load(self) -> tuple[list[tuple[str, Obj]], int]:
        """(resource, object) rows and the version of the newest write."""
        version: int = self._base.execute("SELECT COALESCE(MAX(version), 1) FROM objects").fetchone()[0]
        decode = msgspec.json.Decoder(Obj).decode
        rows = self._base.execute("SELECT resource, body FROM objects WHERE body IS NOT NULL")
        try:
            found = [(str(resource), decode(body)) for resource, body in rows]
        except msgspec.DecodeError as error:
            raise HostError("the cluster's store is damaged", remedy="start with an empty one") from error
        return found, version

    def put(self, *, resource: str, namespace: str, name: str, version: int, obj: Obj | None) -> None:
        """Keep one object's new state; None says that it is gone."""
        body = None if obj is None else self._encode(obj)
        self._base.execute(_PUT, (resource, namespace, name, version, body))
        if obj is None:
            self._removals += 1
            if self._removals >= _SWEEP_EVERY:
                self._sweep()

    def close(self) -> None:
        """Close the file; everything is in it already."""
        self._base.close()

    def _sweep(self) -> None:
        """Drop the rows of removed objects, except the one that carries the newest version."""
        self._removals = 0
        self._base.execute("DELETE FROM objects WHERE body IS NULL AND version < (SELECT MAX(version) FROM objects)")
