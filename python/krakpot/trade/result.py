"""What came of a run: fills, orders, value over time, and a line that says how far it can be trusted."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import polars as pl

from krakpot.errors import counted
from krakpot.lake.format import stamp
from krakpot.lake.times import TIME
from krakpot.trade.options import PLAYED, TIMED

NUMBER = pl.Decimal(38, 10)
TIMES = ("ts", "heard", "sent", "arrived", "acked", "reported", "ended", "begin", "end")
NUMBERS = ("qty", "price", "filled", "average", "fee", "qty_ahead")
SCHEMAS: dict[str, dict[str, Any]] = {
    "fills": {
        "order": pl.UInt64, "exec_id": pl.String, "ts": TIME, "heard": TIME, "symbol": pl.String, "side": pl.String,
        "qty": NUMBER, "price": NUMBER, "liquidity": pl.String, "fee": NUMBER, "evidence": pl.String,
        "doubt": pl.Boolean, "trade_id": pl.Int64, "counterparty": pl.String, "orders_ahead": pl.UInt64,
        "qty_ahead": NUMBER,
    },
    "orders": {
        "order": pl.UInt64, "order_id": pl.String, "symbol": pl.String, "side": pl.String, "kind": pl.String,
        "qty": NUMBER, "price": NUMBER, "filled": NUMBER, "average": NUMBER, "fee": NUMBER, "state": pl.String,
        "reason": pl.String, "tag": pl.String, "sent": TIME, "arrived": TIME, "acked": TIME, "reported": TIME,
        "ended": TIME,
    },
    "requests": {
        "ts": TIME, "order": pl.UInt64, "request": pl.String, "symbol": pl.String, "qty": NUMBER, "price": NUMBER,
    },
    "gaps": {"of": pl.String, "symbol": pl.String, "begin": TIME, "end": TIME, "resting": pl.UInt64},
    "delays": {"entry": pl.Int64, "response": pl.Int64},
}  # fmt: skip
"""Columns of the tables, with their types."""
QUANTILES = (0.5, 0.9, 0.99, 1.0)
SHOWN = 3
"""Pairs that the integrity line names."""
WHOLE = (PLAYED, TIMED)
"""Reasons of a run that ended as it was asked to."""
PLACES = Decimal(1).scaleb(-10)


@dataclass(frozen=True)
class Built:
    """What a result is built on."""

    name: str
    """What the data is, as the integrity line names it: a lake's content, or the live feed."""
    symbols: tuple[str, ...]
    begin: int
    """Local time of the first message, ns."""
    end: int
    """Of the last one."""
    model: str
    latency: str
    seed: int
    quote: str
    attribution: Mapping[str, tuple[str, str]]
    """By pair: quantity that was traded, and how much of it nothing in the book explains."""
    prices: Mapping[str, Decimal]
    """The middle of the best prices at the end, by pair."""
    messages: int
    reason: str
    """Why the run ended."""
    left: tuple[str, ...] = ()
    """Of a run with money: own orders that may still be open after its end."""


