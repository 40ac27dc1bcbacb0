"""Generate docs/reference/commands.md from the commands themselves: what `--help` prints, command by command.

A test holds the page equal to what this makes. Usage: python tools/make_commands.py
"""

from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console

from segue.cli.main import COMMANDS, make_app
from segue.cli.output import WIDTH_MAX

TARGET = Path(__file__).parent.parent / "docs" / "reference" / "commands.md"
HEAD = """# Commands

<!-- made by tools/make_commands.py from the commands themselves -->

Results go to stdout, progress and errors to stderr. Colours show on terminals only, and not where `NO_COLOR` is set.
[Exit codes](exit-codes.md) are the same everywhere.
`segue help COMMAND` is `segue COMMAND --help`.

`-o json` and `-o yaml` print the result for machines. Field names are stable:

| command | fields |
|---|---|
| `plan` | see [plan](plan.md) |
| `release`, `undo`, `scale`, `abort`, `drill` | see [receipt](receipt.md); a release that stopped prints its receipt, too |
| `load` | see [load](load.md) |
| `receipt show` | the receipt |
| `receipt list` | a list: `name`, `when`, `end`, `pods`, `lost`, `said`, `file` |
| `receipt verify` | `title`, `record`, `requests`, `happenings`, `actions`, `pods`, `differences`; of several workloads a list |
| `status` | a list, or with a name one: `deployment`, `replicas`, `ready`, `version`, `release`, `drivenBy`, `since`, `versions`, `services` |
| `history` | a list: `revision`, `version`, `replicas`, `current`, `images`, `cause` |
| `traffic` | see [evidence](evidence.md); with `--watch` one line of JSON per look |
| `check` | see [check](check-settings.md); a list of rules with `--list-rules` |
| `fix` | `patches` (a JSON Patch per object, or the `new` one), `repaired`, `questions`, `errors` |
| `up`, `cluster status` | `api`, `kubeconfig`, `mode`, `reason`, `nodeIP`, `pid`, `state`, `residentMB` |
"""  # noqa: E501 - a row of a table is one line


def help_of(*words: str) -> str:
    """What `segue WORDS --help` prints on a wide terminal."""
    sheet = io.StringIO()
    console = Console(file=sheet, width=WIDTH_MAX, no_color=True, force_terminal=False)
    make_app([*words, "--help"]).help_print(list(words), console=console)
    return "\n".join(line.rstrip() for line in sheet.getvalue().splitlines()).strip()


def page() -> str:
    """The whole page."""
    commands = [f"## segue {' '.join(one.words)}\n\n```text\n{help_of(*one.words)}\n```\n" for one in COMMANDS]
    return "\n".join([HEAD, f"```text\n{help_of()}\n```\n", *commands])


if __name__ == "__main__":
    TARGET.write_text(page())
