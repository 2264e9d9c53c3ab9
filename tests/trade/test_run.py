from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import fills
import frames
import krakpot
import lakes
import traded
from fills import SYMBOL, Step, time
from krakpot import Fill, Market, NoBook, Order, OrderEvent, Timer
from krakpot.errors import ConfigError
from traded import BOOK, JoinBest, Notes, paper, replay

D = Decimal


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> krakpot.Lake:
    """A market of a second."""
    return traded.lake(tmp_path_factory.mktemp("traded") / "lake")


class Once(Notes):
    """Does one thing, some time after the begin."""

    def __init__(self, what: Any, *, after: str = "5ms") -> None:
        super().__init__()
        self.what, self.delay = what, after
        self.orders: list[Order] = []

    def start(self, m: Market) -> None:
        m.after(self.delay, "now")

    def timer(self, m: Market, e: Timer) -> None:
        super().timer(m, e)
        if e.tag == "now":
            found = self.what(m)
            self.orders += [found] if isinstance(found, Order) else []


def run(strategy: Any, lake: krakpot.Lake, **options: Any) -> krakpot.Result:
    """One result."""
    account = options.pop("trader", None) or paper()
    result = krakpot.run(strategy, options.pop("feed", None) or replay(lake), account, **options)
    assert isinstance(result, krakpot.Result)
    return result


def once(lake: krakpot.Lake, what: Any, *, after: str = "5ms", **options: Any) -> tuple[Once, krakpot.Result]:
    """Do one thing; the strategy and the result."""
    strategy = Once(what, after=after)
    return strategy, run(strategy, lake, **options)


def test_a_resting_order_hears_all_that_becomes_of_it(lake: krakpot.Lake) -> None:
    """Sent, acknowledged after the latency both ways, in the market, filled by a trade that an order behind it lost."""
    strategy = JoinBest()
    result = run(strategy, lake)
    heard = [word for word in strategy.heard if word.split()[0] in {"order", "fill"}]
    assert heard[:5] == ["order 1 acked", "order 1 pending", "order 1 new", "order 1 trade", "fill 1 1.00000000 queue"]
    first = result.orders.row(0, named=True)
    assert (first["state"], first["filled"], first["price"], first["tag"]) == ("filled", D(1), D(100), "bid")
    sent, arrived, acked = (first[name].microsecond for name in ("sent", "arrived", "acked"))
    assert (arrived - sent, acked - arrived) == (1000, 1000), "the latency of the account, each way"
    fill = result.fills.row(0, named=True)
    assert (fill["evidence"], fill["liquidity"], fill["trade_id"], fill["qty_ahead"]) == ("queue", "maker", 1, D(8))
    assert fill["fee"] == D("0.25")
    assert result.inventory == {SYMBOL: D(result.fills.height)}
    assert strategy.heard[0] == "start"
    assert strategy.heard[-1] == "the recording ended"
    assert strategy.times == sorted(strategy.times), "in the order of time"


def test_the_account_is_worth_what_the_fills_made_of_it(lake: krakpot.Lake) -> None:
    """The balances follow from the fills to the last digit; the value is taken at the middle, and at the best bid."""
    result = run(JoinBest(), lake)
    bought = result.fills.height
    assert bought > 5
    last = result.equity.row(-1, named=True)
    assert last["BTC"] == bought
    assert last["USD"] == D(50_000) - 100 * bought - result.fees
    assert last["equity"] == last["USD"] + D("100.5") * bought
    assert last["equity_exit"] == last["USD"] + 100 * bought - D("0.4") * bought
    assert result.pnl == D("0.5") * bought - result.fees
    assert result.pnl == result.pnl_without_doubt


@pytest.mark.parametrize("numbers", ["decimal", "float", "int"])
def test_numbers_come_and_go_as_the_run_has_them(lake: krakpot.Lake, numbers: Any) -> None:
    """Exact decimals, floats or steps: the same orders."""
    given: dict[str, tuple[Any, Any]] = {
        "decimal": ("0.5", D("100.0")), "float": (0.5, 100.0), "int": (50_000_000, 1000),
    }  # fmt: skip
    qty, price = given[numbers]
    told: list[Any] = []

    def act(m: Market) -> Order:
        order = m.buy(SYMBOL, qty, price)
        told.extend([m.best(SYMBOL)[0], order.price, order.qty, m.balance("USD").free])
        return order

    _, result = once(lake, act, numbers=numbers)
    kind = {"decimal": D, "float": float, "int": int}[numbers]
    assert [type(one) for one in told] == [kind] * 4
    assert told[0] == told[1] == price
    assert result.orders.select("qty", "price").row(0) == (D("0.5"), D(100))


