"""Safe fixes: they end, they leave nothing of their kind, and they touch nothing else, however a file is written."""

from __future__ import annotations

import json
import re
from typing import cast

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from tools.make_rules import PAIRS

from segue.check.findings import Severity
from segue.check.gathering import Gathered
from segue.check.repair import json_patch, patches, repaired
from segue.check.rulebook import RULES
from segue.check.settings import Settings, settings_of
from segue.check.splice import Put, Unspliceable, spliced, with_put
from segue.model.manifest import parse_mapping
from segue.model.objects import Obj

PAIRED = [rule for rule in RULES if rule not in {"ZD307", "ZD507"}]  # those two need what ran before


def settings_for(rule: str) -> Settings:
    config = PAIRS / rule / "config.yaml"
    return settings_of(parse_mapping(config.read_text(), file="").obj["check"]) if config.exists() else Settings()


@pytest.mark.parametrize("rule", PAIRED)
def test_after_a_repair_nothing_is_left_to_repair(rule: str) -> None:
    text = (PAIRS / rule / "bad.yaml").read_text()

    result = repaired({"bad.yaml": text}, settings_for(rule))
    again = repaired(result.texts, settings_for(rule))

    assert not result.hindered
    assert [one.rule.id for one in result.left if one.is_repaired] == []
    assert again.texts == result.texts
    if RULES[rule].is_safe:
        assert rule not in {one.rule.id for one in result.left}
        assert rule in {one.rule.id for one in result.fixed}


@pytest.mark.parametrize("rule", PAIRED)
def test_what_is_left_is_a_question_or_says_what_to_write(rule: str) -> None:
    result = repaired({"bad.yaml": (PAIRS / rule / "bad.yaml").read_text()}, settings_for(rule))

    assert all(one.remedy for one in result.left)
    assert all(one.fix.question for one in result.left if one.severity is Severity.ERROR and one.rule.id != "ZD603")


# -- untouched bytes ---------------------------------------------------------------------------------------------------

