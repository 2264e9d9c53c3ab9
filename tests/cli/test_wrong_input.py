"""What a user can type wrong: one plain sentence with cause and cure, the exit code, nothing written, no traceback.

Each command line is tried twice: as a person types it, and with ``--json``, which adds the same sentence as an object.
Calls of the API get a sentence of krakpot, or Python's own for a value of a wrong type.
"""

from __future__ import annotations

import asyncio
import json
import re
import shlex
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner, Result

import frames
import lakes
from krakpot import Config, ExchangeOptions, ExchangeServer, Feed, Lake, Recorder, export, ingest, values, verify
from krakpot._core import Orders
from krakpot.cli.main import main
from krakpot.compare.compare import compare
from krakpot.errors import KrakpotError
from krakpot.features.labels import future_mid
from krakpot.features.matrix import matrix
from krakpot.features.split import split
from krakpot.lake.compact import compact

DAY = frames.START // frames.DAY * frames.DAY
"""2026-08-02, ns."""

BIG = "9" * 400
TOML = {
    "typo": "depht = 10", "depth": "depth = 11", "channels": 'channels = ["books"]', "half": "depth = ",
    "pairs": '[channel_symbols]\nx = ["*"]', "nul": 'out = "a\\u0000b"', "nested": "[record]\ndepth = 10",
    "list": "symbols = [1]", "metrics": 'metrics = "0.0.0.0:9100"', "flag": 'raw = "perhaps"',
    "date": "for = 2026-08-02",
}  # fmt: skip
KEY_FILE = 'api_key = "key"\napi_secret = "c2VjcmV0"\n'

