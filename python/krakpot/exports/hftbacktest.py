"""Files of hftbacktest: events of one market as a NumPy array, one file for each piece without a gap."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from typing import Any

import polars as pl

from krakpot.errors import ConfigError
from krakpot.exports.books import floats, level_rows
from krakpot.exports.orders import Counts, fills, order_rows
from krakpot.exports.output import File, Output, file_symbol, period
from krakpot.exports.pieces import Piece, Recorded
from krakpot.lake.folder import View
from krakpot.lake.format import moment
from krakpot.lake.lake import Lake

DEPTH, TRADE, CLEAR, SNAPSHOT, ADD, CANCEL, MODIFY, FILL = 1, 2, 3, 4, 10, 11, 12, 13
"""Kinds of events."""
EXCH, LOCAL, BUY, SELL = 1 << 31, 1 << 30, 1 << 29, 1 << 28
"""Flags of an event: which of the two sides of the simulation sees it, and the side of the market."""
DTYPE = [
    ("ev", "<u8"), ("exch_ts", "<i8"), ("local_ts", "<i8"), ("px", "<f8"), ("qty", "<f8"), ("order_id", "<u8"),
    ("ival", "<i8"), ("fval", "<f8"),
]  # fmt: skip
WHAT = {"snapshot": ADD, "add": ADD, "modify": MODIFY, "cancel": CANCEL, "left": CANCEL}
FIRST, TRADES, FILLS, BOOK = range(4)
"""Ranks of events of one instant: the snapshot, trades, fills, then what they did to the book."""


def export_hftbacktest(
    lake: Lake, output: Output, symbols: list[str], channel: str, start: int | None, end: int | None,
    done: Callable[[int], None],
) -> None:  # fmt: skip
    """Write a file for each piece; ``done`` is called with numbers of rows, as they are read."""
    numpy()
    tables = ["book", "checkpoints"] if channel == "book" else ["orders", "orders_checkpoints"]
    view = lake.look([*tables, "trades", "ledger"])
    recorded = Recorded(view)
    for symbol in symbols:
        within = recorded.spans("trade", symbol, start, end)
        pieces = recorded.pieces(channel, symbol, start, end, within=within)
        if channel in recorded.channels(symbol) and "trade" not in recorded.channels(symbol):
            output.report.notes.append(f"{symbol}: trades were not recorded, so orders are filled by crossing only")
        spans = [(piece.ts_from, piece.ts_to, piece.reason) for piece in pieces]
        output.gaps(recorded.gaps(channel, symbol, spans))
        for piece in pieces:
            level = "l2" if channel == "book" else "l3"
            begin = moment(piece.ts_from).replace(":", "").replace("-", "")
            with output.file(f"{file_symbol(symbol)}_{level}_{begin}.npz") as file:
                trades = _trades(lake, piece)
                facts: dict[str, Any] = {}
                if channel == "book":
                    events = _level2(view, piece, trades, done)
                else:
                    events = _level3(view, recorded, piece, trades, facts, done)
                if events is None:
                    output.quiet(piece, channel)
                else:
                    file.rows = _save(events, file, facts)
                file.facts = {
                    "symbol": symbol, "channel": channel, "session": piece.session,
                    **period(piece.ts_from, piece.ts_to), "ended_by": piece.reason, "trades": trades.height,
                    "trades_missing": _missing(trades), **facts,
                }  # fmt: skip


def numpy() -> Any:  # noqa: ANN401  # the module
    """NumPy, which krakpot itself does not need."""
    try:
        import numpy  # noqa: ICN001, PLC0415  # only here
    except ImportError:
        sentence = "files of hftbacktest need NumPy: pip install numpy"
        raise ConfigError(sentence) from None
    return numpy


def _trades(lake: Lake, piece: Piece) -> pl.DataFrame:
    """Trades of a piece that were received live, each once, in the order of their ids."""
    frame = lake.scan("trades", piece.symbol, piece.ts_from, piece.ts_to).filter(kind="update")
    columns = (pl.col("ts_recv", "ts_event").dt.epoch("ns"), "side", "price", "qty", "trade_id")
    return frame.select(columns).sort("ts_event", "trade_id").collect()


def _missing(trades: pl.DataFrame) -> int:
    """How many trades were made between these, by their ids; numbers that begin anew are no gap."""
    return int((trades["trade_id"].diff().drop_nulls().clip(1) - 1).sum())


def _trade_events(trades: pl.DataFrame) -> pl.DataFrame:
    side = pl.when(pl.col("side") == "buy").then(BUY).otherwise(SELL)
    return trades.select(
        pl.lit(TRADES).alias("rank"),
        (side + TRADE).cast(pl.UInt64).alias("ev"),
        "ts_recv",
        "ts_event",
        floats("price").alias("px"),
        floats("qty").alias("qty"),
        pl.lit(0, pl.UInt64).alias("order_id"),
    )


def _book_side() -> pl.Expr:
    return pl.when(pl.col("side") == "bid").then(BUY).otherwise(SELL)


def _counted(frames: Iterable[pl.DataFrame], done: Callable[[int], None]) -> Iterator[pl.DataFrame]:
    """The same frames; ``done`` is called with the number of rows of each."""
    for frame in frames:
        yield frame
        done(frame.height)


def _level2(view: View, piece: Piece, trades: pl.DataFrame, done: Callable[[int], None]) -> pl.DataFrame | None:
    kind = pl.when(pl.col("what") == "snapshot").then(SNAPSHOT).otherwise(DEPTH)
    first = pl.col("what") == "snapshot"
    found = [
        rows.select(
            pl.when(first).then(FIRST).otherwise(BOOK).alias("rank"),
            (kind + _book_side()).cast(pl.UInt64).alias("ev"),
            "ts_recv",
            "ts_event",
            floats("price").alias("px"),
            floats("qty").alias("qty"),
            pl.lit(0, pl.UInt64).alias("order_id"),
        )
        for rows in _counted(level_rows(view, piece), done)
    ]
    return pl.concat([*found, _trade_events(trades)]) if found else None


def _level3(
    view: View,
    recorded: Recorded,
    piece: Piece,
    trades: pl.DataFrame,
    facts: dict[str, Any],
    done: Callable[[int], None],
) -> pl.DataFrame | None:
    counts = Counts()
    found = list(_counted(order_rows(view, recorded, piece, counts), done))
    if not found:
        return None
    # Ids of the exchange do not fit; they are numbered in the order in which the file names them.
    rows = pl.concat(found).with_columns(number=pl.col("order_id").rank("dense").cast(pl.UInt64))
    matched = fills(rows, trades)
    facts |= {"orders": rows["number"].n_unique(), **asdict(counts), **_attributed(trades, matched)}
    numbered = rows.with_row_index("row")
    plain = numbered.select(
        pl.when(pl.col("what") == "snapshot").then(FIRST).otherwise(BOOK).alias("rank"),
        (pl.col("what").replace_strict(WHAT, return_dtype=pl.Int64) + _book_side()).cast(pl.UInt64).alias("ev"),
        "ts_recv",
        "ts_event",
        floats("price").alias("px"),
        floats("qty").alias("qty"),
        pl.col("number").alias("order_id"),
        place=pl.col("row").cast(pl.Int64) * 2 + 1,
    )
    traded = trades.with_row_index("trade").select("trade", taken="qty")
    taken = matched.join(traded, on="trade").group_by("row", "hidden").agg(pl.col("taken").sum())
    filled = numbered.join(taken.filter(~pl.col("hidden")), on="row").select(
        # An order that was added in this instant can be filled only behind that.
        pl.when(pl.col("added") >= pl.col("ts_event")).then(BOOK).otherwise(FILLS).alias("rank"),
        (FILL + _book_side()).cast(pl.UInt64).alias("ev"),
        "ts_recv",
        "ts_event",
        floats("price").alias("px"),
        floats("taken").alias("qty"),
        pl.col("number").alias("order_id"),
        place=pl.col("row").cast(pl.Int64) * 2,
    )
    # Hidden quantity trades behind all that is shown at its price: as an order that comes, is filled, and is gone.
    last = rows["number"].max()
    once = numbered.join(taken.filter("hidden"), on="row").with_row_index("nth", offset=1)
    hidden = [
        once.select(
            pl.lit(rank).alias("rank"),
            (kind + _book_side()).cast(pl.UInt64).alias("ev"),
            "ts_recv",
            "ts_event",
            floats("price").alias("px"),
            (pl.lit(0.0) if kind == CANCEL else floats("taken")).alias("qty"),
            (pl.lit(last, pl.UInt64) + pl.col("nth")).alias("order_id"),
            place=pl.col("row").cast(pl.Int64) * 2,
        )
        for kind, rank in ((ADD, FILLS), (FILL, FILLS), (CANCEL, BOOK))
    ]
    book = pl.concat([plain, filled, *hidden]).sort("place", maintain_order=True).drop("place")
    return pl.concat([book, _trade_events(trades)])


def _attributed(trades: pl.DataFrame, matched: pl.DataFrame) -> dict[str, Any]:
    """How much of what was traded is a fill of an order."""
    unmatched = trades.height - matched["trade"].n_unique()
    return {
        "fills": matched.filter(~pl.col("hidden"))["row"].n_unique(),
        "trades_hidden": int(matched["hidden"].sum()),
        "trades_unattributed": unmatched,
        "share_unattributed": round(unmatched / trades.height, 6) if trades.height else 0.0,
    }


def _ordered(events: pl.DataFrame, facts: dict[str, Any]) -> pl.DataFrame:
    """Events in a file's order, with flags: where the order of the exchange and that here differ, an event comes twice.

    The book's own order is never changed: a time that is earlier than one before it is raised.
    """
    book = pl.col("rank") != TRADES
    times = pl.col("ts_event", "ts_recv")
    raised = events.with_columns(times.cum_max().over(book))
    facts["times_raised"] = int((raised["ts_event"] != events["ts_event"]).sum())
    late = max(0, int((raised["ts_event"] - raised["ts_recv"]).max() or 0))  # type: ignore[arg-type]  # a number
    facts["local_shift_ns"] = late
    first = pl.col("rank") == FIRST
    plain = raised.with_columns(pl.col("ts_recv") + late).with_row_index("place")
    earliest = plain.select(pl.col("ts_event", "ts_recv").min()).row(0)
    plain = plain.with_columns(
        pl.when(first).then(pl.lit(time, pl.Int64)).otherwise(name).alias(name)
        for name, time in zip(("ts_event", "ts_recv"), earliest, strict=True)
    )
    # Both orders go by rank within an instant, so that they differ as rarely as possible.
    plain = plain.sort(~first, "ts_event", "rank", "place").with_row_index("exch")
    local = plain.sort(~first, "ts_recv", "exch").with_row_index("local")
    both = pl.col("exch") >= pl.col("exch").cum_max()
    marked = local.with_columns(both.alias("both"), high=pl.col("exch").cum_max())
    # An event that the exchange had earlier than one received before it: here it stays at its place, and there it goes
    # before the first one that is later.
    together = marked.filter("both").select("exch", pl.col("local").alias("at"))
    apart = marked.filter(~pl.col("both"))
    early = apart.sort("exch").join_asof(together.sort("exch"), on="exch", strategy="forward", check_sortedness=False)
    flags = pl.col("ev") | (EXCH | LOCAL)
    facts["events_twice"] = apart.height
    return pl.concat(
        [
            marked.filter("both").with_columns(ev=flags, at="local", turn=pl.lit(1)),
            apart.with_columns(ev=pl.col("ev") | LOCAL, at="local", turn=pl.lit(1)),
            early.with_columns(ev=pl.col("ev") | EXCH, turn=pl.lit(0)),
        ],
        how="diagonal_relaxed",
    ).sort("at", "turn", "exch")


def _save(events: pl.DataFrame, file: File, facts: dict[str, Any]) -> int:
    """Write the array; returns the number of its events."""
    np = numpy()
    rows = _ordered(events, facts)
    array = np.zeros(rows.height, DTYPE)
    for name, column in (
        ("ev", "ev"), ("exch_ts", "ts_event"), ("local_ts", "ts_recv"), ("px", "px"), ("qty", "qty"),
        ("order_id", "order_id"),
    ):  # fmt: skip
        array[name] = rows[column].to_numpy()
    with file.unfinished.open("wb") as opened:
        np.savez_compressed(opened, data=array)
    return int(rows.height)
