"""Files of history: their rows are in the lake as they are in the file, once, and a file of another kind is named."""

from __future__ import annotations

import gzip
import io
import re
import warnings
import zipfile
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest

import lakes
from krakpot.errors import ConfigError
from krakpot.history import formats
from krakpot.history.formats import WrongFile
from krakpot.history.imports import import_file, sentence
from krakpot.lake.lake import Lake
from krakpot.lake.verify import verify

KRAKEN = (
    "1381095255,122.0,0.1\n1381095255,122.0,0.1\n1381179030.5,123.61,0.10000000\n1381201115,123.910000,1.9916000000\n"
)
CANDLES = "1381095240,122.0,122.0,121.9,122.0,0.1,1\n1381179000,123.61,123.61,123.61,123.61,0.1,3\n"
TARDIS = (
    "exchange,symbol,timestamp,local_timestamp,id,side,price,amount\n"
    "kraken,XBT/USD,1714521600000123,1714521600004567,70000001,buy,60636.1,0.5\n"
    "kraken,ETH/XBT,1714521600000124,1714521600004568,a-b,unknown,0.05,2\n"
)
L2 = "exchange,symbol,timestamp,local_timestamp,is_snapshot,side,price,amount\nkraken,XBT/USD,1,2,true,bid,1,1\n"


def write(path: Path, text: str) -> Path:
    """A file of this text; packed if its name ends in .gz."""
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def read(lake: Path, origin: str, table: str = "trades") -> pl.DataFrame:
    """Rows of an origin, in order."""
    return Lake(lake).scan(table, origin=origin).collect()


def test_kraken_s_trades(tmp_path: Path) -> None:
    """Times to the digit, equal rows both, no side and no id; not given unless asked for, and not proved."""
    lake = tmp_path / "lake"
    result = import_file(lake, write(tmp_path / "XBTUSD.csv", KRAKEN))
    assert (result.format, result.origin, result.rows) == ("kraken-trades", "kraken-csv", {"trades": {"BTC/USD": 4}})
    assert sentence(result).endswith("XBTUSD.csv: kraken-trades, 4 trades of BTC/USD, origin kraken-csv")
    rows = read(lake, "kraken-csv")
    assert rows["ts_event"].dt.epoch("ns").to_list() == [
        1381095255_000000000, 1381095255_000000000, 1381179030_500000000, 1381201115_000000000,
    ]  # fmt: skip
    assert rows["price"].to_list() == [Decimal("122"), Decimal("122"), Decimal("123.61"), Decimal("123.91")]
    assert rows["qty"].to_list() == [Decimal("0.1"), Decimal("0.1"), Decimal("0.1"), Decimal("1.9916")]
    assert rows["side"].null_count() == rows["trade_id"].null_count() == 4
    assert Lake(lake).trades().collect().is_empty()
    assert read(lake, "all").equals(rows)
    report = verify(lake)
    assert (report.outcome, report.problems) == ("nothing yet", [])
    assert report.imported == {"kraken-csv": {"trades": 4}}
    (span,) = Lake(lake).coverage(origin="all").rows(named=True)
    assert (span["reason"], span["origin"], span["symbol"]) == ("imported", "kraken-csv", "BTC/USD")
    bars = Lake(lake).bars(every="1d", origin="kraken-csv")
    assert bars["volume"].to_list() == [Decimal("0.2"), Decimal("0.1"), Decimal("1.9916")][: bars.height]


def test_bars_of_trades_without_sides_and_ids(tmp_path: Path) -> None:
    """What was bought, and what is missing, is not known, so none is whole; ``covered`` says which are of the file."""
    lake = tmp_path / "lake"
    import_file(lake, write(tmp_path / "XBTUSD.csv", KRAKEN))
    bars = Lake(lake).bars(every="10s", origin="kraken-csv")
    assert bars.height == 3
    for name in ("buy_volume", "missing"):
        assert bars[name].null_count() == 3
    assert bars["whole"].to_list() == [False] * 3
    assert bars.filter(pl.col("covered") == 1)["trades"].to_list() == [1]
    with pytest.raises(ConfigError, match=r"by='imbalance': some of these trades have no side"):
        Lake(lake).bars(every="1", by="imbalance", origin="kraken-csv")


