"""`segue completion`."""

from __future__ import annotations

from enum import StrEnum

from segue.cli.output import say


class Shell(StrEnum):
    """A shell that can be taught."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def completion(shell: Shell, /) -> int:
    """Print a script that makes a shell complete segue's commands and options. Changes nothing by itself.

    Examples
    --------
    source <(segue completion bash)                                             # this shell only
    segue completion bash > ~/.local/share/bash-completion/completions/segue    # from now on
    segue completion zsh  > ~/.zfunc/_segue                                     # with ~/.zfunc in $fpath
    segue completion fish > ~/.config/fish/completions/segue.fish
    """
    from segue.cli.main import make_app  # noqa: PLC0415 - main imports us by name, when it needs us

    say(make_app().generate_completion(prog_name="segue", shell=shell.value).rstrip())
    return 0
