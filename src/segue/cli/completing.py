"""`segue completion`."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from cyclopts import Parameter

from segue.cli.output import say


class Shell(StrEnum):
    """A shell that can be taught."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def completion(shell: Annotated[Shell, Parameter(help="bash, zsh or fish")], /) -> int:
    """Print a script that makes a shell complete segue's commands and options. Changes nothing by itself.

    Examples
    --------
    source <(segue completion bash)                     # this shell only
    segue completion bash > ~/.local/share/bash-completion/completions/segue
    segue completion zsh  > ~/.zfunc/_segue             # with ~/.zfunc in $fpath
    segue completion fish > ~/.config/fish/completions/segue.fish
    """
    from segue.cli.main import make_app  # noqa: PLC0415 - main imports us by name, when it needs us

    say(make_app().generate_completion(prog_name="segue", shell=shell.value).rstrip())
    return 0
