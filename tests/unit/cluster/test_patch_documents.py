"""JSON patch and merge patch, as RFC 6902 and RFC 7386 have them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segue.cluster.patch import PatchError, json_patch, merge_patch
from segue.model.objects import Obj

DOCUMENT: Obj = {"a": {"b": [1, 2, 3]}, "c": "x", "d/e": 1, "f~g": 2}
OBJECTS = st.recursive(
    st.integers() | st.booleans() | st.text(max_size=3),
    lambda inner: st.dictionaries(st.text(max_size=3), inner, max_size=4) | st.lists(inner, max_size=3),
    max_leaves=12,
)
MAPS = st.dictionaries(st.text(max_size=3), OBJECTS, max_size=4)


@pytest.mark.parametrize(
    ("operation", "path", "expected"),
    [
        ({"op": "add", "path": "/a/b/1", "value": 9}, "b", [1, 9, 2, 3]),
        ({"op": "add", "path": "/a/b/-", "value": 9}, "b", [1, 2, 3, 9]),
        ({"op": "remove", "path": "/a/b/0"}, "b", [2, 3]),
        ({"op": "replace", "path": "/a/b", "value": []}, "b", []),
        ({"op": "replace", "path": "/a/b/1", "value": 9}, "b", [1, 9, 3]),
        ({"op": "replace", "path": "/a/new", "value": 9}, "new", 9),
        ({"op": "move", "from": "/c", "path": "/a/b"}, "b", "x"),
        ({"op": "copy", "from": "/c", "path": "/a/n"}, "n", "x"),
    ],
)
def test_an_operation_does_what_kubernetes_makes_of_it(operation: Obj, path: str, expected: object) -> None:
    """The standard refuses to replace a member that is not there; the library of the API server sets it."""
    assert json_patch(DOCUMENT, [operation])["a"][path] == expected


def test_pointers_escape_slash_and_tilde() -> None:
    patched = json_patch(DOCUMENT, [{"op": "remove", "path": "/d~1e"}, {"op": "test", "path": "/f~0g", "value": 2}])

    assert "d/e" not in patched


def test_a_document_is_never_changed_in_place() -> None:
    json_patch(DOCUMENT, [{"op": "remove", "path": "/a/b"}])

    assert DOCUMENT["a"] == {"b": [1, 2, 3]}


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "test", "path": "/c", "value": "y"},
        {"op": "test", "path": "/a/b/0", "value": True},
        {"op": "test", "path": "/none", "value": 1},
        {"op": "remove", "path": "/none"},
        {"op": "replace", "path": "/none/deeper", "value": 1},
        {"op": "replace", "path": "/a/b/7", "value": 1},
        {"op": "add", "path": "/none/deeper", "value": 1},
        {"op": "add", "path": "/a/b/7", "value": 1},
        {"op": "remove", "path": "/a/b/-"},
        {"op": "jump", "path": "/a"},
        {"op": "add", "path": "a", "value": 1},
    ],
)
def test_an_operation_that_does_not_fit_is_refused(operation: Obj) -> None:
    with pytest.raises(PatchError):
        json_patch(DOCUMENT, [operation])


def test_a_test_for_null_holds_where_nothing_is() -> None:
    assert json_patch(DOCUMENT, [{"op": "test", "path": "/none", "value": None}]) == DOCUMENT


def test_a_merge_patch_removes_by_null_and_replaces_lists() -> None:
    patched = merge_patch(DOCUMENT, {"a": {"b": [7], "new": {"x": None, "y": 1}}, "c": None})

    assert patched == {"a": {"b": [7], "new": {"y": 1}}, "d/e": 1, "f~g": 2}


@given(
    st.dictionaries(st.text(max_size=3), OBJECTS, max_size=4), st.dictionaries(st.text(max_size=3), OBJECTS, max_size=4)
)
def test_merging_the_same_patch_twice_is_merging_it_once(document: Obj, patch: Obj) -> None:
    once = merge_patch(document, patch)

    assert merge_patch(once, patch) == once


@given(MAPS)
def test_replacing_all_fields_by_json_patch_gives_the_new_document(document: Obj) -> None:
    operations: list[Obj] = [
        {"op": "add", "path": "/" + key.replace("~", "~0").replace("/", "~1"), "value": value}
        for key, value in document.items()
    ]

    assert json_patch({}, operations) == document
