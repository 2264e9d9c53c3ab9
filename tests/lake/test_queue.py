"""Level-3 queues: every order at a time and one order's life, against a model that keeps a list of orders."""

from __future__ import annotations

import json
import random
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import channels
import fills
import frames
import lakes
from fills import SYMBOL, Step, time
from krakpot import Lake, OrderLife
from krakpot.errors import ConfigError
from krakpot.lake import seal
from krakpot.values import nanoseconds

Row = tuple[str, Decimal, int, str, Decimal, Decimal, int, int]
"""Side, price, place, id, quantity, quantity ahead, level, time."""
COLUMNS = ("side", "price", "place", "order_id", "qty", "ahead", "level", "ts_order")


def every_order(model: frames.Orders) -> list[Row]:
    """All orders of the model, bids first, best level first."""
    found: list[Row] = []
    for side in ("bid", "ask"):
        for level, price in enumerate(model.prices(side)):
            ahead = Decimal(0)
            for place, one in enumerate(model.queue(side, price)):
                found.append((side, price, place, one.order_id, one.qty, ahead, level, one.place[0]))
                ahead += one.qty
    return found


def place_of(model: frames.Orders, order_id: str) -> tuple[Decimal, Decimal, int, Decimal, Decimal] | None:
    """Price, quantity, place, quantity ahead and behind of an order of the model."""
    one = model.find(order_id)
    if one is None:
        return None
    queue = model.queue(one.side, one.price)
    place = queue.index(one)
    sums = [sum((other.qty for other in some), Decimal(0)) for some in (queue[:place], queue[place + 1 :])]
    return one.price, one.qty, place, sums[0], sums[1]


def apply(model: frames.Orders, data: dict[str, Any], kind: str) -> None:
    """Apply a message as it was sent."""
    if kind == "snapshot":
        model.held = []
    model.apply([
        (side, one.get("event"), one["order_id"], str(one["limit_price"]), str(one["order_qty"]),
         nanoseconds(one["timestamp"]))
        for side in ("bid", "ask") for one in data[f"{side}s"]
    ])  # fmt: skip


def rows(frame: pl.DataFrame) -> list[Row]:
    """Orders as the model tells them."""
    return frame.select(COLUMNS).with_columns(pl.col("ts_order").to_physical()).rows()


@pytest.fixture(scope="module")
def exchange(tmp_path_factory: pytest.TempPathFactory) -> tuple[Lake, channels.Channels]:
    """Two seconds of the built-in exchange, with trades."""
    path = tmp_path_factory.mktemp("queues") / "lake"
    run = channels.run(seconds=2, rate=900.0, trades=True)
    counts = channels.record(path, run)
    assert counts["level3"]["checksums"]["level3"]["bad"] == 0
    return Lake(path), run


@pytest.mark.slow
@pytest.mark.parametrize("by", ["recv", "event"])
def test_orders_at_are_those_of_the_exchange(by: Any, exchange: tuple[Lake, channels.Channels]) -> None:
    """After random messages, and just before the next one: every order, its place and what is ahead of it."""
    lake, run = exchange
    rng = random.Random(1)
    checked = 0
    for symbol in run.symbols[:2]:
        model = frames.Orders(100, *run.precision[symbol], symbol=symbol)
        messages = run.of("level3")[symbol]
        chosen = set(rng.sample(range(len(messages)), 8)) | {0}
        times = [nanoseconds(one.data["timestamp"]) if by == "event" else one.sent for one in messages]
        for n, message in enumerate(messages):
            apply(model, message.data, message.kind)
            if n in chosen and (n + 1 == len(times) or times[n + 1] > times[n]):
                for at in (times[n], times[n + 1] - 1 if n + 1 < len(times) else times[n]):
                    found = lake.orders_at(symbol, at, by=by)
                    assert (found.reason, found.checksum) == (None, message.checksum)
                    assert rows(found.orders) == every_order(model)
                    ages = found.orders.select(pl.col("age").dt.total_nanoseconds() + pl.col("ts_order").to_physical())
                    assert set(ages["age"]) == {at}
                    checked += 1
    assert checked > 20


