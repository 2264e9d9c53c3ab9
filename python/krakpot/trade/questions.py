"""What would have become of many orders: a frame of them, answered in one pass over a lake.

Each order is alone, as on paper with no latency: none changes the record, none sees another.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, cast

import polars as pl

from krakpot import _core
from krakpot.errors import ConfigError
from krakpot.lake.folder import Folder
from krakpot.lake.lake import Lake
from krakpot.lake.recorded import check_recorded, has_rows
from krakpot.lake.times import TIME, times_of
from krakpot.replay.source import TIME_MAX, ReplaySource
from krakpot.stream.events import ALWAYS
from krakpot.stream.stream import EventStream
from krakpot.trade.source import Silent, TradedPair, recorded_depth, recorded_pairs
from krakpot.values import LEVEL3, near, shown

PLACE = "would_fill"
NEEDED = ("symbol", "side", "price", "qty", "at")
OPTIONAL = ("until", "tag")
SIDES = ("buy", "sell")
CHANNELS = (LEVEL3, "book")
DIGITS = 10
"""Decimals of the columns."""
NUMBER = pl.Decimal(38, DIGITS)
STEPS_MAX = 1 << 56
"""The largest quantity and price, in steps."""
ROWS_MAX = 1 << 31
FLOAT_MAX = 1 << 53
FLOAT_ERROR = 2.0**-51
EARLY = 60 * 10**9
"""How long before the first order is read: what was received before its time, by a clock that is behind."""
LATE = 60 * 10**9
"""How long after the last one: what came late."""
SLACK = 10**9
"""How far times of the exchange and times of receipt may differ where it is looked whether trades were recorded, ns."""
STEPS = 1 << 14
"""Reads of sockets that are played in one turn."""
NOT_RECORDED, FILLED, EXPIRED, UNFINISHED = range(4)
"""How a question ended."""
OUTCOMES = pl.Series(["not recorded", "filled", "unknown", "partly filled", "not filled"])
REASONS = pl.Series(["trades", "gap", "ended", "unmatched", "bounds"])
SCHEMA: dict[str, Any] = {
    "outcome": pl.String(),
    "reason": pl.String(),
    "filled": NUMBER,
    "filled_max": NUMBER,
    "first_fill": TIME,
    "last_fill": TIME,
    "evidence": pl.String(),
    "trade_id": pl.Int64(),
    "ahead": NUMBER,
    "doubt": pl.Boolean(),
    "gaps": pl.Int64(),
    "known_until": TIME,
}
"""What is said of each order."""
FILLS = pl.Schema(
    {
        "row": pl.Int64(),
        "ts": TIME,
        "evidence": pl.String(),
        "price": NUMBER,
        "qty": NUMBER,
        "trade_id": pl.Int64(),
        "doubt": pl.Boolean(),
    }
)


def answer(lake: Lake, frame: Any, *, channel: str | None, fills: bool) -> tuple[pl.DataFrame, pl.DataFrame]:  # noqa: ANN401  # a frame of any library
    """See ``Lake.would_fill``: a row for each order, in their order; and the fills of all, if they are wanted."""
    given = _frame(frame)
    asked = _read(lake, given)
    found, parts = [], []
    channels = _channels(lake, asked, channel)
    for one, symbols in channels.items():
        # Copying is left out where it changes nothing: of many orders it costs as much as answering.
        rows = asked if len(channels) == 1 else asked.filter(pl.col("symbol").is_in(symbols))
        said, filled = _Pass(lake, one, symbols, rows, fills=fills).run()
        found.append(said)
        parts.append(filled)
    empty = pl.DataFrame(schema={"row": pl.Int64()} | SCHEMA)
    said = (found[0] if len(found) == 1 else pl.concat([empty, *found]).sort("row")).drop("row")
    left = [name for name in given.columns if name not in SCHEMA]
    told = pl.concat([pl.DataFrame(schema=FILLS), *parts]).sort("row", "ts", maintain_order=True)
    return given.select(left).hstack(said), told


# What is asked.


def _frame(given: Any) -> pl.DataFrame:  # noqa: ANN401  # a frame of any library
    sentence = (
        f"{PLACE}: {shown(given)} is not allowed; allowed is the name of a pair, or a table with a row for each order"
    )
    if isinstance(given, (str, bytes)) or given is None:
        raise ConfigError(sentence)
    try:
        frame = given if isinstance(given, pl.DataFrame) else pl.DataFrame(given)
    except Exception as error:  # whatever another library's object raises
        raise ConfigError(sentence) from error
    columns = ", ".join((*NEEDED, *OPTIONAL))
    for name in NEEDED:
        if name not in frame.columns:
            raise ConfigError(f"{PLACE}: the column {name} is missing; needed are {', '.join(NEEDED)}")
    for name in frame.columns:
        if name not in (*NEEDED, *OPTIONAL):
            raise ConfigError(f"{PLACE}: the column {name} is not known; columns are {columns}")
    if frame.height >= ROWS_MAX:
        raise ConfigError(f"{PLACE}: {frame.height:,} rows are too many; ask about fewer than {ROWS_MAX:,} at once")
    for name in NEEDED:
        _refuse(frame[name], frame[name].is_null(), name, "a value is missing; every order needs one")
    return frame


def _refuse(column: pl.Series, wrong: pl.Series, name: str, allowed: str) -> None:
    """``ConfigError`` for the first row that is wrong."""
    row = wrong.arg_max() if wrong.any() else None
    if row is not None:
        value = column[row]
        what = allowed if value is None else f"{shown(value)} is not allowed; {allowed}"
        raise ConfigError(f"{PLACE}: {name}: row {row}: {what}")


def _read(folder: Folder, given: pl.DataFrame) -> pl.DataFrame:
    """Row, symbol, buys, price and qty as given, at and until in ns; everything checked that needs no data."""
    side = given["side"].cast(pl.String)
    buys = side == "buy"
    _refuse(side, ~(buys | (side == "sell")), "side", f"allowed is {' or '.join(SIDES)}")
    named = given["symbol"].cast(pl.String)
    known = folder.symbols()
    # Names are compared once; from here on they are numbers.
    symbol = named.cast(pl.Enum(known), strict=False)
    unknown = symbol.is_null()
    if unknown.any():
        name = named.filter(unknown)[0]
        close = near(name, known)
        hint = f"did you mean {' or '.join(close)}?" if close else f"the lake has {', '.join(known[:20]) or 'none'}"
        _refuse(named, unknown, "symbol", hint)
    at = _times(given["at"], "at")
    until = pl.Series("until", [TIME_MAX], dtype=pl.Int64).new_from_index(0, given.height)
    if "until" in given.columns and given["until"].null_count() < given.height:
        column = given["until"]
        there = column.is_not_null().arg_true()
        until = until.scatter(there, _times(column.drop_nulls(), "until"))
        _refuse(given["at"], until < at, "at", "until is earlier; exchange the two")
    columns = {"row": pl.int_range(given.height, eager=True), "symbol": symbol, "buys": buys}
    return pl.DataFrame(columns | {"price": given["price"], "qty": given["qty"], "at": at, "until": until})


def _times(column: pl.Series, name: str) -> pl.Series:
    try:
        return times_of(column, f"{PLACE}: {name}").cast(TIME).to_physical()
    except ConfigError:
        # Row by row it is known which one is wrong.
        for row, value in enumerate(column):
            times_of([value], f"{PLACE}: {name}: row {row}")
        raise


def _steps(frame: pl.DataFrame, name: str, digits: int) -> pl.Series:
    """A column in steps, exact; ``ConfigError`` for a number that the pair does not have."""
    column = frame[name]
    kind = column.dtype
    if kind.is_integer():
        number = column.cast(pl.Int64, strict=False)
        small = number.is_between(0, STEPS_MAX // 10**digits).fill_null(value=False)
        steps = number.zip_with(small, pl.Series([None], dtype=pl.Int64)) * 10**digits
    elif kind.is_float():
        scaled = column.cast(pl.Float64) * 10.0**digits
        steps = scaled.round(0)
        # The float that is nearest to a number of so many decimals, but for the rounding of one multiplication.
        fits = (steps.abs() < FLOAT_MAX) & ((scaled - steps).abs() <= steps.abs() * FLOAT_ERROR)
        steps = steps.zip_with(fits.fill_null(value=False), pl.Series([None], dtype=pl.Float64))
        steps = steps.cast(pl.Int64)
    else:
        # There are few different ones.
        values = column.unique()
        listed = [_exact(value, digits) for value in values]
        steps = column.replace_strict(values, pl.Series(listed, dtype=pl.Int64), return_dtype=pl.Int64)
    wrong = steps.is_null() | (steps <= 0) | (steps > STEPS_MAX)
    if wrong.any():
        at = wrong.arg_max()
        assert at is not None, "there is one"
        row, symbol = frame["row"][at], frame["symbol"][at]
        sentence = f"allowed is a number above 0 with at most {digits} decimals, as {symbol} has them"
        raise ConfigError(f"{PLACE}: {name}: row {row}: {shown(column[at])} is not allowed; {sentence}")
    found: pl.Series = steps.cast(pl.Int64)
    return found


def _exact(value: object, digits: int) -> int | None:
    """A number in steps; None if it is none."""
    try:
        number = Decimal(value if isinstance(value, (int, Decimal)) else str(value))
        steps = number.scaleb(digits)
        if isinstance(value, bool) or not number.is_finite() or steps != steps.to_integral_value():
            return None
    except (InvalidOperation, ValueError):
        return None
    return int(steps) if 0 < steps <= STEPS_MAX else None


def _channels(folder: Folder, asked: pl.DataFrame, channel: str | None) -> dict[str, list[str]]:
    """The channel that answers, and its pairs: level 3 where it was recorded, else the book."""
    if channel is not None and channel not in CHANNELS:
        raise ConfigError(f"{PLACE}: channel={shown(channel)} is not allowed; allowed is {' or '.join(CHANNELS)}")
    found: dict[str, list[str]] = {}
    for symbol in asked["symbol"].unique().sort():
        has = channel or (LEVEL3 if has_rows(folder, [symbol], LEVEL3) else "book")
        found.setdefault(has, []).append(symbol)
    return found


# What is answered.


@dataclass(frozen=True)
class _Said:
    """What one pass says."""

    answers: pl.DataFrame
    parts: pl.DataFrame


class _Pass:
    """Questions of some pairs by one channel."""

    def __init__(self, lake: Lake, channel: str, symbols: list[str], asked: pl.DataFrame, *, fills: bool) -> None:
        self._lake, self._channel, self._fills = lake, channel, fills
        self._asked = asked = asked.with_row_index("number")
        first, last = int(asked["at"].min()), int(asked["until"].max())  # type: ignore[arg-type]  # whole numbers
        end = None if last > TIME_MAX - LATE else last + LATE
        start = max(first - EARLY, 0)
        check_recorded(lake, symbols, [channel])
        traded = [symbol for symbol in symbols if has_rows(lake, [symbol], "trade")]
        self._start, self._end = start, end
        self._channels = {channel: symbols} | ({"trade": traded} if traded else {})
        self._pairs = recorded_pairs(lake, symbols, PLACE)
        self._steps = {pair.symbol: self._in_steps(self._of(pair.symbol), pair) for pair in self._pairs}

    def _of(self, symbol: str) -> pl.DataFrame:
        return self._asked if len(self._pairs) == 1 else self._asked.filter(pl.col("symbol") == symbol)

    @staticmethod
    def _in_steps(rows: pl.DataFrame, pair: TradedPair) -> pl.DataFrame:
        price, qty = _steps(rows, "price", pair.price_precision), _steps(rows, "qty", pair.qty_precision)
        return rows.select(
            number=pl.col("number").cast(pl.UInt32), buys="buys", price=price, qty=qty, at="at", until="until"
        )

    def run(self) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Answers and fills, by ``row``."""
        if self._channel == LEVEL3:
            said = self._play(None)
            return self._judge(said.answers, pl.col("certain"), said.answers), said.parts
        # What left a level without being traded stood behind the order, or before it: the least and the most.
        least, most = self._play("behind"), self._play("ahead")
        # What is beyond the shown is no doubt here: level 2 shows no orders. What was filled in a gap is.
        certain = pl.when(pl.col("gaps") > 0).then("certain").otherwise("filled")
        return self._judge(least.answers, certain, most.answers), most.parts

    def _play(self, cancels: str | None) -> _Said:
        source = ReplaySource(self._lake, self._channels, start=self._start, end=self._end, by="recv", speed=None)
        depth = recorded_depth(self._lake, self._channels[self._channel], self._channel)
        core = _core.Questions(self._asked.height, cancels=cancels, depth=depth, keeps=self._fills)
        for pair in self._pairs:
            number = core.add_pair(
                pair.symbol, price_precision=pair.price_precision, qty_precision=pair.qty_precision,
                level3=cancels is None,
            )  # fmt: skip
            core.ask(number, self._steps[pair.symbol])
        source.choose([*source.symbols, *ALWAYS], rows=False)
        source.open(cast("EventStream", Silent()))
        try:
            _play_all(source, core, self._channel, self._start)
            core.finish()
        finally:
            source.close()
        said, parts = (pl.DataFrame(one) for one in core.answers())
        row = self._asked["row"]
        filled = parts.with_columns(row=row.gather(parts["number"])).cast(FILLS).select(list(FILLS))
        return _Said(said.with_columns(row=row), filled)

    def _judge(self, least: pl.DataFrame, certain: pl.Expr, most: pl.DataFrame) -> pl.DataFrame:
        """The answers in words."""
        asked = self._asked
        found = least.with_columns(at=asked["at"], asked=asked["until"], symbol=asked["symbol"])
        spans = self._lake.coverage([pair.symbol for pair in self._pairs])
        # The end of a recording begins as a gap. What its ledger covers was no gap.
        covered = _inside(found, _spans(spans.filter(channel=self._channel)), 0, -SLACK)
        found = found.with_columns(
            traded=_inside(found, _joined(self._lake, _spans(spans.filter(channel="trade"))), SLACK, SLACK),
            gaps=pl.when(covered).then(0).otherwise("gaps"),
        )
        filled = "filled" if most is least else pl.max_horizontal(most["filled"], pl.col("filled"))
        found = found.with_columns(
            certain=certain, least=pl.col("filled"), most=filled, sure=pl.col("certain"),
            evidence=most["evidence"], trade_id=most["trade_id"],
        )  # fmt: skip
        known = pl.col("ending") != NOT_RECORDED
        found = found.with_columns(
            known=known, whole=(pl.col("ending") == FILLED) & (pl.col("certain") == pl.col("least"))
        )
        over = pl.col("ending") == UNFINISHED
        # Numbers of words, which become words at once: text is copied for each condition.
        found = found.with_columns(
            reason=pl.when(pl.col("whole") | ~pl.col("known")).then(None)
            .when(~pl.col("traded")).then(_word(REASONS, "trades"))
            .when(pl.col("gaps") > 0).then(_word(REASONS, "gap"))
            .when(over & (pl.col("asked") < TIME_MAX)).then(_word(REASONS, "ended"))
            .when(pl.col("certain") < pl.col("most"))
            .then(_word(REASONS, "unmatched" if self._channel == LEVEL3 else "bounds"))
        )  # fmt: skip
        unsure = pl.col("reason").is_not_null()
        outcome = (
            pl.when(~pl.col("known")).then(_word(OUTCOMES, "not recorded"))
            .when("whole").then(_word(OUTCOMES, "filled"))
            .when(unsure).then(_word(OUTCOMES, "unknown"))
            .when(pl.col("certain") > 0).then(_word(OUTCOMES, "partly filled"))
            .otherwise(_word(OUTCOMES, "not filled"))
        )  # fmt: skip
        said = found.select(
            row="row", outcome=outcome, reason="reason", filled="certain", filled_max="most",
            first_fill=pl.col("first_fill").cast(TIME), last_fill=pl.col("last_fill").cast(TIME),
            evidence="evidence", trade_id="trade_id", ahead="ahead",
            doubt=pl.col("known") & ((pl.col("sure") < pl.col("least")) | unsure),
            gaps="gaps", known_until=pl.col("until").cast(TIME),
        )  # fmt: skip
        words = {"outcome": OUTCOMES.gather(said["outcome"]), "reason": REASONS.gather(said["reason"])}
        return said.with_columns(**words).cast({"row": pl.Int64()} | SCHEMA)


