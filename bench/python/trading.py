"""What strategies on a recording cost: messages a second of CPU, of one busy pair with level 3 and trades.

Goals: a run beside a plain replay of the same lake, in one process: without handlers, with an empty handler at every
message and at the touch, a maker once in a millisecond of recorded time, 1 and 100 accounts in one pass, a million
questions of `would_fill`; where numba is installed, the same maker compiled, beside what it would cost in Rust. CPU of
all threads: reading and checking of the lake is in it. Rounds are interleaved; what a run costs before its first
message is measured by itself. The runs must agree: the same messages, and fills of the maker alone and among others.
Beside it, where they are there: hftbacktest on the same recording, exported before, and the maker in Rust, in rows a
second. Runs here read and check Parquet, or have the recording in memory, loaded before; the maker in Rust has events
in memory, or frames that it checks, and hftbacktest has events in memory.
Not goals: the truth of fills, which tests show; latency; what a strategy computes.

What a maker in Rust adds to a message is measured by the example ``maker``, without Python and files. A run without a
handler and that together are the run of a strategy in Rust.

``python bench/python/trading.py`` prints a table, ``--json`` one JSON object; ``--small`` is for the tests. The lake is
made once, in ``target/bench``.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import gc
import json
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from random import Random
from typing import Any, Literal

import polars as pl

import krakpot
from krakpot import _core
from krakpot.exchange.frames import unframe
from krakpot.lake import journal, seal
from krakpot.lake.format import open_lake
from krakpot.replay.replay import folder_of
from krakpot.trade.compiled import BUY, POST_ONLY, SELL, State, amend, send
from made import MIDNIGHT, SECOND

ROOT = Path(__file__).parents[2]
SYMBOL = "BTC/USD"
TOKEN = "bench"  # noqa: S105  # the built-in exchange's
RATE = 2000.0
STEP = 1_000_000
"""Time between two reads of a socket, at most, ns."""
FEES = ("0.25%", "0.40%")
MANY = 100
QUESTIONS = 1_000_000
LIFE = 10
"""How long an order that is asked about rests, s."""
RATE_COST = 10
"""What a request may cost of the rate counter."""
QTY = 1_000_000
"""0.01 in steps."""
ROUNDS = 3
SECONDS = 500.0
BENCH = ROOT / "target/bench"
LITTLE = 1.0
"""Seconds of the lake of which a run says what a start costs."""
HFTBACKTEST = ROOT / "target/tools/hftbacktest-2.4.4/bin/python"
"""An environment of its own, which ``tests/tools.py`` makes."""
BACKTEST = ROOT / "bench/peers/hftbacktest_maker.py"
EXAMPLE = ROOT / "target/release/examples/maker"
EVENTS = "events"
"""Of hftbacktest's file."""
RUST = {"without a strategy": "no handler", "a maker each 1 ms": "a maker each 1 ms"}
"""Cases of both, and how the example calls them."""
FLOW = "100"
"""Seconds of the flow of the example: its CPU time is known to some milliseconds."""
IN_MEMORY = "in memory: "
"""What the names of cases on a loaded recording begin with."""
SESSIONS = tuple(f"019e0000-0000-7000-8000-00000000000{n}" for n in range(2))


def make(lake: Path, seconds: float) -> int:
    """Record so much of the built-in exchange: trades by one session, level 3 by another. Returns how many messages."""
    exchange = _core.Exchange(pairs=1, rate=RATE, seed=7, start=MIDNIGHT)
    exchange.allow(TOKEN, 2**62)
    open_lake(lake)
    public = _core.Session(SESSIONS[0], channels=["trade"])
    level3 = _core.Session(SESSIONS[1], channels=["level3"], level3_depth=1000, instrument=False, tokenised=True)
    level3.set_token(TOKEN)
    sides = [
        (session, exchange.connect(endpoint), journal.Writer(lake, name))
        for session, endpoint, name in zip((public, level3), ("public", "level3"), SESSIONS, strict=True)
    ]
    now = flushed = MIDNIGHT
    asked, end, random = 0, MIDNIGHT + round(seconds * SECOND), Random(7)
    for session, _, _ in sides:
        session.add_ledger_row("start", now)
        session.add_ledger_row("connect", now)
    while now < end:
        if now >= asked:
            asked = now + SECOND // 10
            level3.import_pairs(public, exchange.symbols, now)
            for session, client, _ in sides:
                session.tick(now)
                for request in session.requests(now):
                    exchange.receive(client, request)
        now += random.randrange(1, STEP)
        exchange.advance(now)
        for session, client, _ in sides:
            session.receive(unframe(exchange.take(client)), now)
        if now - flushed >= SECOND:
            flushed = now
            for session, _, writer in sides:
                writer.write(session.drain(), now)
    for session, _, writer in sides:
        session.end(now, "the recording is over")
        session.add_ledger_row("stop", now)
        writer.write(session.drain(), now)
        writer.close()
        assert session.counts()["errors"] == 0, session.counts()
    seal.recover(lake)
    # Each trade is an event; a message may have several.
    messages: int = level3.counts()["messages"]["level3"] + public.counts()["rows"]["trades"]
    return messages


