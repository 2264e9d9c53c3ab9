"""Files with the history of Kraken that others publish: what they are, and their rows in the columns of a lake.

A format is known by what is in the file: the header of a CSV, the columns of a Parquet file, the number of columns of a
CSV without a header. CSV is read in pieces, so a file may be larger than memory.
"""

from __future__ import annotations

import codecs
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
from typing import IO, Literal, NamedTuple, get_args
from urllib.parse import unquote

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from krakpot.errors import ConfigError, words_of
from krakpot.lake.format import Origin
from krakpot.net.market import FEED_NAMES
from krakpot.values import alternatives, shown

Format = Literal["kraken-trades", "kraken-ohlcvt", "tardis", "cryptohftdata"]
FORMATS: tuple[Format, ...] = get_args(Format)
EXIST = (
    "what can be imported: Kraken's time-and-sales CSV (kraken-trades: time,price,volume without a header) and OHLCVT "
    "CSV (kraken-ohlcvt: time,open,high,low,close,volume,trades without a header), Tardis trades CSV (tardis), "
    "CryptoHFTData trades Parquet (cryptohftdata); each also packed as it is published"
)
PIECE = 16 << 20
"""Bytes of a CSV that are read at a time."""
HEAD = 1000
"""Bytes of the first line, by which a CSV is known."""
LINE_MAX = 1 << 16
"""Bytes of a line of a CSV; a longer one is no row."""
UNPACKED_MAX = 1 << 30
"""Bytes of a Parquet file that was packed once more."""
ROWS = 500_000
"""Rows of a Parquet file that are read at a time."""
SCALE = 10
"""Decimals of the columns."""
WORDS_MAX = 200
"""Characters of a library's error that a sentence repeats."""
QUOTES = (
    "USD", "EUR", "GBP", "USDT", "USDC", "XBT", "BTC", "ETH", "JPY", "CAD", "AUD", "CHF", "DAI", "PYUSD", "RLUSD",
    "EURQ", "EURR", "USDQ", "USDR", "USDG", "AED", "SOL", "DOT", "TRY", "BRL", "MXN",
)  # fmt: skip
"""Quote assets of Kraken, for names of pairs without a slash."""
ASSET = r"[A-Z0-9.]{1,10}x?"
"""A base asset as Kraken names it, also AAPLx; what is longer may be a word of a file's name as well."""
TARDIS = {
    "trades": "exchange,symbol,timestamp,local_timestamp,id,side,price,amount",
    "incremental_book_L2": "exchange,symbol,timestamp,local_timestamp,is_snapshot,side,price,amount",
    "book_ticker": "exchange,symbol,timestamp,local_timestamp,ask_amount,ask_price,bid_price,bid_amount",
    "book_snapshot": "exchange,symbol,timestamp,local_timestamp,asks[0]",
}
"""Kinds of Tardis' files, by the beginning of their headers."""
UNITS = {"seconds": 10**9, "milliseconds": 10**6, "microseconds": 10**3, "nanoseconds": 1}
"""Units of times, in ns."""
EARLIEST, LATEST = 1_356_998_400 * 10**9, 4_102_444_800 * 10**9
"""2013, before which Kraken traded nothing, and 2100: within them the size of a number tells its unit."""
YEARS = (2013, 2099)
TIMES = pl.Datetime("ns", "UTC")
LINE = "_line"
"""The column with the number of a row in its file."""
WHOLE_NUMBERS = (pl.Int64, pl.Int32, pl.Int16, pl.Int8, pl.UInt64, pl.UInt32, pl.UInt16, pl.UInt8)
WORDS = (pl.String, pl.Categorical, pl.Enum)
TIME_TYPES = ("a time, a whole number since 1970, or text", (*WHOLE_NUMBERS, pl.Datetime, pl.String))
NUMBER_TYPES = ("a number, or one as text", (*WHOLE_NUMBERS, pl.Float32, pl.Float64, pl.Decimal, pl.String))
PARQUET_TYPES = {
    "trade_id": ("a number, or one as text", NUMBER_TYPES[1]),
    "symbol": ("text", WORDS),
    "side": ("text", WORDS),
    "is_buyer_maker": ("true or false", (pl.Boolean,)),
}
"""What the columns of a Parquet file may be, in words and as types of Polars."""
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
    """Gives its rows; called with a function that makes the symbol of the feed of a name of it."""
    by_column: bool
    """Whether a column has the name; otherwise it is that of the file."""


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
    raise WrongFile(f"{shown(name)} is no pair of Kraken that is known")


