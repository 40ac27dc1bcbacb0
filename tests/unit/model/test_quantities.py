"""Quantities are exact, and read as the Kubernetes client library reads them."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lightkube.utils.quantity import parse_quantity

from segue.model.quantities import quantity, short

SUFFIXES = ["", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei", "e3"]


@given(number=st.decimals(0, 10**6, places=3), suffix=st.sampled_from(SUFFIXES))
def test_it_reads_what_the_client_library_reads(number: Decimal, suffix: str) -> None:
    text = f"{number}{suffix}"

    read = parse_quantity(text)
    assert read is not None
    assert abs(quantity(text) - read) < Decimal("0.001")  # it rounds up to thousandths, as the API server does


@pytest.mark.parametrize("text", ["", "x", "1 Gi", "1KiB", "--1", "1e", "0x10"])
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no quantity"):
        quantity(text)


@pytest.mark.parametrize(
    ("said", "told"),
    [("1500m", "1500m"), ("2000m", "2"), ("1024Mi", "1Gi"), ("1536Mi", "1536Mi"), ("3", "3"), ("0", "0")],
)
def test_it_is_told_as_people_write_it(said: str, told: str) -> None:
    assert short(quantity(said)) == told
