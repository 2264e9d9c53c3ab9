"""Files with the history of Kraken that others publish: what they are, and their rows in the columns of a lake.

A format is known by what is in the file: the header of a CSV, the columns of a Parquet file, the number of columns of a
CSV without a header. CSV is read in pieces, so a file may be larger than memory.
"""

from __future__ import annotations

import gzip
import io
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import IO, Literal, get_args
from urllib.parse import unquote

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from krakpot.errors import ConfigError, words_of
from krakpot.lake.format import UNREADABLE, Origin
from krakpot.net.market import FEED_NAMES
from krakpot.values import alternatives, shown

Format = Literal["kraken-trades", "kraken-ohlcvt", "tardis", "cryptohftdata"]
FORMATS: tuple[Format, ...] = get_args(Format)
EXIST = (
    "what can be imported: Kraken's time-and-sales CSV (kraken-trades) and OHLCVT CSV (kraken-ohlcvt), Tardis "
    "trades CSV (tardis), CryptoHFTData trades Parquet (cryptohftdata); each also packed as it is published"
)
PIECE = 16 << 20
"""Bytes of a CSV that are read at a time."""
LINE_MAX = 1 << 16
"""Bytes of a line of a CSV; a longer one is no row."""
UNPACKED_MAX = 1 << 30
"""Bytes of a Parquet file that was packed once more."""
ROWS = 500_000
"""Rows of a Parquet file that are read at a time."""
SCALE = 10
"""Decimals of the columns."""
QUOTES = (
    "USD", "EUR", "GBP", "USDT", "USDC", "XBT", "BTC", "ETH", "JPY", "CAD", "AUD", "CHF", "DAI", "PYUSD", "RLUSD",
    "EURQ", "EURR", "USDQ", "USDR", "USDG", "AED", "SOL", "DOT", "TRY", "BRL", "MXN",
)  # fmt: skip
"""Quote assets of Kraken, for names of pairs without a slash."""
TARDIS = {
    "trades": "exchange,symbol,timestamp,local_timestamp,id,side,price,amount",
    "incremental_book_L2": "exchange,symbol,timestamp,local_timestamp,is_snapshot,side,price,amount",
    "book_ticker": "exchange,symbol,timestamp,local_timestamp,ask_amount,ask_price,bid_price,bid_amount",
    "book_snapshot": "exchange,symbol,timestamp,local_timestamp,asks[0]",
}
"""Kinds of Tardis' files, by the beginning of their headers."""
UNITS = (10**9, 10**6, 10**3, 1)
"""ns in a second, a millisecond, a microsecond, a nanosecond."""
EARLIEST, LATEST = 1_356_998_400 * 10**9, 4_102_444_800 * 10**9
"""2013, before which Kraken traded nothing, and 2100: within them the size of a number tells its unit."""
TIMES = pl.Datetime("ns", "UTC")
POWER = r"^[-+]?\d+(\.\d+)?[eE][-+]?\d{1,2}$"
"""A number with an exponent; more digits there are of no number that a column holds."""
NUMBER = r"[-+]?\d+(\.\d+)?([eE][-+]?\d+)?"


class WrongFile(ConfigError):
    """A file that cannot be imported; the sentence says what it is."""


@dataclass(frozen=True)
class Piece:
    """Some rows of a file, of one symbol."""

    table: str
    symbol: str
    rows: pl.DataFrame
    size: int
    """Bytes of the file that were read for it; 0 where that is not known."""


@dataclass(frozen=True)
class Found:
    """What a file is."""

    format: Format
    origin: Origin
    pieces: Callable[[Callable[[str], str]], Iterator[Piece]]
    """Gives its rows; called with a function that makes the symbol of the feed of a name in the file."""


