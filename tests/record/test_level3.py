"""Level 3 recorded over several connections from the built-in exchange, with every trouble that a token can make."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from krakpot import _core
from krakpot.compare.exchange import differences
from krakpot.errors import ConfigError, ConnectionLost
from krakpot.exchange import server as exchange
from krakpot.exchange.options import Options
from krakpot.exchange.server import ExchangeServer
from krakpot.lake.lake import Lake
from krakpot.log import as_json
from krakpot.net import level3
from krakpot.net.tokens import Tokens
from krakpot.record.level3 import Level3Pool, Level3Shard, subscribe_seconds
from recording import Recording, events, hold_writer, proved
from scripted import Exchange, Market, until
from waiting import run

PAIRS = 12


@pytest.fixture(autouse=True)
def few_symbols_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five symbols a connection: twelve pairs take three."""
    monkeypatch.setattr(level3, "SYMBOLS_MAX", 5)


class Level3Recording(Recording):
    """A recorder of the built-in exchange, with a key, and the tokens that it was given."""

    def __init__(self, server: ExchangeServer, lake: Path, **options: Any) -> None:
        """Start it."""
        self.tokens: list[str] = []
        self.server = server
        self.allow_until: Callable[[int], int] = lambda until: until
        """Until when a token is valid, by when it should be."""
        server._rest.rest.allow = self._allow
        defaults: dict[str, Any] = {
            "channels": ("book", "level3"), "level3_depth": 10, "seal_interval": 2.0,
            "level3_url": server.level3_address, "rest_url": server.rest_address,
            "api_key": server.key.name, "api_secret": server.key.secret_text,
        }  # fmt: skip
        super().__init__(**{"url": server.address, "lake": lake, **defaults, **options})

    def _allow(self, token: str, until: int) -> None:
        self.tokens.append(token)
        self.server.exchange.allow(token, self.allow_until(until))

    @property
    def shards(self) -> list[Level3Shard]:
        """Its connections of level 3."""
        assert not self.task.done(), f"the recorder ended: {self.task}"
        found: Level3Pool | None = getattr(self.recorder, "level3", None)
        return [] if found is None else [one for one in found.shards if isinstance(one, Level3Shard)]

    def live(self, number: int = PAIRS) -> bool:
        """Whether this number of level-3 books is in sync."""
        return bool(sum(one.session.counts()["in_sync"] for one in self.shards) == number)

    def ok(self) -> int:
        """Right checksums of books."""
        return int(self.recorder.public.session.counts()["checksums"]["book"]["ok"])


def serve(**options: Any) -> ExchangeServer:
    """The built-in exchange."""
    return ExchangeServer(Options(**({"pairs": PAIRS, "rate": 1000.0} | options)))


def everything(recording: Level3Recording, summary: object) -> str:
    """All that a recording left: each value of each table, and all that it said."""
    lake = Lake(recording.config.out)
    found = [
        str(recording.logged),
        *map(as_json, recording.logged),
        str(summary),
        repr(recording.config),
        repr(recording.recorder),
    ]
    for table in _core.TABLES:
        frame = lake.scan(table, sources="all").collect()
        texts = [pl.col(name) for name, kind in frame.schema.items() if kind == pl.String]
        found += frame.select(texts).unique().write_csv().splitlines()
        found += [bytes(value).decode() for value in frame["frame"].to_list()] if "frame" in frame.columns else []
    files = [path for path in recording.config.out.rglob("*") if path.is_file() and path.suffix != ".parquet"]
    return "\n".join(found + [path.read_bytes().decode("latin-1") for path in files])


def secrets(recording: Level3Recording) -> list[str]:
    """What must stand nowhere."""
    return [recording.config.api_key, recording.config.api_secret, *recording.tokens]


# A quiet recording.