# Variables, command line, exit code, a part of the sentence.
COMMANDS: list[tuple[str, int, str]] = [
    # The command line itself.
    ("nonsense", 2, "no such command 'nonsense'; see `krakpot --help`"),
    ("verfy lake", 2, "did you mean 'verify'?"),
    ("''", 2, "no such command ''"),
    ("--nonsense", 2, "no such option '--nonsense'"),
    ("--depth 10 record", 2, "--depth belongs behind the command: `krakpot record --depth`"),
    ("record extra", 2, "unexpected extra argument (extra); see `krakpot record --help`"),
    ("record --dept 10", 2, "'--depth'"),
    ("record --depth", 2, "option '--depth' requires an argument; see `krakpot record --help`"),
    ("verify", 2, "missing argument 'LAKE'; see `krakpot verify --help`"),
    ("verify lake extra", 2, "unexpected extra argument (extra)"),
    ("verify --fast lake", 2, "no such option '--fast'"),
    ("ingest", 2, "missing argument 'FRAMES...'"),
    ("book lake", 2, "missing option '--symbols'"),
    ("book lake --symbols BTC/USD", 2, "missing option '--at'"),
    ("recover", 2, "missing argument 'LAKE'"),
    # Lakes that are none.
    ("verify none", 2, "there is no such folder; give the folder that `krakpot record --out` wrote: none"),
    ("verify file", 2, "this is a file; give the folder that `krakpot record --out` wrote: file"),
    ("verify ''", 2, "LAKE: '' is not allowed; allowed is the name of a folder"),
    ("verify 'a<NUL>b'", 2, r"LAKE: 'a\x00b' is not allowed"),
    ("verify ~nobody-here/lake", 2, "LAKE: '~nobody-here/lake' is not allowed"),
    ("verify folder", 2, "this folder is not a lake: it has no _lake.json"),
    ("verify newer", 2, "the lake has version 9, this krakpot reads up to 1; install a newer one: newer"),
    ("verify foreign", 2, "_lake.json does not name the format 'krakpot lake'"),
    ("verify broken", 2, "_lake.json cannot be read"),
    ("recover none", 2, "there is no such folder"),
    ("recover newer", 2, "the lake has version 9"),
    ("coverage folder", 2, "this folder is not a lake"),
    ("compact file", 2, "this is a file"),
    ("compare none", 2, "there is no such folder"),
    ("book none --symbols BTC/USD --at 2026-08-02", 2, "there is no such folder"),
    ("pairs --lake none", 2, "there is no such folder"),
    ("pairs --lake ''", 2, "--lake: '' is not allowed"),
    # verify, recover, compact.
    ("verify lake --threads 0", 2, "--threads: '0' is not allowed; allowed is a whole number from 1 to 256"),
    ("verify lake --threads many", 2, "--threads: 'many' is not allowed"),
    (f"verify lake --threads {BIG}", 2, "999… is not allowed; allowed is a whole number"),
    ("compact lake --dates august", 2, "--dates: 'august' is not allowed; allowed is dates as 2026-08-01"),
    ("compact lake --dates 2026-08-31..2026-08-01", 2, "--dates: '2026-08-31..2026-08-01' is not allowed"),
    ("compact lake --dates 2026-08-31..2026-08-02", 2, "allowed is a range that ends after it begins, as 2026-08-02"),
    ("compact lake --dates 2026-02-30", 2, "--dates: '2026-02-30' is not allowed"),
    ("compact lake --dates ''", 2, "--dates: '' is not allowed"),
    ("compact lake --grace never", 2, "--grace: 'never' is not allowed; allowed is a duration as 30s"),
    ("compact lake --grace -1s", 2, "--grace: '-1s' is not allowed"),
    # replay.
    ("replay none", 2, "there is no such folder"),
    ("replay lake --speed 0", 2, "--speed: '0' is not allowed; allowed is a number above 0, as 1 or 60, or max"),
    ("replay lake --speed nan", 2, "--speed: 'nan' is not allowed"),
    ("replay lake --channel books", 2, "--channel: 'books' is not allowed"),
    ("replay lake --channel level3", 2, "the lake has no level3"),
    ("replay lake --symbols btc/usd", 2, "did you mean BTC/USD?"),
    ("replay lake --by time", 2, "--by: 'time' is not allowed"),
    ("replay lake --port 8081", 2, "--port has no effect without --serve; leave it out"),
    ("replay lake --start 2026-08-03 --end 2026-08-02", 2, "later than the end"),
    ("replay lake --serve --host 192.0.2.1", 2, "--host 192.0.2.1: this is not an address of this machine"),
    # view.
    ("view none", 2, "there is no such folder"),
    ("view folder", 2, "this folder is not a lake"),
    ("view lake extra", 2, "unexpected extra argument (extra)"),
    ("view ''", 2, "LAKE: '' is not allowed; allowed is the name of a folder"),
    ("view lake --symbols BTC/USD", 2, "--symbols has no effect on a lake"),
    ("view lake --level3 BTC/USD", 2, "--level3 has no effect on a lake"),
    ("view lake --port 65536", 2, "--port: '65536' is not allowed"),
    ("view lake --host 'a b'", 2, "--host: 'a b' is not allowed"),
    ("view lake --host 192.0.2.1", 2, "--host 192.0.2.1: this is not an address of this machine"),
    ("KRAKPOT_VIEW_TOKEN=short view lake", 2, "environment: KRAKPOT_VIEW_TOKEN: the value is not allowed"),
    ("view live --depth 7", 2, "--depth: '7' is not allowed"),
    ("view live --level3 BTC/USD", 2, "level3 needs an API key of a Kraken account"),
    # ingest.
    ("ingest none.jsonl", 2, "none.jsonl: there is no such file"),
    ("ingest folder", 2, "folder: cannot be read: Is a directory"),
    ("ingest ''", 2, "FRAMES: '' is not allowed; allowed is the name of a file"),
    ("ingest empty.jsonl", 2, "empty.jsonl: has no frames"),
    ("ingest packed.jsonl.zst", 2, "packed.jsonl.zst: cannot be read"),
    ("ingest good.jsonl --out lake", 2, "is in the lake lake already"),
    ("ingest good.jsonl --out file", 2, "a lake cannot be made here; choose a folder that you may write to: file"),
    ("ingest good.jsonl --out file/below", 2, "a lake cannot be made here"),
    ("ingest good.jsonl --out /proc/x", 2, "a lake cannot be made here"),
    ("ingest good.jsonl --out others", 2, "this folder has other files in it; choose an empty or a new one"),
    ("ingest good.jsonl --out newer", 2, "the lake has version 9"),
    ("ingest good.jsonl --out ''", 2, "--out: '' is not allowed"),
    ("ingest good.jsonl --depth 7", 2, "--depth: '7' is not allowed; allowed is one of 10, 25, 100, 500, 1000"),
    (f"ingest good.jsonl --depth {BIG}", 2, "999… is not allowed; allowed is one of 10"),
    ("ingest good.jsonl --precision BTC", 2, "--precision: 'BTC' is not allowed; allowed is SYMBOL=PRICE,QTY"),
    ("ingest good.jsonl --precision BTC/USD=99,1", 2, "with decimals from 0 to 10, as BTC/USD=1,8"),
    ("ingest good.jsonl --precision ''", 2, "--precision: '' is not allowed"),
    # Symbols and times.
    ("coverage lake --symbols btc/usd", 2, "the lake has no symbol 'btc/usd'; did you mean BTC/USD?"),
    ("coverage lake --symbols XBT/USD", 2, "did you mean BTC/USD?"),
    ("coverage lake --symbols ''", 2, "--symbols: '' is not allowed; allowed is one or more patterns"),
    ("book lake --symbols btc/usd --at 2026-08-02", 2, "did you mean BTC/USD?"),
    ("book lake --symbols XRP/* --at 2026-08-02", 2, "symbols: 'XRP/*' matches none of the 2 pairs"),
    ("book lake --symbols '' --at 2026-08-02", 2, "--symbols: '' is not allowed"),
    ("book lake --symbols BTC/USD --at garbage", 2, "--at: 'garbage' is not a time; write for example 2026-11-22"),
    ("book lake --symbols BTC/USD --at ''", 2, "--at: '' is not a time"),
    ("book lake --symbols BTC/USD --at 2026-13-45", 2, "--at: '2026-13-45' is not a time"),
    ("book lake --symbols BTC/USD --at 2026-08-02T03:36:00.1234567891", 2, "is not a time"),
    ("book lake --symbols BTC/USD --at 9999-01-01", 2, "--at: '9999-01-01' is out of range; times from 1678 to 2261"),
    ("book lake --symbols BTC/USD --at 2026-08-02 --depth 0", 2, "--depth: '0' is not allowed"),
    ("book lake --symbols BTC/USD --at 2026-08-02 --depth ten", 2, "--depth: 'ten' is not allowed"),
    ("book lake --symbols BTC/USD --at 2026-08-02 --by clock", 2, "'clock' is not allowed; allowed is one of recv"),
    ("book lake --symbols BTC/USD --at 2026-08-02 --channel trade", 2, "allowed is one of book, level3"),
    ("book lake --symbols BTC/USD --at 2026-08-02 --orders --channel book", 2, "--channel has no effect with --orders"),
    # Queues.
    ("order lake", 2, "missing argument 'ORDER_ID'"),
    ("order lake OAAAAA", 2, "there is no order 'OAAAAA' in the level 3 of the lake"),
    ("order lake OAAAAA --symbols BTC/USD", 2, "the channel level3 of BTC/USD was not recorded; recorded: book, tick"),
    ("order lake OAAAAA --symbols btc/usd", 2, "did you mean BTC/USD?"),
    ("order lake OAAAAA --start 2026-08-03 --end 2026-08-02", 2, "--start: 2026-08-03T00:00:00.000000000Z is later"),
    ("bars lake --every 5", 2, "--every='5' has no unit; write '5s'"),
    ("bars lake --origin nowhere", 2, "--origin: 'nowhere' is not allowed; allowed is feed"),
    ("order lake OAAAAA --start soon", 2, "--start: 'soon' is not a time"),
    ("order none OAAAAA", 2, "there is no such folder"),
    ("would-fill lake", 2, "missing argument 'SYMBOL'"),
    ("would-fill lake BTC/USD buy 1000 1", 2, "missing argument 'AT'"),
    ("would-fill lake BTC/USD bid 1000 1 2026-08-02", 2, "SIDE: 'bid' is not allowed; allowed is one of buy, sell"),
    ("would-fill lake BTC/USD buy much 1 2026-08-02", 2, "price='much' is not allowed; give a number above 0"),
    ("would-fill lake BTC/USD buy 1000 0 2026-08-02", 2, "qty='0' is not allowed; give a number above 0"),
    (f"would-fill lake BTC/USD buy {BIG} 1 2026-08-02", 2, "is not allowed; give a number above 0"),
    ("would-fill lake BTC/USD buy 1000 1 soon", 2, "AT: 'soon' is not a time"),
    ("would-fill lake btc/usd buy 1000 1 2026-08-02", 2, "did you mean BTC/USD?"),
    ("would-fill lake BTC/USD buy 1000 1 2026-08-02 --until 2026-08-01", 2, "until is earlier than at"),
    ("would-fill lake BTC/USD buy 1000 1 2026-08-02 --channel trade", 2, "allowed is one of level3, book"),
    # compare.
    ("compare lake", 2, "the lake has no level3; record both"),
    ("compare lake --window much", 2, "--window: 'much' is not allowed"),
    ("compare lake --window 0", 2, "allowed is a duration above zero"),
    ("compare lake --start yesterday", 2, "--start: 'yesterday' is not a time"),
    ("compare lake --end tomorrow", 2, "--end: 'tomorrow' is not a time"),
    ("compare lake --start 2026-08-03 --end 2026-08-02", 2, "--start must be before --end"),
    ("compare lake --live --start 2026-08-02", 2, "leave --start and --end out"),
    ("compare lake --live", 2, "no recorder writes into this lake"),
    ("compare lake --live --span x", 2, "--span: 'x' is not allowed"),
    ("compare lake --live --for x", 2, "--for: 'x' is not allowed"),
    ("compare lake --for 5s", 2, "--for has no effect without --live; leave it out"),
    ("compare lake --span 5s", 2, "--span has no effect without --live; leave it out"),
    ("compare lake --out /proc/report", 2, "--out /proc/report: cannot be made (no such file or directory); choose"),
    ("compare lake --out file", 2, "--out file: cannot be made (file exists); choose a folder that you may write to"),
    ("compare lake --out new", 2, "the lake has no level3; record both"),
    ("compare lake --symbols ,", 2, "--symbols: ',' is not allowed; allowed is one or more patterns"),
    # pairs, top.
    ("pairs --lake lake --url wss://ws.kraken.com/v2", 2, "--url has no effect with --lake: the pairs come from the"),
    ("pairs --url ws://127.0.0.1:9/v2", 1, "cannot connect: Connection refused; does `krakpot exchange` run there?"),
    ("top --once --every 5s", 2, "--every has no effect with --once or --json: there is one look; leave it out"),
    ("pairs --lake lake --symbols btc/usd", 2, "'btc/usd' matches none of the 2 pairs; did you mean BTC/USD?"),
    # History.
    ("backfill none", 2, "there is no such folder; give the folder that `krakpot record --out` wrote: none"),
    ("backfill lake --until 2026-08-02", 2, "until needs since: without since only holes are fetched"),
    ("backfill lake --since 2026-08-02", 2, "since needs symbols: name the pairs, as BTC/USD or BTC/*"),
    ("backfill lake --since 2026-08-02 --until 2026-08-01 --symbols BTC/USD", 2, "since must be before until"),
    ("backfill lake --since monday --symbols BTC/USD", 2, "--since: 'monday' is not a time"),
    ("backfill lake --url ws://x", 2, "--url: 'ws://x' is not allowed; allowed is a https:// address"),
    ("backfill lake --pace fast", 2, "--pace: 'fast' is not allowed; allowed is a duration"),
    ("backfill lake --symbols XRP/*", 2, "'XRP/*' matches none of the 2 pairs"),
    ("backfill lake --symbols XRP/USD", 2, "the lake has no symbol 'XRP/USD'"),
    ("import new", 2, "missing argument 'FILES...'"),
    ("import new none.csv", 2, "none.csv: there is no such file; what can be imported: Kraken's time-and-sales CSV"),
    ("import new file", 2, "file: is a CSV with the columns"),
    ("import new file --format csv", 2, "--format: 'csv' is not allowed; allowed is one of kraken-trades, kraken"),
    ("import new file --symbol BTCUSD", 2, "symbol: 'BTCUSD' is not allowed"),
    ("import new file file --symbol BTC/USD", 2, "--symbol names the pair of one file"),
    ("bars none", 2, "there is no such folder"),
    ("bars lake --every 1x", 2, "every='1x' is not allowed; write for example '100ms', '1s' or '5m'"),
    ("bars lake --every 1m --by tick", 2, "every='1m' is not allowed with by='tick'; allowed is a whole number"),
    ("bars lake --by minute", 2, "--by: 'minute' is not allowed; allowed is one of time, tick, volume, dollar"),
    ("bars lake --by imbalance", 2, "every='1m' is not allowed with by='imbalance'; allowed is an amount of the base"),
    ("integrity none", 2, "there is no such folder"),
    ("integrity lake --symbols XRP/*", 2, "'XRP/*' matches none of the 2 pairs"),
    ("integrity lake --symbols btc/usd", 2, "the lake has no symbol 'btc/usd'; did you mean BTC/USD?"),
    ("integrity lake --start 2026-08-03 --end 2026-08-02", 2, "is later than the end"),
    ("integrity lake --end soon", 2, "--end: 'soon' is not a time"),
    ("bars lake --symbols XRP/*", 2, "'XRP/*' matches none of the 2 pairs"),
    ("bars lake --start 2026-08-03 --end 2026-08-02", 2, "is later than the end"),
    ("bars lake --start monday", 2, "--start: 'monday' is not a time"),
    ("bars lake --out bars.txt", 2, "--out: 'bars.txt' is not allowed; allowed is a name that ends in .csv"),
    ("bars lake --out none/bars.csv", 2, "--out: there is no folder none; make it first"),
    ("skew none", 2, "there is no such folder"),
    ("skew folder", 2, "this folder is not a lake"),
    ("skew lake --symbols btc/usd", 2, "the lake has no symbol 'btc/usd'; did you mean BTC/USD?"),
    ("skew lake --symbols XRP/*", 2, "'XRP/*' matches none of the 2 pairs"),
    ("skew lake --every 1x", 2, "every='1x' is not allowed; write for example '100ms', '1s' or '5m'"),
    ("skew lake --start 2026-08-03 --end 2026-08-02", 2, "is later than the end"),
    ("skew lake --end soon", 2, "--end: 'soon' is not a time"),
    ("plot", 2, "missing argument 'PICTURE'; see `krakpot plot --help`"),
    ("plot book lake --symbols BTC/USD", 2, "missing option '--out'; see `krakpot plot --help`"),
    ("plot pie lake --out a.png", 2, "PICTURE: 'pie' is not allowed; allowed is one of book, spread, coverage,"),
    ("plot book none --symbols BTC/USD --out a.png", 2, "there is no such folder"),
    ("plot book lake --out a.png", 2, "a picture of book needs --symbols; see `krakpot plot --help`"),
    ("plot ladder lake --symbols BTC/USD --out a.png", 2, "a picture of ladder needs --at; see `krakpot plot --help`"),
    ("plot queue lake --symbols BTC/USD --out a.png", 2, "a picture of queue needs --at; see `krakpot plot --help`"),
    ("plot book lake --symbols btc/usd --out a.png", 2, "did you mean BTC/USD?"),
    ("plot book lake --symbols BTC/* --out a.png", 2, "symbol: 'BTC/*' is not allowed; allowed is one pair"),
    ("plot book lake --symbols BTC/USD --at 2026-08-02 --out a.png", 2, "--at has no effect on a picture of book"),
    ("plot coverage lake --depth 5 --out a.png", 2, "--depth has no effect on a picture of coverage; leave it out"),
    ("plot coverage lake --symbols XRP/* --out a.png", 2, "'XRP/*' matches none of the 2 pairs"),
    ("plot coverage lake --channel books --out a.png", 2, "channel='books'; allowed: 'book', 'trade', 'ticker'"),
    ("plot coverage lake --out a.jpg", 2, "--out: 'a.jpg' is not allowed; allowed is a name that ends in .png, .svg"),
    ("plot coverage lake --out none/a.png", 2, "--out: none/a.png cannot be written; name a file in a folder that"),
    ("plot book lake --symbols BTC/USD --depth 0 --out a.png", 2, "--depth: '0' is not allowed"),
    ("plot book lake --symbols BTC/USD --channel level3 --out a.png", 2, "the lake has no level3 of BTC/USD, so there"),
    ("plot spread lake --symbols BTC/USD --start 2030-01-01 --out a.png", 2, "start and end leave less than a"),
    ("plot spread lake --symbols BTC/USD --start monday --out a.png", 2, "--start: 'monday' is not a time"),
    ("pairs --lake lake --exclude '*'", 2, "--exclude: * leaves none of the 2 pairs"),
    # export.
    ("export lake --out out", 2, "missing option '--to'"),
    ("export lake --to csv", 2, "missing option '--out'"),
    ("export lake --to zipline --out out", 2, "--to: 'zipline' is not allowed; allowed is one of hftbacktest"),
    ("export none --to csv --out out", 2, "there is no such folder"),
    ("export lake --to csv --out others", 2, "others has other files in it, no export; choose an empty folder"),
    ("export lake --to csv --out others --overwrite", 2, "others has other files in it, no export"),
    ("export lake --to csv --out file", 2, "out: file cannot be made"),
    ("export lake --to csv --out file/below", 2, "out: file/below cannot be made"),
    ("export lake --to csv --out ''", 2, "--out: '' is not allowed"),
    ("export lake --to csv --out out --symbols XBT/USD", 2, "did you mean BTC/USD?"),
    ("export lake --to csv --out out --symbols XRP/*", 2, "'XRP/*' matches none of the 2 pairs"),
    ("export lake --to csv --out out --tables books", 2, "--tables: 'books' is not allowed"),
    ("export lake --to csv --out out --start 2020-01-01 --end 2020-01-02", 2, "nothing to export in this range"),
    ("export lake --to tardis --out out --start 2030-01-01", 2, "these symbols were recorded from 2026-"),
    ("export lake --to csv --out out --start 2026-08-03 --end 2026-08-02", 2, "is later than the end"),
    ("export lake --to csv --out out --start monday", 2, "--start: 'monday' is not a time"),
    ("export lake --to csv --out out --channel level3", 2, "--channel has no effect with --to csv; leave it out"),
    ("export lake --to tardis --out out --tables book", 2, "--tables has no effect with --to tardis; leave it out"),
    ("export lake --to nautilus --out out --depth 5", 2, "--depth has no effect with --to nautilus; leave it out"),
    ("export lake --to tardis --out out --depth 0", 2, "--depth: '0' is not allowed; allowed is a whole number from 1"),
    ("export lake --to nautilus --out out --nautilus-version 3", 2, "'3' is not allowed; allowed is one of 1, 2"),
    ("export lake --to hftbacktest --out out --channel level3", 2, "level3 of these symbols was not recorded"),
    ("export lake --to nautilus --out out --channel books", 2, "--channel: 'books' is not allowed; allowed is one of"),
    ("pairs --lake lake --symbols qqq/rrr", 2, "of the 2 pairs; `krakpot pairs --lake lake` lists them all"),
    ("pairs --lake lake --symbols ''", 2, "--symbols: '' is not allowed; allowed is one or more patterns"),
    ("pairs --url http://x", 2, "--url: 'http://x' is not allowed; allowed is a wss:// address"),
    ("pairs --url wss://me:secret@host/v2", 2, "--url: 'wss://…@host/v2' is not allowed"),
    ("KRAKPOT_NONSENSE=1 pairs", 2, "environment: unknown variable 'KRAKPOT_NONSENSE'"),
    ("top 0", 2, "WHERE: '0' is not allowed; allowed is a port of this machine from 1 to 65535"),
    ("top lake", 2, "WHERE: 'lake' is not allowed"),
    ("top http://recorder.example:9100", 2, "allowed is a port of this machine"),
    ("top 9 --once", 1, "no metrics: Connection refused; does `krakpot record --metrics` run there?"),
    ("top --every 0", 2, "--every: '0' is not allowed"),
    # exchange.
    ("exchange --port 80808", 2, "--port: '80808' is not allowed; allowed is a whole number from 0 to 65535"),
    ("exchange --port -1", 2, "--port: '-1' is not allowed"),
    ("exchange --port http", 2, "--port: 'http' is not allowed"),
    ("exchange --rest-port 80808", 2, "--rest-port: '80808' is not allowed"),
    ("exchange --pairs 1501", 2, "--pairs: '1501' is not allowed; allowed is a whole number from 1 to 1500"),
    ("exchange --rate 0", 2, "--rate: '0' is not allowed"),
    ("exchange --rate nan", 2, "--rate: 'nan' is not allowed"),
    (f"exchange --rate {BIG}", 2, "is not allowed; allowed is a number from 0.001 to 1,000,000,000"),
    ("exchange --rate 0.0001", 2, "--rate: '0.0001' is not allowed; allowed is a number from 0.001"),
    ("exchange --seed -1", 2, "--seed: '-1' is not allowed"),
    ("exchange --seed 99999999999999999999999", 2, "--seed: '99999999999999999999999' is not allowed"),
    ("exchange --speed fast", 2, "--speed: 'fast' is not allowed; allowed is a number above 0"),
    ("exchange --start yesterday", 2, "--start: 'yesterday' is not allowed; allowed is a time from 1970 to 2200, as"),
    ("exchange --start 1600-01-01", 2, "--start: '1600-01-01' is not allowed; allowed is a time from 1970 to 2200"),
    ("exchange --start 1969-12-31", 2, "--start: '1969-12-31' is not allowed; allowed is a time from 1970 to 2200"),
    ("exchange --start 2300-01-01", 2, "--start: '2300-01-01' is not allowed; allowed is a time from 1970 to 2200"),
    ("exchange --faults --port 1", 2, "--port has no effect with --faults, which only lists them; leave it out"),
    ("exchange --faults --fault drop=1", 2, "--fault has no effect with --faults"),
    ("exchange --for -1s", 2, "--for: '-1s' is not allowed"),
    ("exchange --log folder", 2, "--log folder: the file cannot be written (Is a directory); choose another"),
    ("exchange --log none/x", 2, "--log none/x"),
    ("exchange --log ''", 2, "--log: '' is not allowed"),
    ("exchange --book-delay 5", 2, "--book-delay: '5' is not allowed; allowed is a time as 5ms"),
    ("exchange --level3-jitter 2h", 2, "--level3-jitter: '2h' is not allowed"),
    ("exchange --api-key x", 2, "--api-secret"),
    ("exchange --api-key ''", 2, "--api-key is empty"),
    ("KRAKPOT_API_KEY=x exchange", 2, "--api-secret"),
    ("KRAKPOT_API_SECRET=c2VjcmV0 exchange", 2, "--api-key"),
    ("exchange --api-key x --api-secret 'not base64'", 2, "base64"),
    ("exchange --fault nonsense=1", 2, "no fault 'nonsense'; the faults are"),
    ("exchange --fault drop=2", 2, "drop=2: allowed is a chance from 0 to 1"),
    ("exchange --host 300.1.1.1", 2, "--host 300.1.1.1: this is not an address of this machine; allowed are 127.0.0.1"),
    ("exchange --host 'no such host'", 2, "--host: 'no such host' is not allowed"),
    # demo, capacity.
    ("demo --out /proc/demo", 2, "--out /proc/demo: cannot be made"),
    ("demo --out others", 2, "--out others: already exists and is not the folder of an earlier demo"),
    ("demo --out file", 2, "--out file: already exists"),
    ("demo --out file/below", 2, "--out file/below: cannot be made (not a directory)"),
    ("demo --for soon", 2, "--for: 'soon' is not allowed"),
    ("demo --pairs 0", 2, "--pairs: '0' is not allowed"),
    ("demo --seed x", 2, "--seed: 'x' is not allowed"),
    ("capacity --seconds 0", 2, "--seconds: '0' is not allowed; allowed is a number from 1 to 86,400"),
    ("capacity --most -1", 2, "--most: '-1' is not allowed"),
    ("capacity --level3 25", 2, "--level3: '25' is not allowed; allowed is one of 10, 100, 1000"),
    ("capacity --plot none/x.svg", 2, "--plot none/x.svg cannot be written; name a file in a folder that exists"),
    ("capacity --plot folder", 2, "--plot folder cannot be written"),
    ("capacity --out file", 2, "--out file: cannot be made (file exists)"),
    ("capacity --out /proc/x", 2, "--out /proc/x: cannot be made"),
    # record: options.
    ("record --depth 11", 2, "--depth: '11' is not allowed; allowed is one of 10, 25, 100, 500, 1000"),
    ("record --depth ''", 2, "--depth: '' is not allowed"),
    ("record --interval 7", 2, "--interval: '7' is not allowed; allowed is one of 1, 5, 15"),
    ("record --channels books", 2, "--channels: 'books' is not allowed; allowed is one or more of book, trade"),
    ("record --channels ''", 2, "--channels: '' is not allowed"),
    ("record --channels book,level3", 2, "set KRAKPOT_API_KEY and KRAKPOT_API_SECRET"),
    ("record --channel-symbols level3", 2, "--channel-symbols: 'level3' is not allowed; allowed is CHANNEL=PATTERNS"),
    ("record --channel-symbols ohlc=BTC/USD", 2, "--channel-symbols: ohlc is not recorded; add it to channels"),
    ("record --for soon", 2, "--for: 'soon' is not allowed; allowed is a duration as 30s, 10m, 1h, 2d or 1h30m"),
    ("record --for -5s", 2, "--for: '-5s' is not allowed"),
    ("record --for 5", 2, "--for: '5' is not allowed; allowed is a duration with its unit, as 5s or 5m"),
    ("record --seal-interval 1.5", 2, "--seal-interval: '1.5' is not allowed; allowed is a duration with its unit"),
    ("KRAKPOT_FOR=5 record", 2, "environment: KRAKPOT_FOR: '5' is not allowed; allowed is a duration with its unit"),
    ("exchange --for 5", 2, "--for: '5' is not allowed; allowed is a duration with its unit, as 5s or 5m"),
    ("record --interval 5", 2, "--interval has no effect: ohlc is not recorded; add it to --channels or leave"),
    ("record --depth 10 --channels trade", 2, "--depth has no effect: book is not recorded"),
    ("record --level3-depth 10", 2, "--level3-depth has no effect: level3 is not recorded"),
    ("record --level3-rate 500", 2, "--level3-rate has no effect: level3 is not recorded"),
    ("record --level3-url wss://x/v2", 2, "--level3-url has no effect: level3 is not recorded"),
    ("record --rest-url https://x", 2, "--rest-url has no effect: level3 is not recorded"),
    (
        "KRAKPOT_API_KEY=x KRAKPOT_API_SECRET=c2VjcmV0 record --channels level3 --symbols-per-connection 100", 2,
        "--symbols-per-connection has no effect: book, trade, ticker or ohlc is not recorded; add it to --channels",
    ),
    ("record --for 0", 2, "allowed is a duration above zero"),
    (f"record --for {BIG}", 2, "allowed is a duration above zero, up to 36500d"),
    ("record --symbols ,", 2, "--symbols: ',' is not allowed; allowed is one or more patterns"),
    ("record --precision BTC", 2, "--precision: 'BTC' is not allowed; allowed is SYMBOL=PRICE,QTY"),
    ("record --url http://x", 2, "--url: 'http://x' is not allowed; allowed is a wss:// address"),
    ("record --url ws://ws.kraken.com/v2", 2, "in plain text to another machine nothing proves who answers"),
    ("record --url wss://me:secret@ws.kraken.com", 2, "--url: 'wss://…@ws.kraken.com' is not allowed"),
    ("record --url 'wss://a b'", 2, "--url: 'wss://a b' is not allowed"),
    ("record --url wss://host:99999", 2, "--url: 'wss://host:99999' is not allowed"),
    ("record --level3-url https://x", 2, "--level3-url: 'https://x' is not allowed"),
    ("record --rest-url ftp://x", 2, "--rest-url: 'ftp://x' is not allowed; allowed is a https:// address"),
    ("record --seal-interval x", 2, "--seal-interval: 'x' is not allowed"),
    ("record --keep 1h", 2, "--keep: '1h' is not allowed; allowed is a duration of at least a day, as 30d"),
    ("record --min-free 5GiB", 2, "--min-free: '5GiB' is not allowed; allowed is a size as 500MB"),
    ("record --symbols-per-connection 1", 2, "--symbols-per-connection: '1' is not allowed"),
    ("record --when-slow drop", 2, "--when-slow: 'drop' is not allowed; allowed is one of wait, fail"),
    ("record --level3-depth 25", 2, "--level3-depth: '25' is not allowed"),
    ("record --level3-rate 1", 2, "--level3-rate: '1' is not allowed; allowed is a whole number from 100"),
    ("record --metrics host", 2, "--metrics: 'host' is not allowed; allowed is PORT or HOST:PORT"),
    ("record --metrics 0.0.0.0:9100", 2, "needs a token: set KRAKPOT_METRICS_TOKEN"),
    ("record --alert ''", 2, "--alert: '' is not allowed; allowed is a https:// address or a command"),
    ("record --alert http://hooks.example/x", 2, "allowed is a command, or a https:// address (http:// only on this"),
    ("record --alert ftp://x", 2, "--alert: 'ftp://x' is not allowed; allowed is a command, or a https:// address"),
    ("record --alert https://me:secret@x", 2, "--alert: 'https://…@x' is not allowed"),
    ("KRAKPOT_ALERT=' ' record", 2, "environment: KRAKPOT_ALERT: ' ' is not allowed"),
    ("record --log-format xml", 2, "--log-format: 'xml' is not allowed; allowed is one of text, json"),
    ("record --log-level debug", 2, "--log-level: 'debug' is not allowed"),
    ("record --redundant BTC/USD --channels level3", 2, "only public channels can be recorded twice"),
    # config, completion.
    ("config --depth 11", 2, "--depth: '11' is not allowed; allowed is one of 10, 25, 100, 500, 1000"),
    ("config --depth 10 --channels trade", 2, "--depth has no effect: book is not recorded"),
    ("config --dept 10", 2, "'--depth'"),
    ("config extra", 2, "unexpected extra argument (extra); see `krakpot config --help`"),
    ("config --channels book,level3", 2, "set KRAKPOT_API_KEY and KRAKPOT_API_SECRET"),
    ("config --config typo.toml", 2, "typo.toml: unknown key 'depht' (did you mean depth?); allowed are"),
    ("config --config none.toml", 2, "none.toml: there is no such file; --config names a TOML file"),
    ("config --config secret.toml", 2, "api_secret is for you alone"),
    ("KRAKPOT_DEPHT=10 config", 2, "environment: unknown variable 'KRAKPOT_DEPHT' (did you mean KRAKPOT_DEPTH?)"),
    ("config --init --config typo.toml", 2, "typo.toml: exists already; --config names another file, or remove it"),
    ("config --init --config none/krakpot.toml", 2, "none/krakpot.toml: cannot be written (No such file or directory)"),
    ("config --init --depth 11", 2, "--depth: '11' is not allowed"),
    ("completion", 2, "missing argument 'SHELL'; see `krakpot completion --help`"),
    ("completion ksh", 2, "SHELL: 'ksh' is not allowed; allowed is one of bash, zsh, fish"),
    # record: its folder.
    ("record --out file", 2, "a lake cannot be made here; choose a folder that you may write to: file"),
    ("record --out /proc/x", 2, "a lake cannot be made here"),
    ("record --out others", 2, "this folder has other files in it"),
    ("record --out newer", 2, "the lake has version 9"),
    ("record --out ''", 2, "--out: '' is not allowed; allowed is the name of a folder"),
    ("record --out 'a<NUL>b'", 2, r"--out: 'a\x00b' is not allowed"),
    # record: its file and its variables.
    ("record --config none.toml", 2, "none.toml: there is no such file; --config names a TOML file"),
    ("record --config folder", 2, "folder: cannot be read as TOML"),
    ("record --config ''", 2, "--config: '' is not allowed"),
    ("record --config typo.toml", 2, "typo.toml: unknown key 'depht' (did you mean depth?); allowed are alert"),
    ("record --config depth.toml", 2, "depth.toml: depth: 11 is not allowed; allowed is one of 10"),
    ("record --config channels.toml", 2, "channels.toml: channels: ['books'] is not allowed"),
    ("record --config half.toml", 2, "half.toml: cannot be read as TOML"),
    ("record --config pairs.toml", 2, "pairs.toml: channel_symbols: {'x': ['*']} is not allowed"),
    ("record --config nul.toml", 2, r"nul.toml: out: 'a\x00b' is not allowed"),
    ("record --config nested.toml", 2, "nested.toml: unknown key 'record'"),
    ("record --config list.toml", 2, "list.toml: symbols: [1] is not allowed"),
    ("record --config metrics.toml", 2, "needs a token"),
    ("record --config flag.toml", 2, "flag.toml: raw: 'perhaps' is not allowed; allowed is true or false"),
    ("record --config date.toml", 2, "date.toml: for: datetime.date(2026, 8, 2) is not allowed"),
    ("record --config latin.toml", 2, "latin.toml: cannot be read as TOML"),
    ("record --config secret.toml", 2, "api_secret is for you alone, and others can read this file: chmod 600"),
    ("KRAKPOT_DEPTH=deep record", 2, "environment: KRAKPOT_DEPTH: 'deep' is not allowed"),
    ("KRAKPOT_DEPHT=10 record", 2, "environment: unknown variable 'KRAKPOT_DEPHT' (did you mean KRAKPOT_DEPTH?)"),
    ("KRAKPOT_SYMBOLS= record", 2, "environment: KRAKPOT_SYMBOLS: '' is not allowed"),
    ("KRAKPOT_OUT= record", 2, "environment: KRAKPOT_OUT: '' is not allowed"),
    ("KRAKPOT_METRICS_TOKEN=short record", 2, "KRAKPOT_METRICS_TOKEN: the value is not allowed; allowed is 16 or more"),
    ("KRAKPOT_API_SECRET=x record", 2, "environment: KRAKPOT_API_SECRET: the value is not allowed"),
    (
        "KRAKPOT_API_KEY=x KRAKPOT_API_SECRET=c2VjcmV0 record --channels level3 --url ws://127.0.0.1:1/v2", 2,
        "needs a token from there: give --rest-url",
    ),
]  # fmt: skip