def symbol_of(name: str, known: list[str]) -> str:
    """The symbol of the feed of a pair's name in a file: ``XBTUSD``, ``XBT/USD``, ``XXBTZUSD``.

    ``known`` are symbols of the lake: a name that fits one of them is that one. ``WrongFile`` for a name that fits none
    and ends in no known quote asset.
    """
    name = unquote(name).upper().replace("-", "/").replace("_", "/")
    if re.fullmatch(r"[\w.]+/[\w.]+", name):
        named = "/".join(FEED_NAMES.get(asset, asset) for asset in name.split("/"))
        # Some names have small letters: AAPLx/USD.
        return next((symbol for symbol in known if symbol.upper() == named), named)
    by_name = {_joined(symbol).upper(): symbol for symbol in known}
    if name in by_name:
        return by_name[name]
    plain = _without_letters(name)
    # The longest one: XBTPYUSD is not XBTPY/USD.
    quotes = sorted((quote for quote in QUOTES if plain.endswith(quote) and len(plain) > len(quote)), key=len)
    if quotes and re.fullmatch(r"[\w.]+", plain):
        base, quote = plain.removesuffix(quotes[-1]), quotes[-1]
        return f"{FEED_NAMES.get(base, base)}/{FEED_NAMES.get(quote, quote)}"
    raise WrongFile(f"{shown(name)} is no pair of Kraken that is known; give its name with --symbol BTC/USD")


def _joined(symbol: str) -> str:
    """``XBTUSD`` of ``BTC/USD``."""
    old = {new: name for name, new in FEED_NAMES.items()}
    return "".join(old.get(asset, asset) for asset in symbol.split("/"))