def symbol_of_file(name: str, known: list[str]) -> str:
    """The symbol of the feed that the name of a file tells: ``XBTUSD``, ``XXBTZUSD``, ``BTC-USD``, ``AAPLxUSD``.

    Only where it is certain: a symbol of the lake (``known``), or an asset in capitals before a quote asset of Kraken.
    Anything else may be the name of a file as well, so it is ``WrongFile``.
    """
    parts = re.split(r"[-_/]", unquote(name))
    whole = "".join(parts).upper()
    same = {
        symbol
        for symbol in known
        if parts[0].upper() in {whole, symbol.partition("/")[0].upper()}
        and whole in {_joined(symbol).upper(), symbol.replace("/", "").upper()}
    }
    if len(same) == 1:
        return same.pop()
    if len(parts) == 1:
        plain = _without_letters(parts[0])
        quote = max((quote for quote in QUOTES if plain.endswith(quote)), key=len, default="")
        parts = [plain.removesuffix(quote), quote]
    if same or len(parts) != 2 or parts[1] not in QUOTES or not re.fullmatch(ASSET, parts[0]):  # noqa: PLR2004  # base, quote
        raise WrongFile(f"its name {shown(name)} does not tell for certain of which pair it is")
    return "/".join(FEED_NAMES.get(asset, asset) for asset in parts)


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
    except (EOFError, zlib.error, zipfile.BadZipFile, gzip.BadGzipFile) as error:
        sentence = f"{path}: cannot be read: it is cut or damaged ({words_of(error)}); get it again"
        raise ConfigError(sentence) from None
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, pa.ArrowException) as error:
        reason = words_of(error)[:WORDS_MAX]
        raise ConfigError(f"{path}: cannot be read: it is cut or damaged ({reason}); get it again") from None
    except (OSError, RuntimeError) as error:
        # RuntimeError: a zip that is encrypted, or packed in a way that Python does not know.
        raise ConfigError(f"{path}: cannot be read: {words_of(error)}") from None


def recognise(path: Path) -> list[tuple[str, Found | WrongFile]]:
    """What a file is: of each file in it (one, unless it is a zip) its place for errors, and what it is or why nothing.

    ``ConfigError`` if it cannot be read.
    """
    with reading(path):
        with path.open("rb") as file:
            head = file.read(8)
        if not head:
            raise WrongFile(f"{path}: is empty; {EXIST}")
        if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
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
        text = b"\n"
        while text and not text.strip():
            text = file.readline(HEAD)
    if not text:
        raise WrongFile(f"{place}: is empty; {EXIST}")
    try:
        # A line that is longer may be cut within a letter.
        line = text.decode("utf-8-sig", errors="ignore" if len(text) == HEAD else "strict").strip()
    except UnicodeDecodeError:
        raise WrongFile(f"{place}: is no text (UTF-8); {EXIST}") from None
    stem = name.rpartition("/")[2].removesuffix(".csv")
    for kind, header in TARDIS.items():
        if line.startswith(header):
            if kind != "trades":
                raise WrongFile(
                    f"{place}: is a Tardis file of {kind}; books are not imported, since they have no checksums that "
                    f"could prove them; {EXIST}"
                )
            return Found("tardis", "tardis", lambda symbol: _tardis(place, start, symbol), by_column=True)
    fields = line.split(",")
    numbers = all(re.fullmatch(NUMBER, field.strip()) for field in fields)
    if numbers and len(fields) == 3:  # noqa: PLR2004  # time, price, volume
        return Found(
            "kraken-trades", "kraken-csv", lambda symbol: _kraken_trades(place, start, symbol(stem)), by_column=False
        )
    if numbers and len(fields) == 7:  # noqa: PLR2004  # time, four prices, volume, trades
        pair, _, minutes = stem.rpartition("_")
        if not pair or not minutes.isdecimal() or not 0 < int(minutes) < 1 << 16:
            raise WrongFile(f"{place}: has candles, and its name does not tell their minutes, as XBTUSD_60.csv does")
        return Found(
            "kraken-ohlcvt",
            "kraken-csv",
            lambda symbol: _candles(place, start, symbol(pair), int(minutes)),
            by_column=False,
        )
    what = f"a CSV with the columns {shown(line)}" if not numbers else f"a CSV of {len(fields)} numbers a line"
    raise WrongFile(f"{place}: is {what}, not one that is known; {EXIST}")


