"""Counts and queues of level 3 against a plain model: an unsorted list of orders."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import channels
import frames
import lakes
from krakpot import ConfigError, Lake
from krakpot.features import orders
from krakpot.lake import seal

STEP = frames.SECOND // 2
DEPTH = 10


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """Half a minute of level 3 at the smallest depth, where levels leave the window and come back."""
    path = tmp_path_factory.mktemp("queues") / "lake"
    channels.record(path, channels.run(pairs=3, rate=600, seconds=30, depth3=DEPTH))
    return Lake(path)


@pytest.fixture(scope="module")
def rows(lake: Lake) -> pl.DataFrame:
    """Its orders."""
    return lake.orders().sort("symbol", "message", "entry").collect()


def best_queues(rows: pl.DataFrame, times: list[int]) -> dict[tuple[str, int], dict[str, Any]]:
    """Number and mean age of the orders at the best prices, message by message."""
    found = {}
    plain = rows.with_columns(pl.col("ts_recv", "ts_order").dt.epoch("ns"))
    for (symbol,), mine in plain.group_by("symbol", maintain_order=True):
        model = frames.Orders(DEPTH, 10, 10)
        messages = mine.partition_by("message", maintain_order=True)
        for time in times:
            while messages and messages[0]["ts_recv"][0] <= time:
                message = messages.pop(0)
                if message["kind"][0] == "snapshot":
                    model.held = []
                entries = message.drop_nulls("order_id").select("side", "event", "order_id", "price", "qty", "ts_order")
                model.apply([(*texts, str(price), str(qty), at) for *texts, price, qty, at in entries.iter_rows()])
            one: dict[str, Any] = {}
            for side in ("bid", "ask"):
                queue = model.queue(side, model.prices(side)[0]) if model.prices(side) else []
                one[f"{side}_queue_orders"] = len(queue)
                one[f"{side}_queue_age"] = sum(time - order.place[0] for order in queue) / max(len(queue), 1) / 1e9
            found[symbol, time] = one
    return found


def test_queues_are_the_plain_model_s(lake: Lake, rows: pl.DataFrame) -> None:
    """Where something is said it is right, and nearly always something is said."""
    begin = frames.START + STEP
    count = 58
    expected = best_queues(rows, [begin + n * STEP for n in range(count)])
    compared = unknown = 0
    for symbol in lake.symbols():
        books = lake.books(symbol, begin, begin + count * STEP, every=f"{STEP}ns", depth=1, channel="level3")
        found = orders.queues(books.with_columns(symbol=pl.lit(symbol)), rows)
        mine = orders.queues(books.drop("symbol", strict=False), rows.filter(symbol=symbol))
        assert mine.drop("symbol", strict=False).equals(found.drop("symbol"))
        for row in found.with_columns(pl.col("ts").dt.epoch("ns")).iter_rows(named=True):
            for side in ("bid", "ask"):
                model = expected[symbol, row["ts"]]
                if row[f"{side}_queue_orders"] is None:
                    assert row[f"{side}_queue_age"] is None
                    unknown += 1
                    continue
                compared += 1
                assert row[f"{side}_queue_orders"] == model[f"{side}_queue_orders"], (symbol, row["ts"])
                assert row[f"{side}_queue_age"] == pytest.approx(model[f"{side}_queue_age"], abs=1e-6)
    assert compared > 300
    assert unknown < 10


def test_a_queue_is_not_told_if_an_order_is_missing(lake: Lake, rows: pl.DataFrame) -> None:
    """Without some of the rows the quantities do not add up; no number is invented."""
    (symbol, *_) = lake.symbols()
    mine = rows.filter(symbol=symbol)
    books = lake.books(
        symbol, frames.START + STEP, frames.START + 60 * STEP, every=f"{STEP}ns", depth=1, channel="level3"
    )
    names = ["bid_queue_orders", "ask_queue_orders"]
    whole = orders.queues(books, mine).select(names)
    less = orders.queues(books, mine.filter(pl.col("qty").rank("ordinal") % 5 > 0)).select(names)
    for name in names:
        both = pl.DataFrame({"whole": whole[name], "less": less[name]}).drop_nulls()
        assert both["whole"].equals(both["less"].rename("whole"))
        assert less[name].null_count() > whole[name].null_count()


def test_a_checkpoint_is_a_whole_book(lake: Lake, rows: pl.DataFrame) -> None:
    """Orders are known from it on, and those before it do not count any more."""
    (symbol, *_) = lake.symbols()
    mine = rows.filter(symbol=symbol)
    snapshot = mine.filter(kind="snapshot")
    later = mine.filter(pl.col("message") > snapshot["message"].max())
    books = lake.books(
        symbol, frames.START + STEP, frames.START + 20 * STEP, every=f"{STEP}ns", depth=1, channel="level3"
    )
    whole = orders.queues(books, mine)
    assert orders.queues(books, later)["bid_queue_orders"].null_count() == books.height
    assert orders.queues(books, later, snapshot.drop("kind", "event")).equals(whole)
    assert orders.queues(books, mine, snapshot.drop("kind", "event").with_columns(pl.col("message") + 1)).equals(whole)


def test_counts_are_the_plain_model_s(rows: pl.DataFrame) -> None:
    """Updates only, by second."""
    expected: dict[tuple[str, int], dict[str, int]] = defaultdict(lambda: dict.fromkeys(orders.EVENTS, 0))
    for row in rows.filter(kind="update").with_columns(pl.col("ts_recv").dt.epoch("s")).iter_rows(named=True):
        counts = expected[row["symbol"], row["ts_recv"]]
        if row["event"] in ("add", "delete"):
            counts[f"{row['side']}_{row['event']}s"] += 1
    found = orders.order_counts(rows, "1s").with_columns(pl.col("ts_from").dt.epoch("s"))
    assert found.rows() == [(*key, *counts.values()) for key, counts in sorted(expected.items())]
    assert found.height > 60


def test_what_cannot_be_exact_is_refused(lake: Lake, rows: pl.DataFrame) -> None:
    """Floats do not add up; orders of several symbols need symbols in the books."""
    (symbol, *_) = lake.symbols()
    options: dict[str, Any] = {"every": f"{STEP}ns", "depth": 1, "channel": "level3"}
    books = lake.books(symbol, frames.START, frames.START + 2 * STEP, **options).drop("symbol", strict=False)
    with pytest.raises(ConfigError, match="read the books and the orders with numbers='decimal'"):
        orders.queues(books.with_columns(pl.col(pl.Decimal).cast(pl.Float64)), rows)
    with pytest.raises(ConfigError, match="the orders are of several; filter them by symbol"):
        orders.queues(books, rows)
    with pytest.raises(ConfigError, match="every='x' is not allowed"):
        orders.order_counts(rows, "x")


def test_a_modify_keeps_the_place_unless_the_price_changes(tmp_path: Path) -> None:
    """The age goes on; at another price it begins anew."""
    second = frames.SECOND
    book = frames.Orders(10, 1, 8)
    timed = []
    place = frames.START - 10 * second
    book.apply([("bid", None, "A", "99.0", "1", place), ("ask", None, "C", "101.0", "1", place)])
    timed.append((frames.START, book.snapshot()))
    for n, (event, price, qty) in enumerate([("modify", "99.0", "0.5"), ("modify", "100.0", "0.5")]):
        at = frames.START + (n + 1) * second
        timed.append((at, book.update([("bid", event, "A", price, qty, at)], ts=at)))
    recorder = lakes.Recorder(tmp_path / "lake", precision={"BTC/USD": (1, 8)})
    recorder.take(timed)
    recorder.end()
    seal.recover(tmp_path / "lake")
    lake = Lake(tmp_path / "lake")
    books = lake.books("BTC/USD", frames.START, frames.START + 3 * second, every="1s", depth=1, channel="level3")
    found = orders.queues(books.drop("symbol", strict=False), lake.orders().collect())
    assert found["bid_queue_age"].to_list() == [10.0, 11.0, 0.0]
    assert found["ask_queue_age"].to_list() == [10.0, 11.0, 12.0]


def test_the_checkpoint_of_an_hour_is_enough(tmp_path: Path) -> None:
    """Of the rows before the hour nothing is needed; what is said is the same."""
    hour = frames.START // frames.HOUR * frames.HOUR + frames.HOUR
    lakes.make(tmp_path / "lake", lakes.market(500, begin=hour - 5 * frames.SECOND, level3=True))
    lake = Lake(tmp_path / "lake")
    (symbol, *_) = lake.symbols()
    books = lake.books(symbol, hour, hour + 5 * frames.SECOND, every="100ms", depth=1, channel="level3")
    rows, checkpoints = (lake.scan(table, symbol).collect() for table in ("orders", "orders_checkpoints"))
    assert checkpoints["ts_recv"].dt.epoch("ns").unique().len() == 1
    names = ["bid_queue_orders", "bid_queue_age", "ask_queue_orders", "ask_queue_age"]
    whole = orders.queues(books, rows, checkpoints).select(names)
    later = rows.filter(pl.col("message") >= checkpoints["message"].max())
    assert orders.queues(books, later, checkpoints).select(names).equals(whole)
    assert whole["bid_queue_orders"].null_count() < whole.height / 2