def test_a_file_is_in_a_lake_once(tmp_path: Path) -> None:
    """The same content a second time is refused, whatever its name; nothing changes."""
    lake = tmp_path / "lake"
    import_file(lake, write(tmp_path / "XBTUSD.csv", KRAKEN))
    before = read(lake, "all")
    with pytest.raises(ConfigError, match=r"is in the lake .* already, as BTC/USD \(session .*; nothing was added"):
        import_file(lake, write(tmp_path / "XBTEUR.csv", KRAKEN))
    for symbol in ("BTC/EUR", "BTC/USD"):
        with pytest.raises(ConfigError, match=r"already, as BTC/USD \(.* as another pair, import it into another lake"):
            import_file(lake, tmp_path / "XBTEUR.csv", symbol=symbol)
    assert read(lake, "all").equals(before)


def test_a_pair_is_not_guessed(tmp_path: Path) -> None:
    """A name of a file that may mean something else is refused with the cure; in a zip the others are imported."""
    path, lake = write(tmp_path / "unsorted_SOLUSD.csv", KRAKEN), tmp_path / "lake"
    with pytest.raises(WrongFile, match=r"unsorted_SOLUSD.csv: its name 'unsorted_SOLUSD' does not .*name it with --s"):
        import_file(lake, path)
    assert not lake.exists()
    result = import_file(lake, path, symbol="SOL/USD")
    assert sentence(result).endswith("kraken-trades, 4 trades of SOL/USD, origin kraken-csv")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in ("XBTUSD.csv", "my trades.csv", "XBTEUR.csv"):
            archive.writestr(name, KRAKEN)
    result = import_file(lake, tmp_path / "a.zip")
    assert "a.zip: my trades.csv: its name 'my trades' does not tell" in result.skipped[0]
    assert result.skipped[0].endswith("; unpack it, and name the pair with --symbol")
    assert "8 trades of 2 pairs (BTC/USD, BTC/EUR), " in sentence(result)


def test_a_symbol_that_a_column_contradicts(tmp_path: Path) -> None:
    """What a file says itself is not overruled; a name that says nothing may be named, if it is the only one."""
    path, lake = tmp_path / "t.csv", tmp_path / "lake"
    one = TARDIS.rpartition("kraken,ETH")[0]
    odd = one.replace("XBT/USD", "QQQQ")
    for text, words in (
        (one, "XBT/USD"),
        (TARDIS, "XBT/USD"),
        (odd + odd.splitlines()[1].replace("QQ", "R"), "QQQQ, RR"),
    ):
        with pytest.raises(
            WrongFile, match=f"its column symbol says {words}, so --symbol cannot call it ETH/BTC; leave"
        ):
            import_file(lake, write(path, text), symbol="ETH/BTC")
    with pytest.raises(WrongFile, match="t.csv: 'QQQQ' is no pair of Kraken that is known; name it with --symbol"):
        import_file(lake, write(path, odd))
    assert not lake.exists()
    assert import_file(lake, path, symbol="ETH/BTC").rows == {"trades": {"ETH/BTC": 1}}
    assert import_file(lake, write(path, one), symbol="XBT/USD").rows == {"trades": {"BTC/USD": 1}}


def test_candles(tmp_path: Path) -> None:
    """The minutes are in the name; a candle is known when it ends."""
    lake = tmp_path / "lake"
    result = import_file(lake, write(tmp_path / "XDGEUR_60.csv", CANDLES))
    assert result.rows == {"ohlc": {"DOGE/EUR": 2}}
    rows = read(lake, "kraken-csv", "ohlc")
    assert rows["interval"].to_list() == [60, 60]
    assert rows["interval_begin"].dt.epoch("s").to_list() == [1381095240, 1381179000]
    assert rows["ts_event"].dt.epoch("s").to_list() == [1381095240 + 3600, 1381179000 + 3600]
    assert rows.select("open", "high", "low", "close", "volume").row(0) == tuple(
        map(Decimal, ("122", "122", "121.9", "122", "0.1"))
    )
    assert rows["trades"].to_list() == [1, 3]
    assert Lake(lake).ohlc().collect().is_empty()


def test_tardis(tmp_path: Path) -> None:
    """Several pairs in a file, by the names of the feed; an id that is none, and an unknown side, are null."""
    lake = tmp_path / "lake"
    result = import_file(lake, write(tmp_path / "trades.csv.gz", TARDIS), format="tardis")
    assert result.rows == {"trades": {"BTC/USD": 1, "ETH/BTC": 1}}
    columns = ["symbol", "side", "price", "qty", "trade_id", "origin"]
    assert sorted(read(lake, "tardis").select(columns).rows()) == [
        ("BTC/USD", "buy", Decimal("60636.1"), Decimal("0.5"), 70000001, "tardis"),
        ("ETH/BTC", None, Decimal("0.05"), Decimal(2), None, "tardis"),
    ]
    times = read(lake, "tardis").filter(symbol="BTC/USD").select(pl.col("ts_event", "ts_recv").dt.epoch("ns")).row(0)
    assert times == (1714521600000123000, 1714521600004567000)