def test_depth_and_numbers(exchange: tuple[Lake, channels.Channels]) -> None:
    """The best levels only; floats are the nearest ones; no book, no orders, and the reason."""
    lake, run = exchange
    at = frames.START + frames.SECOND
    whole = lake.orders_at(run.symbols[0], at).orders
    some = lake.orders_at(run.symbols[0], at, depth=2, numbers="float")
    assert some.orders.equals(whole.filter(pl.col("level") < 2).with_columns(pl.col(pl.Decimal).cast(pl.Float64)))
    assert some.checksum == lake.orders_at(run.symbols[0], at).checksum
    for when, reason in (("2001-01-01", "absent"), (at + frames.DAY, "stopped")):
        none = lake.orders_at(run.symbols[0], when)
        assert (none.reason, none.checksum, none.orders.height) == (reason, None, 0)
        assert none.orders.schema == whole.schema
    assert "there is no level-3 book: the recording had ended" in none.lines()[0]


def test_paths_are_those_of_the_exchange(exchange: tuple[Lake, channels.Channels]) -> None:
    """Every change of an order's place, as the model has it after each message."""
    lake, run = exchange
    symbol = run.symbols[0]
    messages = run.of("level3")[symbol]
    seen = [one["order_id"] for message in messages for side in ("bids", "asks") for one in message.data[side]]
    chosen = random.Random(2).sample(list(dict.fromkeys(seen)), 25)
    model = frames.Orders(100, *run.precision[symbol], symbol=symbol)
    paths: dict[str, list[Any]] = {order_id: [] for order_id in chosen}
    for message in messages:
        apply(model, message.data, message.kind)
        for order_id, path in paths.items():
            now = place_of(model, order_id)
            if (path and path[-1] != now) or (not path and now):
                path.append(now)
    columns = ("price", "qty", "place", "ahead", "behind")
    ends = set()
    for order_id, path in paths.items():
        life = lake.order(order_id, symbol)
        told = [row if row[0] is not None else None for row in life.path.select(columns).rows()]
        assert told == path, order_id
        assert (life.path["reason"].is_null() == life.path["price"].is_not_null()).all()
        ends.add(life.ended)
        assert life.ended == ("stopped" if path[-1] else life.path["reason"][-1])
    assert ends >= {"deleted", "stopped"}


@pytest.mark.slow
def test_every_trade_is_found_in_the_life_of_an_order(exchange: tuple[Lake, channels.Channels]) -> None:
    """What orders lost to trades was traded, but for hidden parts; a twin just before each of them fills as much."""
    lake, run = exchange
    symbol = run.symbols[0]
    sent = lake.orders(symbol).collect()
    begun = sent.filter(pl.col("kind") == "snapshot")["ts_event"].min()
    traded = lake.trades(symbol).collect().filter(pl.col("ts_event") >= begun)
    lost = sent.filter(pl.col("event").is_in(["modify", "delete"]))["order_id"].unique(maintain_order=True)
    lives = [lake.order(order_id, symbol) for order_id in lost]
    keys = [pl.col("ts_event").dt.epoch("us"), "price"]
    told = pl.concat([life.rows for life in lives]).group_by(keys).agg(pl.col("traded", "lost").sum())
    made = traded.group_by(keys).agg(pl.col("qty").sum()).join(told, on=["ts_event", "price"], how="left")
    assert made.height > 30
    assert made.filter(pl.col("traded") > pl.col("qty")).is_empty()
    assert made.filter(pl.col("traded") < pl.min_horizontal("lost", "qty")).is_empty(), "all that was shown is found"
    assert made.filter(pl.col("traded") == pl.col("qty")).height > 0.8 * made.height
    assert told["traded"].sum() == made["traded"].sum(), "and nothing where nothing was traded"
    added = [life for life in lives if life.rows["event"][0] == "add" and life.traded]
    rested = 0
    for life in added:
        side = "buy" if life.side == "bid" else "sell"
        qty, at = life.rows["qty"][0], life.rows["ts_event"].to_physical()[0]
        twin = lake.would_fill(symbol, side, life.rows["price"][0], qty, at - 1000)  # type: ignore[call-overload]  # a side
        if "taken" in twin.fills["evidence"]:
            continue  # as it did, before its rest came to rest
        rested += 1
        assert qty >= twin.filled_max >= min(qty, life.traded), "an iceberg trades more than it shows"
    assert rested > 5