@dataclass(frozen=True, repr=False)
class Result:
    """What came of a run. ``print(result)`` begins with the line that says how far it can be trusted.

    ``result.digest`` is the same for the same inputs, on any machine.
    """

    fills: pl.DataFrame
    """Fills: order, exec_id, ts (the exchange's), heard (local), symbol, side, qty, price, liquidity, fee (quote
    asset), evidence, doubt, trade_id, counterparty, and the order's place when it came into the market."""
    orders: pl.DataFrame
    """All orders with their last state and their times: sent, arrived, acked, reported, ended."""
    requests: pl.DataFrame
    """What was sent: ts, order, request (add, amend, cancel), symbol, qty, price."""
    equity: pl.DataFrame
    """What the account had: ts, each asset, ``equity`` (at the middle of the best prices) and ``equity_exit`` (what is
    left if all is sold at the best bids now)."""
    gaps: pl.DataFrame
    """Times in which data was missing: of, symbol, begin, end, resting (own orders that rested when it began)."""
    latency: pl.DataFrame
    """Quantiles of the delays of new orders: quantile, entry, response; ns."""
    refusals: Mapping[str, int]
    """Texts of refusals, and how often each came."""
    built: Built
    """What it is built on."""
    log: Sequence[tuple[int, str]] = ()
    """What the strategy logged: time and line."""
    error: str = ""
    """The error of a handler after which the run went on halted."""
    shadow: pl.DataFrame | None = None
    """Of a run with money and a shadow, one row for each order that was sent: what was real, and with ``_sim`` what was
    simulated: acked, first_fill (times at which they were heard), filled, average, orders_ahead, qty_ahead, state."""

    @property
    def digest(self) -> str:
        """A SHA-256 of fills and orders, in hex."""
        found = hashlib.sha256()
        # Names that a run makes up count the orders of all its strategies: they say nothing of this one.
        for table in (self.fills.drop("exec_id"), self.orders.drop("order_id")):
            found.update(table.write_csv().encode())
        found.update(f"{self.built.model} {self.built.latency} {self.built.seed}".encode())
        return found.hexdigest()

    @property
    def fees(self) -> Decimal:
        """Sum of all fees, in the quote asset."""
        return _sum(self.fills["fee"])

    @property
    def pnl(self) -> Decimal | None:
        """Value at the end less that at the start, both at the middle of the best prices; None if one is not known."""
        first = self._first
        last = None if self.equity.is_empty() else self.equity["equity"][-1]
        return None if first is None or last is None else Decimal(last) - first

    @property
    def _first(self) -> Decimal | None:
        """Value of what there was at the start, when it was first known; None if a fill came before."""
        known = self.equity.filter(pl.col("equity").is_not_null()).head(1)
        assets = self._assets
        if known.is_empty() or not known.select(assets).equals(self.equity.head(1).select(assets)):
            return None
        return Decimal(known["equity"][0])

    @property
    def _assets(self) -> list[str]:
        return [name for name in self.equity.columns if name not in {"ts", "equity", "equity_exit"}]

    @property
    def unpriced(self) -> list[str]:
        """Assets of the account that no price of the run counts in the quote asset, so that its P&L is not known."""
        if self.equity.is_empty() or self.equity["equity"][-1] is not None:
            return []
        quote, last = self.built.quote, self.equity.row(-1, named=True)
        return [
            name for name in self._assets if last[name] and name != quote and f"{name}/{quote}" not in self.built.prices
        ]

    @property
    def pnl_without_doubt(self) -> Decimal | None:
        """The same without the fills in doubt: without what they are worth at the last middle price."""
        pnl = self.pnl
        doubtful = self.fills.filter(pl.col("doubt"))
        if pnl is None or doubtful.is_empty():
            return pnl
        for row in doubtful.iter_rows(named=True):
            last = self.built.prices.get(row["symbol"])
            if last is None:
                return None
            sign = 1 if row["side"] == "buy" else -1
            pnl -= sign * row["qty"] * (last - row["price"]) - row["fee"]
        return pnl.quantize(PLACES)

    @property
    def inventory(self) -> Mapping[str, Decimal]:
        """What was bought less what was sold, by pair."""
        signed = self.fills.with_columns(
            pl.when(pl.col("side") == "buy").then(pl.col("qty")).otherwise(-pl.col("qty")).alias("signed")
        )
        return {str(symbol): _sum(mine["signed"]) for (symbol,), mine in signed.group_by("symbol", maintain_order=True)}

    @property
    def whole(self) -> bool:
        """Whether it ended as it was asked to, and was not stopped or interrupted."""
        return self.built.reason in WHOLE

    @property
    def doubts(self) -> int:
        """Fills in doubt: within a gap's shadow, or by a trade that the data of its instant does not explain."""
        return int(self.fills["doubt"].sum())

    @property
    def integrity(self) -> str:
        """How far it can be trusted, in one line."""
        built = self.built
        whole = max(built.end - built.begin, 1)
        data = self.gaps.filter(pl.col("of") == "data").with_columns(pl.col("begin", "end").to_physical())
        missing = sum((end or built.end) - begin for begin, end in data.select("begin", "end").iter_rows())
        share = 100 * (1 - min(missing / (whole * max(len(built.symbols), 1)), 1))
        names = " ".join(built.symbols[:SHOWN]) + (" …" if len(built.symbols) > SHOWN else "")
        gaps = counted(self.gaps.height, "gap")
        if self.gaps.height:
            rested = counted(int(self.gaps["resting"].sum()), "own order")
            gaps += f" {missing / 1e9:.3g} s ({rested} rested through them, {counted(self.doubts, 'fill')} in doubt)"
        elif self.doubts:
            gaps += f", {counted(self.doubts, 'fill')} in doubt"
        printed, loose = (sum(Decimal(pair[at]) for pair in built.attribution.values()) for at in (0, 1))
        unattributed = f"{float(100 * loose / printed):.3g} %" if printed else "none printed"
        return (
            f"{names} {_period(built.begin, built.end)}: in sync {share:.4g} %, {gaps}, trades unattributed "
            f"{unattributed}, model {built.model}, latency {built.latency}, seed {built.seed}, {built.name}"
        )

    @property
    def summary(self) -> dict[str, Any]:
        """The result in numbers, as one JSON object."""
        states: dict[str, int] = dict(self.orders.group_by("state").len().sort("state").iter_rows())
        evidence: dict[str, int] = dict(self.fills.group_by("evidence").len().sort("evidence").iter_rows())
        pnl, sure = self.pnl, self.pnl_without_doubt
        return {
            "integrity": self.integrity,
            "digest": self.digest,
            "quote": self.built.quote,
            "pnl": None if pnl is None else f"{pnl:f}",
            "pnl_without_doubt": None if sure is None else f"{sure:f}",
            "fees": f"{self.fees:f}",
            "fills": self.fills.height,
            "evidence": evidence,
            "orders": states,
            "requests": self.requests.height,
            "refusals": dict(self.refusals),
            "gaps": self.gaps.height,
            "messages": self.built.messages,
            "ended": self.built.reason,
            "error": self.error,
            "left": list(self.built.left),
        }

    def __repr__(self) -> str:
        """The integrity line, then the numbers."""
        quote, pnl, sure = self.built.quote, self.pnl, self.pnl_without_doubt
        value = "not known" if pnl is None else f"{pnl:.2f} {quote}"
        if self.unpriced:
            value += f" (no price of {', '.join(self.unpriced)} in {quote})"
        if self.doubts and sure is not None:
            value += f" ({sure:.2f} without fills in doubt)"
        counts = f"{counted(self.fills.height, 'fill')} of {counted(self.orders.height, 'order')}"
        numbers = f"P&L {value}, fees {self.fees:.2f} {quote}; {counts}, {counted(self.requests.height, 'request')}"
        lines = [self.integrity, f"{numbers}; digest {self.digest[:16]}"]
        lines += [f"refused {count:,} times: {text}" for text, count in self.refusals.items()]
        if not self.whole:
            lines.append(f"ended early: {self.built.reason}")
        if self.error:
            lines.append(f"halted by an error: {self.error}")
        if self.built.left:
            lines.append(f"may still be open: {', '.join(self.built.left)}")
        return "\n".join(lines)

    def draw(self, path: Path) -> bool:
        """Draw what the account had over time, as a .png, .svg or .pdf; false if matplotlib is not installed.

        Examples
        --------
        >>> result.draw(Path("equity.png"))  # doctest: +SKIP
        True

        """
        if not find_spec("matplotlib"):
            return False
        from krakpot.view import figures  # noqa: PLC0415  # it is optional, and slow to load

        closed = self.gaps.with_columns(pl.col("end").fill_null(pl.lit(self.built.end).cast(TIME)))
        gaps = closed.select(ts_from="begin", ts_to="end", reason=pl.lit("gap"))
        title = f"{' '.join(self.built.symbols[:SHOWN])}: value of the account"
        figures.write(figures.equity(self.equity, gaps, title=title, quote=self.built.quote), path)
        return True

    def save(self, out: Path) -> None:
        """Write the tables as Parquet, and the summary as JSON, into a folder.

        Parameters
        ----------
        out
            The folder; it is made if it is not there.

        Examples
        --------
        >>> result.save(Path("result"))  # doctest: +SKIP

        """
        out.mkdir(parents=True, exist_ok=True)
        for name in ("fills", "orders", "requests", "equity", "gaps", "latency"):
            getattr(self, name).write_parquet(out / f"{name}.parquet")
        if self.shadow is not None:
            self.shadow.write_parquet(out / "shadow.parquet")
        (out / "summary.json").write_text(json.dumps(self.summary, indent=1) + "\n")