@pytest.mark.parametrize("packed", [False, True])
def test_cryptohftdata(tmp_path: Path, packed: bool) -> None:
    """Decimals are text, times are whole numbers of any unit; the maker bought: the taker sold."""
    frame = pl.DataFrame(
        {
            "received_time": [1767225600_000000123, 1767225601_000000123],
            "event_time": [1767225600_000, 1767225601_000],
            "symbol": ["BTC-USD", "BTC-USD"],
            "trade_id": ["81", "82"],
            "price": ["88000.1", "88000.2"],
            "quantity": ["0.5", "0.25000000"],
            "is_buyer_maker": [True, False],
        }
    )
    path = tmp_path / ("BTC-USD_trades.parquet" + (".zst" if packed else ""))
    frame.write_parquet(path)
    if packed:
        import pyarrow as pa

        data = path.read_bytes()
        with pa.CompressedOutputStream(str(path), "zstd") as stream:
            stream.write(data)
    result = import_file(tmp_path / "lake", path)
    assert (result.format, result.rows) == ("cryptohftdata", {"trades": {"BTC/USD": 2}})
    rows = read(tmp_path / "lake", "cryptohftdata")
    assert rows.select("trade_id", "side", "price", "qty").rows() == [
        (81, "sell", Decimal("88000.1"), Decimal("0.5")), (82, "buy", Decimal("88000.2"), Decimal("0.25")),
    ]  # fmt: skip
    assert rows.select(pl.col("ts_event", "ts_recv").dt.epoch("ns")).row(0) == (
        1767225600 * 10**9,
        1767225600_000000123,
    )


def test_a_zip_of_many_files(tmp_path: Path) -> None:
    """Each pair by the name of its file; a file that is nothing is said, and does not hide the others."""
    path = tmp_path / "trades.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("TimeAndSales/XBTUSD.csv", KRAKEN)
        archive.writestr("TimeAndSales/ETHEUR.csv", KRAKEN.replace("122.0", "99"))
        archive.writestr("TimeAndSales/readme.csv", "hello,world\n")
        archive.writestr("readme.txt", "hello")
    result = import_file(tmp_path / "lake", path)
    assert result.rows == {"trades": {"BTC/USD": 4, "ETH/EUR": 4}}
    assert len(result.skipped) == 1
    assert (
        "TimeAndSales/readme.csv: is a CSV with the columns 'hello,world', not one that is known" in result.skipped[0]
    )
    assert verify(tmp_path / "lake").problems == []


