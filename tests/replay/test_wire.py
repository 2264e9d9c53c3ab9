"""Messages of a served replay, against a simple model of a client."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from krakpot.replay import wire

DEPTH = 4
SIDE = st.dictionaries(st.integers(1, 12), st.integers(1, 3), max_size=8)


def best(levels: dict[int, int], *, falls: bool) -> list[tuple[int, int]]:
    """The best levels of a side."""
    return sorted(levels.items(), reverse=falls)[:DEPTH]


@given(SIDE, SIDE, st.booleans(), st.booleans())
def test_changes_make_one_window_of_another(
    before: dict[int, int], after: dict[int, int], falls: bool, each: bool
) -> None:
    """For a client that drops levels after each entry, and for one that does so after the message."""
    old, new = best(before, falls=falls), best(after, falls=falls)
    held = dict(old)
    for price, qty in wire.changed(old, new, DEPTH, falls=falls):
        if qty:
            held[price] = qty
        else:
            del held[price]
        if each:
            held = dict(best(held, falls=falls))
    assert best(held, falls=falls) == new
    assert old != new or not wire.changed(old, new, DEPTH, falls=falls)


@pytest.mark.parametrize(
    ("value", "decimals", "text"), [(5100, 8, "0.00005100"), (7, 0, "7"), (100, 2, "1.00"), (0, 1, "0.0")]
)
def test_numbers_are_padded(value: int, decimals: int, text: str) -> None:
    """As Kraken writes them, since the checksum is of these digits."""
    assert wire.steps(value, decimals) == text
    assert wire.number(Decimal(value).scaleb(-decimals)) == text


def test_times() -> None:
    """RFC 3339; digits that are not shown are cut off."""
    assert wire.time(1_785_641_751_660_084_123) == '"2026-08-02T03:35:51.660084Z"'
    assert wire.time(951_782_400_000_000_001, 9) == '"2000-02-29T00:00:00.000000001Z"'