def furnish() -> None:
    """Fill the current folder with what command lines name."""
    lakes.write_frames(Path("good.jsonl"), lakes.market(60))
    ingest("good.jsonl", "lake")
    for name, marker in (
        ("newer", '{"format": "krakpot lake", "version": 9}'), ("foreign", '{"format": "x", "version": 1}'),
        ("broken", "{"),
    ):  # fmt: skip
        Path(name).mkdir()
        (Path(name) / "_lake.json").write_text(marker)
    for name in ("folder", "others"):
        Path(name).mkdir()
    Path("others/mine.txt").write_text("precious")
    Path("file").write_text("precious")
    Path("empty.jsonl").touch()
    Path("packed.jsonl.zst").write_bytes(b"no zstd")
    for name, text in TOML.items():
        Path(f"{name}.toml").write_text(text + "\n")
    Path("latin.toml").write_bytes(b'out = "\xe4"')
    Path("secret.toml").write_text(KEY_FILE)
    Path("secret.toml").chmod(0o644)


def everything() -> dict[str, bytes]:
    """Every file and folder here, with its content."""
    return {str(path): path.read_bytes() if path.is_file() else b"" for path in Path().rglob("*")}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of all cases, none of which may change it."""
    path = tmp_path_factory.mktemp("wrong")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(path)
        furnish()
    return path


@pytest.fixture
def _here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands and calls are given in that folder."""
    monkeypatch.chdir(folder)


