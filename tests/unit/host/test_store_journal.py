"""The journal on a file: what was acknowledged is there again, and versions never go back."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from segue.cluster.store import Store
from segue.host.journal import SqliteJournal
from segue.model.errors import HostError
from segue.model.objects import Obj, Ref


@contextlib.contextmanager
def opened(path: Path) -> Iterator[tuple[Store, SqliteJournal]]:
    journal = SqliteJournal(path)
    store = Store(journal)
    rows, version = journal.load()
    store.load(rows, version=version)
    yield store, journal
    journal.close()


def thing(name: str, **more: object) -> Obj:
    return {"metadata": {"name": name, "namespace": "default"}, **more}


def ref(name: str) -> Ref:
    return Ref(resource="configmaps", namespace="default", name=name)


def test_objects_and_their_version_outlive_the_process(tmp_path: Path) -> None:
    with opened(tmp_path / "store.db") as (store, _):
        store.put("configmaps", thing("a", data={"k": "ü"}))
        store.put("configmaps", thing("b"))
        version = store.version
    with opened(tmp_path / "store.db") as (store, _):
        found = store.get(ref("a"))

        assert found is not None and found["data"] == {"k": "ü"}
        assert store.version == version


def test_the_version_outlives_the_removal_of_the_newest_object(tmp_path: Path) -> None:
    with opened(tmp_path / "store.db") as (store, _):
        store.put("configmaps", thing("a"))
        store.remove(ref("a"))
        version = store.version
    with opened(tmp_path / "store.db") as (store, _):
        assert store.get(ref("a")) is None and store.version == version


def test_many_removals_leave_no_rows_and_still_the_version(tmp_path: Path) -> None:
    with opened(tmp_path / "store.db") as (store, journal):
        for number in range(2100):
            store.put("configmaps", thing(f"a{number}"))
            store.remove(ref(f"a{number}"))
        version = store.version

        assert journal.load() == ([], version)
    with opened(tmp_path / "store.db") as (store, _):
        assert store.version == version


def test_a_file_that_is_no_store_is_named_with_its_remedy(tmp_path: Path) -> None:
    (tmp_path / "store.db").write_bytes(b"not a database, but long enough to be looked at" * 40)

    with pytest.raises(HostError, match="cannot be opened") as raised:
        SqliteJournal(tmp_path / "store.db")
    assert "remove" in raised.value.remedy
