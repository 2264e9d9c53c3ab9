"""The public names as a type checker sees them: `mypy --strict` reads this file in `make check`, nothing runs it."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, assert_type

import polars as pl

import krakpot
from krakpot import _core
from krakpot.record.run import record


def reading(path: Path) -> None:
    """A lake gives Polars frames."""
    lake = krakpot.Lake(path)
    assert_type(lake, krakpot.Lake)
    assert_type(lake.book("BTC/USD", "2026-08-02", 1_785_641_750_000_000_000), pl.LazyFrame)
    assert_type(lake.trades(["BTC/USD", "ETH/USD"], numbers="float"), pl.LazyFrame)
    assert_type(lake.trades("BTC/USD", book=1), pl.LazyFrame)
    assert_type(lake.trades("BTC/USD", book=1, by="event"), pl.LazyFrame)
    assert_type(lake.ticker(), pl.LazyFrame)
    assert_type(lake.ohlc(), pl.LazyFrame)
    assert_type(lake.bars("BTC/USD", every="5m"), pl.DataFrame)
    assert_type(lake.clock_skew("BTC/USD", every="1m"), pl.DataFrame)
    frame = lake.features("BTC/*", ["mid", "imbalance_5"], every="1s")
    assert_type(frame, pl.DataFrame)
    assert_type(krakpot.FEATURES["mid"], krakpot.Feature)
    assert_type(krakpot.triple_barrier(krakpot.future_mid(frame, ["1s"]), 0.001, 0.001, "5m"), pl.DataFrame)
    assert_type(krakpot.split(frame, (0.8, 0.2), purge="1m"), tuple[pl.DataFrame, ...])
    assert_type(krakpot.matrix(frame, ["mid"]).shape, tuple[Any, ...])
    assert_type(list(krakpot.arrays(frame)), list[str])
    assert_type(lake.pairs(), pl.LazyFrame)
    assert_type(lake.ledger(), pl.LazyFrame)
    assert_type(lake.scan("checkpoints"), pl.LazyFrame)
    assert_type(lake.coverage(), pl.DataFrame)
    assert_type(lake.integrity("BTC/USD").whole, bool)
    assert_type(lake.integrity("BTC/USD", "2026-08-02").channels["book"].gaps[0].reason, str)
    assert_type(lake.books("BTC/USD", "2026-08-02", every="1s", depth=5, by="event", numbers="float"), pl.DataFrame)
    assert_type(lake.book_at("BTC/USD", "2026-08-02T10:00"), krakpot.BookAt)
    assert_type(lake.books(["BTC/USD", "ETH/*"], at=["2026-08-02", 5], layout="long"), pl.DataFrame)
    assert_type(lake.books("BTC/*", at=lake.books("BTC/*")["ts"]), pl.DataFrame)
    assert_type(lake.orders_at("BTC/USD", 1, by="event", depth=5, numbers="float"), krakpot.OrdersAt)
    assert_type(lake.order("OTCFZG-YOE2Q-LQKNM3", "BTC/USD"), krakpot.OrderLife)
    fill = lake.would_fill("BTC/USD", "buy", "63380.8", Decimal(1), 1, 2, channel="level3")
    assert_type(fill, krakpot.WouldFill)
    assert_type((fill.filled, fill.filled_max, fill.first_fill), tuple[Decimal, Decimal, int | None])
    assert_type((fill.fills, fill.trades, fill.orders), tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame])
    lake.would_fill("BTC/USD", "bid", 1, 1, 1)  # type: ignore[call-overload]  # buy or sell
    assert_type(lake.would_fill(pl.DataFrame(), channel="book"), pl.DataFrame)
    assert_type(krakpot.Latency("5ms", "8ms", coupling="0.5").millionths, int)
    lake.books("BTC/USD", by="exchange")  # type: ignore[arg-type]  # only "recv" and "event"
    assert_type(lake.plot, krakpot.Plot)
    lake.plot.book("BTC/USD", "2026-08-02", interactive=True, save="book.html")
    lake.plot.ladder("BTC/USD")  # type: ignore[call-arg]  # at which time?
    assert_type(lake.parts("book"), list[krakpot.Part])
    assert_type(lake.symbols(), list[str])
    assert_type(lake.sessions(), list[str])
    assert_type(lake.verify(strict=True), krakpot.Report)
    assert_type(krakpot.verify("data", threads=2).proved, bool)
    assert_type(krakpot.verify("data").outcome, Literal["proved", "not proved", "nothing yet"])
    assert_type(lake.book(numbers="int"), pl.LazyFrame)
    lake.book(numbers="text")  # type: ignore[arg-type]  # decimal, float or int
    lake.path.joinpath(1)  # type: ignore[arg-type]  # a Path, not Any


def exporting(path: Path) -> None:
    """An export says what it wrote."""
    report = krakpot.export(path, "hftbacktest", "npz", "BTC/USD", "2026-08-02", channel="level3")
    assert_type(report, krakpot.ExportReport)
    assert_type((report.complete, report.rows, report.notes), tuple[bool, int, list[str]])
    krakpot.export(krakpot.Lake(path), "nautilus", path, nautilus_version=1, overwrite=True)
    krakpot.export(path, "zipline", path)  # type: ignore[arg-type]  # one of the formats


def writing(path: Path) -> None:
    """Recording and ingesting give plain facts."""
    assert_type(record(krakpot.Config(out=path, symbols=("BTC/*",), duration=10.0)), krakpot.RecordingSummary)
    assert_type(krakpot.Recorder(krakpot.Config()).sessions, list[str])
    assert_type(krakpot.ingest(path, path, precision={"BTC/USD": (1, 8)}, depth=10), krakpot.IngestResult)
    assert_type(krakpot.backfill(path, "BTC/USD", since="2026-11-01", pace="100ms"), krakpot.BackfillResult)
    assert_type(krakpot.import_file(path, path, format="tardis"), krakpot.ImportResult)
    krakpot.import_file(path, path, format="csv")  # type: ignore[arg-type]  # a format that exists
    krakpot.Config(depht=10)  # type: ignore[call-arg]  # a misspelled option
    krakpot.Config(depth="10")  # type: ignore[arg-type]  # text is read by `krakpot.config.read`


async def live(path: Path) -> None:
    """A strategy's events are told apart by their classes; numbers are as they were asked for."""
    async with krakpot.Feed(["BTC/USD"], channels=["book"], depth=10, record=path) as feed:
        book = feed.book("BTC/USD")
        assert_type(book, krakpot.LiveBook)
        assert_type(book.best_bid, Decimal | None)
        assert_type(book.bids(10), list[tuple[Decimal, Decimal]])
        assert_type(book.asks(numbers="float"), list[tuple[float, float]])
        assert_type(book.best("int"), tuple[int | None, int | None, int | None, int | None])
        assert_type(book.checksum, int)
        async for event in feed:
            if isinstance(event, krakpot.TradeEvent):
                assert_type(event.price, Decimal)
            elif isinstance(event, krakpot.BookEvent):
                assert_type(event.outcome, Literal["ok", "unchecked", "mismatch", "crossed", "refused"])
                assert_type(event.kind, Literal["snapshot", "update"])
            elif isinstance(event, krakpot.GapEvent):
                assert_type((event.first_trade_id, event.ts_from), tuple[int | None, int | None])
            elif isinstance(event, krakpot.Level3Event):
                assert_type(event.orders()[0][1], Literal["add", "modify", "delete"] | None)
            elif isinstance(event, krakpot.SubscriptionEvent):
                assert_type(event.state, krakpot.SubscriptionState | Literal["off"])
            elif event.channel == "skipped":
                assert_type(event, krakpot.SkippedEvent)
            elif isinstance(event, krakpot.ConnectionEvent):
                assert_type(event.up, bool)
        async for tables in feed.batches(every=0.1):
            assert_type(tables, dict[str, _core.Batch])
        feed.on("book", print, symbol="BTC/USD")
        assert_type(await feed.run(), None)
        orders = feed.orders("BTC/USD")
        assert_type(orders, krakpot.LiveOrders)
        assert_type(orders.levels("bid", 3), list[tuple[Decimal, Decimal, int]])
        assert_type(orders.queue("ask", "100.0", "float"), list[tuple[str, float, int]])
        assert_type(orders.order("id"), krakpot.QueuedOrder[Decimal] | None)
        assert_type(orders.order("id", "int"), krakpot.QueuedOrder[int] | None)
        assert_type(await feed.add_symbols(["SOL/USD"], channels=["book"]), list[str])
        assert_type(await feed.remove_symbols(["SOL/USD"]), list[str])
        assert_type(feed.subscriptions(), list[krakpot.Subscription])
        assert_type(feed.selected_symbols, list[str])
        assert_type(await feed.wait_ready(timeout=30), None)
        assert_type(feed.error, Exception | None)
    feed = await krakpot.Feed(channels={"book": ["*"], "level3": ["BTC/USD"]}).start()
    assert_type(feed, krakpot.Feed)
    assert_type(await feed.close(), None)
    krakpot.Feed(["BTC/USD"], slow_reader="drop")  # type: ignore[arg-type]  # wait, newest or fail