def _parts(place: str, start: Callable[[], IO[bytes]]) -> Iterator[tuple[int, bytes]]:
    """Whole lines of a file, some MB at a time, each time with the number of the first line."""
    with closing(start()) as file:
        rest = b""
        line = 1
        while data := file.read(PIECE):
            end = data.rfind(b"\n") + 1
            if end:
                whole = rest + data[:end]
                rest = data[end:]
                yield line, whole
                line += whole.count(b"\n")
            else:
                rest += data
            if len(rest) > max(LINE_MAX, PIECE):
                raise WrongFile(f"{place}: has a line of more than {LINE_MAX:,} bytes, so it is no such CSV")
        if rest.strip():
            yield line, rest


class _Rows(NamedTuple):
    """Some rows of a file; errors name the place of a wrong value."""

    place: str
    word: str
    """What a row is called in errors: a line of a CSV."""
    frame: pl.DataFrame
    """With the column ``LINE``."""

    def expect(self, name: str, good: pl.Expr, wrong: Callable[[object], str]) -> None:
        """``WrongFile`` for the first row whose value of a column is not good; ``wrong`` says what is wrong with it."""
        bad = self.frame.filter(~good.fill_null(value=False)).head(1)
        if bad.height:
            line, value = bad.row(0, named=True)[LINE], bad[name][0]
            what = f"{name} is missing" if value is None else f"{name} {shown(value)} {wrong(value)}"
            raise WrongFile(f"{self.place}: {self.word} {line}: {what}")


def _texts(place: str, first: int, data: bytes, names: list[str]) -> _Rows:
    """Rows of a CSV without a header, as text; ``first`` is the number of the first line."""
    if first == 1:
        data = data.removeprefix(codecs.BOM_UTF8)
    # Polars would take an empty line in front for the number of columns.
    first, data = _without_empty_lines(first, data)
    try:
        frame = pl.read_csv(
            data, has_header=False, schema=dict.fromkeys(names, pl.String), raise_if_empty=False,
            row_index_name=LINE, row_index_offset=first,
        )  # fmt: skip
    except pl.exceptions.PolarsError:
        raise WrongFile(f"{place}: {_wrong_line(first, data, names)}") from None
    # Lines without anything say nothing.
    return _Rows(place, "line", frame.filter(~pl.all_horizontal(pl.col(names).is_null())))


def _without_empty_lines(first: int, data: bytes) -> tuple[int, bytes]:
    """Lines from the first one on that has anything, and its number."""
    rest = data.lstrip(b"\r\n")
    return first + data[: len(data) - len(rest)].count(b"\n"), rest


def _wrong_line(first: int, data: bytes, names: list[str]) -> str:
    """Why Polars cannot read a CSV."""
    expected = f"expected are {len(names)} ({','.join(names)})"
    for line, found in enumerate(data.splitlines(), first):
        try:
            fields = found.decode().split(",")
        except UnicodeDecodeError:
            return f"line {line} is no text (UTF-8)"
        if found.strip() and len(fields) > len(names):
            return f"line {line} has {len(fields)} fields; {expected}"
        if found.count(b'"') % 2:
            return f"line {line} has a quotation mark without its second one"
    return f"lines from {first} on are no CSV; {expected}"


def _decimal(rows: _Rows, name: str) -> pl.Expr:
    """A column of numbers as text, exact; ``WrongFile`` for a number that the lake cannot hold."""
    text = pl.col(name).str.strip_chars()
    # Also numbers as 8.1e-6, which prices of cheap coins are as text.
    powers = rows.frame.select(text.unique()).to_series().drop_nulls()
    powers = powers.filter(powers.str.contains(POWER))
    text = text.replace({power: f"{Decimal(power):f}" for power in powers})
    # Zeros beyond the last decimal say nothing.
    cut = pl.when(text.str.contains(r"\.\d{10}")).then(text.str.strip_chars_end("0")).otherwise(text)
    good = cut.str.contains(r"^[-+]?\d{1,28}(\.\d{0,10})?$")
    rows.expect(name, good, lambda _: f"is no number with at most {SCALE} decimals")
    rows.expect(name, ~cut.str.starts_with("-"), lambda _: "is below zero")
    return cut.str.strip_chars_end(".").cast(pl.Decimal(38, SCALE))


