"""Scripts that shells read: they parse, and know every command and option."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from segue.cli.main import COMMANDS, run


def script_for(shell: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert run(["completion", shell]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_knows_every_command(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    script = script_for(shell, capsys)

    for command in COMMANDS:
        assert command.words[-1] in script
    assert "drain-cap" in script


@pytest.mark.parametrize("shell", [name for name in ("bash", "zsh", "fish") if shutil.which(name)])
def test_a_script_parses_in_its_shell(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    done = subprocess.run([shell, "-n"], input=script_for(shell, capsys), text=True, capture_output=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("words", "offers"),
    [
        (["segue", "rel"], "release"),
        (["segue", "cluster", "st"], "status"),
        (["segue", "up", "--image-"], "--image-map"),
        (["segue", "release", "--rec"], "--receipt"),
    ],
)
def test_bash_completes_what_was_begun(words: list[str], offers: str, capsys: pytest.CaptureFixture[str]) -> None:
    typed = " ".join(words)
    program = script_for("bash", capsys) + (
        f"\nCOMP_WORDS=({typed}); COMP_CWORD={len(words) - 1}; COMP_LINE='{typed}'; COMP_POINT={len(typed)}\n"
        'COMPREPLY=(); _segue segue; echo "${COMPREPLY[@]}"\n'
    )
    done = subprocess.run(["bash", "-c", program], text=True, capture_output=True, check=False)

    assert offers in done.stdout.split(), done.stderr
