"""Features of a lake at regular times: what was known then, nothing later, nothing across a gap."""

from __future__ import annotations

import random
import re
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import frames
import lakes
from krakpot import ConfigError, Lake, StorageError
from krakpot.features import books, trades
from krakpot.features.steps import FEATURES
from krakpot.lake import features as module

NAMES = [name.replace("_N", "_3") for name in FEATURES]
STEP = frames.SECOND // 4


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """Two pairs with all channels: ten seconds without a trade in the middle, then a gap, then five seconds more."""
    path = tmp_path_factory.mktemp("features") / "lake"
    first = lakes.market(500, level3=True)
    mine = [b'"channel":"trade","type":"update"', b'"symbol":"BTC/USD"']
    places = [n for n, (_, text) in enumerate(first) if all(word in text for word in mine)]
    lakes.make(path, [one for n, one in enumerate(first) if n != places[len(places) // 2]])
    again = frames.START + 12 * frames.SECOND
    lakes.make(path, lakes.market(250, begin=again, level3=True), session=lakes.session_name(again))
    return Lake(path)


def test_a_row_is_what_its_functions_make_of_the_lake(lake: Lake) -> None:
    """Books up to the time, trades received in the step that ends with it."""
    found = lake.features("BTC/USD", NAMES, every=f"{STEP}ns", window=4)
    assert found.columns == ["symbol", "ts", "reason", "run", *NAMES]
    begin = frames.START
    frame = lake.books("BTC/USD", begin, begin + 18 * frames.SECOND, every=f"{STEP}ns", depth=3, numbers="float")
    frame = books.slope(books.imbalance(books.microprice(books.mid(frame)), 3), 3)
    frame = frame.select("ts", "reason", "mid", "microprice", "imbalance_3", "bid_slope_3")
    both = found.join(frame, on="ts", suffix="_expected")
    assert both.height == found.height > 60
    for name in ("reason", "mid", "microprice", "imbalance_3", "bid_slope_3"):
        assert both[name].equals(both[f"{name}_expected"].rename(name)), name
    assert both["mid"].null_count() > 0
    made = lake.trades("BTC/USD", numbers="float").filter(kind="update").collect()
    for row in found.with_columns(pl.col("ts").dt.epoch("ns")).iter_rows(named=True):
        if row["trade_count"] is not None:
            received = pl.col("ts_recv").dt.epoch("ns")
            some = made.filter(received > row["ts"] - STEP, received <= row["ts"])
            assert row["trade_count"] == some.height
            assert row["volume"] == pytest.approx(some["qty"].sum())
            assert row["sign_run"] == (trades.sign_runs(some)["sign_run"][-1] if some.height else 0)
    assert found["trade_count"].sum() > 50


def test_order_flow_is_added_up_event_by_event(tmp_path: Path) -> None:
    """Of each message against the one before, by a plain model of the book."""
    lakes.make(tmp_path / "lake", lakes.market(600))
    lake = Lake(tmp_path / "lake")
    rows = lake.book("BTC/USD").sort("message", "entry").with_columns(pl.col("ts_recv").dt.epoch("ns")).collect()
    model = frames.Book("BTC/USD")
    best: list[tuple[float, ...]] = []
    flows: dict[int, float] = {}
    for message in rows.partition_by("message", maintain_order=True):
        entries = message.select("side", "price", "qty").rows()
        model.apply([(side, str(price), str(qty)) for side, price, qty in entries if side is not None])
        (bid, bid_qty), (ask, ask_qty) = ([float(text) for text in model.levels(side)[0]] for side in ("bid", "ask"))
        now = bid, bid_qty, ask, ask_qty
        if best:
            was = best[-1]
            flow = (bid >= was[0]) * bid_qty - (bid <= was[0]) * was[1]
            flow += (ask >= was[2]) * was[3] - (ask <= was[2]) * ask_qty
            at = message["ts_recv"][0]
            flows[at] = flows.get(at, 0.0) + flow
        best.append(now)
    assert len(flows) > 100
    found = lake.features("BTC/USD", "ofi", every=f"{STEP}ns")
    known = found.drop_nulls("ofi").with_columns(pl.col("ts").dt.epoch("ns"))
    assert known.height >= found.height - 2
    for at, ofi in known.select("ts", "ofi").iter_rows():
        assert ofi == pytest.approx(sum(one for ts, one in flows.items() if at - STEP < ts <= at), abs=1e-9)
    assert lake.features("BTC/USD", "ofi", frames.START, frames.START, every=f"{STEP}ns").height == 0


def test_nothing_is_said_across_a_gap(lake: Lake) -> None:
    """The book after the cut is another run; the step in which trades are missing is null."""
    found = lake.features("BTC/USD", ["mid", "log_return", "ofi", "trade_count"], every=f"{STEP}ns")
    assert found["run"].unique().sort().to_list() == [None, 0, 1], "two runs, and none in the gap"
    begins = found.filter(pl.col("run").is_not_null(), (pl.col("run") != pl.col("run").shift(1)).fill_null(value=True))
    assert begins.height == 2
    assert begins.select(pl.col("log_return", "ofi").null_count()).row(0) == (2, 2)
    lost = lake.ledger().filter(kind="trade_gap", symbol="BTC/USD").collect()
    assert lost.height > 0
    for since, noticed in lost.select("ts_from", "ts_recv").iter_rows():
        within = found.filter(pl.col("ts") > since, pl.col("ts") < noticed + pl.duration(nanoseconds=STEP))
        assert within.height > 0
        assert within["trade_count"].null_count() == within.height
        assert found["trade_count"].null_count() < found.height / 2


def other_future(timed: list[lakes.Timed], until: int, seed: int) -> list[lakes.Timed]:
    """The same market up to a time, and another one after it: other trades, all other messages in another order."""
    later = [text for ts, text in timed if ts > until and b'"trade"' not in text]
    random.Random(seed).shuffle(later)
    texts = iter(later)
    swap = {b'"buy"': b'"sell"', b'"sell"': b'"buy"'}
    changed = []
    for ts, text in timed:
        if ts <= until:
            changed.append((ts, text))
        elif b'"trade"' in text:
            # The ids stay: a missing trade would be a hole from the last one before it on.
            sides = re.sub(b'"buy"|"sell"', lambda found: swap[found[0]], text)
            changed.append((ts, re.sub(rb'"price":(\d)', rb'"price":1\1', sides)))
        else:
            changed.append((ts, next(texts)))
    return changed


@pytest.mark.parametrize("seconds", [3, 7, 13])
def test_features_do_not_see_the_future(tmp_path: Path, seconds: int) -> None:
    """Whatever comes after a time, the rows up to it are the same, to the last bit."""
    until = frames.START + seconds * frames.SECOND
    timed = lakes.market(1000, level3=True)
    found = []
    for name, market in (("one", timed), *((str(seed), other_future(timed, until, seed)) for seed in (1, 2))):
        lakes.make(tmp_path / name, market)
        lake = Lake(tmp_path / name)
        some = lake.features("*", NAMES, frames.START, frames.START + 20 * frames.SECOND, every=f"{STEP}ns", window=4)
        found.append((some, some.filter(pl.col("ts").dt.epoch("ns") <= until)))
    for features, known in found[1:]:
        assert_frame_equal(known, found[0][1], check_exact=True)
        for name in ("mid", "ofi", "signed_volume", "vwap", "bid_adds"):
            assert not features[name].equals(found[0][0][name]), f"the future of {name} is another one"
    assert found[0][1].height == 2 * (seconds * 4 + 1)


def test_a_value_does_not_depend_on_the_range(lake: Lake) -> None:
    """What a feature looks back at is read from before the range."""
    names = ["log_return", "realised_volatility", "ofi", "kyle_lambda", "volume", "bid_queue_age", "ask_adds"]
    whole = lake.features("*", names, every=f"{STEP}ns", window=4)
    begin, end = frames.START + 5 * frames.SECOND, frames.START + 8 * frames.SECOND
    some = lake.features("*", names, begin, end, every=f"{STEP}ns", window=4)
    inside = whole.filter(pl.col("ts").dt.epoch("ns").is_between(begin, end, closed="left"))
    assert some.height == 2 * 12
    # Sums of floats that begin elsewhere differ in the last bits.
    assert_frame_equal(some.drop("run"), inside.drop("run"), abs_tol=1e-9)
    assert some["kyle_lambda"].null_count() < some.height


def test_queues_of_many_hours_are_read_in_pieces(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """The orders of each piece are read from a snapshot or a checkpoint before it on."""
    names = ["bid_queue_orders", "ask_queue_age"]
    whole = lake.features("*", names, every=f"{STEP}ns")
    monkeypatch.setattr(module, "PIECE_HOURS", 1 / 3600)
    assert whole["bid_queue_orders"].null_count() < whole.height
    assert_frame_equal(lake.features("*", names, every=f"{STEP}ns"), whole)


def test_only_what_is_needed_is_read(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Features of trades need no book."""
    monkeypatch.delattr(Lake, "books")
    found = lake.features("BTC/USD", ["volume", "vwap"], every="1s")
    assert found["reason"].null_count() == found.height > 15
    assert found["volume"].sum() > 0


def test_a_channel_that_was_not_recorded_is_a_sentence(tmp_path: Path) -> None:
    """Of none of the symbols; where one of them has it, the others have nulls. So of levels that were not recorded."""
    lakes.make(tmp_path / "lake", lakes.market(100))
    lake = Lake(tmp_path / "lake")
    with pytest.raises(
        ConfigError, match="the channel level3 of BTC/USD was not recorded; recorded: book, ticker, trade"
    ):
        lake.features("BTC/USD", ["mid", "bid_adds", "ask_queue_age"], every=f"{STEP}ns")
    with pytest.raises(ConfigError, match="depth=25: the channel book of BTC/USD was recorded with a depth of 10"):
        lake.features("BTC/USD", "imbalance_25")
    with pytest.warns(
        UserWarning, match="nothing of this range was recorded; start and end lie outside of 2026-08-02T"
    ):
        found = lake.features("BTC/USD", "mid", "2027-01-01", "2027-01-01T00:00:05")
    assert found["mid"].null_count() == found.height == 5


def test_what_does_not_exist_is_a_sentence(lake: Lake) -> None:
    """Feature, symbol, window, step."""
    for arguments, options, sentence in (
        (("BTC/USD", "vpin"), {}, "no feature 'vpin'; features: mid, "),
        (("XBT/USD", "mid"), {}, "the lake has no symbol 'XBT/USD'; did you mean BTC/USD?"),
        (("BTC/USD", "mid"), {"window": 1}, "window=1 is not allowed; allowed is a whole number from 2 on"),
        (("BTC/USD", "mid"), {"every": "1x"}, "every='1x' is not allowed"),
        (("BTC/USD", "mid", "2026-08-03", "2026-08-02"), {}, "is later than the end"),
    ):
        with pytest.raises(ConfigError) as caught:
            lake.features(*arguments, **options)
        assert sentence in str(caught.value)


def test_a_step_that_is_too_long_is_no_silent_emptiness(lake: Lake) -> None:
    """A warning names what is known and a step that gives rows."""
    sentence = (
        "every='1h': no whole step lies in what is known, 2026-08-02T03:35:50Z to 2026-08-02T03:36:07Z, .* every='1s'"
    )
    with pytest.warns(UserWarning, match=sentence):
        assert lake.features("BTC/USD", "mid", every="1h").is_empty()
    assert lake.features("BTC/USD", "mid", every="1s").height >= 10


@pytest.mark.parametrize("table", ["book", "trades", "orders"])
def test_a_part_that_cannot_be_read_is_a_sentence(tmp_path: Path, table: str) -> None:
    """It names the part; so does integrity."""
    lakes.make(tmp_path / "lake", lakes.market(100, level3=True))
    (part,) = lakes.parts(tmp_path / "lake", table)
    part.write_bytes(part.read_bytes()[:200])
    lake = Lake(tmp_path / "lake")
    for call in (lambda: lake.features("BTC/USD", NAMES), lambda: lake.integrity("BTC/USD")):
        with pytest.raises(StorageError, match="cannot be read"):
            call()