def life_of(path: Path, *steps: Step, order: int = 1, **options: Any) -> OrderLife:
    """Life of an order of a small lake."""
    opening = (("add", "buy", 1, 100, 5), ("add", "buy", 2, 100, 3), ("add", "sell", 4, 105, 4))
    last = Step(1000, (("add", "sell", 98, 150, 1),))
    return fills.make(path, [Step(1, opening), *steps, last], **options).order(fills.name(order))


def test_what_traded_and_what_did_not(tmp_path: Path) -> None:
    """By the same time, price and quantity; one trade for two orders; a cancel; a trade of the other side."""
    life = life_of(
        tmp_path,
        Step(10, (("modify", "buy", 1, 100, 4),), (("sell", 100, 1),)),
        Step(11, (("modify", "buy", 1, 100, 3),), (("buy", 100, 1),)),
        Step(12, (("modify", "buy", 1, 100, 2),)),
        Step(13, (("delete", "buy", 1, 100, 2),), (("sell", 100, 1), ("sell", 100, 1))),
    )
    assert (life.side, life.symbol, life.ended, life.order_id) == ("bid", SYMBOL, "deleted", fills.name(1))
    assert life.rows.select("event", "lost", "traded").rows() == [
        ("snapshot", None, None), ("modify", 1, 1), ("modify", 1, 0), ("modify", 1, 0), ("delete", 2, 2),
    ]  # fmt: skip
    assert (life.traded, life.unattributed) == (Decimal(3), Decimal(2))
    assert life.path["behind"].drop_nulls().to_list() == [3, 3, 3, 3]
    assert life.lines()[0].endswith("deleted; 3 traded, 2 unattributed")


def test_an_order_that_leaves_the_window_and_comes_back(tmp_path: Path) -> None:
    """Its level is the tenth, a better one comes: it is not deleted; then it is told again."""
    bids = tuple(("add", "buy", 10 + n, 99 - n, 1) for n in range(9))
    life = life_of(
        tmp_path,
        Step(2, bids),
        Step(10, (("add", "buy", 30, 101, 1),)),
        Step(20, (("delete", "buy", 30, 101, 1), ("add", "buy", 18, 91, 1, 2))),
        order=18,
    )
    assert life.path["reason"].to_list() == [None, "left the window", None]
    assert (life.ended, life.traded, life.unattributed) == ("stopped", Decimal(0), Decimal(0))
    assert life.rows["event"].to_list() == ["add", "add"]


def test_an_order_over_a_gap(tmp_path: Path) -> None:
    """A message is lost: from there to the next snapshot nothing is known of it."""
    life = life_of(
        tmp_path,
        Step(30, (("add", "buy", 6, 98, 1),), lost=True),
        Step(40, (("add", "buy", 7, 98, 1),)),
        Step(50, (("add", "buy", 1, 100, 5, 1), ("add", "sell", 4, 105, 4)), snapshot=True),
        Step(60, (("delete", "buy", 1, 100, 5),)),
    )
    assert life.path["reason"].to_list() == [None, "mismatch", None, "deleted"]
    assert life.path["ahead"].to_list() == [0, None, 0, None]
    assert life.ended == "deleted"