@dataclass(frozen=True, repr=False)
class Bounds:
    """The two results of level 2, which shows no queue: the truth lies between them."""

    ahead: Result
    """All cancels stood before own orders: the best case."""
    behind: Result
    """All cancels stood behind own orders: the worst case."""

    @property
    def digest(self) -> str:
        """A SHA-256 of both."""
        return hashlib.sha256((self.ahead.digest + self.behind.digest).encode()).hexdigest()

    @property
    def summary(self) -> dict[str, Any]:
        """Both in numbers."""
        return {"ahead": self.ahead.summary, "behind": self.behind.summary}

    def save(self, out: Path) -> None:
        """Write both, into folders of their names."""
        self.ahead.save(out / "ahead")
        self.behind.save(out / "behind")

    def draw(self, path: Path) -> bool:
        """Draw the better case; see ``Result.draw``."""
        return self.ahead.draw(path)

    def __repr__(self) -> str:
        """Both."""
        return f"all cancels ahead:\n{self.ahead!r}\nall cancels behind:\n{self.behind!r}"


def made_of(
    tables: Mapping[str, Any],
    built: Built,
    log: Sequence[tuple[int, str]],
    error: str,
) -> Result:
    """Make a result of the columns that the extension gives."""
    delays = _frame(tables["delays"], SCHEMAS["delays"])
    rows = [
        {"quantile": q, **{name: delays[name].quantile(q, "higher") for name in ("entry", "response")}}
        for q in QUANTILES
        if delays.height
    ]
    gaps = _frame(tables["gaps"], SCHEMAS["gaps"])
    # The end of the data is no gap in it.
    gaps = gaps.filter(pl.col("end").is_not_null() | (pl.col("begin").to_physical() < built.end))
    equity = {name: (TIME if name == "ts" else NUMBER) for name in tables["equity"]}
    return Result(
        fills=_frame(tables["fills"], SCHEMAS["fills"]),
        orders=_frame(tables["orders"], SCHEMAS["orders"]),
        requests=_frame(tables["requests"], SCHEMAS["requests"]),
        equity=_frame(tables["equity"], equity),
        gaps=gaps,
        latency=pl.DataFrame(rows, schema={"quantile": pl.Float64, "entry": pl.Int64, "response": pl.Int64}),
        refusals=dict(tables["refusals"]),
        built=built,
        log=tuple(log),
        error=error,
    )


def _frame(columns: Mapping[str, list[Any]], schema: Mapping[str, Any]) -> pl.DataFrame:
    """A frame of columns: times are ns, exact numbers are texts."""
    found = []
    for name, kind in schema.items():
        raw = pl.Int64 if kind == TIME else pl.String if kind == NUMBER else kind
        found.append(pl.Series(name, columns[name], dtype=raw, strict=True).cast(kind, strict=True))
    return pl.DataFrame(found)


def _sum(column: pl.Series) -> Decimal:
    return sum((Decimal(value) for value in column.drop_nulls()), Decimal(0))


def _period(begin: int, end: int) -> str:
    """``2026-09-01…08``, or with times where it is short."""
    first, last = stamp(begin), stamp(end)
    if f"{first:%Y-%m-%d}" == f"{last:%Y-%m-%d}":
        return f"{first:%Y-%m-%d %H:%M:%S}…{last:%H:%M:%S}"
    return f"{first:%Y-%m-%d}…{last:%m-%d}" if first.year == last.year else f"{first:%Y-%m-%d}…{last:%Y-%m-%d}"