@pytest.mark.slow
def test_books_and_orders_of_several_connections(tmp_path: Path) -> None:
    """One public connection and three of level 3, each with its token: not one wrong checksum of either kind, the proof
    holds, the lake equals the exchange's account, connection by connection; and nothing secret stands anywhere.
    """

    async def test() -> None:
        async with serve() as server:
            recording = Level3Recording(server, tmp_path, raw=True)
            await until(recording.live)
            await asyncio.sleep(3)
            shares = [one.symbols for one in recording.shards]
            assert [len(share) for share in shares] == [4, 4, 4]
            assert sorted(symbol for share in shares for symbol in share) == sorted(server.exchange.symbols)
            summary = await recording.end()
            await until(lambda: not server.clients)
            account = server.summary()

        assert len(summary["sessions"]) == 4
        assert summary["checksums"]["book"]["ok"] > 100
        assert summary["checksums"]["level3"]["ok"] > 100
        assert summary["checksums"]["book"]["bad"] == summary["checksums"]["level3"]["bad"] == 0
        assert summary["selected"] == PAIRS
        assert summary["refused"] == {}
        report = proved(tmp_path)
        assert report.to_dict()["checksums"] == summary["checksums"]
        assert report.unchecked == report.errors == report.gaps == 0
        assert report.frames == summary["frames"]
        assert differences(Lake(tmp_path), account) == []
        assert len(account["connections"]) == 4
        # The first token only tried the key.
        assert len(recording.tokens) == len(set(recording.tokens)) == 4
        left = everything(recording, summary)
        assert all(str(symbol) in left for symbol in server.exchange.symbols), "there was something to look at"
        assert not [secret for secret in secrets(recording) if secret in left]
        assert len(events(tmp_path, "start")) == 1
        assert events(tmp_path, "start")[0]["facts"]["options"]["level3_depth"] == 10
        assert len(events(tmp_path, "connect")) == len(events(tmp_path, "stop")) == 4
        states = [progress.counts["level3"] for progress in recording.statuses if "level3" in progress.counts]
        assert {"selected": 12, "in_sync": 12, "waiting": 0, "connections": 3, "down": 0} in states
        assert any("12 of 12 pairs, level3, depth 10: about" in line for line in recording.logged)
        # How late the loop is, once a second, in the public session.
        lags = events(tmp_path, "lag")
        assert len(lags) >= 3
        assert {row["session"] for row in lags} == {summary["sessions"][0]}
        for row in lags:
            assert 0 <= row["facts"]["p50_ns"] <= row["facts"]["p99_ns"] <= row["count"]

    run(test())


@pytest.mark.slow
def test_level3_alone(tmp_path: Path) -> None:
    """Without public channels the public connection still brings the pairs."""

    async def test() -> None:
        async with serve() as server:
            recording = Level3Recording(server, tmp_path, channels=("level3",), symbols=("BTC/*", "ETH/USD"))
            chosen = [s for s in server.exchange.symbols if s.startswith("BTC/") or s == "ETH/USD"]
            await until(lambda: recording.live(len(chosen)))
            summary = await recording.end()
        assert summary["selected"] == len(chosen) > 1
        assert summary["rows"]["pairs"] == PAIRS
        assert summary["rows"].get("book", 0) == 0
        assert summary["checksums"]["level3"]["ok"] >= len(chosen)
        assert set(Lake(tmp_path).scan("orders").collect()["symbol"]) == set(chosen)
        assert not any(", depth 10: about 0.0 GB" in line and "level3" not in line for line in recording.logged)
        proved(tmp_path)

    run(test())


