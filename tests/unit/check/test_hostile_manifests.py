"""Text that is off: a clear error within two seconds and bounded memory, and the other documents are still there."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from tools.make_rules import PAIRS

from segue.check.gathering import Gathered
from segue.check.repair import repaired
from segue.check.rulebook import judge
from segue.check.settings import Settings
from segue.model.errors import ManifestError
from segue.model.marked import Piece, pieces

GOOD = "apiVersion: v1\nkind: Service\nmetadata:\n  name: web\n"
BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{chr(98 + at)}: &{chr(98 + at)} [{', '.join(['*' + chr(97 + at)] * 9)}]\n" for at in range(12)
)
HOSTILE = {
    "no YAML": ("a: [1, 2\n", "not YAML"),
    "two in one line": ("a: b: c\n", "not YAML"),
    "deep flow": ("[" * 1_000_000, "nested deeper"),
    "deep block": ("\n".join(" " * at + "a:" for at in range(2000)), "nested deeper"),
    "aliases": (BOMB, "unfolds to more than"),
    "many values": ("- a\n" * 700_000, "unfolds to more than"),
    "alias to nothing": ("a: *b\n", "has no anchor"),
    "alias to itself": ("a: &a [*a]\n", "has no anchor"),
    "twice": ("kind: A\nkind: B\n", "stands twice"),
    "template": ("kind: A\nspec: {{ .Values.spec }}\n", "this is a template"),
    "template block": ("kind: A\n{{- if .Values.x }}\nspec: 1\n{{- end }}\n", "this is a template"),
    "binary": ("a: \0\n", "binary data"),
    "control": ("a: \x01\n", "not YAML"),
    "key of a list": ("? [a]\n: b\n", "a key must be text"),
    "tag": ("a: !!python/object:os.system x\n", "has no meaning"),
    "tag of a mapping": ("a: !!python/object:os.system {b: x}\n", "has no meaning"),
    "tag of a list": ("a: !!python/object/apply:os.system [x]\n", "has no meaning"),
    "long document": ("a: " + "x" * 4_000_000, "characters"),
    "merges": (
        "a0: &a0 {k: 1}\n" + "".join(f"a{n}: &a{n} {{<<: *a{n - 1}, k{n}: 1}}\n" for n in range(1, 3000)),
        "unfolds to more than",
    ),
    "deep JSON": ('{"a":' * 200_000 + "1" + "}" * 200_000, "nested deeper"),
    "tabs": ("a:\n" + "\t\t\n" * 500_000, "not YAML"),
    "question marks": ("? " * 900_000, "a key must be text"),
    "twice, often": ("a: 1\n" * 300_000, "stands twice"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_off_is_said_and_the_rest_is_read(name: str) -> None:
    text, said = HOSTILE[name]
    gathered = Gathered()

    gathered.add(text + ("\n---\n" + GOOD if "\0" not in text else ""), file="bad.yaml")

    assert said in gathered.errors[0].message
    assert gathered.errors[0].place is not None
    assert gathered.errors[0].place.file == "bad.yaml"
    if "\0" not in text:
        assert [one.name for one in gathered.sources] == ["web"]


def test_errors_and_objects_know_their_lines() -> None:
    text = GOOD + "---\n# a comment\na: [1\n---\n\n" + GOOD

    found = list(pieces(text, file="x.yaml"))

    assert [(one.line if isinstance(one, Piece) else one.place.line if one.place else 0) for one in found] == [1, 8, 10]
    assert isinstance(found[1], ManifestError)


def test_a_file_of_50_mb_is_refused_in_time_and_in_little_memory(tmp_path: Path) -> None:
    (tmp_path / "huge.yaml").write_bytes(b"a: " + b"x" * 50_000_000)
    (tmp_path / "latin.yaml").write_bytes("a: ü\n".encode("latin-1"))
    (tmp_path / "good.yaml").write_text(GOOD)

    done = subprocess.run(
        [sys.executable, "-c", "from segue.cli.main import main; main()", "check", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (4, 4)),
    )

    assert done.returncode == 3
    assert "huge.yaml: the file has 50 MB" in done.stderr
    assert "latin.yaml:1: not UTF-8 text" in done.stderr
    assert "1 object:" in done.stdout


@pytest.mark.parametrize("filler", ["/", "@", "a:", "sleep ", "kill -", "{{", "shutdown", "/a"])
def test_no_pattern_is_slow_on_a_long_text(filler: str) -> None:
    long = filler * (1_000_000 // len(filler))
    obj = yaml.safe_load(next(yaml_of("ZD105")))
    (container,) = obj["spec"]["template"]["spec"]["containers"]
    container["image"] = container["name"] = long
    container["lifecycle"]["preStop"]["exec"]["command"] = ["sh", "-c", long]
    container["env"] = [{"name": long, "value": long}]
    container["livenessProbe"]["httpGet"]["path"] = long
    gathered = Gathered()
    gathered.add(json.dumps(obj) + "".join(yaml_of("ZD105", 1)), file="x.json")
    began_s = time.process_time()

    judge(gathered.sources, Settings())

    assert time.process_time() - began_s < 1.0


def yaml_of(rule: str, start: int = 0) -> Iterator[str]:
    """The documents of a bad manifest from this one on."""
    parts = (PAIRS / rule / "bad.yaml").read_text().split("---\n")
    yield from (("---\n" if at else "") + part for at, part in enumerate(parts) if at >= start)


@pytest.mark.parametrize(
    "text",
    ["\ufeff" + GOOD, GOOD.replace("\n", "\r\n"), GOOD.replace("\n", "\r"), "%YAML 1.1\n---\n" + GOOD],
    ids=["BOM", "CRLF", "CR", "directive"],
)
def test_what_is_only_unusual_is_read(text: str) -> None:
    gathered = Gathered()

    gathered.add(text, file="x.yaml")

    assert [(one.kind, one.name) for one in gathered.sources] == [("Service", "web")]


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("yes", True),
        ("010", 8),
        ("0x50", 80),
        ("22:22", "22:22"),
        ("2001-01-01", "2001-01-01"),
        ("9" * 5000, "9" * 5000),
    ],
)
def test_a_scalar_means_what_kubectl_takes_it_for(said: str, meant: object) -> None:
    (piece,) = pieces(f"a: {said}\n", file="x.yaml")

    assert isinstance(piece, Piece)
    assert piece.node.value == {"a": meant}


@pytest.mark.long
def test_a_set_of_thousands_is_repaired_in_linear_time() -> None:
    """2,000 Deployments of which each needs a fix, and 2,000 budgets that all select the same pods."""
    one = next(yaml_of("ZD101"))
    head = "apiVersion: policy/v1\nkind: PodDisruptionBudget\nmetadata:\n  name: p"
    tail = "\nspec:\n  selector:\n    matchLabels:\n      app: web\n"
    parts = [one.replace("name: web", f"name: web{n}", 1) for n in range(2000)]
    text = "---\n".join([*parts, *(f"{head}{n}{tail}" for n in range(2000)), next(yaml_of("ZD101", 1))])
    began_s = time.process_time()

    repaired({"x.yaml": text}, Settings())

    assert time.process_time() - began_s < 12.0


def test_json_objects_may_follow_each_other() -> None:
    gathered = Gathered()

    gathered.add('{"apiVersion": "v1", "kind": "A"}\n\n{"apiVersion": "v1",\n "kind": "B"}\n', file="x.json")

    assert [(one.kind, one.line) for one in gathered.sources] == [("A", 1), ("B", 3)]


ODD: st.SearchStrategy[object] = st.recursive(
    st.sampled_from([None, True, False, 0, -1, 10**30, 1.5, "", "x", "5", "25%", "-1%", [], {}]),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["name", "port", "x"]), inner, max_size=2)
    ),
    max_leaves=4,
)


def spots(value: object) -> list[tuple[dict[str, object] | list[object], str | int]]:
    """Every place of a value where something stands."""
    found: list[tuple[dict[str, object] | list[object], str | int]] = []
    if isinstance(value, dict):
        for key, inner in value.items():
            found += [(value, key), *spots(inner)]
    elif isinstance(value, list):
        for at, inner in enumerate(value):
            found += [(value, at), *spots(inner)]
    return found


@settings(max_examples=600, deadline=None)
@given(st.sampled_from(sorted(path.name for path in PAIRS.iterdir())), st.data())
def test_no_shape_is_too_odd_for_a_rule(rule: str, data: st.DataObject) -> None:
    gathered = Gathered()
    gathered.add((PAIRS / rule / "bad.yaml").read_text(), file="bad.yaml")
    for source in gathered.sources:
        places = spots(source.obj)
        for _ in range(data.draw(st.integers(0, 2))):
            holder, key = data.draw(st.sampled_from(places))
            if isinstance(holder, dict) or (isinstance(key, int) and key < len(holder)):
                holder[key] = data.draw(ODD)  # type: ignore[index]  # a dict's key or a list's index, as spots() says
    text = yaml.safe_dump_all([one.obj for one in gathered.sources])

    again = Gathered()
    again.add(text, file="odd.yaml")
    verdict = judge(again.sources, Settings(), gathered.sources)
    result = repaired({"odd.yaml": text}, Settings())

    assert all(one.message and one.remedy for one in verdict.findings)
    assert all(not one.is_repaired for one in result.left) or result.hindered