def test_wake_says_which_messages_are_heard(lake: krakpot.Lake) -> None:
    """All; those that change the best prices or their quantities; at most one in a time; none."""
    heard = {}
    for wake in ("message", "touch", "100ms", None):
        strategy = Notes()
        run(strategy, lake, feed=replay(lake, channels=["level3", "trade"]), wake=wake)
        heard[wake] = (strategy.heard.count("level3"), sum(word.startswith("trade") for word in strategy.heard))
        if wake == "100ms":
            times = [at for at, word in zip(strategy.times, strategy.heard, strict=True) if word == "level3"]
            assert all(at % 100_000_000 == 0 for at in times)
    assert heard["message"] == (101, 25)
    assert heard["touch"] == (101, 25), "each of these messages changes the quantity at the best bid"
    assert 5 <= heard["100ms"][0] <= 12
    assert heard["100ms"][1] == 0
    assert heard[None] == (0, 0)


def test_a_message_that_leaves_the_best_prices_alone_wakes_nobody(tmp_path: Path) -> None:
    """With ``wake="touch"``; with ``"message"`` it does."""
    quiet = [Step(10 * n, (("add", "buy", 50 + n, 90, 1),)) for n in range(2, 9)]
    steps = [Step(1, BOOK, (("sell", 100, 1),)), *quiet]
    lake = traded.lake(tmp_path / "lake", steps)
    counts = []
    for wake in ("touch", "message"):
        strategy = Notes()
        run(strategy, lake, feed=replay(lake, channels=["level3", "trade"]), wake=wake)
        counts.append(strategy.heard.count("level3"))
    assert counts == [1, 8]


def test_timers_come_at_their_time_and_not_at_the_next_message(lake: krakpot.Lake) -> None:
    """Between two messages, in their order."""

    def act(m: Market) -> None:
        m.after("3ms", "b")
        m.after("1ms", "a")
        m.after(0, "at once")

    strategy, _ = once(lake, act)
    found = [(word, at) for word, at in zip(strategy.heard, strategy.times, strict=True) if "timer" in word]
    assert [(word, at - found[0][1]) for word, at in found] == [
        ("timer now", 0), ("timer at once", 0), ("timer a", 1_000_000), ("timer b", 3_000_000),
    ]  # fmt: skip


def test_what_cannot_be_is_a_rejected_order(lake: krakpot.Lake) -> None:
    """No exception: the order is rejected with Kraken's text, and the handler hears of it. Nothing is sent."""
    cases: dict[str, Any] = {
        "EOrder:Order minimum not met": lambda m: m.buy(SYMBOL, "0.00000001", "100"),
        "EOrder:Insufficient funds": lambda m: m.buy(SYMBOL, 1000, 100),
        "EOrder:Cost minimum not met": lambda m: m.buy(SYMBOL, "0.001", "100"),
    }
    for text, act in cases.items():
        strategy, result = once(lake, act)
        assert strategy.orders[0].state == "rejected"
        assert strategy.orders[0].reason.startswith(text)
        assert "order 1 rejected" in strategy.heard
        assert (result.requests.height, list(result.refusals)) == (0, [text])


def test_wrong_arguments_of_a_strategy_say_what_is_allowed(lake: krakpot.Lake) -> None:
    """A symbol, a number, a deadline, a word that cannot be: an error that names it."""
    cases: list[tuple[Any, str]] = [
        (lambda m: m.buy("ETH/USD", 1, 1), 'symbol: "ETH/USD" is not traded in this run; its pairs are BTC/USD'),
        (lambda m: m.buy(SYMBOL, 0.5, 100), "qty: 0.5 is not allowed; allowed is a decimal.Decimal or its text"),
        (lambda m: m.buy(SYMBOL, True, 100), "qty: True is not allowed; allowed is a number"),
        (lambda m: m.buy(SYMBOL, 1, "100.05"), "at most 1 decimals for BTC/USD"),
        (lambda m: m.buy(SYMBOL, 1, 100, deadline="1h"), "deadline: '1h' is not allowed; allowed is 500ms to 60s"),
        (lambda m: m.buy(SYMBOL, 1, 100, tif="day"), 'tif: "day" is not allowed; allowed is one of gtc, ioc, fok'),
        (lambda m: m.buy(SYMBOL, 1, 100, tif="gtd"), "'gtd' needs expire"),
        (lambda m: m.after("soon"), "delay: 'soon' is not allowed"),
        (lambda m: m.cancel("all"), "order: 'all' is not allowed; allowed is an order of this strategy"),
        (lambda m: m.balance("EUR"), 'asset: "EUR" is not traded in this run; its assets are BTC, USD'),
        (lambda m: m.round(SYMBOL, price="1.23"), "how: 'passive' needs the side"),
    ]
    for act, sentence in cases:
        with pytest.raises(ConfigError) as error:
            once(lake, act)
        assert sentence in str(error.value)