def _word(words: pl.Series, word: str) -> pl.Expr:
    """The place of a word, as the indices of Polars are."""
    return pl.lit(words.index_of(word), dtype=pl.UInt32)


def _play_all(source: ReplaySource, core: _core.Questions, channel: str, start: int) -> None:
    """Play until the recording ends or all is answered."""

    def play(replayer: _core.Replayer, bound: int, steps: int) -> tuple[str, int | None]:
        return core.play(replayer, bound, steps)

    why = "steps"
    while why not in {"end", "until", "answered"}:
        # What was before is not given: books are then as they were at the start.
        why = source.play(start, None, STEPS, play)[0]
    core.resume(source.replayer, channel, start)
    why = "steps"
    while why not in {"end", "answered"}:
        why = source.play(TIME_MAX, None, STEPS, play)[0]


_Spans = dict[str, list[tuple[int, int]]]
"""Times in which something was recorded, by symbol, ns."""


def _spans(coverage: pl.DataFrame) -> _Spans:
    found: _Spans = {}
    rows = coverage.select("symbol", pl.col("ts_from", "ts_to").to_physical()).sort("ts_from").iter_rows()
    for symbol, begin, end in rows:
        spans = found.setdefault(symbol, [])
        if spans and begin <= spans[-1][1]:
            spans[-1] = spans[-1][0], max(spans[-1][1], end)
        else:
            spans.append((begin, end))
    return found