def _without_letters(name: str) -> str:
    """``XBTUSD`` of ``XXBTZUSD``."""
    found = re.fullmatch(r"X([A-Z]{3})[XZ]([A-Z]{3})", name)
    return name if found is None else found[1] + found[2]


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Errors of reading a file as one sentence that names it."""
    try:
        yield
    except WrongFile:
        raise
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such file; {EXIST}") from None
    except (*UNREADABLE, EOFError, zlib.error, zipfile.BadZipFile, UnicodeDecodeError, RuntimeError) as error:
        # RuntimeError: a zip that is encrypted, or packed in a way that Python does not know.
        reason = words_of(error).partition("\n")[0]
        raise ConfigError(f"{path}: cannot be read: {reason}") from None


def recognise(path: Path) -> list[tuple[str, Found | WrongFile]]:
    """What a file is: of each file in it (one, unless it is a zip) its place for errors, and what it is or why nothing.

    ``ConfigError`` if it cannot be read.
    """
    with reading(path):
        with path.open("rb") as file:
            head = file.read(8)
        if not head:
            raise WrongFile(f"{path}: is empty; {EXIST}")
        if head.startswith(b"PK\x03\x04"):
            with zipfile.ZipFile(path) as archive:
                names = [one.filename for one in archive.infolist() if one.filename.lower().endswith(".csv")]
            if not names:
                raise WrongFile(f"{path}: is a zip without .csv files; {EXIST}")
            if twice := [name for name, count in Counter(names).items() if count > 1]:
                raise WrongFile(f"{path}: has {shown(twice[0])} twice, and which of them is right is not known")
            return [_one(f"{path}: {name}", partial(_csv, name, partial(_member, path, name))) for name in names]
        if head.startswith(b"PAR1"):
            return [_one(str(path), partial(_parquet, path.name, lambda: path.open("rb")))]
        if head.startswith(b"\x28\xb5\x2f\xfd"):
            return [_one(str(path), partial(_parquet, path.name, partial(_unpacked, path)))]
        start = partial(_plain, path, packed=head.startswith(b"\x1f\x8b"))
        return [_one(str(path), partial(_csv, path.name.removesuffix(".gz"), start))]


def _one(place: str, look: Callable[[str], Found]) -> tuple[str, Found | WrongFile]:
    try:
        return place, look(place)
    except WrongFile as error:
        return place, error


def _member(path: Path, name: str) -> IO[bytes]:
    """A file in a zip."""
    with zipfile.ZipFile(path) as archive:
        # It stays readable: the archive counts who reads from it.
        return archive.open(name)


def _plain(path: Path, *, packed: bool) -> IO[bytes]:
    return io.BufferedReader(gzip.GzipFile(path)) if packed else path.open("rb")


def _unpacked(path: Path) -> IO[bytes]:
    """A Parquet file as a whole that was packed once more, as CryptoHFTData published them: an hour, some MB."""
    with pa.CompressedInputStream(pa.OSFile(str(path)), "zstd") as stream:
        data = io.BytesIO()
        while piece := stream.read(PIECE):
            if data.tell() + len(piece) > UNPACKED_MAX:
                raise WrongFile(
                    f"{path}: is more than {UNPACKED_MAX >> 20} MiB when it is unpacked; import it unpacked"
                )
            data.write(piece)
        data.seek(0)
        return data


def _csv(name: str, start: Callable[[], IO[bytes]], place: str) -> Found:
    with closing(start()) as file:
        line = file.readline(1000).decode("utf-8-sig").strip()
    stem = name.rpartition("/")[2].removesuffix(".csv")
    for kind, header in TARDIS.items():
        if line.startswith(header):
            if kind != "trades":
                raise WrongFile(
                    f"{place}: is a Tardis file of {kind}; books are not imported, since they have no checksums that "
                    f"could prove them; {EXIST}"
                )
            return Found("tardis", "tardis", lambda symbol: _tardis(place, start, symbol))
    fields = line.split(",")
    numbers = all(re.fullmatch(NUMBER, field.strip()) for field in fields)
    if numbers and len(fields) == 3:  # noqa: PLR2004  # time, price, volume
        return Found("kraken-trades", "kraken-csv", lambda symbol: _kraken_trades(place, start, symbol(stem)))
    if numbers and len(fields) == 7:  # noqa: PLR2004  # time, four prices, volume, trades
        pair, _, minutes = stem.rpartition("_")
        if not pair or not minutes.isdecimal() or not 0 < int(minutes) < 1 << 16:
            raise WrongFile(f"{place}: has candles, and its name does not tell their minutes, as XBTUSD_60.csv does")
        return Found("kraken-ohlcvt", "kraken-csv", lambda symbol: _candles(place, start, symbol(pair), int(minutes)))
    what = f"a CSV with the columns {shown(line)}" if not numbers else f"a CSV of {len(fields)} numbers a line"
    raise WrongFile(f"{place}: is {what}, not one that is known; {EXIST}")


def _parts(place: str, start: Callable[[], IO[bytes]]) -> Iterator[bytes]:
    """Whole lines of a file, some MB at a time."""
    with closing(start()) as file:
        rest = b""
        while data := file.read(PIECE):
            end = data.rfind(b"\n") + 1
            if end:
                yield rest + data[:end]
                rest = data[end:]
            else:
                rest += data
            if len(rest) > max(LINE_MAX, PIECE):
                raise WrongFile(f"{place}: has a line of more than {LINE_MAX:,} bytes, so it is no such CSV")
        if rest.strip():
            yield rest


def _texts(place: str, data: bytes, names: list[str], *, header: bool) -> pl.DataFrame:
    """Rows of a CSV, as text."""
    frame = pl.read_csv(data, has_header=header, infer_schema=False, raise_if_empty=False, truncate_ragged_lines=False)
    # Lines without anything say nothing.
    frame = frame.filter(~pl.all_horizontal(pl.all().is_null()))
    if header:
        return frame
    if frame.width != len(names):
        raise WrongFile(f"{place}: has lines of {frame.width} fields beside lines of {len(names)}")
    return frame.rename(dict(zip(frame.columns, names, strict=True)))


def _decimal(place: str, frame: pl.DataFrame, name: str) -> pl.Expr:
    """A column of numbers as text, exact; ``WrongFile`` for a number that the lake cannot hold."""
    text = pl.col(name).str.strip_chars()
    # Also numbers as 8.1e-6, which prices of cheap coins are as text.
    powers = frame.select(text.unique()).to_series().drop_nulls()
    powers = powers.filter(powers.str.contains(POWER))
    text = text.replace({power: f"{Decimal(power):f}" for power in powers})
    # Zeros beyond the last decimal say nothing.
    cut = pl.when(text.str.contains(r"\.\d{10}")).then(text.str.strip_chars_end("0")).otherwise(text)
    wrong = frame.filter(~cut.str.contains(r"^[-+]?\d{1,28}(\.\d{0,10})?$").fill_null(value=False))
    if wrong.height:
        value = wrong[name][0]
        raise WrongFile(f"{place}: {name} {shown(value)} is no number with at most {SCALE} decimals")
    below = frame.filter(cut.str.starts_with("-"))
    if below.height:
        raise WrongFile(f"{place}: {name} {shown(below[name][0])} is below zero")
    return cut.str.strip_chars_end(".").cast(pl.Decimal(38, SCALE))


def _seconds(place: str, frame: pl.DataFrame, name: str) -> pl.Expr:
    """Times in seconds since the epoch, with up to nine decimals, as ns."""
    return _moment(
        place, frame, pl.col(name).str.strip_chars().str.to_decimal(scale=9).to_physical().cast(pl.Int64), name
    )


def _moment(place: str, frame: pl.DataFrame, ns: pl.Expr, name: str) -> pl.Expr:
    """Times in ns; ``WrongFile`` for one that is none of Kraken's."""
    wrong = frame.filter(~ns.is_between(EARLIEST, LATEST).fill_null(value=False))
    if wrong.height:
        raise WrongFile(f"{place}: {name} {shown(wrong[name][0])} is no time from 2013 to 2100")
    return ns.cast(TIMES)