def _count(rows: _Rows, name: str) -> pl.Expr:
    """A column of whole numbers as text."""
    text = pl.col(name).str.strip_chars()
    rows.expect(name, text.str.contains(r"^\d{1,18}$"), lambda _: "is no whole number")
    return text.cast(pl.UInt64)


def _time_text(rows: _Rows, name: str, unit: str) -> pl.Expr:
    """Times as text in a unit since the epoch, with decimals down to a nanosecond, as ns."""
    text = pl.col(name).str.strip_chars()
    size = UNITS[unit]
    scale = len(str(size)) - 1
    exact = text.str.contains(rf"^\d+(\.\d{{0,{scale}}}0*)?$")
    # Of more digits than 64 bits hold: null, which is no time.
    number = pl.when(exact).then(text.str.strip_chars_end(".")).str.to_decimal(scale=scale)
    ns = number.to_physical().cast(pl.Int64, strict=False)
    rows.expect(name, ns.is_between(EARLIEST, LATEST), partial(_no_time, unit))
    return ns.cast(TIMES)


def _no_time(unit: str, value: object) -> str:
    """What is wrong with a time that should be in a unit."""
    expected = f"expected are {unit} since 1970 (UTC)"
    text = str(value).strip()
    if re.fullmatch(r"\d{1,19}", text):
        for other, size in UNITS.items():
            if EARLIEST <= int(text) * size <= LATEST:
                return f"is in {other}; {expected}"
    return f"is no time from 2013 to 2100; {expected}"


def _kraken_trades(place: str, start: Callable[[], IO[bytes]], symbol: str) -> Iterator[Piece]:
    for first, data in _parts(place, start):
        rows = _texts(place, first, data, ["time", "price", "volume"])
        time = _time_text(rows, "time", "seconds")
        frame = rows.frame.select(
            ts_recv=time,
            ts_event=time,
            symbol=pl.lit(symbol),
            price=_decimal(rows, "price"),
            qty=_decimal(rows, "volume"),
        )
        yield Piece("trades", symbol, frame, len(data))


def _candles(place: str, start: Callable[[], IO[bytes]], symbol: str, minutes: int) -> Iterator[Piece]:
    names = ["time", "open", "high", "low", "close", "volume", "trades"]
    for first, data in _parts(place, start):
        rows = _texts(place, first, data, names)
        begin = _time_text(rows, "time", "seconds")
        # What a candle says is known when it ends.
        end = begin + pl.duration(minutes=minutes)
        numbers = {name: _decimal(rows, name) for name in names[1:-1]}
        frame = rows.frame.select(
            ts_recv=end,
            ts_event=end,
            symbol=pl.lit(symbol),
            interval=pl.lit(minutes),
            interval_begin=begin,
            **numbers,
            trades=_count(rows, "trades"),
        )
        yield Piece("ohlc", symbol, frame, len(data))


def _tardis(place: str, start: Callable[[], IO[bytes]], symbol: Callable[[str], str]) -> Iterator[Piece]:
    names: list[str] = []
    for first, data in _parts(place, start):
        line, text = first, data
        if not names:
            line, text = _without_empty_lines(first, data.removeprefix(codecs.BOM_UTF8))
            header, _, text = text.partition(b"\n")
            names, line = header.decode().strip().split(","), line + 1
        rows = _texts(place, line, text, names)
        rows.expect("exchange", pl.col("exchange") == "kraken", lambda _: "is not kraken; only its data is imported")
        rows.expect("symbol", pl.col("symbol").str.len_chars() > 0, lambda _: "is missing")
        made, received = (_time_text(rows, name, "microseconds") for name in ("timestamp", "local_timestamp"))
        frame = rows.frame.select(
            "symbol",
            ts_recv=received,
            ts_event=made,
            price=_decimal(rows, "price"),
            qty=_decimal(rows, "amount"),
            side=pl.when(pl.col("side").is_in(["buy", "sell"])).then("side"),
            trade_id=pl.col("id").cast(pl.Int64, strict=False),
        )
        yield from _by_symbol(frame, symbol, len(data))