def _inside(found: pl.DataFrame, spans: _Spans, before: int, after: int) -> pl.Series:
    """Whether an order rested within one span, which begins so much earlier and ends so much later."""
    known = pl.Series([False]).new_from_index(0, found.height)
    for symbol, times in spans.items():
        for begin, end in times:
            inside = (found["at"] >= begin - before) & (found["until"] <= end + after)
            known |= inside & (found["symbol"] == symbol)
    return known


def _joined(lake: Lake, spans: _Spans) -> _Spans:
    """Spans of trades as one between which nothing was traded: the ids of the trades follow each other."""
    found: _Spans = {}
    for symbol, times in spans.items():
        found[symbol] = times[:1]
        if len(times) == 1:
            continue
        # What a snapshot tells of the time before is not told in its time.
        updates = lake.scan("trades", symbol).filter(kind="update").select("ts_recv", "trade_id")
        trades = updates.with_columns(pl.col("ts_recv").to_physical()).sort("trade_id").collect()
        ids = trades["trade_id"]
        for begin, end in times[1:]:
            after = int(trades["ts_recv"].search_sorted(begin))
            if 0 < after < len(ids) and ids[after] == ids[after - 1] + 1:
                found[symbol][-1] = found[symbol][-1][0], end
            else:
                found[symbol].append((begin, end))
    return found