def test_an_order_in_two_sessions(tmp_path: Path) -> None:
    """A reconnect: the second session goes on where the first one ended; what it ended by is said between them."""
    model = frames.Orders(10, 1, 8, symbol=SYMBOL)
    model.apply([("bid", "add", fills.name(n), "100.0", "1.00000000", time(0)) for n in (1, 2)])
    model.apply([("ask", "add", fills.name(3), "101.0", "1.00000000", time(0))])
    opening = [frames.instrument(frames.pair(SYMBOL)), frames.ack("level3", SYMBOL, depth=10)]
    for n in range(2):
        at = time(n * 10_000)
        timed = [(at, frame) for frame in (*opening, model.snapshot(ts=at))]
        gone: list[frames.OrderEntry] = [("bid", "delete", fills.name(n + 1), "100.0", "1.00000000", at)]
        timed.append((at + frames.SECOND, model.update(gone, ts=at + frames.SECOND)))
        recorder = lakes.Recorder(tmp_path, lakes.session_name(at))
        recorder.take([*timed, (at + 2 * frames.SECOND, frames.HEARTBEAT)])
        recorder.end()
    seal.recover(tmp_path)
    life = Lake(tmp_path).order(fills.name(2))
    assert life.path.select("place", "reason").rows() == [(1, None), (0, None), (0, None), (None, "deleted")]
    assert life.rows["event"].to_list() == ["snapshot", "snapshot", "delete"]


@pytest.mark.parametrize("running", [False, True])
def test_over_hours_and_beside_a_recorder(running: bool, tmp_path: Path) -> None:
    """It begins at an hourly checkpoint, over midnight; rows that are not sealed yet are read from the journals."""
    begin = frames.START // frames.DAY * frames.DAY + 22 * frames.HOUR
    timed = lakes.market(600, begin=begin, step=20 * frames.SECOND, level3=True)
    recorder = lakes.Recorder(tmp_path, interval=1800)
    for n in range(0, len(timed), 40):
        recorder.take(timed[n : n + 40])
        if n == 400:
            seal.recover(tmp_path)
    if not running:
        recorder.end()
        seal.recover(tmp_path)
    lake = Lake(tmp_path)
    assert lake.scan("orders_checkpoints", SYMBOL).collect()["message"].n_unique() >= 3
    model = frames.Orders(10, 1, 8, symbol=SYMBOL)
    order_id = "OAAAAA-00100-AAAAAA"
    path: list[Any] = []
    for n, (at, text) in enumerate(timed):
        message = json.loads(text, parse_float=frames.Number, parse_int=frames.Number)
        if message.get("channel") != "level3" or message["data"][0]["symbol"] != SYMBOL:
            continue
        apply(model, message["data"][0], message["type"])
        now = place_of(model, order_id)
        if (path and path[-1] != now) or (not path and now):
            path.append(now)
        if n % 7 == 0:
            assert rows(lake.orders_at(SYMBOL, at).orders) == every_order(model)
    life = lake.order(order_id)
    told = life.path.select("price", "qty", "place", "ahead", "behind").rows()
    assert [None if row[0] is None else row for row in told] == path
    last = timed[-1][0]
    assert lake.orders_at(SYMBOL, last + frames.DAY).reason == ("recording" if running else "stopped")
    far = lake.would_fill(SYMBOL, "buy", 900, 1, begin + 3 * frames.HOUR)
    assert (far.channel, far.outcome, far.reason) == ("level3", "not filled", "recording" if running else "stopped")
    assert far.until >= begin + 3 * frames.HOUR
    recorder.writer.close()


