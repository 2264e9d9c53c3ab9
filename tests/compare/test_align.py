"""Pairs of states, their latency, and which of them count for it."""

from __future__ import annotations

import sequences
from channels import MS
from krakpot.compare.align import WINDOW, align
from krakpot.compare.report import latency


def test_a_state_that_recurs_within_a_second_in_either_channel_is_no_latency() -> None:
    """State 7 comes again after a second and more: both count. State 5 comes again sooner, but the book channel leaves
    its second coming out: it is found, and does not count. Nor does the first state, which begins a sync span.
    """
    derived = sequences.channel([(0, 1), (1000, 5), (1100, 2), (1500, 5), (2000, 7), (2500, 3), (3001, 7), (4000, 4)])
    book = sequences.channel([(3, 1), (1004, 5), (1105, 2), (2006, 7), (2507, 3), (3008, 7), (4009, 4)])
    matches = align(book, derived, "checksum", WINDOW).matches
    assert matches["checksum"].to_list() == [1, 5, 2, 7, 3, 7, 4]
    assert matches["latency_recv"].to_list() == [ms * MS for ms in (3, 4, 5, 6, 7, 7, 9)]
    assert matches["recurs"].to_list() == [False, True, False, False, False, False, False]
    assert matches["begins"].to_list() == [True] + [False] * 6
    assert latency(matches)["pairs"].item() == 5
    assert latency(matches)["median"].item() == 7 * MS
    # The other way round: what recurs in the book channel alone.
    turned = align(derived, book, "checksum", WINDOW).matches
    assert turned["recurs"].to_list() == matches["recurs"].to_list()
    assert turned["latency_recv"].to_list() == [-one for one in matches["latency_recv"]]