def test_amend_and_cancel(lake: krakpot.Lake) -> None:
    """Another price, then another quantity, then no more: each is reported."""

    class Quote(Once):
        def order(self, m: Market, e: OrderEvent) -> None:
            super().order(m, e)
            if e.change == "new":
                m.amend(e.order, price="98.0")
            elif e.change == "amended" and e.order.qty == 2:
                m.amend(e.order, qty=1)
            elif e.change == "amended":
                m.cancel(e.order)

    strategy = Quote(lambda m: m.buy(SYMBOL, 2, 99))
    result = run(strategy, lake)
    row = result.orders.row(0, named=True)
    assert (row["state"], row["price"], row["qty"], row["filled"]) == ("canceled", D(98), D(1), D(0))
    assert result.requests["request"].to_list() == ["add", "amend", "amend", "cancel"]
    assert [word for word in strategy.heard if word.endswith((" amended", " canceled"))] == [
        "order 1 amended", "order 1 amended", "order 1 canceled",
    ]  # fmt: skip


def test_a_market_order_takes_what_is_there(lake: krakpot.Lake) -> None:
    """All of the best level, then the next one; the fee is that of taking."""
    _, result = once(lake, lambda m: m.buy(SYMBOL, 6))
    assert result.fills.select("price", "qty", "evidence", "liquidity").rows() == [
        (D(101), D(4), "taken", "taker"), (D(102), D(2), "taken", "taker"),
    ]  # fmt: skip
    assert result.fees == D("0.004") * (404 + 204)


def test_the_handles_of_books_show_the_book_of_that_time(lake: krakpot.Lake) -> None:
    """Level 2 by ``book``, the orders by ``level3``; without level 2 ``book`` gives the orders."""
    told: list[Any] = []

    def act(m: Market) -> None:
        told.extend([m.book(SYMBOL).best(), m.level3(SYMBOL).best(), m.best(SYMBOL)])
        told.append(m.level3(SYMBOL).levels("bid", 1)[0][2])

    once(lake, act)
    once(lake, act, feed=replay(lake, channels=["level3", "trade"]))
    assert told[0] == told[1] == told[2] == told[4] == told[5]
    assert told[3] == told[7] == 2


def test_a_gap_stops_new_risk_and_is_told(tmp_path: Path) -> None:
    """The book is out of sync: ``gap``; new orders are refused; then it is healed. The result has it."""
    steps = [
        *traded.market(5),
        Step(150, (("add", "buy", 90, 99, 1),), lost=True),
        Step(160, (("add", "buy", 91, 98, 1),)),
        Step(400, (*BOOK, ("add", "buy", 92, 99, 1)), snapshot=True),
        Step(450, (("add", "buy", 93, 99, 1),)),
    ]
    lake = traded.lake(tmp_path / "lake", steps, book=False)
    refused: list[Order] = []

    class Careful(Notes):
        def start(self, m: Market) -> None:
            m.after("20ms")

        def timer(self, m: Market, e: Timer) -> None:
            m.buy(SYMBOL, 1, 97)

        def gap(self, m: Market, e: Any) -> None:
            super().gap(m, e)
            if not refused:
                refused.append(m.buy(SYMBOL, 1, 99))
                with pytest.raises(NoBook):
                    m.best(SYMBOL)

    strategy = Careful()
    result = run(strategy, lake)
    assert [word for word in strategy.heard if word.startswith("gap")][:2] == ["gap begins", "gap healed"]
    assert refused[0].state == "rejected"
    gap = result.gaps.filter(of="data").row(0, named=True)
    assert gap["resting"] == 1
    assert (gap["end"] - gap["begin"]).total_seconds() == pytest.approx(0.24)
    assert "1 gap 0.24 s (1 own order rested through them, 0 fills in doubt)" in result.integrity