class Message:
    """Hears every message, and does nothing."""

    def book(self, m: krakpot.Market, e: object) -> None:
        """Nothing."""

    def trade(self, m: krakpot.Market, e: object) -> None:
        """Nothing."""


class Silent:
    """Has no handler of data."""

    def stop(self, m: krakpot.Market, reason: str) -> None:
        """Nothing."""


class Maker:
    """Looks once in a millisecond: an order on each side, one step beside the best price where it can be."""

    def book(self, m: krakpot.Market, e: krakpot.Level3Event) -> None:
        """Quote, and go along with the best prices, as far as the rate counter allows."""
        if m.rate(e.symbol).free < RATE_COST:
            return
        best = m.best(e.symbol)
        quotes: tuple[tuple[Literal["buy", "sell"], Any], ...] = (("buy", best[0]), ("sell", best[2]))
        for side, price in quotes:
            orders = m.orders(e.symbol, side)
            if not orders:
                m.send(side, e.symbol, "0.01", price, post_only=True)
            elif orders[0].state == "open" and orders[0].price != price:
                m.amend(orders[0], price=price)


def compiled(m: Any, s: Any) -> None:  # noqa: ANN401  # records of numba
    """Quote as ``Maker`` does."""
    s.calls += 1
    pair = m.pairs[m.pair]
    if pair.rate_limit - pair.rate_used < RATE_COST:
        return
    for side in (BUY, SELL):
        price = pair.bid if side == BUY else pair.ask
        own = -1
        for i in range(m.order_count):
            if own < 0 and m.orders[i].side == side:
                own = i
        if own < 0:
            send(m, side, QTY, price, POST_ONLY)
        elif m.orders[own].state == State.OPEN and m.orders[own].price != price:
            amend(m, m.orders[own].id, 0, price)


class Idle:
    """Quotes once on each side, and leaves it."""

    def book(self, m: krakpot.Market, e: krakpot.Level3Event) -> None:
        """Quote if there is no order."""
        if not m.orders(e.symbol):
            best = m.best(e.symbol)
            m.buy(e.symbol, "0.01", best[0], post_only=True)
            m.sell(e.symbol, "0.01", best[2], post_only=True)


Source = krakpot.Replay | krakpot.LoadedReplay


def replay_of(lake: Path) -> krakpot.Replay:
    """All of a lake that a run takes."""
    return krakpot.Replay(lake, [SYMBOL], channels=["level3", "trade"])


@functools.cache
def loaded(lake: Path) -> krakpot.LoadedReplay:
    """The same in memory."""
    return krakpot.load(replay_of(lake))


def loads(replay: krakpot.Replay) -> int:
    """Load it; how many messages it has."""
    return krakpot.load(replay).messages


def paper() -> krakpot.Paper:
    """Enough of everything."""
    return krakpot.Paper({"USD": 10**9, "BTC": 10**4}, fees=FEES, latency=krakpot.Latency("5ms"))


def replayed(replay: krakpot.Replay) -> int:
    """Play everything with a callback for each message; how many there were."""
    count = 0

    def heard(_: object) -> None:
        nonlocal count
        count += 1

    async def play() -> None:
        async with replay:
            replay.on("level3", heard)
            replay.on("trade", heard)
            await replay.run()

    asyncio.run(play())
    return count


