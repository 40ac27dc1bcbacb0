"""Safe fixes until nothing is left to fix: judge, change, judge again.

Rule 1: a fix never invents what only the user knows; that stays a question.
Rule 2: two fixes of one number agree on the larger one: graces and patience are only ever raised.
Rule 3: it ends: each round must change something, and there is a last one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import cast

import yaml

from segue.check.findings import Finding, Path, Source
from segue.check.gathering import Gathered, sets_of
from segue.check.rulebook import judge
from segue.check.settings import Settings
from segue.check.splice import Put, Unspliceable, spliced
from segue.model.errors import ManifestError
from segue.model.marked import Node
from segue.model.objects import Obj

ROUNDS_MAX = 10


@dataclass(slots=True)
class Repaired:
    """Texts after their repair, what was repaired, and what is left."""

    texts: dict[str, str]
    fixed: list[Finding] = field(default_factory=list)
    left: list[Finding] = field(default_factory=list)
    hindered: dict[str, str] = field(default_factory=dict)  # rule and object -> why its fix could not be written
    errors: list[ManifestError] = field(default_factory=list)  # what could not be read


@dataclass(slots=True, kw_only=True)
class _Readings:
    """What the newest text of each file was read as: a large one is read once, not in every step."""

    namespace: str
    known: dict[str, tuple[str, Gathered]] = field(default_factory=dict)

    def of(self, file: str, text: str) -> Gathered:
        """The objects of a text."""
        if file not in self.known or self.known[file][0] != text:
            gathered = Gathered()
            gathered.add(text, file=file, namespace=self.namespace)
            self.known[file] = (text, gathered)
        return self.known[file][1]

    def nodes(self, file: str, text: str) -> list[Node]:
        """Their nodes."""
        return [cast("Node", one.node) for one in self.of(file, text).sources]


def repaired(texts: Mapping[str, str], settings: Settings) -> Repaired:
    """Repair everything that can be repaired without asking."""
    result = Repaired(texts=dict(texts))
    readings = _Readings(namespace=settings.namespace)
    result.errors = [error for file, text in texts.items() for error in readings.of(file, text).errors]
    for _ in range(ROUNDS_MAX):
        findings = _judged(result.texts, settings, readings)
        result.left = findings
        todo = [one for one in findings if one.is_repaired and _key(one) not in result.hindered]
        if not todo or not _round(result, todo, readings):
            break
    return result


def _judged(texts: Mapping[str, str], settings: Settings, readings: _Readings) -> list[Finding]:
    sets, _ = sets_of(source for file, text in texts.items() for source in readings.of(file, text).sources)
    return [finding for one in sets for finding in judge(one, settings).findings]


def _key(finding: Finding) -> str:
    return f"{finding.rule.id} {finding.source.file} {finding.source.title} {finding.shown_path}"


def _round(result: Repaired, todo: list[Finding], readings: _Readings) -> bool:
    """One round; whether it changed anything."""
    changed = False
    by_file: dict[str, list[Finding]] = {}
    for finding in todo:
        by_file.setdefault(_file_of(finding), []).append(finding)
    for file, findings in by_file.items():
        text = result.texts[file]
        together, all_of_them = _with(text, file, findings, readings)
        if together is not None and together != text:
            result.texts[file], changed = together, True
            result.fixed += all_of_them
            continue
        for finding in findings:  # one of them cannot be written: which?
            alone, _ = _with(result.texts[file], file, [finding], readings, hindered=result.hindered)
            if alone is not None and alone != result.texts[file]:
                result.texts[file], changed = alone, True
                result.fixed.append(finding)
                break  # the others are found anew, in the next round, with places that hold
    return changed


def _file_of(finding: Finding) -> str:
    changes = finding.fix.changes
    return changes[0].source.file if changes else finding.fix.objects[0][0].file


def _with(
    text: str, file: str, findings: list[Finding], readings: _Readings, *, hindered: dict[str, str] | None = None
) -> tuple[str | None, list[Finding]]:
    """The text with these fixes; None where one of them cannot be written."""
    ordinals = {_identity(one): at for at, one in enumerate(readings.of(file, text).sources)}
    values: dict[tuple[int, Path], Put] = {}
    objects: list[Obj] = []
    done: list[Finding] = []
    try:
        for finding in findings:
            for change in finding.fix.changes:
                put = Put(
                    ordinal=ordinals[_identity(change.source)],
                    path=change.path,
                    value=change.value,
                    remove=change.remove,
                )
                values[put.ordinal, put.path] = _larger(values.get((put.ordinal, put.path)), put)
            objects += [obj for _, obj in finding.fix.objects]
            done.append(finding)
        changed = spliced(text, list(values.values()), partial(readings.nodes, file)) if values else text
        return _appended(changed, file, objects), done
    except Unspliceable as error:
        if hindered is not None:
            hindered[_key(findings[0])] = str(error)
        return None, []


def _identity(source: Source) -> tuple[int, str, str]:
    return source.line, source.kind, source.name


def _larger(known: Put | None, put: Put) -> Put:
    if known is None or known.remove or put.remove:
        return put
    if isinstance(known.value, int) and isinstance(put.value, int):
        return max(known, put, key=lambda one: int(str(one.value)))
    return known


def _appended(text: str, file: str, objects: list[Obj]) -> str:
    if not objects:
        return text
    if file.endswith(".json") or text.lstrip().startswith(("{", "[")):
        raise Unspliceable("a JSON file holds one object: put the new one into a file of its own")
    newline = "\r\n" if "\r\n" in text[:5000] else "\n"
    whole = text if text.endswith("\n") else text + newline
    for obj in objects:
        said = yaml.safe_dump(obj, sort_keys=False, allow_unicode=True)
        whole += newline.join(["---", *said.splitlines()]) + newline
    return whole


def json_patch(before: object, after: object, path: str = "") -> list[Obj]:
    """RFC 6902 from one value to another: lists of the same length element by element, others whole."""
    if before == after and type(before) is type(after):
        return []
    if isinstance(before, dict) and isinstance(after, dict):
        gone = (key for key in before if key not in after)
        found: list[Obj] = [{"op": "remove", "path": f"{path}/{_pointer(key)}"} for key in gone]
        for key, value in after.items():
            here = f"{path}/{_pointer(key)}"
            if key in before:
                found += json_patch(before[key], value, here)
            else:
                found.append({"op": "add", "path": here, "value": value})
        return found
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        return [
            step
            for at, (one, other) in enumerate(zip(before, after, strict=True))
            for step in json_patch(one, other, f"{path}/{at}")
        ]
    return [{"op": "replace", "path": path, "value": after}]


def _pointer(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")


def patches(before: Mapping[str, str], after: Mapping[str, str]) -> list[Obj]:
    """What changed, as one JSON Patch per object; a new object is there as a whole."""
    found: list[Obj] = []
    for file, text in before.items():
        if after[file] == text:
            continue
        old, new = Gathered(), Gathered()
        old.add(text, file=file)
        new.add(after[file], file=file)
        for at, source in enumerate(new.sources):
            row: Obj = {"file": file, "kind": source.kind, "name": source.name, "namespace": source.namespace}
            if at >= len(old.sources):
                found.append({**row, "new": source.obj})
            elif steps := json_patch(old.sources[at].obj, source.obj):
                found.append({**row, "patch": steps})
    return found