def typed(line: str, *more: str) -> Result:
    """What a command line gives; variables stand in front."""
    words = [word.replace("<NUL>", "\0") for word in shlex.split(line)]
    variables = {}
    while words and words[0].startswith("KRAKPOT_"):
        name, _, value = words.pop(0).partition("=")
        variables[name] = value
    return CliRunner(env=variables).invoke(main, [*words[:1], *more, *words[1:]])


USAGE = "[Ss]ee `krakpot"
"""What a mistake in the form of the command line says; of a wrong value the sentence says what is allowed."""


def test_there_are_enough_of_them() -> None:
    """The table shrinks unseen otherwise; no line stands in it twice."""
    assert len(COMMANDS) + len(CALLS) >= 220
    assert len({line for line, _, _ in COMMANDS}) == len(COMMANDS)


@pytest.mark.usefixtures("_here")
@pytest.mark.parametrize(("line", "code", "sentence"), COMMANDS, ids=[line[:60] for line, _, _ in COMMANDS])
def test_a_wrong_command_line(line: str, code: int, sentence: str) -> None:
    """One sentence on standard error; with --json also as one object on standard output."""
    before = everything()
    plain = typed(line)
    assert isinstance(plain.exception, SystemExit), plain.exception
    assert plain.exit_code == code, plain.output
    assert plain.stdout == ""
    assert plain.stderr.startswith("krakpot: ")
    assert plain.stderr.count("\n") == 1, "one line"
    assert "Traceback" not in plain.stderr
    assert sentence.lower() in plain.stderr.lower()
    facts = typed(line, "--json")
    assert (facts.exit_code, facts.stderr) == (code, plain.stderr)
    error = json.loads(facts.stdout)["error"]
    assert set(error) == {"kind", "message", "retryable"}
    assert sentence.lower() in error["message"].lower()
    assert (error["kind"] == "usage") is bool(re.search(USAGE, error["message"])), "one kind for one mistake"
    assert error["retryable"] is (code == 1)
    assert everything() == before, "nothing is written"