def test_after_missed_trades_orders_are_taken_and_filled_again(tmp_path: Path) -> None:
    """The book was in sync all the time: only what was traded meanwhile is not known."""
    steps = [
        *traded.market(5),
        Step(150, (("add", "buy", 90, 99, 1),), (("sell", 100, 1),), lost_prints=True),
        Step(200, (("add", "buy", 91, 100, 2),)),
        Step(210, (("delete", "buy", 91, 100, 2),), (("sell", 100, 2),)),
        *(Step(step.t + 300, step.events, step.prints) for step in traded.market(10)[1:]),
    ]
    result = run(strategy := JoinBest(), traded.lake(tmp_path / "lake", steps))
    gaps = [word for word in strategy.heard if word.startswith("gap")]
    assert gaps == ["gap healed", "gap begins"], "the second one is the end of the recording"
    gap = result.gaps.row(0, named=True)
    assert gap["of"] == "trades"
    sent = result.orders.filter(pl.col("sent") > gap["end"])
    assert sent.height >= 4
    assert set(sent["state"]) <= {"filled", "open"}, result.refusals
    fills = result.fills.filter(pl.col("ts") > gap["end"])
    assert fills.height >= 4
    assert not fills["doubt"].any()


def test_a_warm_up_refuses_orders(lake: krakpot.Lake) -> None:
    """Before its end handlers hear, and orders are rejected; after it they are not."""
    warm: list[tuple[bool, bool]] = []

    def act(m: Market) -> Order:
        warm.append((m.warm, m.trading))
        return m.buy(SYMBOL, 1, 99)

    early, _ = once(lake, act, warmup="100ms")
    late, _ = once(lake, act, after="200ms", warmup="100ms")
    assert warm == [(False, False), (True, True)]
    assert (early.orders[0].state, late.orders[0].state) == ("rejected", "open")


def test_until_ends_a_run(lake: krakpot.Lake) -> None:
    """A duration from the first message on, or a time."""
    whole, short, timed = Notes(), Notes(), Notes()
    run(whole, lake)
    run(short, lake, until="300ms")
    run(timed, lake, until=time(301))
    assert short.heard[-1] == timed.heard[-1] == "its time was over"
    assert len(short.heard) < len(whole.heard) / 2
    assert max(short.times) <= time(1) + 300_000_000
    assert max(timed.times) <= time(301)


def test_an_exception_cancels_and_is_raised(lake: krakpot.Lake) -> None:
    """As it is; the order that rested is cancelled."""

    class Fails(Once):
        def fill(self, m: Market, e: Fill) -> None:
            raise LookupError("mine")

    strategy = Fails(lambda m: m.buy(SYMBOL, 30, 100))
    with pytest.raises(LookupError, match="mine"):
        run(strategy, lake)
    assert strategy.orders[0].state == "canceling"


def test_on_error_halt_goes_on_without_the_strategy(lake: krakpot.Lake) -> None:
    """Its orders are cancelled, the result has the error, and nobody is called any more."""

    class Fails(Once):
        def fill(self, m: Market, e: Fill) -> None:
            raise LookupError("mine")

    strategy = Fails(lambda m: m.buy(SYMBOL, 30, 100))
    result = run(strategy, lake, on_error="halt")
    assert result.error == "LookupError: mine"
    assert "halted by an error: LookupError: mine" in repr(result)
    assert strategy.orders[0].state == "canceled"
    assert strategy.heard[-1] == "order 1 trade"


def test_halt_and_stop(lake: krakpot.Lake) -> None:
    """``halt`` cancels and refuses, and the strategy hears on; ``stop`` ends the run with the result so far."""

    def halts(m: Market) -> Order:
        first = m.buy(SYMBOL, 1, 99)
        m.halt("enough")
        assert not m.trading
        assert m.buy(SYMBOL, 1, 99).state == "rejected"
        return first

    halted, result = once(lake, halts)
    assert halted.orders[0].state == "canceled"
    assert list(result.refusals) == ["krakpot:halted"]
    assert len(halted.heard) > 50
    stopped, _ = once(lake, lambda m: m.stop("seen enough"))
    assert stopped.heard[-1] == "seen enough"
    assert len(stopped.heard) < 20


