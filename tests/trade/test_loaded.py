from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import krakpot
import traded
from fills import SYMBOL, Step
from krakpot import Market, NoBook
from krakpot.errors import ConfigError
from replayed import world_of
from traded import JoinBest, Notes, paper, replay


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> krakpot.Lake:
    """Fifty turns of a small market."""
    return traded.lake(tmp_path_factory.mktemp("trade") / "lake")


class Looks(Notes):
    """Trades on two pairs as far as it can, and notes all books that it may look at; ``whole``: also whole books."""

    def __init__(self, symbols: tuple[str, ...], *, whole: bool = True) -> None:
        """Nothing is heard yet."""
        super().__init__()
        self.symbols = symbols
        self.whole = whole

    def note(self, m: Market, word: str) -> None:
        """With the best prices, the states of orders, and what the handles of books show."""
        for symbol in self.symbols:
            try:
                best: Any = m.best(symbol)
            except NoBook as error:
                best = str(error)
            word += f" {symbol} {best} {[(order.state, order.queue) for order in m.orders(symbol)]}"
            for handle in (m.book(symbol), m.level3(symbol)) if self.whole else ():
                try:
                    word += f" {handle.best()} {handle.state}"
                except NoBook as error:
                    word += f" {error}"
        super().note(m, word)

    def start(self, m: Market) -> None:
        super().start(m)
        m.after("700ms", "look")

    def timer(self, m: Market, e: Any) -> None:
        super().timer(m, e)
        m.cancel()
        m.after("700ms", "look")

    def book(self, m: Market, e: Any) -> None:
        super().book(m, e)
        if m.trading and not m.orders(e.symbol):
            try:
                bid, _, ask, _ = m.best(e.symbol)
            except NoBook:
                return
            for side, price in (("buy", bid), ("sell", ask)):
                if price is not None:
                    m.send(side, e.symbol, m.pair(e.symbol).qty_min, price)  # type: ignore[arg-type]  # one of two


def run(feed: Any, **options: Any) -> krakpot.Result:
    """One result."""
    result = krakpot.run(JoinBest(), feed, paper(), **options)
    assert isinstance(result, krakpot.Result)
    return result


def both(lake: Any, options: dict[str, Any], strategy: Any, trader: krakpot.Paper, **more: Any) -> tuple[Any, Any]:
    """A run on a replay, and one on the same in memory; they come to the same."""
    played = krakpot.Replay(lake, **options)
    loaded = krakpot.load(played)
    strategies = strategy(), strategy()
    feeds: tuple[Any, Any] = (played, loaded)
    found = [krakpot.run(one, feed, trader, **more) for one, feed in zip(strategies, feeds, strict=True)]
    assert strategies[0].heard == strategies[1].heard
    assert strategies[0].times == strategies[1].times
    for one, other in zip(*(both if isinstance(both, tuple) else (both,) for both in map(results, found)), strict=True):
        assert one.digest == other.digest
        assert one.integrity == other.integrity
        assert one.summary == other.summary
        assert "until" in more or loaded.messages == one.summary["messages"]
    return strategies[1], found[1]


def results(found: Any) -> tuple[krakpot.Result, ...]:
    """One result, or both bounds."""
    return (found.ahead, found.behind) if isinstance(found, krakpot.Bounds) else (found,)


@pytest.mark.parametrize("wake", ["message", "touch", "50ms", None])
def test_it_comes_to_the_same(lake: krakpot.Lake, wake: str | None) -> None:
    """Every handler hears the same at the same time, and the result is the same to the last digit."""
    options = {"symbols": [SYMBOL]}
    strategy, result = both(lake, options, lambda: Looks((SYMBOL,)), paper(), wake=wake)
    assert strategy.heard[0].startswith("start ")
    assert strategy.heard[-1].startswith("the recording ended ")
    assert wake is None or result.orders.height > 3


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_it_comes_to_the_same_with_all_that_may_happen(tmp_path: Path, seed: int) -> None:
    """Lost connections, wrong checksums, missed messages, of two pairs in several sessions; from any time on."""
    world = world_of(tmp_path / "lake", seed, 25)
    pairs = tuple(krakpot.Lake(tmp_path / "lake").coverage().filter(channel="level3")["symbol"].unique().sort())
    begin = min(krakpot.Lake(tmp_path / "lake").coverage()["ts_from"].to_physical())
    middle = begin + (world.now - begin) // 3
    trader = paper(balances={"USD": 10**9})
    heard: set[str] = set()
    for channels in (["book", "level3", "trade"], ["level3", "trade"]):
        for start in (None, middle):
            options = {"symbols": pairs, "channels": channels, "start": start}
            strategy, result = both(tmp_path / "lake", options, lambda: Looks(pairs), trader, wake="message")
            heard |= {word.split()[0] for word in strategy.heard}
            assert result.summary["messages"] > 100
    assert heard >= {"start", "level3", "book", "trade", "order", "timer", "gap"}, heard
    options = {"symbols": pairs, "channels": ["book", "trade"], "start": middle}
    both(tmp_path / "lake", options, JoinBest, paper(balances={"USD": 10**9}, model="bounds"), wake="touch")


def test_until_ends_it(lake: krakpot.Lake) -> None:
    """At the same time, for the same reason."""
    strategy, _ = both(lake, {"symbols": [SYMBOL]}, JoinBest, paper(), until="300ms")
    assert strategy.heard[-1] == "its time was over"
    assert strategy.times[-1] - strategy.times[0] <= 300_000_000


