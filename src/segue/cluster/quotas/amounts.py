"""Amounts of resources: added and compared exactly, written as a Kubernetes API writes them (500m, 1k, 128Mi)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TypeAlias

from segue.model.quantities import quantity

_TENS = {"E": 18, "P": 15, "T": 12, "G": 9, "M": 6, "k": 3, "": 0, "m": -3, "u": -6, "n": -9}
_TWOS = {"Ei": 60, "Pi": 50, "Ti": 40, "Gi": 30, "Mi": 20, "Ki": 10}


@dataclass(frozen=True, slots=True)
class Amount:
    """A number; `twos` is written with Ki, Mi and their kin."""

    value: Decimal
    twos: bool = False

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.value + other.value, self.twos if self.value else other.twos)

    def __str__(self) -> str:
        """The shortest exact way: as in 1500m, 2, 3Gi."""
        if self.twos and self.value == int(self.value):
            for suffix, power in _TWOS.items():
                if self.value and self.value % 2**power == 0:
                    return f"{int(self.value / 2**power)}{suffix}"
            return f"{int(self.value)}"
        for suffix, power in _TENS.items():
            scaled = self.value.scaleb(-power)
            if self.value and scaled == int(scaled):
                return f"{int(scaled)}{suffix}"
        return "0"


Amounts: TypeAlias = dict[str, Amount]
ZERO = Amount(Decimal(0))
ONE = Amount(Decimal(1))


def amount(text: str | int) -> Amount:
    """The amount that a quantity says."""
    return Amount(quantity(text), str(text).endswith("i"))


def amounts(quantities: Mapping[str, str | int]) -> Amounts:
    """All amounts of a map, as in `requests`."""
    return {name: amount(text) for name, text in quantities.items()}


def added(left: Amounts, right: Amounts) -> Amounts:
    """Both together."""
    return {name: left.get(name, ZERO) + right.get(name, ZERO) for name in {**left, **right}}


def larger(left: Amounts, right: Amounts) -> Amounts:
    """The larger of both, each by itself."""
    return {
        name: max(left.get(name, ZERO), right.get(name, ZERO), key=lambda one: one.value) for name in {**left, **right}
    }


def total(parts: Iterable[Amounts]) -> Amounts:
    """All together."""
    whole: Amounts = {}
    for part in parts:
        whole = added(whole, part)
    return whole


def told(these: Mapping[str, object], names: Iterable[str]) -> str:
    """Some of them as a refusal prints them: `cpu=1,pods=2`."""
    return ",".join(f"{name}={these.get(name, 0)}" for name in sorted(names))
