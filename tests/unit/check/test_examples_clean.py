"""The manifests of examples/ are what the pages say of them: models are clean, bad ones are bad and say so."""

from __future__ import annotations

from pathlib import Path

import pytest

from segue.check.findings import Severity
from segue.check.gathering import Gathered, sets_of
from segue.check.repair import repaired
from segue.check.rulebook import judge
from segue.check.settings import Settings
from segue.model.marked import Piece, pieces

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
BAD = {
    "careless/web.yaml": "requests are lost whenever a pod ends",
    "gunicorn/script.yaml": "It loses requests.",
    "openshift/web.yaml": "where nobody read them",
    "seed/first-option.yaml": "",  # as it was asked, without a word of ours
    "seed/second-option.yaml": "",
    "seed/second-option-v2.yaml": "",
}
ALL = sorted(
    str(path.relative_to(EXAMPLES))
    for path in EXAMPLES.rglob("*.yaml")
    if not {"helm", "pipelines"} & set(path.relative_to(EXAMPLES).parts)
)


def found_in(name: str) -> list[str]:
    """Severity and rule of everything found in a file, for the least severity there is."""
    gathered = Gathered()
    gathered.add((EXAMPLES / name).read_text(), file=name)
    assert not gathered.errors
    sets, _ = sets_of(gathered.sources)
    return [f"{found.severity} {found.rule.id}" for one in sets for found in judge(one, Settings()).findings]


@pytest.mark.parametrize("name", [name for name in ALL if name not in BAD])
def test_a_model_is_clean(name: str) -> None:
    assert found_in(name) == []


@pytest.mark.parametrize("name", BAD)
def test_a_bad_example_is_bad_and_says_so(name: str) -> None:
    assert found_in(name)
    assert BAD[name] in (EXAMPLES / name).read_text().replace("\n# ", " ")


def test_what_is_careless_is_repaired_to_what_is_quick() -> None:
    """The two differ in nothing but what `segue fix` does, an annotation and words."""
    careless = (EXAMPLES / "careless" / "web.yaml").read_text()
    said = '  name: web\n  annotations: {segue.dev/propagation-seconds: "2"}\nspec:'
    result = repaired({"web.yaml": careless.replace("  name: web\nspec:", said, 1)}, Settings())
    quick = (EXAMPLES / "quick" / "web.yaml").read_text()

    assert not [one for one in result.left if one.severity is not Severity.INFO]
    assert [one.node.value for one in pieces(result.texts["web.yaml"], file="") if isinstance(one, Piece)] == [
        one.node.value for one in pieces(quick, file="") if isinstance(one, Piece)
    ]
