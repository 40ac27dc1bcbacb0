"""Kubernetes quantities ("250m", "1.5Gi", "2e3") as exact numbers."""

from __future__ import annotations

import re
from decimal import Decimal

_QUANTITY = re.compile(r"([+-]?\d+\.?\d*|[+-]?\.\d+)(?:[eE]([+-]?\d+)|([numkMGTPE]|[KMGTPE]i)?)")
_TENS = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_TWOS = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}


def quantity(text: str | int) -> Decimal:
    """The number that a quantity says. ValueError for what is none."""
    found = _QUANTITY.fullmatch(str(text).strip())
    if found is None:
        raise ValueError(f"{text!r} is no quantity")
    number, exponent, suffix = Decimal(found[1]), found[2], found[3] or ""
    if exponent is not None:
        return number.scaleb(int(exponent))
    return number * 2 ** _TWOS[suffix] if suffix in _TWOS else number.scaleb(_TENS[suffix])


def short(value: Decimal) -> str:
    """A number as people write it in manifests: 1500m, 2, 512Mi."""
    for suffix, power in reversed(_TWOS.items()):
        if value >= 2**power and value % 2**power == 0:
            return f"{value / 2**power:f}{suffix}"
    return f"{value.to_integral_value():f}" if value == value.to_integral_value() else f"{value * 1000:.0f}m"
