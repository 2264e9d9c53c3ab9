"""The size of a lake, and the cost of its encodings: the tables of docs/decisions/storage.md.

``python bench/python/storage.py LAKE`` prints bytes per row by table and by column of the books of a lake
(``bench/python/made.py`` makes one), then writes a sample of these books, sorted as ``krakpot compact`` sorts them, in
many ways: size, CPU of the writing, time to read one symbol. Each result is read back and compared. ``--small`` makes a
new lake, for the tests.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq

import made
from krakpot import _core
from krakpot.lake import parquet
from krakpot.lake.format import ROW_GROUP, order
from krakpot.lake.lake import Lake

SYMBOLS = 6
"""Of the sample: from the busiest to the quietest."""
DELTA, SPLIT = "DELTA_BINARY_PACKED", "BYTE_STREAM_SPLIT"
VARIANTS: dict[str, dict[str, Any]] = {
    "as krakpot writes": {},
    "price plain": {"plain": ("price",)},
    "price byte stream split": {"encoding": {"price": SPLIT}},
    "qty dictionary": {"dictionary": ("qty",)},
    "qty byte stream split": {"encoding": {"qty": SPLIT}},
    "qty delta byte array": {"encoding": {"qty": "DELTA_BYTE_ARRAY"}},
    "checksum dictionary": {"dictionary": ("checksum",)},
    "checksum byte stream split": {"encoding": {"checksum": SPLIT}},
    "checksum delta": {"encoding": {"checksum": DELTA}},
    "ts_recv, ts_event plain": {"encoding": {"ts_recv": "PLAIN", "ts_event": "PLAIN"}},
    "entry plain": {"encoding": {"entry": "PLAIN"}},
    "row groups of 65,536": {"rows": 65_536},
    "row groups of 262,144": {"rows": 262_144},
    "row groups of 524,288": {"rows": 524_288},
    "sorted by message": {"by": ["session", "message", "entry"]},
    "zstd 1": {"level": 1},
    "zstd 6": {"level": 6},
    "zstd 9": {"level": 9},
    "lz4": {"compression": "lz4"},
    "not compressed": {"compression": "none"},
}


def columns(paths: list[Path]) -> tuple[int, dict[str, int]]:
    """Rows, and compressed bytes of each column."""
    rows, found = 0, defaultdict(int)
    for path in paths:
        data = pq.read_metadata(path)
        rows += data.num_rows
        for group in map(data.row_group, range(data.num_row_groups)):
            for column in map(group.column, range(data.num_columns)):
                found[column.path_in_schema] += column.total_compressed_size
    return rows, found


def weigh(lake: Lake) -> None:
    """Print bytes per row by table, and by column of the books."""
    print("| table | rows | bytes per row |\n| --- | ---: | ---: |")
    for table in _core.TABLES:
        paths = [part.path for part in lake.parts(table)]
        if paths:
            rows, _ = columns(paths)
            print(f"| `{table}` | {rows:,} | {sum(path.stat().st_size for path in paths) / rows:.2f} |")
    rows, found = columns([part.path for part in lake.parts("book")])
    print("\n| column of `book` | bytes per row |\n| --- | ---: |")
    for name, size in sorted(found.items(), key=lambda item: -item[1]):
        print(f"| `{name}` | {size / rows:.3f} |")


def sample(lake: Lake, rows: int) -> pl.DataFrame:
    """Books of some symbols, in the order of a part."""
    scan = lake.scan("book", sources="all")
    counts = scan.group_by("symbol").len().sort("len", descending=True).collect()
    chosen = counts["symbol"].gather_every(max(1, counts.height // SYMBOLS))
    frames = [scan.filter(pl.col("symbol") == symbol).head(rows // SYMBOLS).collect() for symbol in chosen]
    return pl.concat(frames).sort(order("book"))


def write(frame: pl.DataFrame, path: Path, variant: dict[str, Any]) -> float:
    """Write it in one way; returns seconds of CPU."""
    encoding = dict.fromkeys((name for name in frame.columns if name in parquet.DELTA), DELTA)
    encoding |= variant.get("encoding", {})
    plain = (set(parquet.PLAIN) | set(variant.get("plain", ()))) - set(variant.get("dictionary", ()))
    compression = variant.get("compression", "zstd")
    table = frame.to_arrow()
    begun = time.process_time()
    pq.write_table(
        table,
        path,
        row_group_size=variant.get("rows", ROW_GROUP),
        compression=compression,
        compression_level=variant.get("level", 3) if compression == "zstd" else None,
        use_dictionary=[name for name in frame.columns if name not in encoding and name not in plain],
        column_encoding=encoding,
        data_page_version="2.0",
        store_schema=False,
    )
    return time.process_time() - begun


def compare(frame: pl.DataFrame, folder: Path, rounds: int) -> None:
    """Print a row for every way of writing the sample."""
    symbol = frame["symbol"].unique().sort()[SYMBOLS // 2 if frame["symbol"].n_unique() > SYMBOLS // 2 else 0]
    wanted = frame.filter(pl.col("symbol") == symbol)
    print("\n| way | bytes per row | µs of CPU per 1,000 rows written | ms of CPU to read one symbol |")
    print("| --- | ---: | ---: | ---: |")
    for name, variant in VARIANTS.items():
        by = variant.get("by")
        path = folder / "sample.parquet"
        rows = frame if by is None else frame.sort(by)
        written = [write(rows, path, variant) for _ in range(rounds)]
        read, refused = [], ""
        for _ in range(rounds):
            begun = time.process_time()
            try:
                found = pl.scan_parquet(path).filter(pl.col("symbol") == symbol).collect()
            except pl.exceptions.ComputeError as error:
                refused = str(error).partition(": ")[2]
                break
            read.append(time.process_time() - begun)
            assert found.equals(wanted), name
        size = path.stat().st_size / frame.height
        cpu = statistics.median(written) / frame.height * 1e9
        told = f"{statistics.median(read) * 1e3:.0f}" if read else f"refused by Polars: {refused}"
        print(f"| {name} | {size:.2f} | {cpu:,.0f} | {told} |", flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lake", type=Path, nargs="?")
    parser.add_argument("--rows", type=int, default=3_000_000, help="of the sample")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--small", action="store_true", help="a small lake of its own, for the tests")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.small:
            options.lake, options.rounds = folder / "lake", 1
            made.make(options.lake, pairs=8, rate=1000, seconds=20, depth=100)
        if options.lake is None:
            parser.error("name a lake, or --small")
        lake = Lake(options.lake)
        weigh(lake)
        compare(sample(lake, options.rows), folder, options.rounds)


if __name__ == "__main__":
    main()