def test_many_strategies_in_one_pass(lake: krakpot.Lake) -> None:
    """Each has its own account, and the same result as alone."""
    alone = run(JoinBest(), lake)
    many = krakpot.run_many({"a": JoinBest(), "b": JoinBest(), "idle": Notes()}, replay(lake), paper())
    assert many["a"].fills["qty"].to_list() == alone.fills["qty"].to_list()
    assert many["a"].pnl == many["b"].pnl == alone.pnl
    assert many["idle"].fills.is_empty()
    with pytest.raises(ConfigError, match="one object is there twice"):
        krakpot.run_many(dict.fromkeys("ab", JoinBest()), replay(lake), paper())


def test_a_loop_hears_the_same(lake: krakpot.Lake) -> None:
    """``events`` gives what handlers would hear, and what is asked for between two of them is sent."""
    kinds: list[str] = []
    for m, event in krakpot.events(replay(lake), paper()):
        kinds.append(type(event).__name__)
        if isinstance(event, (krakpot.BookEvent, krakpot.Level3Event)) and m.trading and not m.orders():
            m.buy(SYMBOL, 1, m.best(SYMBOL)[0])
    alone = run(JoinBest(), lake)
    assert kinds.count("Fill") == alone.fills.height > 5
    assert kinds[kinds.index("Fill") - 1] == "OrderEvent"
    assert {"Level3Event", "TradeEvent", "OrderEvent", "Fill"} <= set(kinds)


def test_bounds_give_two_results(tmp_path: Path) -> None:
    """On level 2: what was cancelled stood before the order, or behind it. The second is never better."""
    lake = traded.lake(tmp_path / "lake", [
        Step(1, BOOK),
        Step(100, (("add", "buy", 9, 100, 4),)),
        Step(300, (("delete", "buy", 9, 100, 4),)),
        Step(500, (("delete", "buy", 1, 100, 5),), (("sell", 100, 5),)),
        Step(900, (("add", "buy", 10, 98, 1),)),
    ])  # fmt: skip
    both = krakpot.run(JoinBest(), replay(lake, channels=["book", "trade"]), paper(model="bounds"))
    assert isinstance(both, krakpot.Bounds)
    assert (both.ahead.fills.height, both.behind.fills.height) == (1, 0)
    assert "cancels ahead" in both.ahead.integrity
    assert both.summary.keys() == {"ahead", "behind"}


def test_wrong_options_are_refused_before_anything_runs(lake: krakpot.Lake) -> None:
    """With the place and what is allowed."""
    strange = paper(balances={"EUR": 1})
    cases: list[tuple[dict[str, Any], str]] = [
        ({"wake": "often"}, 'krakpot.run: wake: \'often\' is not allowed; allowed is "touch", "message"'),
        ({"numbers": "text"}, "krakpot.run: numbers: 'text' is not allowed; allowed is one of decimal, float, int"),
        ({"warmup": "long"}, "krakpot.run: warmup: 'long' is not allowed; allowed is a duration"),
        ({"on_error": "ignore"}, "krakpot.run: on_error: 'ignore' is not allowed; allowed is one of raise, halt"),
        ({"trader": {"USD": 1}}, "krakpot.run: trader: {'USD': 1} is not allowed; allowed is a krakpot.Paper"),
        ({"feed": lake}, "krakpot.run: feed: Lake("),
        ({"strategy": object()}, "krakpot.run: strategy: <object object"),
        ({"strategy": JoinBest}, "allowed is an object with handlers: an object of it, as Strategy()"),
        ({"trader": paper(fees="lake")}, "krakpot.Paper: fees: neither the lake nor the feed tells the fees"),
        ({"trader": strange}, "krakpot.Paper: balances: EUR is in no pair of this run; its assets are BTC, USD"),
        ({"feed": replay(lake, channels=["level3"])}, "the replay has the channels level3; orders are filled by"),
        ({"feed": replay(lake, channels=["book", "trade"])}, "model='orders' needs level 3"),
        ({"feed": replay(lake, by="event")}, 'by="recv"'),
    ]
    heard = JoinBest()
    for options, sentence in cases:
        arguments: dict[str, Any] = {"strategy": heard, "feed": replay(lake), "trader": paper()} | options
        with pytest.raises(ConfigError) as error:
            krakpot.run(**arguments)
        assert sentence in str(error.value)
    assert heard.heard == []


