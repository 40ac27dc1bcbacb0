"""What Envoy and HAProxy are told for the same objects: golden, and by weights alone the same text."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

from segue.cluster.gateway.attaching import serve
from segue.cluster.gateway.config import Config, config_of, seconds_in
from segue.cluster.gateway.envoy import files_of
from segue.cluster.gateway.haproxy import PARTS, map_text, written
from segue.cluster.kinds import find_kind
from segue.cluster.registry import Registry
from segue.cluster.store import Store
from segue.cluster.view import View
from tests.laws.release_world import CountingChance, VirtualClock

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "gateway"
SHARED, ALONE = "8080-h0-2", ("8080-h0-0", "8080-h0-1")  # rules in the order in which they are tried
CASES = sorted(path.parent for path in GOLDEN.glob("*/objects.yaml"))


def config(text: str) -> Config:
    store = Store()
    registry = Registry(store, VirtualClock(), CountingChance())
    view = View(store)
    for obj in yaml.safe_load_all(text):
        kind = find_kind(obj["apiVersion"], obj["kind"])
        assert kind is not None
        registry.create(kind.resource, obj)
    (served,) = serve(view)
    return config_of(view, served)


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.name)
def test_a_configuration_is_the_golden_one(case: Path) -> None:
    found = config((case / "objects.yaml").read_text())
    haproxy = written(found, "10.10.0.1")
    texts = {
        "envoy.yaml": yaml.safe_dump(files_of(found, "10.10.0.1"), sort_keys=True, width=120),
        "haproxy.cfg": haproxy.text,
        "weights.map": map_text(haproxy.weights),
    }
    for name, text in texts.items():
        if os.environ.get("GOLDEN"):
            (case / name).write_text(text)
        assert text == (case / name).read_text(), "GOLDEN=1 writes it anew: look at the difference"


def test_weights_are_no_part_of_haproxys_text() -> None:
    text = (GOLDEN / "shares" / "objects.yaml").read_text()
    one, other = (written(config(text.replace("weight: 99", f"weight: {weight}")), "10.10.0.1") for weight in (99, 3))
    assert one.text == other.text
    assert one.weights == {f"{ALONE[0]}.0": PARTS, f"{ALONE[1]}.0": PARTS, f"{SHARED}.0": 990_000, f"{SHARED}.1": PARTS}
    assert other.weights == {**one.weights, f"{SHARED}.0": 750_000}


@pytest.mark.parametrize(
    ("said", "meant"), [("300ms", 0.3), ("1h30m", 5400.0), ("10s", 10.0), ("0s", 0.0), (None, None)]
)
def test_a_duration_is_read(said: str | None, meant: float | None) -> None:
    assert seconds_in(said) == meant


def test_what_others_quote_is_quoted() -> None:
    text = (GOLDEN / "shares" / "objects.yaml").read_text()
    value = "it's $HOME %[x] } if TRUE"
    made = written(config(text.replace("value: next", f'value: "{value}"')), "10.10.0.1").text
    assert "-m str 'it'\\''s $HOME %[x] } if TRUE'" in made
