from __future__ import annotations

import asyncio
import copy
import dataclasses
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import fills
import krakpot
import lakes
import traded
from fills import SYMBOL, Step, time
from krakpot import Market, NoBook
from krakpot.errors import ConfigError
from krakpot.lake import seal
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
    assert repr(data) == f"LoadedReplay({SYMBOL}: {data.messages:,} messages, 0.1 MB)"


def test_memory_is_bounded(lake: krakpot.Lake) -> None:
    """Too much is refused, with what to do; no limit is asked for by 0."""
    with pytest.raises(ConfigError, match=r"krakpot\.load: memory: the recording needs more than 1000: .* allow more"):
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


class Whole(Notes):
    """Looks at whole books at every event, by handles that it keeps."""

    market: Market
    handles: tuple[Any, ...] = ()

    def note(self, m: Market, word: str) -> None:
        """With the states of both books, and their prices."""
        self.market = m
        self.handles = self.handles or (m.book(SYMBOL), m.level3(SYMBOL))
        for handle in self.handles:
            word += f" {handle.state} {handle.best() if handle.in_sync else handle.reason}"
        super().note(m, word)

    def start(self, m: Market) -> None:
        super().start(m)
        m.after("7ms", "look")

    def timer(self, m: Market, e: Any) -> None:
        super().timer(m, e)
        m.after("7ms", "look")


def test_books_need_the_lake(tmp_path: Path) -> None:
    """The best prices are in memory; whole books are read from the lake, which must be there."""
    lake = traded.lake(tmp_path / "lake")
    data = krakpot.load(replay(lake))
    for part in (tmp_path / "lake").rglob("*.parquet"):
        part.unlink()
    assert run(data).fills.height > 5
    with pytest.raises(ConfigError, match="it is not as it was when it was loaded: load it again, or use m.best"):
        krakpot.run(Whole(), data, paper())


def test_books_are_there_while_the_lake_grows(tmp_path: Path) -> None:
    """What is recorded later is no part of it."""
    lake = traded.lake(tmp_path / "lake")
    data = krakpot.load(replay(lake))
    first, second = Whole(), Whole()
    krakpot.run(first, data, paper(), wake="message")
    later = lakes.Recorder(tmp_path / "lake", lakes.session_name(time(10**7)))
    later.take(lakes.market(50, begin=time(10**7), level3=True))
    later.end()
    seal.recover(tmp_path / "lake")
    krakpot.run(second, data, paper(), wake="message")
    assert first.heard == second.heard


def test_a_killed_recorder_is_known_at_the_same_moment(tmp_path: Path) -> None:
    """After its last row its books are out of sync: for timers and the end, and not before."""
    lake = tmp_path / "lake"
    killed = lakes.Recorder(lake)
    killed.take(fills.timed_frames(traded.market(20)))
    killed.die()
    seal.recover(lake)
    strategy, _ = both(lake, {"symbols": [SYMBOL]}, Whole, paper(), wake="message")
    assert "the recorder was killed" in strategy.heard[-1]
    assert "the recorder was killed" not in strategy.heard[-2]


def test_the_end_of_the_replay_is_not_that_of_the_recording(lake: krakpot.Lake) -> None:
    """A run whose time ends in between is over at its time, and timers come until then, also in a loop."""
    options: dict[str, Any] = {"symbols": [SYMBOL], "end": time(505)}
    ended = set()
    for until in ("495ms", "503ms", "900ms", time(10**6)):
        strategy, _ = both(lake, options, Whole, paper(), until=until)
        ended.add(strategy.heard[-1].startswith("its time was over "))
        feeds: tuple[Any, Any] = (krakpot.Replay(lake, **options), krakpot.load(krakpot.Replay(lake, **options)))
        loops = [[str(event) for _, event in krakpot.events(feed, paper(), until=until)] for feed in feeds]
        assert loops[0] == loops[1]
    assert ended == {True, False}, "some by their time, some with the data"


class Keeps(Notes):
    """Keeps its market."""

    market: Market

    def note(self, m: Market, word: str) -> None:
        """And no word."""
        self.market = m


def test_handles_live_longer_than_their_run(lake: krakpot.Lake) -> None:
    """They say that it is over, whenever they are asked first; nothing stays open."""
    threads = threading.active_count()
    data = krakpot.load(replay(lake))
    kept = Whole()
    krakpot.run(kept, data, paper(), wake="message")
    late = Keeps()
    krakpot.run(late, data, paper())
    for handle in (*kept.handles, kept.market.book(SYMBOL), late.market.book(SYMBOL)):
        assert (handle.state, handle.reason, handle.in_sync) == ("disconnected", "the run is over", False)
        with pytest.raises(NoBook):
            handle.best()
    assert threading.active_count() == threads


def test_another_thread_may_look_at_books(lake: krakpot.Lake) -> None:
    """It sees a book of the run, and the run comes to the same."""
    data = krakpot.load(replay(lake))
    alone, watched = Whole(), Whole()
    krakpot.run(alone, data, paper(), wake="message")
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            for handle in watched.handles:
                handle.levels("bid", 2) if isinstance(handle, krakpot.LiveOrders) and handle.in_sync else handle.state

    with ThreadPoolExecutor(2) as pool:
        lookers = [pool.submit(look) for _ in range(2)]
        try:
            krakpot.run(watched, data, paper(), wake="message")
        finally:
            stop.set()
        for looker in lookers:
            assert looker.exception() is None or isinstance(looker.exception(), NoBook)
    assert watched.heard == alone.heard


def test_the_replay_may_go_on(lake: krakpot.Lake) -> None:
    """What was loaded does not depend on it any more: neither on its time nor on its symbols."""

    async def play() -> None:
        async with played:
            played.seek(time(700))
            await played.remove_symbols([SYMBOL])

    played = replay(lake)
    data = krakpot.load(played)
    first, second = Whole(), Whole()
    krakpot.run(first, data, paper(), wake="message")
    asyncio.run(play())
    krakpot.run(second, data, paper(), wake="message")
    assert first.heard == second.heard


def test_a_copy_is_itself_and_other_processes_load_it(lake: krakpot.Lake) -> None:
    """It never changes; a strategy that has it can be copied for two passes."""
    data = krakpot.load(replay(lake))
    assert copy.deepcopy(data) is copy.copy(data) is data
    with pytest.raises(TypeError, match="let each process call krakpot.load"):
        pickle.dumps(data)


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
