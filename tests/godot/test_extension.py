"""The extension on the Rust core: the same books as the plain addon has, and as the exchange has them."""

from __future__ import annotations

import asyncio
import random
import time
import tomllib
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from engine import PROJECT, ROOT, Godot, imported
from krakpot import ExchangeOptions, ExchangeServer, Feed
from krakpot.net.backoff import Backoff, Pacer
from krakpot.serve.server import ViewServer
from viewing import running

pytestmark = pytest.mark.slow

PROBE = "extension/probe.tscn"
SYMBOLS = ["BTC/USD", "ETH/USD"]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project with the extension in it."""
    if not (PROJECT / "addons" / "krakpot" / "bin" / "krakpot.gdextension").exists():
        pytest.skip("the extension of Godot is not built: make godot")
    return imported(tmp_path_factory.mktemp("extension"), extension=True)


@pytest.fixture(scope="module")
def godot(built: Path) -> Iterator[Godot]:
    """Godot with the extension."""
    with Godot(built, scene=PROBE) as found:
        yield found


@pytest.fixture
def inside(godot: Godot) -> Godot:
    """A feed of the core on the exchange inside, whose books are in sync."""
    properties = {"symbols": SYMBOLS, "depth": 100, "exchange_pairs": 5, "exchange_rate": 400.0}
    godot.run(f'connect_core("exchange", {gd(properties)})')
    in_sync(godot)
    return godot


def gd(value: object) -> str:
    """A value as GDScript writes it."""
    return repr(value).replace("True", "true").replace("False", "false").replace("'", '"')


def in_sync(godot: Godot) -> None:
    """Wait until all books are."""
    godot.until(" and ".join(f'core.book("{symbol}").in_sync' for symbol in SYMBOLS))


def checksums(godot: Godot, channel: str = "book") -> dict[str, int]:
    """How many the core has found right and wrong, on this connection."""
    level3 = gd(channel == "level3")
    found = godot.run(f'core.session({level3}).counts()["checksums"]["{channel}"]')
    return {name: int(number) for name, number in found.items()}


class Trading:
    """The exchange as a server, and a view of it."""

    def __init__(self, exchange: ExchangeServer, view: ViewServer) -> None:
        """They run in another thread."""
        self.exchange, self.view = exchange, view
        self._loop = asyncio.get_running_loop()

    def call(self, work: Callable[..., Any], *arguments: object) -> None:
        """Call something in their thread, and wait for it."""
        done: Future[None] = Future()

        def run() -> None:
            work(*arguments)
            done.set_result(None)

        self._loop.call_soon_threadsafe(run)
        done.result(10)


@asynccontextmanager
async def trading() -> AsyncIterator[Trading]:
    """An exchange, a feed of it, and the view of that feed."""
    async with ExchangeServer(ExchangeOptions(pairs=4, rate=60)) as exchange:
        key = exchange.key
        feed = Feed(
            SYMBOLS, url=exchange.address, rest_url=exchange.rest_address, depth=100, level3_depth=100,
            channels=["book", "trade", "ticker", "level3"], api_key=key.name, api_secret=key.secret_text,
        )  # fmt: skip
        async with feed:
            running = asyncio.create_task(feed.run())
            async with ViewServer(feed, port=0) as view:
                yield Trading(exchange, view)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


def test_both_feeds_have_the_same_books_and_orders(godot: Godot) -> None:
    """One market, through `krakpot view` and computed in Godot: every state that both had is the same, exactly."""
    with running(trading) as market:
        market.call(market.exchange.exchange.allow, "of the test", market.exchange.exchange.now + 3600 * 10**9)
        wanted = {"symbols": SYMBOLS, "depth": 100, "rate": 60, "orders": True}
        godot.run(f'connect_feed("{market.view.stream_address}", {gd(wanted)})')
        godot.run("keep_plain()")
        godot.run(f'connect_core("{market.exchange.address}", {gd(wanted | {"level3": True})})')
        godot.until('said("token").size() == 1')
        godot.run('core.set_token("of the test")')
        for of in ("books", "orders"):
            godot.until(f'compared(plain_{of}, core_{of})["both"] >= 40', 60)
            assert godot.run(f"compared(plain_{of}, core_{of})")["differ"] == []
        states = godot.run("core_books.values()")
        assert all(len(state[0]) == len(state[2]) == 100 for state in states)
        assert {state[4] for state in states} == {1}, "every checksum was computed, and right"
        for channel in ("book", "level3"):
            found = checksums(godot, channel)
            assert found["ok"] >= 40
            assert found["bad"] == 0
        pairs = [[pair.symbol, pair.price_precision, pair.qty_precision] for pair in market.view._source.pairs.values()]
        for symbol, price, qty in pairs:
            told = f'core.pair("{symbol}")'
            assert godot.run(f"[{told}.price_precision, {told}.qty_precision]") == [price, qty]
        assert godot.run("core.damaged_count") == 0


def test_books_are_those_of_the_exchange_inside(inside: Godot) -> None:
    """Ten moments: all digits of all levels are the truth of the exchange. Pairs and depth change while it runs."""
    for _ in range(10):
        assert inside.run("against_truth(100)") == {"wrong": [], "levels": 200}
        time.sleep(0.1)
    assert checksums(inside)["ok"] > 20
    inside.run('put(core, "symbols", ["BTC/USD", "ETH/USD", "SOL/USD"])')
    inside.until('core.book("SOL/USD").in_sync')
    inside.run('put(core, "depth", 500)')
    inside.until('core.book("SOL/USD").bid_prices.size() > 100')
    in_sync(inside)
    found = inside.run("against_truth(500)")
    assert found["wrong"] == []
    assert found["levels"] > 300
    inside.run('put(core, "symbols", ["BTC/USD"])')
    inside.until('core.session().counts()["selected"] == 1')
    assert inside.run("core.source") == "live"
    inside.run('put(core, "overview", true)')
    inside.until('said("overview").size() > 0')
    overview = inside.run('newest("overview")')[1]
    assert len(overview["symbols"]) == 5
    assert sorted(overview["sync"]) == [1, 2, 2, 2, 2], "read is only what is subscribed"


def test_a_wrong_digit_is_found_and_repaired(inside: Godot) -> None:
    """The book ends with a gap that says why; it is subscribed again, and is the truth again. Other books stay."""
    connections = len(inside.run('said("status")'))
    assert inside.run('core.exchange().inject("digit=1.0,channel=book,symbol=BTC/USD")') == ""
    inside.until('core.session().counts()["checksums"]["book"]["bad"] > 0')
    inside.until('said("gap").size() > 0')
    gap = inside.run('said("gap")')[0]
    assert [gap[1], gap[2], gap[4], gap[5]] == ["BTC/USD", "book", 0, "checksum mismatch"]
    mismatch = inside.run('core.session().last_mismatch("BTC/USD", false)')
    assert mismatch["expected"] != mismatch["computed"]
    inside.run("core.exchange().clear_faults()")
    inside.until('core.session().in_sync("BTC/USD", false)')
    in_sync(inside)
    # A wrong level beyond the ten that a checksum is of is found when it comes among them.
    assert inside.run("against_truth(10)") == {"wrong": [], "levels": 20}
    assert all(one[1] == "BTC/USD" for one in inside.run('said("gap")'))
    assert len(inside.run('said("status")')) == connections, "the connection stayed"


def test_it_connects_again_after_a_cut(inside: Godot) -> None:
    """The cut is told, books are not shown meanwhile, and are the truth afterwards; the feed itself stays open."""
    assert inside.run('core.exchange().inject("cut")') == ""
    inside.until('"closed with code 1006" in str(said("status"))')
    inside.until('core.exchange_problem == ""')
    in_sync(inside)
    assert inside.run("against_truth(100)") == {"wrong": [], "levels": 200}
    assert {one[2] for one in inside.run('said("gap")')} >= {"book", "trade"}
    assert inside.run('said("disconnected").size()') == 0


def test_waits_are_those_of_the_recorder(godot: Godot) -> None:
    """The same attempts, the same waits; the same requests at the same times."""

    class Half(random.Random):
        def uniform(self, a: float, b: float) -> float:
            return (a + b) / 2

    entries = [[float(at), opened, maintenance] for at, opened, maintenance in [
        (0, 0, False), (1, 0, False), (2, 0, False), (3, 0, False), (4, 0, False), (9, 5, False), (20, 0, True),
        (60, 0, False), (99, 40, False), (100, 0, True), *((200 + 40 * i, 0, False) for i in range(12)),
    ]]  # fmt: skip
    policy, expected = Backoff(Half()), []
    for at, opened, maintenance in entries:
        if opened:
            policy.opened(at - opened, at)
        expected.append(policy.delay(at, maintenance=bool(maintenance)))
    assert max(expected) > 30
    assert godot.run(f"waits({gd(entries)})") == pytest.approx(expected)
    times = [0.0, 0.05, 0.35, 1.0, 5.0]
    pacer = Pacer()
    pacer.add([str(number).encode() for number in range(40)])
    sent = [[request.decode() for request in pacer.due(at)] for at in times]
    assert godot.run(f"paced(40, {gd(times)})") == sent


def test_what_is_wrong_is_a_sentence(godot: Godot) -> None:
    """Options, addresses, and an exchange that is not there."""
    for kind, options, words in (
        ("KrakpotSession", {"depth": 11}, "depth: 11 is not offered; offered are [10, 25, 100, 500, 1000]"),
        ("KrakpotSession", {"symbols": 7}, 'symbols: 7 is not allowed; allowed is a list of texts, as ["BTC/USD"]'),
        ("KrakpotSession", {"symbols": ["BTC/USD", 7]}, "symbols: 7 is not allowed; allowed is a text"),
        ("KrakpotSession", {"precision": {"BTC/USD": 1}}, "allowed is {"),
        ("KrakpotSession", {"passive": 1}, "passive: 1 is not allowed; allowed is true or false"),
        ("KrakpotSession", {"channels": ["book", "bok"]}, 'channels: there is no channel "bok"'),
        ("KrakpotSession", {"speed": 1}, 'there is no option "speed"; options: channels'),
        ("KrakpotExchange", {"pairs": 0}, "pairs must be from 1 to"),
        ("KrakpotExchange", {"rate": "fast"}, "rate: fast is not allowed; allowed is a number"),
    ):
        assert words in godot.run(f'said_of("{kind}", {gd(options)})')
    godot.run('connect_core("kraken.com", {})')
    assert godot.run("core.problem").startswith("“kraken.com” is not where an exchange is. It looks like wss://")
    godot.run('connect_core("exchange", {"exchange_pairs": 0})')
    assert godot.run("core.problem").startswith("pairs must be from 1 to")
    godot.run(f'connect_core("ws://127.0.0.1:9/v2", {gd({"symbols": SYMBOLS})})')
    godot.until('core.exchange_problem == "nobody answers there"')
    assert godot.run("[core.state, core.pairs.size(), core.clock.exchange_up]") == [2, 0, False]


def test_without_the_extension_it_says_how_to_build_it(project: Path) -> None:
    """The plain addon works without it, and names the command."""
    with Godot(project, scene=PROBE) as plain:
        plain.run('connect_core("exchange", {})')
        assert plain.run("[core.state, core.problem]") == [
            0, "The extension of krakpot is not built: run “make godot” in its repository, or use KrakpotFeed.",
        ]  # fmt: skip
        assert plain.run('said("disconnected").size()') == 1


def test_its_version_is_that_of_krakpot() -> None:
    """`hello` names it."""
    own, all_ = (
        tomllib.loads((ROOT / path).read_text(encoding="utf-8")) for path in ("rust/godot/Cargo.toml", "Cargo.toml")
    )
    assert own["package"]["version"] == all_["workspace"]["package"]["version"]
