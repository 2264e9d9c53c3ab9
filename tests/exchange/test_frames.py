"""Texts of frames, whatever their length."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from krakpot import _core
from krakpot.exchange.frames import unframe

TEXTS = st.lists(st.one_of(st.binary(max_size=300), st.sampled_from([125, 126, 127, 65_535, 65_536]).map(bytes)))


def framed(texts: list[bytes]) -> bytes:
    """Frames of a server, by another library."""
    return b"".join(Frame(Opcode.TEXT, text).serialize(mask=False) for text in texts)


@given(TEXTS)
def test_texts_come_back(texts: list[bytes]) -> None:
    """As another library frames them."""
    assert unframe(framed(texts)) == texts


@given(TEXTS.filter(bool), st.integers(min_value=1))
def test_a_block_that_ends_within_a_frame(texts: list[bytes], cut: int) -> None:
    """It is refused, unless it ends between two."""
    block = framed(texts)
    part = block[: -(cut % len(block)) or None]
    whole = [framed(texts[:n]) for n in range(len(texts) + 1)]
    if part in whole:
        assert framed(unframe(part)) == part
    else:
        with pytest.raises(ValueError, match="the block is not what an exchange's take returns"):
            unframe(part)


def test_texts_of_the_exchange() -> None:
    """The first message is its status."""
    exchange = _core.Exchange(pairs=2, rate=100.0, seed=1)
    client = exchange.connect()
    exchange.advance(1_000_000_000)
    assert b'"channel":"status"' in unframe(exchange.take(client))[0]
