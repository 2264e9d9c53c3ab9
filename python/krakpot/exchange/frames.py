"""Texts of the WebSocket frames that the exchange makes, where it runs without sockets."""

from __future__ import annotations

WHOLE_TEXT = 0x81
"""First byte of a frame that is a whole text message."""
LONG, LONGER = 126, 127
"""RFC 6455: after these, two or eight bytes of length follow."""


def unframe(block: bytes) -> list[bytes]:
    """Texts of the frames of a block, as ``_core.Exchange.take`` returns it.

    ``ValueError`` if the block is something else, or ends within a frame.
    """
    texts = []
    at = 0
    while at < len(block):
        length, head = int.from_bytes(block[at + 1 : at + 2], "big"), 2
        if length in {LONG, LONGER}:
            head += 2 if length == LONG else 8
            length = int.from_bytes(block[at + 2 : at + head], "big")
        end = at + head + length
        if block[at] != WHOLE_TEXT or end > len(block):
            sentence = "the block is not what an exchange's take returns: whole text frames, from the server unmasked"
            raise ValueError(sentence)
        texts.append(block[at + head : end])
        at = end
    return texts
