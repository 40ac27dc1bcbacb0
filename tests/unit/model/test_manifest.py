"""Manifests know file and line of every path, and every fault of a text is a ManifestError at its place."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue.model.errors import ManifestError
from segue.model.manifest import DEPTH_MAX, parse

GOOD = """apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  labels:
    app/name: web
spec:
  template:
    spec:
      containers:
      - name: a
        image: x:1
      - name: b
        image: y:1
---
apiVersion: v1
kind: Service
metadata: {name: web}
"""


def test_documents_know_the_line_of_every_path() -> None:
    deployment, service = parse(GOOD, file="web.yaml")

    assert str(deployment.place("spec.template.spec.containers[1].image")) == (
        "web.yaml:14 $.spec.template.spec.containers[1].image"
    )
    assert deployment.place("metadata.labels['app/name']").line == 6
    assert service.line == 16
    assert (deployment.kind, deployment.name, service.kind) == ("Deployment", "web", "Service")


def test_an_unknown_path_stands_where_its_known_beginning_stands() -> None:
    deployment, _ = parse(GOOD, file="web.yaml")

    assert deployment.place("spec.template.spec.containers[0].imagee").line == 11


def test_a_list_is_unfolded_with_its_lines() -> None:
    text = "kind: List\napiVersion: v1\nitems:\n- kind: A\n  apiVersion: v1\n  metadata: {name: one}\n"
    (document,) = parse(text, file="f")

    assert document.name == "one"
    assert document.place("metadata.name").line == 6


def test_dates_and_octal_looking_text_stay_what_json_can_carry() -> None:
    (document,) = parse("kind: A\napiVersion: v1\nmetadata: {name: a}\nwhen: 2026-01-01\nempty:\n", file="f")

    assert document.obj["when"] == "2026-01-01"
    assert document.obj["empty"] is None


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("a: [1\nb: 2\n", 2, "not YAML"),
        ("a:\n\t- b\n", 2, "not YAML"),
        ("- kind: A\n", 1, "a list"),
        ("just text\n", 1, "text"),
        ("apiVersion: v1\nmetadata: {name: a}\n", 1, "kind is missing"),
        ("apiVersion: v1\nkind: [A]\nmetadata: {name: a}\n", 2, "kind is a list"),
        ("apiVersion: v1\nkind: A\nmetadata: {}\n", 3, "metadata.name is missing"),
        ("apiVersion: v1\nkind: A\nmetadata:\n  name: a\n  name: b\n", 5, "twice"),
        ("apiVersion: v1\nkind: A\nmetadata: {name: a}\nx: !!python/name:os.system a\n", 4, "cannot read"),
        ("apiVersion: v1\nkind: A\nmetadata: {name: a}\nx: !!binary aGk=\n", 4, "no meaning in JSON"),
        ("apiVersion: v1\nkind: A\nmetadata: {name: a}\n? [x]\n: 1\n", 4, "key"),
        ("a: &a [*a]\n", 1, "nested"),
        ("a: " + "[" * (DEPTH_MAX + 5) + "]" * (DEPTH_MAX + 5) + "\n", 1, "nested"),
    ],
)
def test_a_fault_is_named_with_its_line(text: str, line: int, says: str) -> None:
    with pytest.raises(ManifestError) as caught:
        parse(text, file="bad.yaml")

    assert caught.value.place is not None
    assert (caught.value.place.file, caught.value.place.line) == ("bad.yaml", line)
    assert says in caught.value.message


def test_a_bomb_of_aliases_is_refused_before_it_unfolds() -> None:
    text = "a0: &a0 [1,1,1,1,1,1,1,1,1,1]\n" + "".join(
        f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10)
    )
    with pytest.raises(ManifestError, match="unfolds"):
        parse(text, file="bomb.yaml")


def test_a_broken_second_document_spoils_the_first() -> None:
    with pytest.raises(ManifestError):
        parse(GOOD + "---\na: [\n", file="f")


@given(st.text(max_size=200))
def test_no_text_makes_anything_but_documents_or_a_manifest_error(text: str) -> None:
    try:
        documents = parse(text, file="f")
    except ManifestError as error:
        assert error.place is not None
    else:
        assert all(document.name for document in documents)