@pytest.mark.slow
def test_level3_of_some_pairs_and_books_of_all(tmp_path: Path) -> None:
    """``channel_symbols``: the public channels have every pair, level 3 those that it names."""

    async def test() -> None:
        async with serve() as server:
            recording = Level3Recording(server, tmp_path, channel_symbols={"level3": ("BTC/*", "ETH/USD")})
            chosen = {s for s in server.exchange.symbols if s.startswith("BTC/") or s == "ETH/USD"}
            await until(lambda: recording.live(len(chosen)) and recording.counts["in_sync"] == PAIRS)
            await until(lambda: len(recording.recorder.counts.get("level3", {})) > 0)
            assert recording.recorder.counts["level3"]["selected"] == len(chosen)
            await recording.end()
            assert set(Lake(tmp_path).scan("orders").collect()["symbol"]) == chosen
            assert set(Lake(tmp_path).scan("book").collect()["symbol"]) == set(server.exchange.symbols)
        assert 1 < len(chosen) < PAIRS
        assert any(f"{len(chosen)} of {PAIRS} pairs, level3, depth 10" in line for line in recording.logged)
        proved(tmp_path)

    run(test())


def test_symbols_of_a_channel_that_match_nothing(tmp_path: Path) -> None:
    """An error with near names, before anything is written."""

    async def test() -> None:
        async with serve() as server:
            recording = Level3Recording(server, tmp_path / "lake", channel_symbols={"level3": ("BTC/USDD",)})
            with pytest.raises(ConfigError, match="channel_symbols: level3: 'BTC/USDD' matches none of the 12 pairs"):
                await recording.task
        assert not (tmp_path / "lake").exists()

    run(test())


# Trouble with one connection.


@pytest.mark.slow
def test_a_cut_of_one_connection_leaves_the_others_alone(tmp_path: Path) -> None:
    """It comes back with a session that names the one before, and with a new token; nobody else notices."""

    async def test() -> None:
        async with serve() as server:
            recording = Level3Recording(server, tmp_path)
            await until(recording.live)
            before = [one.session.id for one in recording.shards]
            public = recording.recorder.public.session.id
            tokens = len(recording.tokens)
            cut = recording.shards[1]
            assert cut.connection is not None
            cut.connection.abort()
            await until(lambda: cut.session.id != before[1] and recording.live())
            after = [one.session.id for one in recording.shards]
            assert [one == other for one, other in zip(before, after, strict=True)] == [True, False, True]
            assert recording.recorder.public.session.id == public
            assert len(recording.tokens) == tokens + 1
            # A token that was of use: the next one is asked for at once.
            await until(lambda: cut._keeper.requested == 0)
            ok = recording.ok()
            await until(lambda: recording.ok() > ok + 100)
            summary = await recording.end()
            await until(lambda: not server.clients)
            wrong = differences(Lake(tmp_path), server.summary())

        assert len(summary["sessions"]) == 5
        assert summary["checksums"]["level3"]["bad"] == summary["checksums"]["book"]["bad"] == 0
        (gap,) = events(tmp_path, "gap")
        assert (gap["session"], gap["facts"]["previous"]) == (after[1], before[1])
        # What was on its way when it was cut is not in the lake; only the symbols of that connection may lack any.
        assert {sentence.partition(":")[0] for sentence in wrong} <= set(cut.symbols)
        report = proved(tmp_path)
        assert report.unchecked == 0
        assert any(line.startswith("level 3, connection 2: disconnected: ") for line in recording.logged)
        assert not [secret for secret in secrets(recording) if secret in everything(recording, summary)]

    run(test())


@pytest.mark.slow
def test_a_host_of_level3_that_is_not_there(tmp_path: Path) -> None:
    """Tried again and again, within the attempts that are level 3's: the public recording does not notice, and at the
    end it is told.
    """

    async def test() -> None:
        async with serve() as server:
            recording = Level3Recording(server, tmp_path, level3_url="ws://127.0.0.1:9/v2")
            await until(lambda: recording.shards and sum(one.attempts for one in recording.shards) >= 79)
            await asyncio.sleep(0.5)
            assert sum(one.attempts for one in recording.shards) <= level3.ATTEMPTS
            public = recording.recorder.public
            ok = recording.ok()
            assert public.connection is not None
            public.connection.abort()
            # It comes back at once: 40 attempts are left to it.
            await until(lambda: public.connection is not None and recording.ok() > 100)
            assert ok > 0
            with pytest.raises(ConnectionLost, match="no connection after .* ws://127.0.0.1:9/v2: cannot connect"):
                await recording.end()
        report = proved(tmp_path)
        assert report.bad == 0
        refused = [row for row in events(tmp_path, "refused") if row["channel"] == "connection"]
        assert len(refused) >= 79

    run(test())