VALUES: st.SearchStrategy[object] = st.recursive(
    st.sampled_from([None, True, 0, 7, "text", "8080", "a: b", "", "# no comment", "ü", "two\nlines\n", "{{x}}"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abcdef"), inner, max_size=4),
    max_leaves=12,
)
KEYS = st.sampled_from("abcdefgh")


@st.composite
def written(draw: st.DrawFn) -> tuple[str, Obj]:
    """An object, and one of the ways to write it."""
    obj: Obj = {
        "apiVersion": "v1",
        "kind": "Thing",
        "metadata": {"name": "x"},
        **cast("Obj", draw(st.dictionaries(KEYS, VALUES, max_size=5))),
    }
    style = draw(st.sampled_from(["block", "mixed", "flow", "json", "indented"]))
    if style == "json":
        text = json.dumps(obj, ensure_ascii=False, indent=draw(st.sampled_from([None, 2]))) + "\n"
    elif style == "indented":
        text = yaml.safe_dump(obj, sort_keys=False, indent=4, allow_unicode=True)
    else:
        flow = {"block": False, "mixed": None, "flow": True}[style]
        text = yaml.safe_dump(obj, sort_keys=False, default_flow_style=cast("bool", flow), allow_unicode=True)
    if style in {"block", "mixed", "indented"} and draw(st.booleans()):
        plain = "\n" not in "".join(re.findall(r'"[^"]*"', text)) and "|" not in text
        if plain and "'" not in text:
            text = "".join(f"{line}  # kept {at}\n" for at, line in enumerate(text.splitlines()))
    if draw(st.booleans()) and "two" not in text:
        text = text.replace("\n", "\r\n")
    return text, obj


@settings(max_examples=400, deadline=None)
@given(
    written(),
    st.lists(KEYS, min_size=1, max_size=3),
    st.one_of(VALUES, st.just({"sleep": {"seconds": 5}})),
    st.booleans(),
)
def test_a_change_is_exactly_that_change_or_is_refused(
    case: tuple[str, Obj], path: list[str], value: object, remove: bool
) -> None:
    text, obj = case
    put = Put(ordinal=0, path=tuple(path), value=value, remove=remove)
    try:
        wanted = with_put(obj, put)
        changed = spliced(f"{text}---\n# another\n{{apiVersion: v1, kind: Other}}\n", [put])
    except Unspliceable:
        return

    gathered = Gathered()
    gathered.add(changed, file="")
    assert not gathered.errors
    assert [one.obj for one in gathered.sources] == [wanted, {"apiVersion": "v1", "kind": "Other"}]
    assert changed.endswith("---\n# another\n{apiVersion: v1, kind: Other}\n")
    if not remove:
        assert set(re.findall(r"# kept \d+", text)) - set(re.findall(r"# kept \d+", changed)) == set() or (
            put_replaces(obj, path)
        )


def put_replaces(obj: object, path: list[str]) -> bool:
    """Whether a value that has lines of its own is replaced as a whole."""
    for step in path:
        if not isinstance(obj, dict) or step not in obj:
            return False
        obj = obj[step]
    return True


@pytest.mark.parametrize("style", ["block", "flow", "json"])
def test_a_simple_change_is_never_refused(style: str) -> None:
    obj: Obj = {"apiVersion": "v1", "kind": "Thing", "spec": {"a": 1, "b": {"c": [1, {"d": 2}]}}}
    text = json.dumps(obj) if style == "json" else yaml.safe_dump(obj, default_flow_style=style == "flow")
    puts = [
        Put(ordinal=0, path=("spec", "a"), value=2),
        Put(ordinal=0, path=("spec", "b", "c", 1, "d"), value="three: 3"),
        Put(ordinal=0, path=("spec", "new", "x"), value=1),
        Put(ordinal=0, path=("spec", "new", "y"), value=[{"z": 1}]),
        Put(ordinal=0, path=("kind",), remove=False, value="Other"),
    ]

    changed = yaml.safe_load(spliced(text, puts))

    assert changed["spec"] == {"a": 2, "b": {"c": [1, {"d": "three: 3"}]}, "new": {"x": 1, "y": [{"z": 1}]}}


def test_what_an_alias_shares_is_not_touched() -> None:
    text = "apiVersion: v1\nkind: Thing\na: &probe\n  period: 1\nb: *probe\nc:\n  <<: *probe\n"

    for path in (("b", "period"), ("c", "period")):
        with pytest.raises(Unspliceable):
            spliced(text, [Put(ordinal=0, path=path, value=2)])


# -- patches -----------------------------------------------------------------------------------------------------------


def apply_patch(obj: object, steps: list[Obj]) -> object:
    """RFC 6902, as little of it as json_patch writes."""
    found = json.loads(json.dumps(obj))
    for step in steps:
        keys = [part.replace("~1", "/").replace("~0", "~") for part in step["path"].split("/")[1:]]
        if not keys:
            found = step["value"]
            continue
        spot = found
        for key in keys[:-1]:
            spot = spot[int(key)] if isinstance(spot, list) else spot[key]
        last = int(keys[-1]) if isinstance(spot, list) else keys[-1]
        if step["op"] == "remove":
            del spot[last]
        else:
            spot[last] = step["value"]
    return found


@given(
    st.dictionaries(st.sampled_from(["a", "b/c", "d~e"]), VALUES),
    st.dictionaries(st.sampled_from(["a", "b/c"]), VALUES),
)
def test_a_patch_leads_from_one_to_the_other(before: Obj, after: Obj) -> None:
    assert apply_patch(before, json_patch(before, after)) == after


def test_patches_name_their_object() -> None:
    text = (PAIRS / "ZD403" / "bad.yaml").read_text()
    result = repaired({"bad.yaml": text}, Settings())

    (row,) = patches({"bad.yaml": text}, result.texts)

    assert (row["kind"], row["name"]) == ("PodDisruptionBudget", "web")
    assert sorted((step["op"], step["path"]) for step in row["patch"]) == [
        ("add", "/spec/maxUnavailable"),
        ("remove", "/spec/minAvailable"),
    ]