def errors(error: krakpot.KrakpotError) -> None:
    """Facts of errors are attributes."""
    if isinstance(error, krakpot.StorageError):
        assert_type(error.path, Path)
    elif isinstance(error, krakpot.NoBook):
        assert_type((error.symbol, error.state, error.reason), tuple[str, str, str])
    elif isinstance(error, krakpot.SlowReader):
        assert_type((error.waiting, error.limit), tuple[int, int])
    elif isinstance(error, krakpot.ConnectionLost):
        assert_type(error.attempts, int)
        assert_type(error.last_error, str)


def core(frames: list[bytes]) -> None:
    """The extension."""
    session = _core.Session("demo", symbols=["BTC/*"], depth=10, passive=True)
    session.receive(frames, 1)
    assert_type(session.drain(), dict[str, _core.Batch])
    assert_type(session.requests(2), list[bytes])
    assert_type(session.book("BTC/USD"), _core.Book | None)
    assert_type(session.subscriptions()[0][2], krakpot.SubscriptionState)
    assert_type(_core.TABLES, tuple[str, ...])
    assert_type(_core.matches("BTC/*", "BTC/USD"), bool)
    session.receive("text", 1)  # type: ignore[arg-type]  # frames are bytes, in a list
    _core.Session("demo", channel=["book"])  # type: ignore[call-arg]  # it is `channels`
    book = session.book("BTC/USD")
    book.bids()  # type: ignore[union-attr]  # there may be none
    if book is not None:
        assert_type(book.bids(10), list[tuple[str, str]])
        assert_type(book.checksum, int)


async def exchange() -> None:
    """The built-in exchange, with sockets and without."""
    async with krakpot.ExchangeServer(krakpot.ExchangeOptions(pairs=3, speed=None)) as server:
        assert_type((server.address, server.level3_address, server.rest_address), tuple[str, str, str])
        assert_type(server.key.secret_text, str)
        assert_type(server.summary(), dict[str, Any])
    assert_type(_core.Exchange(pairs=3).take(0), bytes)