def _by_symbol(rows: pl.DataFrame, symbol: Callable[[str], str], size: int) -> Iterator[Piece]:
    for (name,), some in rows.partition_by("symbol", as_dict=True, maintain_order=True).items():
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
    kinds = {time: TIME_TYPES, "received_time": TIME_TYPES, "price": NUMBER_TYPES, qty: NUMBER_TYPES}
    for column, (words, allowed) in (PARQUET_TYPES | kinds).items():
        if column in schema and schema[column].base_type() not in (*allowed, pl.Null):
            raise WrongFile(f"{place}: column {column} has the type {schema[column]}; expected is {words}")
    return Found(
        "cryptohftdata",
        "cryptohftdata",
        lambda symbol: _hft(place, name, start, symbol, (time, qty)),
        by_column="symbol" in columns,
    )


def _hft(
    place: str, name: str, start: Callable[[], IO[bytes]], symbol: Callable[[str], str], columns: tuple[str, str]
) -> Iterator[Piece]:
    time, qty = columns
    stem = name.removesuffix(".zst").removesuffix(".parquet").removesuffix("_trades")
    done = 0
    for frame in _frames(start):
        texts = frame.drop(LINE, strict=False).with_columns(pl.col("price", qty).cast(pl.String))
        if "symbol" not in frame.columns:
            texts = texts.with_columns(symbol=pl.lit(stem))
        rows = _Rows(place, "row", texts.with_row_index(LINE, done + 1))
        done += frame.height
        side = pl.lit(None, pl.String)
        if "side" in frame.columns:
            words = pl.col("side").cast(pl.String).str.to_lowercase()
            side = pl.when(words.is_in(["buy", "sell"])).then(words)
        elif "is_buyer_maker" in frame.columns:
            side = pl.when(pl.col("is_buyer_maker")).then(pl.lit("sell")).otherwise(pl.lit("buy"))
        named = pl.col("symbol").cast(pl.String)
        rows.expect("symbol", named.str.len_chars() > 0, lambda _: "is missing")
        found = rows.frame.select(
            symbol=named,
            ts_recv=_any_time(rows, "received_time"),
            ts_event=_any_time(rows, time),
            price=_decimal(rows, "price"),
            qty=_decimal(rows, qty),
            side=side,
            trade_id=pl.col("trade_id").cast(pl.Int64, strict=False),
        )
        yield from _by_symbol(found, symbol, 0)


def _frames(start: Callable[[], IO[bytes]]) -> Iterator[pl.DataFrame]:
    """Some rows of a Parquet file at a time: a small file may have more rows than memory holds."""
    with closing(start()) as file, closing(pq.ParquetFile(file)) as parquet:
        for batch in parquet.iter_batches(ROWS):
            frame = pl.from_arrow(batch)
            assert isinstance(frame, pl.DataFrame), "as a batch is"
            yield frame


def _any_time(rows: _Rows, name: str) -> pl.Expr:
    """A column of times: of a time type, of ISO 8601, or whole numbers whose size tells their unit."""
    kind = rows.frame.schema[name]
    column = pl.col(name)
    if isinstance(kind, pl.Datetime):
        near = ns = column if kind.time_zone else column.dt.replace_time_zone("UTC")
    elif kind == pl.String:
        # A year that does not fit into nanoseconds is found by the other one.
        near, ns = (column.str.to_datetime(time_unit=unit, time_zone="UTC", strict=False) for unit in ("us", "ns"))
        try:
            rows.frame.select(near)
        except pl.exceptions.PolarsError:
            # The first one is no time, so Polars cannot guess how the others are written.
            near = ns = pl.lit(None, TIMES)
    else:
        whole = column.cast(pl.Int64, strict=False)
        number = pl.coalesce(
            pl.when(whole.is_between(EARLIEST // unit, LATEST // unit)).then(whole * unit) for unit in UNITS.values()
        )
        near = ns = number.cast(TIMES)
    expected = "is no time from 2013 to 2100; expected are whole numbers since 1970 (UTC), or ISO 8601"
    rows.expect(name, near.dt.year().is_between(*YEARS), lambda _: expected)
    return ns.dt.convert_time_zone("UTC").dt.cast_time_unit("ns")


def check(place: str, found: Found, wanted: Format | None) -> None:
    """``WrongFile`` if a file is of another format than the one that was asked for."""
    if wanted is not None and found.format != wanted:
        raise WrongFile(f"{place}: is {found.format}, not {wanted}; formats: {alternatives(FORMATS)}")
