"""Requests of clients: each that is wrong gets a sentence."""

from __future__ import annotations

import json
from pathlib import Path

import aiohttp
from hypothesis import given
from hypothesis import strategies as st

from krakpot.serve import request as requests
from krakpot.serve.request import FIELDS
from krakpot.serve.server import ViewServer
from streams import Book, Client
from viewing import SYMBOL, serving

HOSTILE = [
    ("", "not JSON"),
    ("{", "not JSON"),
    ("[" * 50_000, "not JSON"),
    ('{"method": NaN}', "not JSON"),
    ("[]", "a JSON object"),
    ("7", "a JSON object"),
    ("null", "a JSON object"),
    ("{}", "method: None is not allowed"),
    ('{"method": 5}', "method: 5"),
    ('{"method": "explode"}', "allowed is one of subscribe"),
    ('{"method": ["subscribe"]}', "method: "),
    ('{"method": "subscribe"}', "symbols: it is missing"),
    ('{"method": "subscribe", "symbols": []}', "symbols: "),
    ('{"method": "subscribe", "symbols": "BTC/USD"}', "symbols: "),
    ('{"method": "subscribe", "symbols": [1]}', "symbols: "),
    ('{"method": "subscribe", "symbols": ["BTC/US"]}', "did you mean BTC/USD"),
    ('{"method": "subscribe", "symbols": ["BTC/USD"], "depth": 0}', "depth: 0 is not allowed"),
    ('{"method": "subscribe", "symbols": ["BTC/USD"], "depth": 1001}', "depth: "),
    ('{"method": "subscribe", "symbols": ["BTC/USD"], "depth": 1e1}', "depth: "),
    ('{"method": "subscribe", "symbols": ["BTC/USD"], "depth": true}', "depth: "),
    ('{"method": "subscribe", "symbols": ["BTC/USD"], "orders": 1}', "orders: "),
    ('{"method": "subscribe", "symbols": ["BTC/USD"], "orders": true}', "no level 3"),
    ('{"method": "subscribe", "symbols": ["BTC/USD"], "dept": 10}', "subscribe takes symbols, depth, orders"),
    ('{"method": "subscribe", "symbols": ["BTC/USD"], "req_id": -1}', "req_id: "),
    ('{"method": "subscribe", "symbols": ["BTC/USD"], "req_id": "x"}', "req_id: "),
    ('{"method": "unsubscribe", "symbols": ["NO/NE"]}', "no pair"),
    ('{"method": "overview", "on": "yes"}', "on: "),
    ('{"method": "rate", "per_second": 0}', "per_second: "),
    ('{"method": "rate", "per_second": 61}', "per_second: "),
    ('{"method": "rate", "per_second": null}', "per_second: "),
    ('{"method": "speed", "speed": 0}', "speed: "),
    ('{"method": "speed", "speed": 1e999}', "speed: "),
    ('{"method": "speed", "speed": -1}', "speed: "),
    ('{"method": "seek"}', "at_us: it is missing"),
    ('{"method": "seek", "at_us": -1}', "at_us: "),
    ('{"method": "seek", "at_us": 1.5}', "at_us: "),
    ('{"method": "seek", "at_us": "2026"}', "at_us: "),
    ('{"method": "seek", "at_us": ' + "9" * 30 + "}", "at_us: "),
    ('{"method": "seek", "at_us": ' + "9" * 5000 + "}", "not JSON"),
    ('{"method": "coverage", "symbols": ["x"]}', "no pair"),
    ('{"method": "pause", "symbols": ["BTC/USD"]}', "pause takes nothing"),
]


def test_hostile_requests_get_an_answer(lake: Path) -> None:
    """Each with a sentence; the client stays connected, and its next request is served."""

    async def main(server: ViewServer, _: aiohttp.ClientSession) -> None:
        async with Client(server.stream_address) as client:
            for text, sentence in HOSTILE:
                await client.socket.send_str(text)
                answer = await client.text("answer")
                assert answer["success"] is False
                assert sentence in answer["error"], text
                assert len(answer["error"]) < 400
            await client.socket.send_bytes(b"\x00\xff")
            assert "text message" in (await client.text("answer"))["error"]
            many = [f"X{i}/USD" for i in range(101)]
            assert "too many" in (await client.ask("subscribe", symbols=many))["error"]
            answer = await client.ask("subscribe", symbols=[SYMBOL], req_id=7)
            assert answer == {"type": "answer", "method": "subscribe", "req_id": 7, "success": True}
            await client.until(Book, lambda book: book.in_sync)

    serving(main, lake)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.sampled_from([*FIELDS, SYMBOL]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=8,
)
NAMES = st.sampled_from(sorted({"method", "req_id", *(name for names in FIELDS.values() for name in names)}))


@given(
    st.text(max_size=200)
    | VALUES.map(json.dumps)
    | st.dictionaries(NAMES, VALUES, max_size=5).map(json.dumps)
    | st.builds(
        lambda method, value: json.dumps({"method": method} | dict.fromkeys(FIELDS[method], value)),
        st.sampled_from([*FIELDS]),
        VALUES,
    ),
    st.booleans(),
)
def test_any_text_is_a_request_or_refused(text: str, live: bool) -> None:
    """Nothing but a sentence comes of a wrong one, and what is done is within its bounds."""
    try:
        message, _, _ = requests.read(text)
        asked = requests.understood(message, [SYMBOL, "ETH/USD"], live=live)
    except requests.RefusedError as error:
        sentence = str(error)
    else:
        sentence = "it is done"
        assert asked.method in FIELDS
        assert 0 <= asked.at < 1 << 63
        assert 1 <= asked.depth <= 1000
        assert set(asked.symbols) <= {SYMBOL, "ETH/USD"}
    assert sentence.isprintable()
    assert len(sentence) < 500
