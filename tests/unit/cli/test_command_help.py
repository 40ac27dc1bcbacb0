"""Help of every command: examples, options, readable width; and the page made from it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tools.make_commands import TARGET, help_of, page

from segue import __version__
from segue.cli.main import COMMANDS, Command, run

WORDS = pytest.mark.parametrize("command", COMMANDS, ids=lambda command: "-".join(command.words))


@WORDS
def test_a_command_shows_examples_that_begin_with_it(command: Command) -> None:
    words = " ".join(command.words)
    text = help_of(*command.words)
    examples = text.partition("Examples:\n")[2].partition("\n\n")[0].splitlines()

    assert examples, text
    assert any(f"segue {words}" in line for line in examples)
    assert all(line.startswith("  ") for line in examples)


@WORDS
def test_each_option_and_argument_says_what_it_is(command: Command) -> None:
    for line in help_of(*command.words).partition("Options:\n")[2].splitlines():
        assert re.match(r" {2,}\S", line), line
        assert re.match(r"  (-\S, )?--[a-z-]+(, --[a-z-]+)?( \S+)?  +\S|  +[^- ]", line), f"{line!r} says nothing"


@WORDS
def test_help_is_no_wider_than_a_page(command: Command) -> None:
    assert max(map(len, help_of(*command.words).splitlines())) <= 100


def test_the_list_names_every_command_once() -> None:
    text = help_of()

    for command in COMMANDS:
        assert len(re.findall(rf"^  {command.words[0]} ", text, re.MULTILINE)) == 1


def test_the_page_is_what_the_commands_say() -> None:
    assert TARGET.read_text() == page(), "python tools/make_commands.py"
    assert Path(__file__).parents[3] / "docs" / "reference" / "commands.md" == TARGET


def test_help_is_also_a_word(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["help", "scale"]) == 0
    assert "segue scale web 4" in capsys.readouterr().out


def test_help_for_a_command_that_does_not_exist_is_a_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["help", "nope"]) == 2
    assert 'unknown command "nope"' in capsys.readouterr().err


def test_no_word_at_all_shows_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 0
    assert "Releases:" in capsys.readouterr().out


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"segue {__version__}\n"