def test_in_a_running_loop(lake: krakpot.Lake) -> None:
    """``run`` says what to use instead; ``run_async`` works there, and a replay can be used again."""
    data = replay(lake)

    async def notebook() -> Any:
        with pytest.raises(ConfigError, match=r"an event loop runs here, .* use `await krakpot\.run_async\(…\)`"):
            krakpot.run(JoinBest(), data, paper())
        with pytest.raises(ConfigError, match=r"use `await asyncio\.to_thread\(krakpot\.run_many, …\)`"):
            krakpot.run_many({"one": JoinBest()}, data, paper())
        return [await krakpot.run_async(JoinBest(), data, paper()) for _ in range(2)]

    first, second = asyncio.run(notebook())
    assert first.digest == second.digest


def test_a_run_within_a_recording_has_the_book_from_its_begin(lake: krakpot.Lake) -> None:
    """The data begins with a change, not with a snapshot: the simulated exchange has the whole book."""
    strategy, result = once(lake, lambda m: m.buy(SYMBOL, 6), after="1ms", feed=replay(lake, start=time(505)))
    assert result.fills["qty"].to_list() == [D(4), D(2)]
    assert strategy.times[0] >= time(505)


PROGRAM = """
import sys, krakpot, traded
lake = krakpot.Lake(sys.argv[1])
result = krakpot.run(traded.JoinBest(), traded.replay(lake), traded.paper())
print(result.digest, result.fills.height)
"""


@pytest.mark.slow
def test_the_digest_is_the_same_on_any_number_of_threads(lake: krakpot.Lake) -> None:
    """In processes of their own, with 1 and 4 threads, twice each."""
    path = os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])
    found = set()
    for threads in ("1", "4", "1", "4"):
        environment = os.environ | {"POLARS_MAX_THREADS": threads, "RAYON_NUM_THREADS": threads, "PYTHONPATH": path}
        command = [sys.executable, "-c", PROGRAM, str(lake.path)]
        found.add(subprocess.run(command, env=environment, capture_output=True, check=True, text=True).stdout)
    assert len(found) == 1
    assert int(next(iter(found)).split()[1]) > 5


def test_the_digest_is_of_the_inputs(lake: krakpot.Lake) -> None:
    """The same twice; latency and seed are part of what a result is."""
    accounts = (paper(), paper("2ms"), paper(seed=1))
    digests = [run(JoinBest(), lake, trader=account).digest for account in (*accounts, *accounts)]
    assert digests[:3] == digests[3:]
    assert len(set(digests)) == 3


def stalled(path: Path) -> krakpot.Lake:
    """A lake whose messages are received 4 ms after their time, and for a while 44 ms after it."""
    orders = frames.Orders(10, 1, 8, "keep_place", symbol=SYMBOL)
    timed: list[lakes.Timed] = [
        (time(0), frames.instrument(frames.pair(SYMBOL))), (time(0), frames.ack("level3", SYMBOL, depth=10)),
        (time(0), frames.ack("trade", SYMBOL)),
    ]  # fmt: skip
    for number, (side, price) in enumerate([("bid", "100.0"), ("ask", "101.0")]):
        orders.apply([(side, None, fills.name(number), price, "1.00000000", time(1))])
    timed.append((time(5), orders.snapshot(ts=time(1))))
    for number, (made, late) in enumerate([(10, 4), (20, 44), (70, 4), (200, 4)]):
        entry = ("bid", "add", fills.name(10 + number), "99.0", "1.00000000", time(made))
        timed.append((time(made + late), orders.update([entry], ts=time(made))))
    trade = frames.trade(SYMBOL, 1, price="100.0", qty="1.00000000", side="sell", ts=time(300))
    timed += [(time(304), trade), (time(1000), frames.HEARTBEAT)]
    lakes.make(path, timed)
    return krakpot.Lake(path)


def test_orders_are_late_when_the_feed_is(tmp_path: Path) -> None:
    """By exactly what the newest message was later than usual, times the coupling; without it nothing changes."""
    lake = stalled(tmp_path / "lake")

    class Two(Notes):
        def start(self, m: Market) -> None:
            for ms in (15, 65, 80):
                m.after(f"{time(ms) - m.now}ns")

        def timer(self, m: Market, e: Any) -> None:
            m.buy(SYMBOL, 1, 98)

    def slow(latency: krakpot.Latency) -> krakpot.Paper:
        return krakpot.Paper({"USD": 50_000}, fees=traded.FEES, latency=latency)

    def arrived(latency: krakpot.Latency) -> list[float]:
        result = run(Two(), lake, trader=slow(latency), wake=None)
        column = result.orders["arrived"].to_physical()
        return [(at - time(0)) / 10**6 for at in column]

    assert arrived(krakpot.Latency("2ms")) == [17, 67, 82]
    assert arrived(krakpot.Latency("2ms", coupling=1)) == [17, 107, 107], "one account's requests keep their order"
    assert arrived(krakpot.Latency("2ms", coupling="0.25")) == [17, 77, 82]
    plain = [run(JoinBest(), lake, trader=slow(latency)).digest for latency in (
        krakpot.Latency("2ms"), krakpot.Latency("2ms", coupling=0), krakpot.Latency("2ms", coupling=1),
    )]  # fmt: skip
    assert plain[0] == plain[1] != plain[2]