@pytest.mark.slow
def test_a_slow_disk_makes_all_sockets_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The writer's thread stands still: each connection waits when the queue is full, each session's ledger tells it,
    and nothing is lost.
    """
    gate = hold_writer(monkeypatch)

    async def test() -> None:
        async with serve() as server:
            recording = Level3Recording(server, tmp_path)
            await until(recording.live)
            gate.clear()
            await until(lambda: all(one.paused for one in recording.recorder.clients))
            await asyncio.sleep(0.5)
            gate.set()
            await until(lambda: not any(one.paused for one in recording.recorder.clients))
            await asyncio.sleep(0.5)
            summary = await recording.end()
            await until(lambda: not server.clients)
            account = server.summary()
        assert {row["session"] for row in events(tmp_path, "backpressure")} == set(summary["sessions"])
        assert len(summary["sessions"]) == 4
        assert differences(Lake(tmp_path), account) == []
        assert proved(tmp_path).unchecked == 0

    run(test())


# Trouble with the token.


@pytest.mark.slow
def test_a_token_that_is_refused_is_replaced(tmp_path: Path) -> None:
    """The exchange takes the first tokens for expired: others are asked for, not too fast, and all is recorded."""

    async def test() -> None:
        async with serve() as server:
            recording = Level3Recording(server, tmp_path)
            # The second token is that of the first connection, and so on.
            recording.allow_until = lambda until: 0 if len(recording.tokens) in {2, 3} else until
            await until(recording.live)
            assert len(recording.tokens) == 6
            summary = await recording.end()
        refused = events(tmp_path, "refused")
        assert {row["facts"]["error"] for row in refused} == {"ESession:Invalid session"}
        assert summary["checksums"]["level3"]["bad"] == 0
        proved(tmp_path)
        assert not [secret for secret in secrets(recording) if secret in everything(recording, summary)]

    run(test())


@pytest.mark.slow
def test_a_key_that_is_refused_ends_the_recording_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is written, with the cause and the cure, also when REST takes its time; nothing secret in the
    sentence.
    """
    new = Tokens.new

    async def late(self: Tokens) -> str:
        await asyncio.sleep(2)
        return await new(self)

    monkeypatch.setattr(Tokens, "new", late)

    async def test() -> None:
        async with serve() as server:
            recording = Level3Recording(server, tmp_path / "lake", api_key="another")
            with pytest.raises(ConfigError, match="the API key is not known; compare KRAKPOT_API_KEY") as caught:
                await recording.task
            assert not [secret for secret in secrets(recording) if secret in str(caught.value)]
        assert not (tmp_path / "lake").exists()

    run(test())


@pytest.mark.slow
def test_rest_that_is_out_of_service(tmp_path: Path) -> None:
    """No REST at the start: the books are recorded, level 3 is asked for ever more slowly and comes when REST does; its
    failures stand in the ledger, and said aloud.
    """

    async def test() -> None:
        async with serve() as server:
            address = server.rest_address
            await server._rest.close()
            recording = Level3Recording(server, tmp_path)
            await until(lambda: len(recording.shards) == 3)
            ok = recording.ok()
            await until(lambda: recording.ok() > ok + 100)
            await until(lambda: "level3" in recording.recorder.refused)
            await server._rest.start("127.0.0.1", int(address.rpartition(":")[2]))
            await until(recording.live)
            summary = await recording.end()
        assert "the connection failed: Connection refused" in summary["refused"]["level3"]
        assert any("trying again when it is needed" in line for line in recording.logged)
        refused = events(tmp_path, "refused")
        assert {row["channel"] for row in refused} == {"level3"}
        for session in {row["session"] for row in refused}:
            times = [row["ts_recv"] for row in refused if row["session"] == session]
            pauses = [(b - a).total_seconds() for a, b in pairwise(times)]
            assert all(pause >= 0.9 * least for pause, least in zip(pauses, (1, 2, 4, 8), strict=False))
        report = proved(tmp_path)
        assert report.bad == 0

    run(test())