def test_a_file_larger_than_a_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read in pieces that end anywhere, and written in several journals: the rows are the same, in the same order."""
    monkeypatch.setattr(formats, "PIECE", 100)
    rows = [(1381095255 + n // 3, f"{100 + n % 7}.5", n + 1) for n in range(2000)]
    text = "".join(f"{time},{price},{qty}\n" for time, price, qty in rows)
    import_file(tmp_path / "lake", write(tmp_path / "XBTUSD.csv", text.rstrip("\n")))
    found = read(tmp_path / "lake", "kraken-csv").sort("session", "message", "entry")
    assert found["qty"].to_list() == [Decimal(qty) for *_, qty in rows]
    assert found["ts_event"].dt.epoch("s").to_list() == [time for time, *_ in rows]
    assert Lake(tmp_path / "lake").coverage(origin="all").height == 1
    assert verify(tmp_path / "lake").problems == []


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("a.csv", "", "is empty; what can be imported: Kraken's time-and-sales CSV"),
        ("a.csv", "1,2\n", "is a CSV of 2 numbers a line"),
        ("a.csv", "open,close\n", "is a CSV with the columns 'open,close'"),
        ("a.csv", "{}", "is a CSV with the columns"),
        ("depth.csv", L2, "is a Tardis file of incremental_book_L2; books are not imported"),
        ("QQQQ.csv", KRAKEN, "its name 'QQQQ' does not tell for certain of which pair it is; name it with --symbol"),
        ("XBTUSD.csv", CANDLES, "its name does not tell their minutes, as XBTUSD_60.csv does"),
        ("XBTUSD.csv", KRAKEN + "1381201116,x,1\n", "price 'x' is no number with at most 10 decimals"),
        ("XBTUSD.csv", KRAKEN + "1381201116,1.00000000001,1\n", "'1.00000000001' is no number"),
        ("XBTUSD.csv", KRAKEN + "1381201116,-1,1\n", "price '-1' is below zero"),
        ("XBTUSD.csv", KRAKEN + "1381201116,1e999999999,1\n", "price '1e999999999' is no number"),
        ("XBTUSD.csv", KRAKEN + "1381201116,NaN,1\n", "price 'NaN' is no number"),
        ("t.csv", TARDIS.replace("kraken,", ",", 1), "line 2: exchange is missing"),
        ("t.csv", TARDIS.replace("XBT/USD", "", 1), "line 2: symbol is missing"),
        ("XBTUSD.csv", KRAKEN + "1,1,1\n", "time '1' is no time from 2013 to 2100"),
        (
            "t.csv",
            TARDIS.replace("kraken,", "binance,"),
            "line 2: exchange 'binance' is not kraken; only its data is imported",
        ),
        (
            "XBTUSD.csv",
            KRAKEN.replace("1381179030.5", "1381179030500"),
            "line 3: time '1381179030500' is in milliseconds; expected are seconds since 1970 (UTC)",
        ),
        (
            "XBTUSD.csv",
            "122.0,1381095255,0.1\n",
            "line 1: time '122.0' is no time from 2013 to 2100; expected are seconds",
        ),
        ("XBTUSD.csv", KRAKEN + "\n1381201116,1\n", "line 6: volume is missing"),
        ("XBTUSD.csv", KRAKEN + "1381201116,1,1,1\n", "line 5 has 4 fields; expected are 3 (time,price,volume)"),
        ("XBTUSD.csv", KRAKEN + '1381201116,"1,1\n', "line 5 has a quotation mark without its second one"),
        ("XBTUSD_60.csv", CANDLES + "1381179000,1,1,1,1,1,2.5\n", "line 3: trades '2.5' is no whole number"),
        ("XBTUSD_60.csv", CANDLES + "1381179000,1,1,x,1,1,2\n", "line 3: low 'x' is no number with at most 10"),
        ("XBTUSD_60.csv", "1381179000000000,1,1,1,1,1,2\n", "line 1: time '1381179000000000' is in microseconds"),
        (
            "t.csv",
            TARDIS.replace("1714521600000124", "1714521600124"),
            "line 3: timestamp '1714521600124' is in milliseconds; expected are microseconds since 1970 (UTC)",
        ),
        ("t.csv", TARDIS.replace("1714521600004568", "2024-05-01"), "line 3: local_timestamp '2024-05-01' is no time"),
        ("t.csv", TARDIS.splitlines()[0] + "\n", "has no rows"),
        ("t.csv.gz", TARDIS.splitlines()[0] + "\n", "has no rows"),
        ("a.csv.gz", "", "is empty; what can be imported"),
        ("a.csv", "\n\n", "is empty; what can be imported"),
        ("a.gz", "hello", "is a CSV with the columns 'hello'"),
        ("a.parquet", "PAR1nonsense", "cannot be read:"),
        ("a.zip", "PK\x03\x04nonsense", "cannot be read:"),
    ],
)
def test_wrong_files(tmp_path: Path, name: str, text: str, sentence: str) -> None:
    """One sentence that says what it is; nothing of it is kept, and no lake is made."""
    with pytest.raises(ConfigError) as caught:
        import_file(tmp_path / "lake", write(tmp_path / name, text))
    assert sentence in str(caught.value)
    assert str(tmp_path / name) in str(caught.value)
    assert not (tmp_path / "lake").exists()


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    """A spreadsheet's UTF-16, and one wrong byte after the first line; an empty zip is no CSV."""
    for data, words in (
        (KRAKEN.encode("utf-16"), "is no text (UTF-8); what can be imported"),
        (KRAKEN.encode() + b"1381201116,\xff,1\n", "line 5 is no text (UTF-8)"),
        (b"PK\x05\x06" + bytes(18), "is a zip without .csv files"),
    ):
        (tmp_path / "XBTUSD.csv").write_bytes(data)
        with pytest.raises(WrongFile, match=re.escape(words)):
            import_file(tmp_path / "lake", tmp_path / "XBTUSD.csv")