def test_out_has_the_result(lake: krakpot.Lake, tmp_path: Path) -> None:
    """Tables as Parquet, the numbers as JSON."""
    result = run(JoinBest(), lake, out=tmp_path / "result")
    summary = json.loads((tmp_path / "result/summary.json").read_text())
    assert summary == json.loads(json.dumps(result.summary))
    assert {path.name for path in (tmp_path / "result").iterdir()} >= {"fills.parquet", "orders.parquet"}


def test_an_own_order_shows_its_place(lake: krakpot.Lake) -> None:
    """In the queue of level 3: what is before it, and behind it."""
    places: list[Any] = []

    class Watch(Once):
        def order(self, m: Market, e: OrderEvent) -> None:
            if e.change == "new":
                queue = e.order.queue
                assert queue is not None
                places.append((queue.orders_ahead, queue.qty_ahead, queue.exact, e.order.rest_tradable))

    run(Watch(lambda m: m.buy(SYMBOL, 1, 100)), lake)
    assert places == [(2, D(8), True, True)]


def test_inventory_rate_and_round(lake: krakpot.Lake) -> None:
    """What was bought, the rate counter, and numbers that an order may have."""
    told: list[Any] = []

    class Look(Once):
        def fill(self, m: Market, e: Fill) -> None:
            told.append((m.inventory(SYMBOL), m.rate(SYMBOL), m.balance("BTC").total, m.pair(SYMBOL).maker))
            told.append([m.round(SYMBOL, price="100.07", side=side) for side in ("buy", "sell")])
            told.append([m.round(SYMBOL, price=D("100.05"), how=how) for how in ("up", "down", "nearest")])
            told.append(m.round(SYMBOL, qty="0.123456789"))

    run(Look(lambda m: m.buy(SYMBOL, 1, 100)), lake)
    (inventory, rate, total, maker), passive, ways, qty = told[:4]
    assert (inventory.qty, total, maker) == (D(1), D(1), D("0.0025"))
    assert inventory.unrealised == D("100.5") - inventory.average
    assert (rate.limit, 0 <= rate.used <= 1) == (125, True)
    assert passive == [D("100.0"), D("100.1")]
    assert ways == [D("100.1"), D("100.0"), D("100.1")]
    assert qty == D("0.12345678")


def test_the_profit_begins_at_the_start(lake: krakpot.Lake) -> None:
    """What the account holds is valued with the first book, not at the next round time."""

    class Idle:
        def start(self, m: Market) -> None:
            """Nothing."""

    result = run(Idle(), lake, trader=paper(balances={"USD": 1, "BTC": 2}))
    known = result.equity.drop_nulls("equity")
    assert result.equity["equity"][0] is None, "before the first book"
    assert (known["ts"][0] - result.equity["ts"][0]).total_seconds() < 0.1
    assert (result.pnl, known["equity"][0]) == (D(0), D(202))


def test_one_strategy_gives_the_same_digest_alone_and_among_many(lake: krakpot.Lake) -> None:
    """Nobody's orders change anything for another one, not even their names."""
    alone = run(JoinBest(), lake)
    many = krakpot.run_many({"a": JoinBest(), "b": JoinBest()}, replay(lake), paper())
    assert alone.fills.height > 5
    assert {one.digest for one in many.values()} == {alone.digest}