def _kraken_trades(place: str, start: Callable[[], IO[bytes]], symbol: str) -> Iterator[Piece]:
    for data in _parts(place, start):
        frame = _texts(place, data, ["time", "price", "volume"], header=False)
        time = _seconds(place, frame, "time")
        rows = frame.select(
            ts_recv=time,
            ts_event=time,
            symbol=pl.lit(symbol),
            price=_decimal(place, frame, "price"),
            qty=_decimal(place, frame, "volume"),
        )
        yield Piece("trades", symbol, rows, len(data))


def _candles(place: str, start: Callable[[], IO[bytes]], symbol: str, minutes: int) -> Iterator[Piece]:
    names = ["time", "open", "high", "low", "close", "volume", "trades"]
    for data in _parts(place, start):
        frame = _texts(place, data, names, header=False)
        begin = _seconds(place, frame, "time")
        # What a candle says is known when it ends.
        end = begin + pl.duration(minutes=minutes)
        numbers = {name: _decimal(place, frame, name) for name in names[1:-1]}
        rows = frame.select(
            ts_recv=end,
            ts_event=end,
            symbol=pl.lit(symbol),
            interval=pl.lit(minutes),
            interval_begin=begin,
            **numbers,
            trades=pl.col("trades").str.strip_chars().cast(pl.UInt64),
        )
        yield Piece("ohlc", symbol, rows, len(data))


def _tardis(place: str, start: Callable[[], IO[bytes]], symbol: Callable[[str], str]) -> Iterator[Piece]:
    names = TARDIS["trades"].split(",")
    for number, data in enumerate(_parts(place, start)):
        header = b"" if number == 0 else (",".join(names) + "\n").encode()
        frame = _texts(place, header + data, names, header=True)
        other = frame.filter(pl.col("exchange").ne_missing("kraken"))
        if other.height:
            raise WrongFile(f"{place}: has data of {shown(other['exchange'][0])}; only that of kraken is imported")
        made, received = (
            _moment(place, frame, pl.col(name).cast(pl.Int64) * 1000, name) for name in ("timestamp", "local_timestamp")
        )
        rows = frame.select(
            "symbol",
            ts_recv=received,
            ts_event=made,
            price=_decimal(place, frame, "price"),
            qty=_decimal(place, frame, "amount"),
            side=pl.when(pl.col("side").is_in(["buy", "sell"])).then("side"),
            trade_id=pl.col("id").cast(pl.Int64, strict=False),
        )
        yield from _by_symbol(place, rows, symbol, len(data))


