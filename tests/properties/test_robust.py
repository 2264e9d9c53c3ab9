"""Hostile input: nothing that arrives may raise, harm another symbol, or make the record unprovable."""

from __future__ import annotations

import polars as pl
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

import frames
import lakes
from krakpot import _core
from krakpot.lake.ledger import BOOK_ENDS, REFUSALS


def victims() -> list[bytes]:
    """Frames of one symbol, one of each kind that a feed has, good as they stand."""
    book = frames.Book("BTC/USD")
    orders = frames.Orders(10, 1, 8)
    orders.apply([("bid", "add", "OAAAAA-AAAAA-AAAAAA", "100.1", "1.5", frames.START)])
    return [
        frames.status(),
        frames.instrument(frames.pair("BTC/USD"), assets=[frames.asset("BTC")], kind="update"),
        frames.ack("book", "BTC/USD", depth=10),
        book.snapshot([("100.1", "1.0")], [("100.2", "2.0")]),
        book.update([("bid", "100.0", "1.5"), ("ask", "100.2", "0.0"), ("ask", "100.3", "1.0")]),
        orders.snapshot(),
        orders.update([("ask", "add", "another id", "100.2", "2.0", frames.START)]),
        orders.update([("bid", "modify", "OAAAAA-AAAAA-AAAAAA", "100.1", "0.5", frames.START)]),
        frames.trade("BTC/USD", 7),
        frames.ticker("BTC/USD", further=[1, {"a": None}]),
        frames.ohlc("BTC/USD"),
        frames.ack("book", "BTC/USD", method="unsubscribe"),
        frames.refusal("Currency pair not supported XBT/USD", symbol="XBT/USD"),
        frames.HEARTBEAT,
    ]


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """Arbitrary bytes, or a good frame with bytes changed, removed, repeated, or cut off."""
    if draw(st.integers(0, 4)) == 0:
        return draw(st.binary(max_size=200))
    data = bytearray(draw(st.sampled_from(victims())))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        to = min(len(data), at + draw(st.integers(1, 30)))
        match draw(st.sampled_from(["set", "remove", "insert", "repeat", "cut"])):
            case "set":
                data[at:to] = draw(st.binary(min_size=1, max_size=to - at)) if to > at else b""
            case "remove":
                del data[at:to]
            case "insert":
                data[at:at] = draw(
                    st.sampled_from([b'"', b"{", b"[", b"}", b"]", b",", b":", b"-", b"1e9", b"null", b"\xff", b"\\u"])
                )
            case "repeat":
                data[at:at] = data[at:to]
            case _:
                del data[at:]
    return bytes(data)


@given(st.lists(mutated(), max_size=30), st.booleans())
def test_bad_frames_never_raise_and_never_touch_another_symbol(bad: list[bytes], observe: bool) -> None:
    """Every good frame of the other symbol is right, with bad ones before, between and after; each frame is counted.
    Its book may be doubted, and then is asked for again: a bad frame may have been of any symbol.
    """
    session = _core.Session("s", symbols=["ETH/EUR"], channels=["book", "trade"], passive=observe, frames=True)
    good = frames.Book("ETH/EUR", price_precision=2)
    opening = [
        frames.instrument(frames.pair("ETH/EUR", price_precision=2)),
        frames.ack("book", "ETH/EUR", depth=10, req_id=2),
    ]
    session.requests(frames.START)
    session.receive([opening[0]], frames.START)
    session.requests(frames.START)
    session.receive([opening[1], good.snapshot([("10.01", "1.0")], [("10.02", "1.0")])], frames.START)
    for n, frame in enumerate(bad):
        entry = ("bid", f"{n % 10}.25", f"{n + 1}.5")
        session.receive(
            [frame, good.update([entry]), frames.trade("ETH/EUR", n), frame], frames.START + n * frames.SECOND // 3
        )
    counts = session.counts()
    assert counts["frames"] == 3 + 4 * len(bad)
    book = session.book("ETH/EUR")
    assert book is not None
    assert (book.bids(), book.asks()) == (good.levels("bid"), good.levels("ask"))
    assert not [
        row
        for row in session.take_ledger()
        if row["symbol"] == "ETH/EUR"
        and row["kind"] not in {"snapshot", "subscribed", "listed"}
        and "a frame that could not be read" not in row["detail"]
    ]
    arrow = {name: pa.record_batch(batch) for name, batch in session.drain().items()}
    for name, batch in arrow.items():
        batch.validate(full=True)
        assert batch.num_rows == counts["rows"][name]
    kept = [value.as_py() for value in arrow["frames"].column("frame")]
    assert kept[3::4] == kept[6::4] == bad, "byte for byte, whatever they are"
    mine = pl.DataFrame(arrow["book"]).filter(pl.col("symbol") == "ETH/EUR")
    assert mine.height == 2 + len(bad)
    trades = (
        pl.DataFrame(arrow["trades"]).filter(pl.col("symbol") == "ETH/EUR") if "trades" in arrow else pl.DataFrame()
    )
    assert trades.height == len(bad)


@given(st.lists(mutated(), max_size=30))
def test_live_and_verify_judge_alike_whatever_comes(bad: list[bytes]) -> None:
    """The rows of any input, good or hostile, give the verifier the same verdicts as live, each with its reason."""
    session = _core.Session("s", passive=True)
    for n, frame in enumerate([*victims()[:7], *bad, *victims(), *bad]):
        session.receive([frame], frames.START + n * frames.SECOND // 3)
    session.end(session.now, "over")
    counts = session.counts()
    tables = {name: pl.DataFrame(pa.record_batch(batch)) for name, batch in session.drain().items()}
    ledger = tables["ledger"]
    assert ledger["entry"].to_list() == list(range(ledger.height)), "no row of the ledger is missing"
    unchecked = 0
    for channel, table in (("book", "book"), ("level3", "orders")):
        ends = ledger.filter(
            pl.col("kind").is_in(BOOK_ENDS),
            ~pl.col("kind").is_in(REFUSALS) | pl.col("symbol").is_not_null(),
            pl.col("channel").is_null() | (pl.col("channel") == channel),
        ).select("symbol", "message", "kind")
        verifier = _core.Verifier("s", channel=channel)
        verifier.ends(ends)
        verifier.messages(tables[table].sort("symbol", "message", "entry"))
        found = verifier.finish()
        problems = [sentence for one in found for sentence in one["problems"]]
        assert problems == []
        assert {key: sum(one[key] for one in found) for key in ("ok", "bad")} == counts["checksums"][channel]
        unchecked += sum(one["unchecked"] for one in found)
    assert unchecked == counts["unchecked"]


@settings(max_examples=10)
@given(st.lists(mutated(), min_size=1, max_size=20))
def test_the_lake_of_any_input_is_proved(tmp_path_factory: object, bad: list[bytes]) -> None:
    """From bytes to Parquet to proof: rows as handed out, checksums as live, exit code 0."""
    import pytest

    from krakpot.lake.verify import verify

    assert isinstance(tmp_path_factory, pytest.TempPathFactory)
    lake = tmp_path_factory.mktemp("lake")
    timed = [(frames.START + n * frames.SECOND // 3, frame) for n, frame in enumerate([*victims(), *bad, *victims()])]
    counts = lakes.make(lake, timed)
    report = verify(lake, threads=1)
    assert report.problems == []
    assert (report.checksums, report.unchecked) == (counts["checksums"], counts["unchecked"])
    assert dict(report.rows) | {"ledger": 0} == counts["rows"] | {"ledger": 0}