# Pairs that come and go.


@pytest.mark.slow
def test_pairs_come_and_go(tmp_path: Path) -> None:
    """A listing that matches goes to a connection with room, or to a new one; a delisted pair is left, and makes room
    when its connection comes back. The pairs are told by one exchange, and level 3 by another, which holds them all.
    """

    async def test() -> None:
        async with serve(pairs=30) as server, Exchange() as public:
            known = {pair["symbol"]: pair for pair in instrument(server.exchange) if pair["symbol"].endswith("/USD")}
            names = list(known)[:12]
            public.markets.clear()

            def market(name: str) -> Market:
                pair = known[name]
                return Market(name, price_precision=pair["price_precision"], qty_precision=pair["qty_precision"])

            for name in names[:9]:
                public.markets[name] = market(name)
            recording = Level3Recording(server, tmp_path, url=public.url, symbols=("*/USD",), channels=("level3",))
            await until(lambda: recording.live(9))
            assert [len(one.symbols) for one in recording.shards] == [5, 4]
            public.list_pair(market(names[9]))
            await until(lambda: recording.live(10))
            assert [len(one.symbols) for one in recording.shards] == [5, 5]
            public.list_pair(market(names[10]))
            await until(lambda: recording.live(11))
            assert [len(one.symbols) for one in recording.shards] == [5, 5, 1]
            gone = public.markets[recording.shards[0].symbols[0]]
            gone.status = "delisted"
            public.list_pair(gone)
            await until(lambda: recording.live(10))
            first = recording.shards[0]
            assert first.connection is not None
            first.connection.abort()
            await until(lambda: len(first.symbols) == 4 and recording.live(10))
            # The public connection is another one, and nobody is delisted for it.
            public.cut()
            await until(lambda: len(public.clients) == 2 and recording.recorder.public.session.counts()["pairs"])
            await asyncio.sleep(0.5)
            assert recording.live(10)
            summary = await recording.end()
        delisted = events(tmp_path, "delisted")
        assert {row["symbol"] for row in delisted} == {gone.symbol}
        assert summary["checksums"]["level3"]["bad"] == 0
        proved(tmp_path)

    run(test())


def instrument(market: _core.Exchange) -> list[dict[str, Any]]:
    """The pairs of a built-in exchange, as a session knows them."""
    session = _core.Session("pairs", channels=[])
    number = market.connect()
    for request in session.requests(0):
        market.receive(number, request)
    block = market.take(number)
    while block:
        length, at = block[1], 2
        if length >= 126:
            at = 4 if length == 126 else 10
            length = int.from_bytes(block[2:at], "big")
        session.receive([block[at : at + length]], 1)
        block = block[at + length :]
    market.disconnect(number)
    return session.pairs()


def test_the_time_that_subscribing_takes() -> None:
    """All of Kraken's pairs at a standard account, as the documentation's costs have it."""
    assert [round(subscribe_seconds(1450, depth, 200)) for depth in (10, 100, 1000)] == [36, 181, 725]
    assert _core.LEVEL3_COSTS.keys() == set(exchange_depths())


def exchange_depths() -> list[int]:
    """Depths that the page of the built-in exchange names."""
    page = (Path(exchange.__file__).parents[3] / "docs/exchange.md").read_text()
    found = re.search(r"\| level3 \| depths ([\d, ]+),", page)
    assert found
    return [int(depth) for depth in found[1].split(", ")]