def lake() -> Lake:
    """A good lake."""
    return Lake("lake")


def orders() -> Orders:
    """A level-3 book, as a live one is copied."""
    return Orders(depth=10, price_precision=1, qty_precision=8)


CALLS: list[tuple[str, Callable[[], Any], str]] = [
    ("Lake", lambda: Lake("none"), "there is no such folder"),
    ("Lake", lambda: Lake("file"), "this is a file"),
    ("Lake", lambda: Lake("newer"), "the lake has version 9"),
    ("Lake", lambda: Lake("folder"), "this folder is not a lake"),
    ("Lake", lambda: Lake(7), "path: 7 is not allowed; allowed is the name of a folder"),  # type: ignore[arg-type]  # what is refused
    ("scan", lambda: lake().scan("books"), "no table 'books'; tables: book, orders"),
    ("book", lambda: lake().book("btc/usd"), "did you mean BTC/USD"),
    ("book", lambda: lake().book([7]), "symbols: [7] is not allowed; allowed is a pair as BTC/USD, a pattern as"),  # type: ignore[list-item]  # what is refused
    ("trades", lambda: lake().trades(3), "symbols: 3 is not allowed; allowed is a pair as BTC/USD"),  # type: ignore[arg-type]  # what is refused
    ("trades", lambda: lake().trades("XRP/*"), "symbols: 'XRP/*' matches none of the 2 pairs; `Lake.symbols` lists"),
    ("trades", lambda: lake().trades("btc/*"), "did you mean BTC/*?"),
    ("trades", lambda: lake().trades(b"BTC/USD"), "symbols: b'BTC/USD' is not allowed"),  # type: ignore[arg-type]  # what is refused
    ("trades", lambda: lake().trades(None, []), "start: [] is not a time; give for example '2026-11-22T10:00:00Z'"),  # type: ignore[arg-type]  # what is refused
    ("trades", lambda: lake().trades(None, None, object), "end: <class 'object'> is not a time"),  # type: ignore[arg-type]  # what is refused
    ("trades", lambda: lake().trades(None, "2026-08-03", "2026-08-02"), "start: '2026-08-03' is later than the end"),
    ("scan", lambda: lake().scan([]), "no table []; tables: book"),  # type: ignore[arg-type]  # what is refused
    ("scan", lambda: lake().scan("assets", "BTC/USD"), "the table 'assets' has no symbols; leave symbols out"),
    ("origin", lambda: lake().trades(origin="x"), "origin: 'x' is not allowed; allowed is feed, rest, kraken-csv"),
    ("origin of a book", lambda: lake().scan("book", origin="rest"), "the table 'book' has rows of the feed only"),
    ("origin of coverage", lambda: lake().coverage(origin="x"), "origin: 'x' is not allowed"),
    ("ledger", lambda: lake().ledger("x"), "start: 'x' is not a time"),
    ("pairs", lambda: lake().pairs(3), "symbols: 3 is not allowed"),  # type: ignore[arg-type]  # what is refused
    ("books", lambda: lake().books("XRP/*"), "symbols: 'XRP/*' matches none of the 2 pairs; `Lake.symbols` lists"),
    ("books", lambda: lake().books([]), "symbols: the list is empty; give a pair as BTC/USD"),
    ("books", lambda: lake().books(3), "symbols: 3 is not allowed; allowed is a pair as BTC/USD"),  # type: ignore[arg-type]  # what is refused
    ("books", lambda: lake().books("BTC/USD", at=[1.5]), "at: 1.5 is a float, which cannot hold nanoseconds"),  # type: ignore[list-item]  # what is refused
    ("books", lambda: lake().books("BTC/USD", at=["2026-08-02", "soon"]), "at: 'soon' is not a time"),
    ("books", lambda: lake().books("BTC/USD", at=pl.Series([0.5])), "at: 0.5 is a float"),
    ("books", lambda: lake().books("BTC/USD", at=pl.Series([None, 5])), "at: 1 of 2 times are missing; drop them"),
    ("books", lambda: lake().books("BTC/USD", at=pl.Series([True])), "at: values of type Boolean are not times"),
    ("books", lambda: lake().books("BTC/USD", every="1s", at=["2026-08-02"]), "at: give either at, or start, end and"),
    ("books", lambda: lake().books("BTC/USD", every="changes"), "every='changes' is not allowed; write for example"),
    ("books", lambda: lake().books("BTC/USD", every="change", at=["2026-08-02"]), "at: give either at, or start, end"),
    ("trades", lambda: lake().trades("BTC/USD", book=0), "book=0; allowed: 1 to 1000"),
    ("trades", lambda: lake().trades("BTC/USD", book="1"), "book='1'; allowed: 1 to 1000"),  # type: ignore[arg-type]  # what is refused
    (
        "trades",
        lambda: lake().trades(numbers="int", book=1),
        "numbers='int': with book, allowed are 'decimal', 'float'",
    ),
    ("books", lambda: lake().books("BTC/USD", layout="tall"), "layout='tall'; allowed: 'wide', 'long'"),  # type: ignore[arg-type]  # what is refused
    ("book_at", lambda: lake().book_at("BTC/*", "2026-08-02"), "symbol: 'BTC/*' is not allowed; allowed is one pair"),
    ("books", lambda: lake().books("BTC/USD", depth="x"), "depth='x'; allowed: 1 to 1000"),  # type: ignore[arg-type]  # what is refused
    ("books", lambda: lake().books("BTC/USD", "2026-08-03", "2026-08-02"), "start: '2026-08-03' is later than the end"),
    ("books", lambda: lake().books("BTC/USD", {}), "start: {} is not a time"),  # type: ignore[arg-type]  # what is refused
    ("books", lambda: lake().books("BTC/USD", every=[1]), "every=[1] is not allowed"),  # type: ignore[arg-type]  # what is refused
    ("clock_skew", lambda: lake().clock_skew(every="1x"), "every='1x' is not allowed"),
    ("clock_skew", lambda: lake().clock_skew("btc/usd"), "did you mean BTC/USD"),
    ("clock_skew", lambda: lake().clock_skew(None, "2026-08-03", "2026-08-02"), "is later than the end"),
    (
        "bars",
        lambda: lake().bars(by="imbalance"),
        "every='1m' is not allowed with by='imbalance'; allowed is an amount",
    ),
    ("features", lambda: lake().features("BTC/USD", "vpin"), "no feature 'vpin'; features: mid, spread, microprice"),
    ("features", lambda: lake().features("BTC/USD", "microprise"), "did you mean microprice?"),
    ("features", lambda: lake().features("BTC/USD", []), "names=[]; give one or more features, each once"),
    ("features", lambda: lake().features("btc/usd", "mid"), "did you mean BTC/USD?"),
    ("features", lambda: lake().features("BTC/USD", "mid", every="soon"), "every='soon' is not allowed"),
    (
        "features",
        lambda: lake().features("BTC/USD", "mid", window=0),
        "window=0 is not allowed; allowed is a whole number",
    ),
    ("integrity", lambda: lake().integrity("XBT/USD"), "the lake has no symbol 'XBT/USD'; did you mean BTC/USD?"),
    ("integrity", lambda: lake().integrity("BTC/USD", "2026-08-03", "2026-08-02"), "is later than the end"),
    ("split", lambda: split(lake().coverage(), purge="1m"), "the frame has no column 'ts'; it has channel, symbol"),
    ("future_mid", lambda: future_mid(lake().trades().collect()), "the frame has no column 'ts'"),
    ("matrix", lambda: matrix(lake().trades().collect(), ["price"]), "not of floats: 'price'; cast to pl.Float64"),
    ("book_at", lambda: lake().book_at(3, "2026-08-02"), "symbol: 3 is not allowed; allowed is one pair"),  # type: ignore[arg-type]  # what is refused
    ("book_at", lambda: lake().book_at("BTC/USD", None), "at: None is not a time"),  # type: ignore[arg-type]  # what is refused
    ("book_at", lambda: lake().book_at("BTC/USD", "2026-08-02", channel=[]), "channel=[]; allowed: 'book', 'level3'"),  # type: ignore[arg-type]  # what is refused
    ("plot", lambda: lake().plot.book("BTC/USD", depth="x"), "depth: 'x' is not allowed; allowed is a whole number"),  # type: ignore[arg-type]  # what is refused
    ("plot", lambda: lake().plot.coverage(save=7), "save: 7 is not allowed; allowed is the name of a file"),  # type: ignore[arg-type]  # what is refused
    ("export", lambda: export("lake", "zipline", "out"), "to='zipline': there is no such format; formats: hftbacktest"),  # type: ignore[arg-type]  # what is refused
    ("export", lambda: export(7, "csv", "out"), "path: 7 is not allowed"),  # type: ignore[arg-type]  # what is refused
    ("export", lambda: export("lake", "csv", "out", 3), "symbols: 3 is not allowed"),  # type: ignore[arg-type]  # what is refused
    ("export", lambda: export("lake", "csv", "out", tables=[3]), "tables: there is no table 3; tables: book"),  # type: ignore[list-item]  # what is refused
    ("export", lambda: export("lake", "csv", "out", tables=3), "tables: 3 is not allowed"),  # type: ignore[arg-type]  # what is refused
    ("export", lambda: export("lake", "tardis", "out", depth="x"), "depth='x'; allowed: 1 to 1000"),  # type: ignore[arg-type]  # what is refused
    ("parts", lambda: lake().parts(3), "no table 3; tables: book"),  # type: ignore[arg-type]  # what is refused
    ("verify", lambda: verify(None), "path: None is not allowed"),  # type: ignore[arg-type]  # what is refused
    ("compare", lambda: compare("lake", 3), "symbols: 3 is not allowed; allowed is a list of words"),  # type: ignore[arg-type]  # what is refused
    ("compare", lambda: compare("lake", window="5s"), "window: '5s' is not allowed; allowed is a whole number of"),  # type: ignore[arg-type]  # what is refused
    ("compare", lambda: compare(3), "path: 3 is not allowed"),  # type: ignore[arg-type]  # what is refused
    ("compact", lambda: compact("lake", dates="august"), "dates: 'august' is not allowed; allowed is dates as"),
    ("compact", lambda: compact("lake", dates=[3]), "dates: [3] is not allowed; allowed is dates as"),  # type: ignore[list-item]  # what is refused
    ("compact", lambda: compact("lake", grace="x"), "grace: 'x' is not allowed; allowed is a number of seconds"),  # type: ignore[arg-type]  # what is refused
    ("book", lambda: lake().book(None, "garbage"), "'garbage' is not a time"),
    ("book", lambda: lake().book(None, 1.5), "1.5 is a float, which cannot hold nanoseconds"),  # type: ignore[arg-type]  # what is refused
    ("trades", lambda: lake().trades(numbers="x"), "numbers='x'"),  # type: ignore[arg-type]  # what is refused
    ("trades", lambda: lake().trades(sources="x"), "sources='x'"),  # type: ignore[arg-type]  # what is refused
    ("book_at", lambda: lake().book_at("BTC/USD", "garbage"), "'garbage' is not a time"),
    ("book_at", lambda: lake().book_at("BTC/USD", 1.5), "1.5 is a float"),  # type: ignore[arg-type]  # what is refused
    ("book_at", lambda: lake().book_at("btc/usd", "2026-08-02"), "did you mean BTC/USD"),
    ("book_at", lambda: lake().book_at("BTC/USD", "2026-08-02", depth=0), "depth=0; allowed: 1 to 1000"),
    ("book_at", lambda: lake().book_at("BTC/USD", "2026-08-02", depth=10**30), "depth=1000"),
    ("book_at", lambda: lake().book_at("BTC/USD", "2026-08-02", depth=True), "depth=True; allowed: 1 to 1000"),
    ("book_at", lambda: lake().book_at("BTC/USD", "2026-08-02", by="x"), "by='x'"),  # type: ignore[arg-type]  # what is refused
    ("book_at", lambda: lake().book_at("BTC/USD", "2026-08-02", channel="trade"), "channel='trade'"),
    ("orders_at", lambda: lake().orders_at("BTC/USD", None), "at: None is not a time"),  # type: ignore[arg-type]  # what is refused
    ("orders_at", lambda: lake().orders_at("BTC/USD", "2026-08-02", depth=10**30), "allowed: 1 to 1000"),
    ("order", lambda: lake().order(None), "order_id=None is no text"),  # type: ignore[arg-type]  # what is refused
    (
        "order",
        lambda: lake().order("O", None, DAY + 2, DAY + 1),
        "2026-08-02T00:00:00.000000002Z is later than the end, 2026-",
    ),
    ("would_fill", lambda: lake().would_fill("BTC/USD", "x", 1, 1, DAY), "side='x'; allowed: 'buy', 'sell'"),  # type: ignore[call-overload]  # what is refused
    ("would_fill", lambda: lake().would_fill("BTC/USD", "buy", [], 1, DAY), "price=[] is not allowed"),  # type: ignore[call-overload]  # what is refused
    ("would_fill", lambda: lake().would_fill("BTC/USD", "buy", 1, float("inf"), DAY), "qty=inf is not allowed"),
    ("would_fill", lambda: lake().would_fill(3, "buy", 1, 1, DAY), "symbol: 3 is not allowed"),  # type: ignore[call-overload]  # what is refused
    ("would_fill", lambda: lake().would_fill("BTC/USD", "buy", 1, 1, DAY + 2, DAY), "until is earlier than at"),
    ("books", lambda: lake().books("BTC/USD", every="x"), "every='x' is not allowed"),
    ("books", lambda: lake().books("BTC/USD", every="0s"), "every='0s' is not allowed"),
    ("books", lambda: lake().books("BTC/USD", every=5), "every=5 has no unit; write '5s' for seconds, '5ms' for"),  # type: ignore[arg-type]  # what is refused
    ("books", lambda: lake().books("BTC/USD", every="0.5"), "every='0.5' has no unit; write whole numbers with a unit"),
    ("bars", lambda: lake().bars("BTC/USD", every=5), "every=5 has no unit; write '5s'"),
    ("clock_skew", lambda: lake().clock_skew(every="60"), "every='60' has no unit; write '60s'"),
    (
        "trades",
        lambda: lake().trades(start=1785628800),
        "start: 1785628800 is taken as nanoseconds since 1970, which is 1970-01-01T00:00:01.7856",
    ),
    ("books", lambda: lake().books("BTC/USD", at=[1785628800000]), "if milliseconds were meant, multiply by 1_000_000"),
    (
        "books",
        lambda: lake().books("BTC/USD", at=pl.Series([1785628800000000])),
        "if microseconds were meant, multiply",
    ),
    ("would_fill", lambda: lake().would_fill("BTC/USD", "buy", 1, 1, DAY, 7), "until: 7 is taken as nanoseconds"),
    ("books", lambda: lake().books("BTC/USD", every="1000d"), "every='1000d' is not allowed"),
    ("books", lambda: lake().books("BTC/USD", every="9" * 5000 + "s"), "is not allowed; write for example '100ms'"),
    ("check_symbols", lambda: lake().check_symbols(3), "symbols: 3 is not allowed"),  # type: ignore[arg-type]  # what is refused
    ("verify", lambda: verify(lake().path, strict="maybe"), "strict: 'maybe' is not allowed"),  # type: ignore[arg-type]  # what is refused
    ("books", lambda: lake().books("BTC/USD", every="1ns"), "ask for fewer at once"),
    ("books", lambda: lake().books("BTC/USD", every="1s", threads=0), "threads: 0 is not allowed"),
    ("verify", lambda: verify("none"), "there is no such folder"),
    ("verify", lambda: verify("lake", threads=0), "threads: 0 is not allowed; allowed is a whole number from 1 to 256"),
    ("verify", lambda: verify("lake", threads=10**30), "threads: 1000"),
    ("verify", lambda: lake().verify(threads="x"), "threads: 'x' is not allowed"),  # type: ignore[arg-type]  # what is refused
    ("ingest", lambda: ingest("none.jsonl", "new"), "none.jsonl: there is no such file"),
    ("ingest", lambda: ingest(7, "new"), "path: 7 is not allowed; allowed is the name of a file"),  # type: ignore[arg-type]  # what is refused
    ("ingest", lambda: ingest("good.jsonl", ""), "out: '' is not allowed; allowed is the name of a folder"),
    ("ingest", lambda: ingest("good.jsonl", "others"), "this folder has other files in it"),
    ("ingest", lambda: ingest("good.jsonl", "new", depth=7), "depth: 7 is not allowed; allowed is one of 10"),
    ("ingest", lambda: ingest("good.jsonl", "new", precision={"A/B": (99, 1)}), "precision: "),
    ("ingest", lambda: ingest("good.jsonl", "new", precision=7), "precision: 7 is not allowed"),  # type: ignore[arg-type]  # what is refused
    ("compare", lambda: compare("none"), "there is no such folder"),
    ("compare", lambda: compare("lake"), "the lake has no level3"),
    ("compact", lambda: compact("none"), "there is no such folder"),
    ("Config", lambda: Config(depth=11), "depth: 11 is not allowed"),
    ("Config", lambda: Config(symbols=7), "symbols: 7 is not allowed"),  # type: ignore[arg-type]  # what is refused
    ("Config", lambda: Config(dept=11), "dept"),  # type: ignore[call-arg]  # what is refused
    ("Config", lambda: Config(url="ws://192.0.2.1/v2"), "in plain text to another machine"),
    ("Config", lambda: Config(channels=("level3",)), "level3 needs an API key"),
    ("Recorder", lambda: Recorder({"depth": 10}), "krakpot.Recorder: config: {'depth': 10} is not allowed"),  # type: ignore[arg-type]  # what is refused
    ("Recorder", lambda: Recorder(Config(), log="x"), "krakpot.Recorder: log: 'x' is not allowed"),  # type: ignore[arg-type]  # what is refused
    ("Recorder", lambda: Recorder(Config(), on_status=7), "krakpot.Recorder: on_status: 7 is not allowed"),  # type: ignore[arg-type]  # what is refused
    ("Recorder", lambda: Recorder(Config(), tls="x"), "krakpot.Recorder: tls: 'x' is not allowed"),  # type: ignore[arg-type]  # what is refused
    ("Recorder", lambda: Recorder(Config(), backoff=3), "krakpot.Recorder: backoff: 3 is not allowed"),  # type: ignore[arg-type]  # what is refused
    ("ExchangeOptions", lambda: ExchangeOptions(pairs="x"), "krakpot.ExchangeOptions: pairs: 'x' is not allowed"),  # type: ignore[arg-type]  # what is refused
    ("ExchangeServer", lambda: ExchangeServer(3), "krakpot.ExchangeServer: options: 3 is not allowed"),  # type: ignore[arg-type]  # what is refused
    ("inject", lambda: ExchangeServer(ExchangeOptions(pairs=1)).inject(3), "ExchangeServer.inject: text: 3 is not"),  # type: ignore[arg-type]  # what is refused
    ("inject", lambda: ExchangeServer(ExchangeOptions(pairs=1)).inject("dorp"), "inject: text: no fault 'dorp'"),
    ("Feed", lambda: Feed([]), "krakpot.Feed: symbols"),
    ("Feed", lambda: Feed(7), "krakpot.Feed: symbols: 7 is not allowed"),  # type: ignore[arg-type]  # what is refused
    ("Feed", lambda: Feed("BTC/USD", channels="books"), "krakpot.Feed: channels: 'books' is not allowed"),
    ("Feed", lambda: Feed("BTC/USD", depth=11), "krakpot.Feed: depth: 11 is not allowed"),
    ("Feed", lambda: Feed("BTC/USD", url="http://x"), "krakpot.Feed: url: 'http://x' is not allowed"),
    ("Feed", lambda: Feed("BTC/USD", url="ws://192.0.2.1/v2"), "127.0.0.1 or ::1), or plaintext=True"),
    ("Feed", lambda: Feed("BTC/USD", url="x"), "127.0.0.1 or ::1, or with plaintext=True), without a name"),
    ("Feed", lambda: Feed("BTC/USD", record={"out": "new", "url": "x"}), "record: url: 'x' is not allowed; allowed is"),
    ("Feed", lambda: Feed("BTC/USD", record={"out": "new", "metrics": "0.0.0.0:1"}), "Feed: record: metrics: 0.0.0.0"),
    ("ExchangeServer", lambda: ExchangeServer(ExchangeOptions(faults=("dorp",))), "ExchangeServer: faults: dorp: no"),
    ("Feed", lambda: Feed("BTC/USD", slow_reader="x"), "slow_reader: 'x' is not allowed"),  # type: ignore[arg-type]  # what is refused
    ("Feed", lambda: Feed("BTC/USD", max_queue=0), "max_queue: 0 is not allowed"),
    ("Feed", lambda: Feed("BTC/USD", connect_timeout=-1), "connect_timeout: -1 is not allowed"),
    ("Feed", lambda: Feed("BTC/USD", record=3), "krakpot.Feed: record: 3 is not allowed"),  # type: ignore[arg-type]  # what is refused
    ("Feed", lambda: Feed("BTC/USD", record={"out": "new", "dept": 10}), "krakpot.Feed: record: unknown option 'dept'"),
    ("Feed", lambda: Feed("BTC/USD", record={"duration": 10}), "unknown option 'duration' (did you mean for?)"),
    ("Feed", lambda: Feed("BTC/USD", tls="x"), "krakpot.Feed: tls: 'x' is not allowed"),  # type: ignore[arg-type]  # what is refused
    ("Feed", lambda: Feed("BTC/USD", max_queue=True), "max_queue: True is not allowed"),
    ("Feed", lambda: Feed("BTC/USD", connect_timeout=float("nan")), "connect_timeout: nan is not allowed"),
    ("Feed", lambda: Feed("BTC/USD", channels=3), "krakpot.Feed: channels: 3 is not allowed"),  # type: ignore[arg-type]  # what is refused
    ("Feed", lambda: Feed("BTC/USD", exclude=3), "krakpot.Feed: exclude: 3 is not allowed"),  # type: ignore[arg-type]  # what is refused
    ("Feed", lambda: Feed("BTC/USD", interval=5), "krakpot.Feed: interval has no effect: ohlc is not subscribed"),
    ("Feed", lambda: Feed("BTC/USD", level3_depth=10), "krakpot.Feed: level3_depth has no effect"),
    ("Feed", lambda: Feed("BTC/USD", channels="trade", depth=25), "add it to channels or leave depth out"),
    ("bids", lambda: orders().bids(-1), "levels -1 is not allowed; allowed is a whole number from 0"),
    ("queue", lambda: orders().queue("mid", "1.0"), 'no side "mid"; sides: bid, ask'),
    ("queue", lambda: orders().queue(3, "1.0"), "side 3 is not allowed; allowed is bid or ask"),  # type: ignore[arg-type]  # what is refused
    ("queue", lambda: orders().queue("bid", float("nan")), "price nan is not allowed; allowed is decimal text"),  # type: ignore[arg-type]  # what is refused
    ("queue", lambda: orders().queue("bid", "x"), '"x" is no number'),
    ("order", lambda: orders().order(3), "order_id 3 is not allowed; allowed is the text of an order's id"),  # type: ignore[arg-type]  # what is refused
    ("batches", lambda: Feed("BTC/USD").batches(0), "every: 0 is not allowed; allowed is a number of seconds above"),
    ("Feed.on", lambda: Feed("BTC/USD").on("nope", print), "krakpot.Feed.on: channel: 'nope' is not allowed"),
    ("Feed.on", lambda: Feed("BTC/USD").on(7, print), "krakpot.Feed.on: channel: 7 is not allowed"),  # type: ignore[arg-type]  # what is refused
    ("Feed.on", lambda: Feed("BTC/USD").on("book", print, 7), "krakpot.Feed.on: symbol: 7 is not allowed"),  # type: ignore[arg-type]  # what is refused
    ("Feed.on", lambda: Feed("BTC/USD").on("book", "x"), "krakpot.Feed.on: callback: 'x' is not allowed"),  # type: ignore[arg-type]  # what is refused
    ("Feed.on", lambda: Feed("BTC/USD").on("book", print, symbol="ETH/USD"), "'ETH/USD' is not selected"),
    ("Feed.book", lambda: Feed("BTC/USD").book("BTC/USD"), "not connected yet"),
    ("nanoseconds", lambda: values.nanoseconds(True), "not a time"),
]
NO_SECONDS: tuple[Any, ...] = ("x", -1, float("nan"), float("inf"), True, [], 10**400)