def test_a_byte_order_mark_and_empty_lines_in_front(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They say nothing, in any piece; and the line that is named is that of the file."""
    monkeypatch.setattr(formats, "PIECE", 90)
    for name, text, wrong in (("XBTUSD.csv", KRAKEN, "1,1,1\n"), ("t.csv", TARDIS, "kraken,XBT/USD,x,1,1,buy,1,1\n")):
        path = write(tmp_path / name, "\ufeff" + text + "\r\n\r\n\n" + text.partition("price")[2].partition("\n")[2])
        assert import_file(tmp_path / name[0], path).total >= text.count("\n") - 1
        bad = write(tmp_path / name, "\r\n\n" + text + "\n" * 200 + wrong)
        line = 3 + text.count("\n") + 200
        with pytest.raises(WrongFile, match=f"line {line}: time"):
            import_file(tmp_path / "lake", bad)


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        ({"price": ["1", "x"]}, "row 2: price 'x' is no number with at most 10 decimals"),
        ({"price": [[1], [2]]}, "column price has the type List(Int64); expected is a number, or one as text"),
        ({"trade_time": ["2026-01-01T00:00:00", "noon"]}, "row 2: trade_time 'noon' is no time from 2013 to 2100"),
        ({"trade_time": ["noon", "noon"]}, "row 1: trade_time 'noon' is no time from 2013 to 2100"),
        ({"trade_time": [1767225600000, 12]}, "row 2: trade_time 12 is no time from 2013 to 2100; expected are whole"),
        ({"received_time": [1.5, 2.5]}, "column received_time has the type Float64; expected is a time, a whole"),
        ({"received_time": [None, None]}, "row 1: received_time is missing"),
        ({"is_buyer_maker": ["yes", "no"]}, "column is_buyer_maker has the type String; expected is true or false"),
        ({"symbol": ["BTC-USD", None]}, "row 2: symbol is missing"),
    ],
)
def test_wrong_parquet_files(tmp_path: Path, columns: dict[str, list[Any]], sentence: str) -> None:
    """The column, the row and what is expected, of a file in several pieces too; nothing is kept."""
    rows: dict[str, list[Any]] = {
        "received_time": [1767225600000, 1767225600001], "trade_time": [1767225600000, 1767225600001], "_line": [7, 7],
        "symbol": ["BTC-USD", "BTC-USD"], "trade_id": ["1", "2"], "price": ["1", "2"], "quantity": ["1", "2"],
    }  # fmt: skip
    path = tmp_path / "a.parquet"
    pl.DataFrame(rows).write_parquet(path)
    assert import_file(tmp_path / "good", path).total == 2
    pl.DataFrame(rows | columns).write_parquet(path)
    with pytest.raises(WrongFile, match=re.escape(f"a.parquet: {sentence}")):
        import_file(tmp_path / "lake", path)
    assert not (tmp_path / "lake").exists()


def test_packed_files_that_are_damaged_or_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cut, encrypted or repeated file, and one that unpacks to more than memory holds: one sentence, and no lake."""
    path, lake = tmp_path / "XBTUSD.csv.gz", tmp_path / "lake"

    def refused(data: bytes, sentence: str) -> None:
        path.write_bytes(data)
        with pytest.raises(ConfigError, match=sentence):
            import_file(lake, path)
        assert not lake.exists()

    def zipped(*names: str) -> bytes:
        made = io.BytesIO()
        with zipfile.ZipFile(made, "w") as archive, warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of the name that is there
            for name in names:
                archive.writestr(name, KRAKEN)
        return made.getvalue()

    whole = gzip.compress(KRAKEN.encode() * 1000)
    refused(whole[: len(whole) // 2], "cannot be read: it is cut or damaged .Compressed file ended .*; get it again")
    encrypted = bytearray(zipped("XBTUSD.csv"))
    for place in (6, encrypted.index(b"PK\x01\x02") + 8):
        encrypted[place] |= 1
    refused(bytes(encrypted), "cannot be read: .* is encrypted")
    refused(zipped("XBTUSD.csv", "XBTUSD.csv"), "has 'XBTUSD.csv' twice")
    monkeypatch.setattr(formats, "PIECE", 1 << 16)
    monkeypatch.setattr(formats, "UNPACKED_MAX", 1 << 20)
    refused(gzip.compress(KRAKEN.encode() + b"1" * (1 << 18)), "has a line of more than 65,536 bytes")
    refused(pa.compress(b"PAR1" + bytes(2 << 20), codec="zstd", asbytes=True), "is more than 1 MiB when it is unpacked")


def test_numbers_with_an_exponent_and_empty_lines(tmp_path: Path) -> None:
    """A cheap coin's price as 8.1e-6, as text and as a number of a Parquet file; lines without anything."""
    lake = tmp_path / "lake"
    import_file(lake, write(tmp_path / "SHIBUSD.csv", "1600000000,8.1E-6,2e3\n\n\n1600000001,1e-10,1\n\n"))
    rows = {"trade_id": [1], "price": [8.1e-6], "quantity": [2e3], "trade_time": [1600000000000], "symbol": ["PEPEUSD"]}
    pl.DataFrame(rows | {"received_time": [1600000000001]}).write_parquet(tmp_path / "a.parquet")
    import_file(lake, tmp_path / "a.parquet")
    found = Lake(lake).scan("trades", origin="all").sort("symbol", "ts_event").collect()
    assert found["price"].to_list() == [Decimal("0.0000081"), Decimal("0.0000081"), Decimal("0.0000000001")]
    assert found["qty"].to_list() == [2000, 2000, 1]


def test_a_parquet_file_is_read_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small file may have more rows than memory holds."""
    rows = {"trade_id": [1], "price": [1.5], "quantity": [2.5], "trade_time": [1600000000000], "symbol": ["XBTUSD"]}
    frame = pl.DataFrame(rows | {"received_time": [1600000000001]})
    pl.concat([frame] * 1000).write_parquet(tmp_path / "a.parquet")
    monkeypatch.setattr(formats, "ROWS", 100)
    ((_, found),) = formats.recognise(tmp_path / "a.parquet")
    assert isinstance(found, formats.Found)
    assert [piece.rows.height for piece in found.pieces(lambda name: name)] == [100] * 10


def test_the_lake_comes_first(tmp_path: Path) -> None:
    """As on the command line; the other way round is said."""
    path = write(tmp_path / "XBTUSD.csv", KRAKEN)
    for lake in (tmp_path / "lake", tmp_path):
        with pytest.raises(
            ConfigError, match=r"lake: .*XBTUSD.csv is a file, no folder; the lake comes first: import_f"
        ):
            import_file(path, lake)
    assert not (tmp_path / "lake").exists()
    assert import_file(lake=tmp_path / "lake", file=path).total == 4


def test_what_was_asked_for(tmp_path: Path) -> None:
    """Another format, no such file, a book in Parquet, a symbol for a file that does not tell it."""
    path = write(tmp_path / "trades.csv", KRAKEN)
    with pytest.raises(ConfigError, match="is kraken-trades, not tardis; formats: kraken-trades, kraken-ohlcvt"):
        import_file(tmp_path / "lake", path, format="tardis")
    with pytest.raises(ConfigError, match="there is no such file"):
        import_file(tmp_path / "lake", tmp_path / "none.csv")
    pl.DataFrame({"bids": ["1"], "received_time": [1]}).write_parquet(tmp_path / "book.parquet")
    with pytest.raises(ConfigError, match="is a Parquet file of books"):
        import_file(tmp_path / "lake", tmp_path / "book.parquet")
    assert import_file(tmp_path / "lake", path, symbol="BTC/USD").rows == {"trades": {"BTC/USD": 4}}


def test_an_import_beside_a_recording(tmp_path: Path) -> None:
    """Both kinds of parts: plain readers see all rows, krakpot's those of the feed, and the recording is proved."""
    lake = tmp_path / "lake"
    lakes.make(lake, lakes.market())
    before, proof = Lake(lake).trades().collect(), verify(lake)
    import_file(lake, write(tmp_path / "XBTUSD.csv", KRAKEN))
    assert Lake(lake).trades().collect().equals(before)
    after = verify(lake)
    assert after.proved
    assert (after.rows, after.sessions, after.checksums) == (proof.rows, proof.sessions, proof.checksums)
    plain = pl.scan_parquet(lake / "trades", hive_partitioning=True).group_by("origin").len().collect()
    assert dict(plain.iter_rows()) == {"feed": before.height, "kraken-csv": 4}
    part = next(path for path in lakes.parts(lake, "trades") if "date=2013" in str(path))
    lakes.rewrite(part, lambda frame: frame.head(1))
    assert any("the ledger says" in problem for problem in verify(lake).problems)
    part.unlink()
    assert any("is missing" in problem for problem in verify(lake).problems)
