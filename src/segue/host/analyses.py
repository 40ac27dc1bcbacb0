"""Reads what the command line says about checks and analyses: the files they name, Jobs' too.

Rule: all of it is read before anything is begun; a path in an analysis file is relative to that file.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from segue.analysis.file import read_analysis, read_job
from segue.analysis.values import Analysis, Hook
from segue.host.manifests import text_of


def analysis_of(path: str) -> Analysis:
    """The analysis that a file describes."""
    analysis = read_analysis(text_of(Path(path), "--analysis"), file=path)
    return replace(analysis, hooks=tuple(_complete(hook, Path(path).parent) for hook in analysis.hooks))


def hook_of(text: str) -> Hook:
    """A check from its short form: a command, a URL, `job:FILE`."""
    return _complete(Hook.of(text), Path())


def _complete(hook: Hook, beside: Path) -> Hook:
    if hook.kind != "job":
        return hook
    path = beside / hook.text
    return replace(hook, manifest=read_job(text_of(path, "job:"), file=str(path)))