def waited(timeout: Any) -> None:
    """Wait until a feed is ready."""
    asyncio.run(Feed("BTC/USD").wait_ready(timeout))


CALLS += [
    (name, partial(call, wrong), f"krakpot.Feed.{name}: {argument}: ")
    for name, call, argument in (
        ("wait_ready", waited, "timeout"),
        ("batches", lambda every: Feed("BTC/USD").batches(every), "every"),
    )
    for wrong in NO_SECONDS
]


OTHERS = ("Config", "Recorder", "Feed", "Feed.on", "Feed.book", "nanoseconds")
"""Calls of which some raise Python's errors."""


@pytest.mark.usefixtures("_here")
@pytest.mark.parametrize(
    ("name", "call", "sentence"), CALLS, ids=[f"{name}-{i}" for i, (name, _, _) in enumerate(CALLS)]
)
def test_a_wrong_call(name: str, call: Callable[[], Any], sentence: str) -> None:
    """An error of krakpot, or Python's for a wrong value or type, on one line."""
    before = everything()
    with pytest.raises((KrakpotError, ValueError, TypeError, RuntimeError)) as caught:
        call()
    assert sentence in str(caught.value), name
    if name not in OTHERS:
        assert isinstance(caught.value, KrakpotError)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600
    if name in {"Feed", "ExchangeServer", "ExchangeOptions", "inject"}:
        assert not re.search("--[a-z]", str(caught.value)), "the argument is named, not the flag of a command"
    assert everything() == before, "nothing is written"
