"""The options that say what is kept of a run: receipt, HTML report, pictures, JUnit file.

Rule: every file is tried before anything happens; after a release it would be too late to say so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from segue.cli.files import check_writable, write_whole
from segue.model.errors import UsageError
from segue.model.objects import Obj
from segue.proof.raw import Raw


@dataclass(frozen=True, slots=True, kw_only=True)
class Keeping:
    """As the command line says it."""

    receipt: Annotated[str, Parameter(metavar="FILE", help="write the receipt to this file, its record beside it")] = ""
    report: Annotated[str, Parameter(metavar="FILE", help="write an HTML report to this file")] = ""
    pictures: Annotated[str, Parameter(metavar="DIR", help="write the report's pictures as SVG files")] = ""
    junit: Annotated[str, Parameter(metavar="FILE", help="write the verdict as JUnit XML, for CI")] = ""

    def check(self) -> None:
        """UsageError where one of them cannot be written."""
        for name, value in (("--receipt", self.receipt), ("--report", self.report), ("--junit", self.junit)):
            if value:
                check_writable(Path(value), name)
        if self.pictures:
            check_writable(Path(self.pictures) / ".segue", "--pictures")

    def write(self, raws: Sequence[Raw], documents: Sequence[Obj]) -> list[str]:
        """Write what was asked for, besides the receipt; a line of result for each."""
        told: list[str] = []
        if self.junit:
            from segue.report.junit import junit, suite_of  # noqa: PLC0415 - most runs write none

            write_whole(Path(self.junit), junit([suite_of(document) for document in documents]).encode())
            told.append(f"junit:   {self.junit}")
        if not self.report and not self.pictures:
            return told
        from segue.report.page import page, story_of  # noqa: PLC0415 - as above

        for number, (raw, document) in enumerate(zip(raws, documents, strict=True)):
            story = story_of(raw, document)
            if self.report:
                path = numbered(Path(self.report), number)
                write_whole(path, page(story).encode())
                told.append(f"report:  {path}")
            if self.pictures:
                place = Path(self.pictures) / str(number + 1) if number else Path(self.pictures)
                told += [f"picture: {path}" for path in write_pictures(raw, document, place)]
        return told


USUAL = Keeping()
KeepingOptions = Annotated[Keeping, Parameter(name="*")]


def numbered(path: Path, number: int) -> Path:
    """The first is the one that was named; of several workloads the others have a number."""
    return path.with_name(f"{path.stem}-{number + 1}{path.suffix}") if number else path


def write_pictures(raw: Raw, document: Obj, place: Path) -> list[Path]:
    """The pictures of one receipt in a directory."""
    from segue.report.page import files, story_of  # noqa: PLC0415 - most runs draw none

    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{place}: no directory for pictures: {error.strerror}") from error
    written: list[Path] = []
    for name, text in files(story_of(raw, document)).items():
        write_whole(place / name, text.encode())
        written.append(place / name)
    return written