def test_a_stop_ends_the_run_after_its_handler(lake: krakpot.Lake) -> None:
    """Nothing more is said, whatever was read already."""

    class Stops(Notes):
        def book(self, m: Market, e: Any) -> None:
            super().book(m, e)
            m.stop("enough")

        def timer(self, m: Market, e: Timer) -> None:
            super().timer(m, e)
            m.after(0)
            if len(self.heard) == 10:
                m.stop("enough")

    strategy = Stops()
    result = run(strategy, lake, wake="message")
    assert [word for word in strategy.heard if word != "start"] == ["level3", "enough"]
    assert result.built.reason == "enough"

    class Timers(Stops):
        def start(self, m: Market) -> None:
            m.after(0)

    strategy = Timers()
    run(strategy, lake, wake=None)
    assert strategy.heard == [*["timer "] * 10, "enough"]

    class Refused(Notes):
        def book(self, m: Market, e: Any) -> None:
            m.buy(SYMBOL, 10**6, 100)
            m.stop("enough")

        def stop(self, m: Market, reason: str) -> None:
            super().stop(m, reason)
            m.buy(SYMBOL, 10**6, 100)

    refused = Refused()
    result = run(refused, lake, wake="message")
    assert refused.heard == ["start", "enough"]
    assert result.orders["state"].to_list() == ["rejected"] * 2


def test_a_strategy_that_never_lets_time_go_on_is_refused(lake: krakpot.Lake) -> None:
    """Else the run would hang, and Ctrl-C would not end it."""

    class Hangs:
        def start(self, m: Market) -> None:
            m.after(0)

        def timer(self, m: Market, _: Timer) -> None:
            m.after(0)

    with pytest.raises(ConfigError, match="time does not go on"):
        run(Hangs(), lake)


def test_an_error_says_whose_handler_raised_it_and_when(lake: krakpot.Lake) -> None:
    """Of many strategies, at a time of the recording."""

    class Fails:
        def trade(self, m: Market, e: Any) -> None:
            raise RuntimeError

    with pytest.raises(RuntimeError) as raised:
        krakpot.run_many({"good": Notes(), "bad": Fails()}, replay(lake), paper())
    (note,) = raised.value.__notes__
    assert note.startswith("krakpot: in the handler trade of bad, at 2026-08-02T")


@pytest.mark.parametrize("out", [3, b"x", "lake/_lake.json", "lake/_lake.json/below"])
def test_a_folder_that_cannot_be_is_refused_before_the_run(lake: krakpot.Lake, out: Any) -> None:
    """A long run is not lost at its end."""
    strategy = Notes()
    out = str(lake.path.parent / out) if isinstance(out, str) else out
    with pytest.raises(ConfigError, match=r"krakpot\.run: out: "):
        run(strategy, lake, out=out)
    assert strategy.heard == []


def test_a_folder_may_be_text(lake: krakpot.Lake, tmp_path: Path) -> None:
    """As everywhere else; the names of strategies stay in it."""
    run(Notes(), lake, out=str(tmp_path / "out"))
    assert (tmp_path / "out" / "fills.parquet").exists()
    krakpot.run(Notes(), replay(lake), paper(model="bounds"), out=str(tmp_path / "both"))
    assert (tmp_path / "both" / "behind" / "fills.parquet").exists()
    for name in ("../beside", str(tmp_path / "absolute"), "", "..", "a/b"):
        with pytest.raises(ConfigError, match="cannot be the name of a folder"):
            krakpot.run_many({name: Notes(), "b": Notes()}, replay(lake), paper(), out=tmp_path / "many")
    names: Any = {1: Notes(), "1": Notes()}
    with pytest.raises(ConfigError, match="allowed is text"):
        krakpot.run_many(names, replay(lake), paper())


def test_a_strategy_that_cannot_be_copied_is_refused(lake: krakpot.Lake) -> None:
    """Two passes need two of it."""
    strategy = JoinBest()
    _, _ = once(lake, strategy.heard.append)  # a market, which cannot be copied
    with pytest.raises(ConfigError, match="cannot be copied"):
        krakpot.run(strategy, replay(lake), paper(model="bounds"))


def test_a_run_that_would_end_before_it_begins_is_refused(lake: krakpot.Lake) -> None:
    """An empty result would be taken for one without trades."""
    for until in ("2020-01-01", 0, "0"):
        with pytest.raises(ConfigError, match="not later than the first message"):
            run(Notes(), lake, until=until)


def test_the_last_prices_are_known_at_the_end(lake: krakpot.Lake) -> None:
    """A recording ends with books out of sync; fills in doubt are still worth something."""
    result = run(JoinBest(), lake)
    assert result.built.prices == {SYMBOL: D("100.5")}
    assert result.fills.height > 5
    doubtful = replace(result, fills=result.fills.with_columns(doubt=pl.lit(value=True)))
    assert doubtful.pnl_without_doubt == 0, "all that changed the account is taken out"
