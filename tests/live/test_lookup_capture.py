"""The rules of `segue.dns` against the C libraries themselves: every packet of every case of the table."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from segue.dns.lookup import Libc, Outcome, lookup
from segue.host.isolation import detect
from tests.live.lookup_capture import Seen
from tests.lookup_cases import Case, cases

pytestmark = pytest.mark.live
ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
int main(int argc, char **argv)
{
    struct addrinfo wish = {.ai_family = atoi(argv[2]), .ai_socktype = SOCK_STREAM}, *found;
    printf("%d", getaddrinfo(argv[1], 0, &wish, &found));
    return 0;
}
"""


def capture(tmp_path: Path, libc: Libc) -> list[tuple[Case, Seen]]:
    if detect().kind != "namespaces":
        pytest.skip(f"no namespaces: {detect().because}")
    program = tmp_path / "lookup"
    if libc is Libc.MUSL:
        if not (compiler := shutil.which("musl-gcc")):
            pytest.skip("no musl-gcc (Debian: apt-get install musl-tools)")
        subprocess.run([compiler, "-x", "c", "-static", "-o", program, "-"], input=PROGRAM, text=True, check=True)
    wanted = {index: case for index, case in enumerate(cases()) if case.question.libc is libc}
    file = tmp_path / "cases.json"
    file.write_text(json.dumps({"cases": list(wanted), "musl": str(program)}))
    argv = [sys.executable, "-m", "tests.live.lookup_capture", str(file)]
    seen = json.loads(subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True, timeout=120).stdout)
    return [(case, seen[str(index)]) for index, case in wanted.items()]


@pytest.mark.parametrize("libc", list(Libc))
def test_predicted_queries_are_those_that_the_library_sends(tmp_path: Path, libc: Libc) -> None:
    """Each packet with name, type and server, the names in order, and what the program is told."""
    off = []
    for case, seen in capture(tmp_path, libc):
        predicted = lookup(case.question, case.resolver, case.world)
        sent = [(name, kind, server) for name, kind, server in seen["queries"]]
        expected = [(query.name, query.type, query.nameserver) for query in predicted.queries]
        same_order = list(dict.fromkeys(name for name, _, _ in sent)) == list(dict.fromkeys(one[0] for one in expected))
        told = Outcome(seen["code"])
        if Counter(sent) != Counter(expected) or not same_order or told is not predicted.outcome:
            off.append(f"{case.label}: sent {len(sent)}, predicted {len(expected)}; {told} {predicted.outcome} {sent}")

    assert off == []