def _by_symbol(place: str, rows: pl.DataFrame, symbol: Callable[[str], str], size: int) -> Iterator[Piece]:
    for (name,), some in rows.partition_by("symbol", as_dict=True, maintain_order=True).items():
        if name is None:
            raise WrongFile(f"{place}: has a row without a symbol")
        found = symbol(str(name))
        yield Piece("trades", found, some.with_columns(symbol=pl.lit(found)), size * some.height // rows.height)


def _parquet(name: str, start: Callable[[], IO[bytes]], place: str) -> Found:
    with closing(start()) as file:
        schema = pl.read_parquet_schema(file)
    columns = set(schema)
    time = next((name for name in ("trade_time", "event_time", "timestamp") if name in columns), None)
    qty = next((name for name in ("quantity", "size") if name in columns), None)
    if time is None or qty is None or not {"trade_id", "price", "received_time"} <= columns:
        book = {"bids", "asks", "level", "update_type", "first_update_id"} & columns
        what = "books, which have no checksums that could prove them" if book else "no trades"
        raise WrongFile(f"{place}: is a Parquet file of {what} (columns {shown(', '.join(schema))}); {EXIST}")
    return Found("cryptohftdata", "cryptohftdata", lambda symbol: _hft(place, name, start, symbol, (time, qty)))


def _hft(
    place: str, name: str, start: Callable[[], IO[bytes]], symbol: Callable[[str], str], columns: tuple[str, str]
) -> Iterator[Piece]:
    time, qty = columns
    stem = name.removesuffix(".zst").removesuffix(".parquet")
    for frame in _frames(start):
        texts = frame.with_columns(pl.col("price", qty).cast(pl.String))
        side = pl.lit(None, pl.String)
        if "side" in frame.columns:
            words = pl.col("side").cast(pl.String).str.to_lowercase()
            side = pl.when(words.is_in(["buy", "sell"])).then(words)
        elif "is_buyer_maker" in frame.columns:
            side = pl.when(pl.col("is_buyer_maker")).then(pl.lit("sell")).otherwise(pl.lit("buy"))
        named = pl.col("symbol") if "symbol" in frame.columns else pl.lit(stem.removesuffix("_trades"))
        rows = texts.select(
            symbol=named,
            ts_recv=_any_time(place, frame, "received_time"),
            ts_event=_any_time(place, frame, time),
            price=_decimal(place, texts, "price"),
            qty=_decimal(place, texts, qty),
            side=side,
            trade_id=pl.col("trade_id").cast(pl.Int64, strict=False),
        )
        yield from _by_symbol(place, rows, symbol, 0)


def _frames(start: Callable[[], IO[bytes]]) -> Iterator[pl.DataFrame]:
    """Some rows of a Parquet file at a time: a small file may have more rows than memory holds."""
    with closing(start()) as file, closing(pq.ParquetFile(file)) as parquet:
        for batch in parquet.iter_batches(ROWS):
            frame = pl.from_arrow(batch)
            assert isinstance(frame, pl.DataFrame), "as a batch is"
            yield frame


def _any_time(place: str, frame: pl.DataFrame, name: str) -> pl.Expr:
    """A column of times: of a time type, or whole numbers whose size tells their unit."""
    kind = frame.schema[name]
    column = pl.col(name)
    if isinstance(kind, pl.Datetime):
        column = column if kind.time_zone else column.dt.replace_time_zone("UTC")
        return _moment(place, frame, column.dt.convert_time_zone("UTC").dt.epoch("ns"), name)
    if kind == pl.String:
        return _moment(place, frame, column.str.to_datetime(time_unit="ns", time_zone="UTC").dt.epoch("ns"), name)
    whole = column.cast(pl.Int64)
    ns = pl.coalesce(pl.when(whole.is_between(EARLIEST // unit, LATEST // unit)).then(whole * unit) for unit in UNITS)
    return _moment(place, frame, ns, name)


def check(place: str, found: Found, wanted: Format | None) -> None:
    """``WrongFile`` if a file is of another format than the one that was asked for."""
    if wanted is not None and found.format != wanted:
        raise WrongFile(f"{place}: is {found.format}, not {wanted}; formats: {alternatives(FORMATS)}")
