"""Files for results are tried before, written whole, and never made of a device."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from segue.cli.files import check_writable, write_whole
from segue.model.errors import SegueError, UsageError


def test_a_file_that_can_be_written_is_not_made_yet(tmp_path: Path) -> None:
    check_writable(tmp_path / "new" / "receipt.json", "--receipt")

    assert list((tmp_path / "new").iterdir()) == []


def test_a_file_that_is_there_keeps_its_content(tmp_path: Path) -> None:
    (tmp_path / "receipt.json").write_text("before")
    check_writable(tmp_path / "receipt.json", "--receipt")

    assert (tmp_path / "receipt.json").read_text() == "before"


@pytest.mark.parametrize("name", ["/proc/nope/x", "FILE/x", "."])
def test_what_cannot_be_written_is_a_mistake_of_the_command_line(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("")
    path = tmp_path if name == "." else Path(name.replace("FILE", str(tmp_path / "file")))

    with pytest.raises(UsageError, match=r"--receipt .*: cannot be written: "):
        check_writable(path, "--receipt")


def test_a_document_replaces_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "receipt.json"
    path.write_text("before")
    write_whole(path, b'{"sent": 3}')

    assert json.loads(path.read_text()) == {"sent": 3}
    assert list(tmp_path.iterdir()) == [path]


def test_a_pipe_is_written_to_and_stays_a_pipe(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    write_whole(path, b'{"sent": 3}')
    said = os.read(reader, 1000)
    os.close(reader)

    assert json.loads(said) == {"sent": 3}
    assert stat.S_ISFIFO(path.stat().st_mode)


def test_a_full_device_is_told_and_left_as_it_is() -> None:
    with pytest.raises(SegueError, match="/dev/full cannot be written: No space left on device"):
        write_whole(Path("/dev/full"), b'{"sent": 3}')

    assert stat.S_ISCHR(Path("/dev/full").stat().st_mode)