def test_what_cannot_be_asked_for(tmp_path: Path) -> None:
    """Each with a sentence that says what is allowed."""
    life_of(tmp_path)
    lake = Lake(tmp_path)
    for options, words in (
        ({"depth": 0}, "depth=0; allowed: 1 to 1000"),
        ({"depth": True}, "depth=True"),
        ({"by": "luck"}, "'recv', 'event'"),
        ({"numbers": "int"}, "'decimal', 'float'"),
        ({"at": "soon"}, "at: 'soon' is not a time"),
        ({"symbol": "BTC/EUR"}, "no symbol 'BTC/EUR'"),
    ):
        with pytest.raises(ConfigError, match=words):
            lake.orders_at(**({"symbol": SYMBOL, "at": "2026-08-02"} | options))
    with pytest.raises(ConfigError, match="there is no order 'OAAAAA' in the level 3 of the lake"):
        lake.order("OAAAAA")
    with pytest.raises(ConfigError, match="there is no order '' in the level 3 of BTC/USD"):
        lake.order("", SYMBOL)
    with pytest.raises(ConfigError, match="order_id=5 is no text"):
        lake.order(5)  # type: ignore[arg-type]  # text


@st.composite
def messages(draw: st.DrawFn) -> list[Step]:
    """Random orders at few prices: added with older times too, modified, deleted, beyond a window of ten levels."""
    held: dict[int, tuple[str, int, int]] = {}
    steps = []
    number = 0
    for n in range(draw(st.integers(2, 12))):
        events: list[fills.Event] = []
        touched: set[int] = set()
        for _ in range(draw(st.integers(1, 8))):
            kind = draw(st.sampled_from(["add", "add", "add", "modify", "delete"]))
            if kind == "add" or n == 0:
                number += 1
                side = draw(st.sampled_from(["buy", "sell"]))
                price = draw(st.integers(88, 100) if side == "buy" else st.integers(101, 113))
                held[number] = (side, price, draw(st.integers(1, 9)))
                events.append(("add", *held[number][:1], number, *held[number][1:], draw(st.integers(0, n + 1))))
                touched.add(number)
            elif order := next(iter(sorted(set(held) - touched)), None):
                side, price, qty = held.pop(order)
                if kind == "modify":
                    qty = draw(st.integers(1, 9))
                    held[order] = (side, price, qty)
                events.append((kind, side, order, price, qty))
                touched.add(order)
        steps.append(Step(n + 1, tuple(events)))
    return steps


@pytest.mark.slow
@settings(max_examples=30)
@given(steps=messages(), data=st.data())
def test_random_orders(steps: list[Step], data: st.DataObject) -> None:
    """Every order and every path, after each message, as in the list."""
    # What the window does not show cannot be told: such orders are forgotten, as by the exchange.
    with TemporaryDirectory() as folder:
        lake = fills.make(Path(folder), steps, trades=False, book=False)
        model = frames.Orders(10, 1, 8, symbol=SYMBOL)
        ids = sorted({fills.name(event[2]) for step in steps for event in step.events})
        followed = data.draw(st.sampled_from(ids))
        path: list[Any] = []
        for row in _sent(lake):
            apply(model, row[1], row[2])
            assert rows(lake.orders_at(SYMBOL, row[0]).orders) == every_order(model)
            now = place_of(model, followed)
            if (path and path[-1] != now) or (not path and now):
                path.append(now)
        if not path:
            return
        told = lake.order(followed).path.select("price", "qty", "place", "ahead", "behind").rows()
        assert [None if row[0] is None else row for row in told] == path


def _sent(lake: Lake) -> list[tuple[int, dict[str, Any], str]]:
    """Time, entries and kind of each message in the lake."""
    found = []
    for _, group in lake.orders().collect().sort("message", "entry").group_by("message", maintain_order=True):
        data: dict[str, Any] = {"bids": [], "asks": []}
        for row in group.filter(pl.col("side").is_not_null()).iter_rows(named=True):
            one = {"order_id": row["order_id"], "limit_price": row["price"], "order_qty": row["qty"]}
            one |= {} if row["event"] is None else {"event": row["event"]}
            data[f"{row['side']}s"].append(one | {"timestamp": row["ts_order"]})
        found.append((int(group["ts_recv"].to_physical()[0]), data, str(group["kind"][0])))
    return found