def ran(strategy: object, wake: str | None) -> Callable[[Source], tuple[int, str]]:
    """A run; how many messages it took, and the digest of its result."""

    def play(source: Source) -> tuple[int, str]:
        result = krakpot.run(strategy, source, paper(), wake=wake)
        assert isinstance(result, krakpot.Result), "one model"
        return int(result.summary["messages"]), result.digest

    return play


def many(count: int) -> Callable[[krakpot.Replay], tuple[int, str]]:
    """Accounts in one pass that quote and wait; the messages, and what the first one came to."""

    def play(replay: krakpot.Replay) -> tuple[int, str]:
        results = krakpot.run_many({str(n): Idle() for n in range(count)}, replay, paper(), wake="1s")
        first = results["0"]
        # Its digest has the ids of its orders, which the exchange numbers over all accounts.
        return int(first.summary["messages"]), f"{first.fills.height} fills, {first.pnl}"

    return play


@functools.cache
def orders_of(path: Path) -> pl.DataFrame:
    """As many orders as may be asked about on a symbol-day, at random times and near the price of then."""
    lake = krakpot.Lake(path)
    trades = lake.trades(SYMBOL).select("ts_event", "price", "trade_id").sort("ts_event", "trade_id").collect()
    # Only the long lake is asked: of the short one a single order says what a start costs.
    count = QUESTIONS if trades.height > LITTLE * RATE else 1
    # Before level 3 began, nothing can be said.
    trades = trades.filter(pl.col("ts_event") >= lake.coverage()["ts_from"].max())
    first, last = trades["ts_event"].to_physical()[0], trades["ts_event"].to_physical()[-1]
    number = pl.int_range(count, eager=True).hash(seed=7)
    at = (first + number % (last - first)).cast(pl.Int64).sort().cast(trades["ts_event"].dtype)
    orders = pl.DataFrame({"at": at}).join_asof(trades, left_on="at", right_on="ts_event")
    away = (number // 2 % 30).cast(pl.Int64) - 5
    buys = number % 2 == 0
    orders = orders.select(
        symbol=pl.lit(SYMBOL), side=pl.when(buys).then(pl.lit("buy")).otherwise(pl.lit("sell")),
        price=(pl.col("price").cast(pl.Float64) + pl.when(buys).then(-away).otherwise(away) * 0.1).round(1),
        qty=pl.lit("0.01"), at="at", until=pl.col("at") + pl.duration(seconds=LIFE),
    )  # fmt: skip
    return orders.with_columns(until=pl.lit(None, dtype=at.dtype)) if count == 1 else orders


def asked(replay: krakpot.Replay) -> tuple[int, str]:
    """All questions in one pass; what became of the orders."""
    lake = krakpot.Lake(folder_of(replay).path)
    orders = orders_of(lake.path)
    found = lake.would_fill(orders)
    assert found.filter(outcome="not recorded").height == 0, "all of them lie in the recording"
    outcomes = found.group_by("outcome").len().sort("outcome").rows()
    facts = json.loads((lake.path.parent / f"{lake.path.name}.json").read_text())
    return int(facts["messages"]), str(outcomes)


NO_HANDLER, IN_PYTHON, COMPILED = (
    "run, no handler",
    'run, a maker, wake="1ms"',
    'run, the maker compiled, wake="1ms"',
)
CASES: dict[str, Callable[[Any], Any]] = {
    "plain replay, a callback for each message": replayed,
    NO_HANDLER: ran(Silent(), None),
    'run, empty handler, wake="message"': ran(Message(), "message"),
    'run, empty handler, wake="touch"': ran(Message(), "touch"),
    IN_PYTHON: ran(Maker(), "1ms"),
    "run_many, 1 account": many(1),
    f"run_many, {MANY} accounts": many(MANY),
    f"would_fill, {QUESTIONS:,} orders": asked,
    "load into memory": loads,
}
if find_spec("numba"):
    CASES[COMPILED] = ran(krakpot.compiled(state=[("calls", "i8")], hears=["book"])(compiled), "1ms")
CASES |= {f"{IN_MEMORY}{name}": case for name, case in CASES.items() if name.startswith("run, ")}


def timed(name: str, lake: Path) -> tuple[float, Any]:
    """CPU seconds of all threads of this process, and what the case counted."""
    source = loaded(lake) if name.startswith(IN_MEMORY) else replay_of(lake)
    gc.collect()
    begun = time.process_time()
    found = CASES[name](source)
    return time.process_time() - begun, found


def measure(lake: Path, little: Path, made: dict[str, Any], rounds: int) -> dict[str, Any]:
    """Messages a second of each case: medians over interleaved rounds, without what a start costs."""
    rates: dict[str, list[float]] = {name: [] for name in CASES}
    starts: dict[str, list[float]] = {name: [] for name in CASES}
    found: dict[str, Any] = {}
    # The first round warms up and is not counted.
    for turn in range(rounds + 1):
        for name in CASES:
            start, few = timed(name, little)
            spent, counted = timed(name, lake)
            few, messages = number(few), number(counted)
            assert messages > few, f"{name}: {messages} messages"
            assert found.setdefault(name, counted) == counted, f"{name}: another result than before"
            assert messages >= made["messages"] * 0.99, f"{name}: {messages} of {made['messages']} messages"
            if turn:
                rates[name].append((messages - few) / max(spent - start, 1e-9))
                starts[name].append(start)
    digests = {name: counted[1] for name, counted in found.items() if isinstance(counted, tuple)}
    assert digests["run_many, 1 account"] == digests[f"run_many, {MANY} accounts"], "an account sees the others"
    assert digests.get(COMPILED, digests[IN_PYTHON]) == digests[IN_PYTHON], "compiled, the maker does something else"
    for name in filter(lambda name: name.startswith(IN_MEMORY), CASES):
        assert digests[name] == digests[name.removeprefix(IN_MEMORY)], f"{name}: in memory it is another run"
    plain = next(iter(CASES))
    return {
        "profile": _core.PROFILE,
        "lake": made,
        "rounds": rounds,
        "rate": {name: statistics.median(values) for name, values in rates.items()},
        "start": {name: statistics.median(values) for name, values in starts.items()},
        "ratio": {
            name: statistics.median(one / other for one, other in zip(values, rates[plain], strict=True))
            for name, values in rates.items()
        },
        "digest": digests,
    }


def rust() -> float:
    """Seconds that the same maker in Rust adds to a message; of events that are there already, where it adds least."""
    command = ["cargo", "run", "--release", "-q", "-p", "krakpot-trade", "--example", "maker", "--", FLOW, "--bench"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    found = dict(re.findall(r"^(.*): .*; from events ([\d.]+) M messages/s", said, re.MULTILINE))
    return 1 / (float(found["a maker each 1 ms"]) * 1e6) - 1 / (float(found["no handler"]) * 1e6)


def by_hftbacktest(lake: Path, rows: int, rounds: int) -> dict[str, float] | str:
    """Rows a second of CPU by hftbacktest; or why it is not measured."""
    if not HFTBACKTEST.exists():
        return "hftbacktest is not in target/tools; KRAKPOT_TEST=all pytest tests/exports/test_hftbacktest.py makes it"
    folder = lake.with_name(f"{lake.name}-hftbacktest")
    if not (folder / "export.json").exists():
        shutil.rmtree(folder, ignore_errors=True)
        krakpot.export(lake, "hftbacktest", folder, channel="level3")
    (file,) = folder.glob("*.npz")
    options = {"file": str(file), "tick": 0.1, "fees": [0.0025, 0.004], "qty": QTY, "rounds": rounds}
    command = [str(HFTBACKTEST), "-I", str(BACKTEST), json.dumps(options)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    said = json.loads(done.stdout)
    # Its file has more events than there are rows: what a trade took of each order is one of its own.
    rates = {name: rows / statistics.median(spent) for name, spent in zip(RUST, said["times"].values(), strict=True)}
    return rates | {EVENTS: float(said["events"])}


def in_rust() -> dict[str, dict[str, float]] | str:
    """Rows a second of CPU of a strategy in Rust, from events and from frames; or why it is not measured."""
    if not EXAMPLE.exists():
        return "the maker in Rust is not built: cargo build --release -p krakpot-trade --example maker"
    done = subprocess.run([str(EXAMPLE), FLOW, "--bench"], stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, dict[str, float]] = {"events": {}, "frames": {}}
    for name, words in RUST.items():
        for of, rates in found.items():
            told = re.search(rf"^{words}: .*from {of} \S+ M messages/s, (\S+) M rows/s", done.stdout, re.MULTILINE)
            assert told, done.stdout
            rates[name] = float(told[1]) * 1e6
    return found


def rows_of(lake: Path) -> int:
    """Rows of level 3 and of trades."""
    there = krakpot.Lake(lake)
    return sum(there.scan(table).select(pl.len()).collect().item() for table in ("orders", "trades"))


def beside_lines(found: dict[str, Any]) -> list[str]:
    """Rows a second, ours and others', and their ratios."""
    lines = [f"rows of level 3 and trades a second of CPU, {found['rows']:,} of them:"]
    rust, other, runs = found["rust"], found["hftbacktest"], found["runs"]
    lines += [one for one in (rust, other) if isinstance(one, str)]
    if not isinstance(other, str):
        lines.append(f"as events of hftbacktest: {other[EVENTS]:,.0f}")
    for name in RUST:
        in_memory = runs[f"{IN_MEMORY}{name}"] / 1e6
        cells = [f"{runs[name] / 1e6:.2f} M from Python, reading included", f"in memory {in_memory:.2f} M"]
        if not isinstance(rust, str):
            cells += [f"{rust[of][name] / 1e6:.2f} M in Rust from {of}" for of in rust]
        if not isinstance(other, str):
            cells.append(f"hftbacktest {other[name] / 1e6:.2f} M")
            if not isinstance(rust, str):
                cells.append(f"Rust from events {rust['events'][name] / other[name]:.2f} × hftbacktest")
        lines.append(f"{name}: {'; '.join(cells)}")
    return lines


def number(counted: Any) -> int:  # noqa: ANN401  # what a case counted
    """The messages of it."""
    return int(counted[0] if isinstance(counted, tuple) else counted)


def lake_of(folder: Path, seconds: float) -> tuple[Path, dict[str, Any]]:
    """The lake, made if it is not there; facts of it."""
    lake, facts = folder / f"trading-{seconds:g}", folder / f"trading-{seconds:g}.json"
    if not facts.exists():
        shutil.rmtree(lake, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        begun = time.monotonic()
        messages = make(lake, seconds)
        took = time.monotonic() - begun
        facts.write_text(json.dumps({"messages": messages, "recorded": seconds, "seconds": took}))
    return lake, json.loads(facts.read_text())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--small", action="store_true", help="a small lake of its own and one round, for the tests")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    if _core.PROFILE != "release" and not options.small:
        sys.exit(f"the extension is a {_core.PROFILE} build and says nothing about speed: maturin develop --release")
    with tempfile.TemporaryDirectory() as folder:
        where = Path(folder) if options.small else BENCH
        lake, made = lake_of(where, 4.0 if options.small else SECONDS)
        little, _ = lake_of(where, LITTLE)
        rounds = 1 if options.small else options.rounds
        found = measure(lake, little, made, rounds)
        rows = rows_of(lake)
        share = rows / made["messages"]
        names = ("run, no handler", 'run, a maker, wake="1ms"')
        found["beside"] = {
            "rows": rows,
            "runs": {
                f"{where}{name}": found["rate"][f"{where}{case}"] * share
                for where in ("", IN_MEMORY)
                for name, case in zip(RUST, names, strict=True)
            },
            "rust": in_rust(),
            "hftbacktest": by_hftbacktest(lake, rows, rounds),
        }
    if COMPILED in CASES and not options.small:
        adds = rust()
        found["rust"] = {where: 1 / (1 / found["rate"][f"{where}{NO_HANDLER}"] + adds) for where in ("", IN_MEMORY)}
        found["compiled"] = {where: found["rate"][f"{where}{COMPILED}"] / rate for where, rate in found["rust"].items()}
    if options.json:
        print(json.dumps(found))
        return
    print(f"{made['messages']:,} messages in {made['recorded']:g} s, made in {made['seconds']:.0f} s; {_core.PROFILE}")
    for name in CASES:
        rate, ratio, start = found["rate"][name], found["ratio"][name], found["start"][name]
        print(f"{name:44} {rate / 1e6:6.3f} M messages/s  {ratio:5.2f} × plain  start {start * 1000:4.0f} ms")
    for where, rate in found.get("rust", {}).items():
        words = f"{where}a maker in Rust in the same run: {rate / 1e6:.3f} M messages/s"
        print(f"{words}; compiled by numba {found['compiled'][where]:.2f} × that")
    print("\n".join(beside_lines(found["beside"])))


if __name__ == "__main__":
    main()