def test_many_at_the_same_time(lake: krakpot.Lake) -> None:
    """Runs share it: one after the other, many in one pass, in threads, in a loop; what was loaded stays as it is."""
    data = krakpot.load(replay(lake))
    alone = run(data)
    with ThreadPoolExecutor(4) as pool:
        runs = list(pool.map(lambda _: run(data), range(8)))
    assert {one.digest for one in runs} == {alone.digest}
    many = krakpot.run_many({"a": JoinBest(), "b": JoinBest()}, data, paper())
    assert [one.fills.height for one in many.values()] == [alone.fills.height] * 2
    kinds = []
    for m, event in krakpot.events(data, paper()):
        kinds.append(type(event).__name__)
        if isinstance(event, (krakpot.BookEvent, krakpot.Level3Event)) and m.trading and not m.orders():
            m.buy(SYMBOL, 1, m.best(SYMBOL)[0], post_only=True, tag="bid")
    assert kinds.count("Fill") == alone.fills.height > 5


def test_events_do_not_change(lake: krakpot.Lake) -> None:
    """An event of one run is its own: it says the same after the next one."""
    data = krakpot.load(replay(lake, channels=["level3", "trade"]))
    seen: list[list[Any]] = []

    class Keeps:
        def book(self, m: Market, e: Any) -> None:
            seen[-1].append(e)

        trade = book

    for _ in range(2):
        seen.append([])
        krakpot.run(Keeps(), data, paper(), wake="message")
    assert [str(one) for one in seen[0]] == [str(one) for one in seen[1]]
    assert [one.orders() for one in seen[0] if one.channel == "level3"] == [
        one.orders() for one in seen[1] if one.channel == "level3"
    ]
    assert len(seen[0]) == data.messages


def test_it_says_what_it_is(lake: krakpot.Lake) -> None:
    """Pairs, messages, memory; progress while it is read."""
    told: list[tuple[int, int, str]] = []
    data = krakpot.load(replay(lake), memory="1GB", progress=lambda *of: told.append(of))
    assert data.symbols == (SYMBOL,)
    assert told[-1] == (data.messages, 0, "messages")
    assert 0 < data.nbytes < 10**6
    assert repr(data) == f"LoadedReplay({SYMBOL}: {data.messages:,} messages, 0 MB)"


def test_memory_is_bounded(lake: krakpot.Lake) -> None:
    """Too much is refused, with what to do; no limit is asked for by 0."""
    with pytest.raises(
        ConfigError, match=r"krakpot\.load: memory: the recording needs more than 1e-06 GB: .* allow more"
    ):
        krakpot.load(replay(lake), memory=1000)
    assert krakpot.load(replay(lake), memory=0).messages > 100


def test_what_cannot_be_loaded(lake: krakpot.Lake) -> None:
    """With the place and what is allowed."""
    wrong: list[tuple[Any, dict[str, Any], str]] = [
        (lake, {}, "krakpot.load: replay: Lake("),
        (
            replay(lake, by="event"),
            {},
            'krakpot.load: its messages must come in the order in which they came: by="recv"',
        ),
        (replay(lake, channels=["level3"]), {}, "krakpot.load: the replay has the channels level3"),
        (replay(lake), {"memory": "much"}, "krakpot.load: memory: 'much' is not allowed; allowed is a size"),
        (replay(lake, start="2030-01-01"), {}, "nothing was recorded from start to end"),
    ]
    for feed, options, sentence in wrong:
        with pytest.raises(ConfigError) as error:
            krakpot.load(feed, **options)
        assert sentence in str(error.value)
    with pytest.raises(ConfigError, match="model='orders' needs level 3"):
        krakpot.run(JoinBest(), krakpot.load(replay(lake, channels=["book", "trade"])), paper())


def test_books_need_the_lake_as_it_was(tmp_path: Path) -> None:
    """The best prices are in memory; whole books are read from the lake, which must be the same."""
    lake = traded.lake(tmp_path / "lake")
    data = krakpot.load(replay(lake))
    for part in (tmp_path / "lake").rglob("*.parquet"):
        part.unlink()

    class Whole:
        def trade(self, m: Market, e: Any) -> None:
            m.book(SYMBOL).best()

    assert run(data).fills.height > 5
    with pytest.raises(ConfigError, match="the lake has changed since it was loaded, so load it again"):
        krakpot.run(Whole(), data, paper())


def test_a_paced_replay_is_loaded_at_once(lake: krakpot.Lake) -> None:
    """Its speed is about the clock, and a run in memory has none; a loop over a paced one waits for it."""
    data = krakpot.load(replay(lake, speed=0.001))
    assert run(data).digest == run(replay(lake)).digest
    paced = [type(event).__name__ for _, event in krakpot.events(replay(lake, speed=20.0), paper())]
    assert paced == [type(event).__name__ for _, event in krakpot.events(replay(lake), paper())]


def test_a_gap_is_there(tmp_path: Path) -> None:
    """Missed orders and missed trades: told, and own orders come out of it the same way."""
    steps = traded.market(60)
    steps[20] = dataclasses.replace(steps[20], lost=True)
    steps[31] = dataclasses.replace(steps[31], snapshot=True)
    steps[50] = dataclasses.replace(steps[50], lost_prints=True)
    lake = traded.lake(tmp_path / "lake", [*steps, Step(2000, (("add", "buy", 900, 99, 1),))])
    _, result = both(lake, {"symbols": [SYMBOL]}, lambda: Looks((SYMBOL,), whole=False), paper(), wake="message")
    assert result.gaps.height >= 1
