"""The recorder in this process, against a scripted exchange on the same loop: every trouble at a known moment."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import threading
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest

import frames
import lakes
from krakpot.errors import ConfigError, ConnectionLost, FeedError, StorageError
from krakpot.lake import journal, seal
from krakpot.lake.lake import Lake
from krakpot.lake.verify import verify
from krakpot.record import disk, recorder
from krakpot.record.client import RecordingClient
from recording import Recording, book_in, book_of, events, proved
from scripted import Client, Exchange, Market, until
from waiting import run

KINDS_OF_A_BOOK = ("subscribed", "snapshot", "mismatch", "resync", "unsubscribed")


# A quiet recording.


def test_a_recording_holds_what_was_sent(tmp_path: Path) -> None:
    """Every book message, trade and ticker that the exchange sent stands in the lake, in order, digit for digit; the
    lake is proved; the summary says the same as the lake.
    """

    async def test() -> None:
        async with Exchange() as exchange:
            recording = Recording(exchange.url, tmp_path)
            await until(lambda: recording.live(3))
            await until(lambda: recording.counts["checksums"]["book"]["ok"] > 200)
            exchange.silent = True
            sent = len(exchange.client.sent)
            await until(lambda: recording.counts["frames"] == sent)
            summary = await recording.end()

            report = proved(tmp_path)
            assert report.bad == report.unchecked == report.errors == report.gaps == 0
            assert summary["frames"] == sent
            assert summary["checksums"]["book"] == {"ok": report.ok, "bad": 0}
            assert summary["selected"] == 3
            assert summary["refused"] == {}
            assert summary["sessions"] == Lake(tmp_path).sessions()
            # The ledger's own part also has the sealer's rows.
            for table in ("book", "trades", "ticker", "pairs", "assets", "status"):
                rows = Lake(tmp_path).scan(table).select(pl.len()).collect().item()
                assert rows == summary["rows"][table] == report.rows[table] > 0, table
            assert report.ok == sum(len(exchange.sent("book", symbol)) for symbol in exchange.markets)
            for symbol in exchange.markets:
                assert book_in(tmp_path, symbol) == book_of(exchange, symbol)
                trades = Lake(tmp_path).trades(symbol).sort("message", "entry").collect()
                assert trades["trade_id"].to_list() == [
                    int(item["trade_id"]) for item in exchange.sent("trade", symbol)
                ]
                sums = [Decimal(item["price"]) * Decimal(item["qty"]) for item in exchange.sent("trade", symbol)]
                assert [row["price"] * row["qty"] for row in trades.to_dicts()] == sums
                ticker = Lake(tmp_path).ticker(symbol).sort("message").collect()
                assert ticker["bid"].to_list() == [Decimal(item["bid"]) for item in exchange.sent("ticker", symbol)]
            assert not list((tmp_path / "_journal").iterdir()), "all is sealed"
            kinds = [event["kind"] for event in events(tmp_path)]
            assert kinds[:2] == ["start", "connect"]
            assert "stop" in kinds

    run(test())


def test_requests_are_batched_and_paced(tmp_path: Path) -> None:
    """A thousand pairs are asked for in batches of fifty, at most some tens of requests a second, never more than the
    limit unanswered; and not one is forgotten.
    """

    async def test() -> None:
        symbols = [f"P{n:03}/USD" for n in range(400)]
        async with Exchange(*symbols, beat=5.0) as exchange:
            recording = Recording(exchange.url, tmp_path)
            await until(lambda: recording.live(400))
            asked = exchange.client.asked("subscribe", "book")
            assert sorted(symbol for request in asked for symbol in request["symbol"]) == sorted(symbols)
            assert max(len(request["symbol"]) for request in asked) == 50
            assert {request["depth"] for request in asked} == {10}
            assert len(exchange.client.requests) <= 60
            summary = await recording.end()
            assert summary["selected"] == 400
            assert proved(tmp_path).ok >= 400

    run(test())


def test_raw_frames_are_kept_byte_for_byte(tmp_path: Path) -> None:
    """With ``raw`` every frame stands in the table ``frames`` as it came, broken ones too."""

    async def test() -> None:
        async with Exchange("BTC/USD") as exchange:
            recording = Recording(exchange.url, tmp_path, raw=True)
            await until(lambda: recording.live(1))
            exchange.client.send(b'{"channel":"book","type":"update","data":[{"symbol":"\xff"}]}')
            exchange.client.send(b"no JSON at all")
            exchange.client.send_pieces([b'{"chan', b'nel":"heart', b'beat"}'])
            exchange.silent = True
            sent = list(exchange.client.sent)
            await until(lambda: recording.counts["frames"] == len(sent))
            summary = await recording.end()
            kept = Lake(tmp_path).scan("frames").sort("message").collect()
            assert kept["frame"].to_list() == sent
            assert kept["message"].to_list() == list(range(len(sent)))
            assert summary["errors"] == 2
            assert proved(tmp_path).errors == 2
            errors = events(tmp_path, "decode_error")
            assert [error["facts"]["excerpt"] for error in errors][1] == "no JSON at all"

    run(test())


# Trouble with the connection.


@pytest.mark.slow
def test_a_cut_is_a_gap_and_the_recording_goes_on(tmp_path: Path) -> None:
    """After a cut: a new session that names the one before, a gap row with its bounds, trades taken once, those that
    were missed counted by id, and every book again from its snapshot.
    """

    async def test() -> None:
        async with Exchange("BTC/USD", "ETH/USD") as exchange:
            recording = Recording(exchange.url, tmp_path)
            await until(lambda: recording.live(2))
            await until(lambda: recording.counts["rows"].get("trades", 0) > 10)
            quiet, busy = exchange.markets["BTC/USD"], exchange.markets["ETH/USD"]
            exchange.quiet = {"BTC/USD", "ETH/USD"}
            await asyncio.sleep(0.05)
            before = busy.last_trade
            exchange.cut()
            # More trades while nobody listens than the snapshot of a new subscription holds, and three on the other.
            for _ in range(80):
                busy.trade()
            for _ in range(3):
                quiet.trade()
            await until(lambda: len(exchange.clients) == 2 and recording.live(2))
            exchange.quiet.clear()
            await until(lambda: recording.counts["checksums"]["book"]["ok"] > 50)
            summary = await recording.end()

            assert len(summary["sessions"]) == 2
            report = proved(tmp_path)
            assert report.bad == report.unchecked == 0
            first, second = summary["sessions"]
            gaps = events(tmp_path, "gap")
            assert sorted(gap["channel"] for gap in gaps) == ["book", "ticker", "trade"]
            assert {(gap["session"], gap["facts"]["previous"]) for gap in gaps} == {(second, first)}
            assert all(gap["ts_from"] < gap["ts_to"] for gap in gaps)
            connects = events(tmp_path, "connect")
            assert [connect["facts"].get("previous") for connect in connects] == [None, first]
            assert len({connect["facts"]["recorder"] for connect in connects}) == 1
            (missed,) = events(tmp_path, "trade_gap")
            assert missed["symbol"] == "ETH/USD"
            assert missed["facts"] == {"first": before + 1, "last": before + 30}
            assert missed["count"] == 30
            assert summary["gaps"] == report.gaps == 4, "of trades, and one a channel"
            for market in (quiet, busy):
                ids = (
                    Lake(tmp_path)
                    .trades(market.symbol)
                    .sort("session", "message", "entry")
                    .collect()["trade_id"]
                    .to_list()
                )
                assert ids == sorted(set(ids)), "each trade once"
                lost = set(range(ids[0], ids[-1] + 1)) - set(ids)
                assert lost == (set(range(before + 1, before + 31)) if market is busy else set())
            # Trades are asked for with their snapshot only where the recording goes on.
            assert [r["snapshot"] for r in exchange.clients[0].asked("subscribe", "trade")] == [False]
            assert [r["snapshot"] for r in exchange.clients[1].asked("subscribe", "trade")] == [True]
            assert any(line.startswith("disconnected: connection lost") for line in recording.logged)

    run(test())


@pytest.mark.slow
def test_silence_ends_a_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exchange that holds the line and says nothing: a ping, then a new connection."""
    monkeypatch.setattr("krakpot.net.connection.PING_AFTER", 1.0)
    monkeypatch.setattr("krakpot.net.connection.DEAD_AFTER", 5.0)

    async def test() -> None:
        async with Exchange("BTC/USD") as exchange:
            recording = Recording(exchange.url, tmp_path)
            await until(lambda: recording.live(1))
            client = exchange.client
            client.muted = True
            await until(client.gone.is_set)
            assert [request["method"] for request in client.requests].count("ping") == 1
            await until(lambda: len(exchange.clients) == 2 and recording.live(1))
            await recording.end()
            (gone, _) = events(tmp_path, "disconnect")
            assert gone["facts"]["reason"].startswith("no data for ")
            proved(tmp_path)

    run(test())


def test_a_message_too_big_is_a_limit(tmp_path: Path) -> None:
    """17 MiB: the exchange sees 1009, the ledger a row of kind ``limit``, and the next attempt waits longer."""

    async def test() -> None:
        async with Exchange("BTC/USD") as exchange:
            recording = Recording(exchange.url, tmp_path)
            delays: list[dict[str, bool]] = []
            delay = recording.backoff.delay

            def told(now: float, *, maintenance: bool = False, too_big: bool = False, **_: float | None) -> float:
                delays.append({"maintenance": maintenance, "too_big": too_big})
                return min(delay(now, maintenance=maintenance, too_big=too_big), 0.1)

            recording.backoff.delay = told  # type: ignore[method-assign]  # to see what it is told, and to wait less
            await until(lambda: recording.live(1))
            client = exchange.client
            client.send(b"x" * (17 << 20))
            await until(client.gone.is_set)
            assert client.close_code == 1009
            await until(lambda: len(exchange.clients) == 2 and recording.live(1))
            await recording.end()
            assert delays[-1] == {"maintenance": False, "too_big": True}
            (limit,) = events(tmp_path, "limit")
            assert limit["facts"]["limit"] == "FRAME_MAX"
            assert limit["session"] == recording.recorder.sessions[0]
            assert proved(tmp_path).errors == 1

    run(test())


def test_maintenance_is_given_time(tmp_path: Path) -> None:
    """An exchange that said `maintenance` and closes is not asked again at once; its states are recorded."""

    async def test() -> None:
        async with Exchange("BTC/USD") as exchange:
            recording = Recording(exchange.url, tmp_path)
            told: list[bool] = []

            def delay(now: float, *, maintenance: bool = False, **_: object) -> float:
                told.append(maintenance)
                return 0.0

            recording.backoff.delay = delay  # type: ignore[method-assign]  # the waits themselves are test_connection's
            await until(lambda: recording.live(1))
            exchange.set_status("maintenance")
            exchange.client.do(lambda socket: socket.close(1008, "back soon"))
            await until(lambda: len(exchange.clients) == 2 and recording.live(1))
            exchange.set_status("online")
            exchange.client.do(lambda socket: socket.close(1012))
            await until(lambda: len(exchange.clients) == 3 and recording.live(1))
            await recording.end()
            assert told[-2:] == [True, False]
            states = Lake(tmp_path).scan("status").sort("session", "message").collect()["system"].to_list()
            assert states == ["online", "maintenance", "maintenance", "online", "online"]
            assert [row["facts"]["reason"] for row in events(tmp_path, "disconnect")][:2] == [
                "closed by the exchange with code 1008 back soon", "closed by the exchange with code 1012",
            ]  # fmt: skip
            proved(tmp_path)

    run(test())


@pytest.mark.slow
def test_refused_handshakes_are_tried_again(tmp_path: Path) -> None:
    """HTTP errors of a proxy: each is said and stands in the ledger as a refused connection; then it records."""

    async def test() -> None:
        async with Exchange("BTC/USD") as exchange:
            exchange.handshakes = [403, 429, 503]
            recording = Recording(exchange.url, tmp_path)
            await until(lambda: recording.live(1))
            summary = await recording.end()
            refused = events(tmp_path, "refused")
            assert [row["channel"] for row in refused] == ["connection"] * 3
            said = [line for line in recording.logged if "HTTP" in line]
            for code, row, line in zip((403, 429, 503), refused, said, strict=True):
                assert f"HTTP {code}" in row["facts"]["error"]
                assert f"HTTP {code}" in line
                assert line.endswith("trying again")
            assert summary["refused"] == {}, "no subscription was"
            assert len(summary["sessions"]) == 1
            proved(tmp_path)

    run(test())


def test_a_busy_server_is_given_the_time_that_it_asks_for(tmp_path: Path) -> None:
    """HTTP 429 with ``Retry-After``: the back-off is told, the next attempt is no earlier, and it is logged."""

    async def test() -> None:
        async with Exchange("BTC/USD") as exchange:
            exchange.handshakes, exchange.retry_after = [429, 503], "90"
            recording = Recording(exchange.url, tmp_path)
            told: list[float | None] = []
            waits: list[float] = []
            delay = recording.backoff.delay

            def hurry(now: float, *, busy: float | None = None, **rest: bool) -> float:
                told.append(busy)
                waits.append(delay(now, busy=busy, **rest))
                return 0.0

            recording.backoff.delay = hurry  # type: ignore[method-assign]  # to see what it is told, and not to wait
            await until(lambda: recording.live(1))
            exchange.cut()
            await until(lambda: len(exchange.clients) == 2 and recording.live(1))
            await recording.end()
            assert told == [None, 90.0, 90.0, None], "forgotten once there was a connection"
            assert min(waits[1:3]) >= 90
            assert [line for line in recording.logged if "HTTP 429, to be tried again in 90 s" in line]

    run(test())


@pytest.mark.parametrize("moment", ["handshake", "wait"])
def test_it_can_be_stopped_without_a_connection(tmp_path: Path, moment: str) -> None:
    """Stopped in the middle of a handshake, or between two attempts: it ends at once. That nothing was recorded is an
    error, and an attempt that failed is its reason.
    """

    async def test() -> None:
        async with Exchange("BTC/USD") as exchange:
            exchange.hang = moment == "handshake"
            exchange.handshakes = [503] * (moment == "wait")
            recording = Recording(exchange.url, tmp_path)
            waits = iter([0.0, 3600.0])
            recording.backoff.delay = lambda *_, **__: next(waits)  # type: ignore[method-assign]  # then an hour
            await until(lambda: exchange.attempts)
            if moment == "wait":
                await until(lambda: recording.recorder.public.state == "connecting in 3600 s")
            if moment == "wait":
                with pytest.raises(ConnectionLost, match="no connection after 1 attempt: .*503"):
                    await recording.end()
            else:
                with pytest.raises(
                    FeedError, match="nothing was recorded: it was stopped before wss?://.* had answered"
                ):
                    await recording.end()
            assert verify(tmp_path).problems == ["nothing was recorded: the lake has no message of the exchange"]
            assert [row["kind"] for row in events(tmp_path, "start", "stop")] == ["start", "stop"]

    run(test())


# A run that records nothing is no success.


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a second is long for the instrument snapshot."""
    monkeypatch.setattr(recorder, "PATIENCE", 0.5)


def test_a_recorder_runs_once(tmp_path: Path) -> None:
    """While it runs, and afterwards: one sentence, and the recording that runs does not notice."""

    async def test() -> None:
        async with Exchange() as exchange:
            recording = Recording(exchange.url, tmp_path)
            await until(lambda: recording.live(3))
            for _ in range(2):
                with pytest.raises(
                    FeedError, match="^a recorder runs once, and this one ran before; make another one$"
                ):
                    await recording.recorder.run()
                if not recording.task.done():
                    await recording.end()
        assert proved(tmp_path).ok > 0

    run(test())


@pytest.mark.slow
def test_no_instrument_snapshot_is_logged_and_is_no_success(tmp_path: Path, impatient: None) -> None:
    """A server that never sends it: said after the time-out, once a connection; the end is an error with the reason."""

    async def test() -> None:
        async with Exchange() as exchange:
            exchange.instrument = False
            recording = Recording(exchange.url, tmp_path)

            def warned() -> int:
                words = "no instrument snapshot for 0 s: without it no pair is known and nothing is subscribed; waiting"
                return sum(line.startswith(words) for line in recording.logged)

            await until(lambda: warned() == 1)
            await asyncio.sleep(0.7)
            exchange.cut()
            await until(lambda: warned() == 2)
            with pytest.raises(FeedError, match=r"nothing was recorded: ws://\S+ sent no instrument snapshot"):
                await recording.end()

    run(test())


@pytest.mark.slow
def test_an_instrument_snapshot_that_is_late(tmp_path: Path, impatient: None) -> None:
    """It comes after the time-out: everything is recorded from then on, in a lake that is proved."""

    async def test() -> None:
        async with Exchange("BTC/USD") as exchange:
            exchange.instrument = False
            recording = Recording(exchange.url, tmp_path)
            await until(lambda: any(line.startswith("no instrument snapshot") for line in recording.logged))
            exchange.instrument = True
            exchange.cut()
            await until(lambda: recording.live(1))
            summary = await recording.end()
            assert len(summary["sessions"]) == 2
            assert proved(tmp_path).ok > 0

    run(test())


@pytest.mark.slow
def test_symbols_are_checked_also_when_the_pairs_come_late(tmp_path: Path, impatient: None) -> None:
    """A misspelled symbol is an error even if the exchange tells its pairs only after the time-out."""

    async def test() -> None:
        async with Exchange() as exchange:
            exchange.instrument = False
            recording = Recording(exchange.url, tmp_path, symbols=("XBT/USD",))
            await until(lambda: any(line.startswith("no instrument snapshot") for line in recording.logged))
            exchange.instrument = True
            exchange.cut()
            with pytest.raises(ConfigError, match="'XBT/USD' matches none of the 3 pairs; did you mean BTC/USD"):
                await recording.task

    run(test())


def test_a_run_whose_subscriptions_were_all_refused_is_no_success(tmp_path: Path) -> None:
    """The error has the exchange's reason."""

    async def test() -> None:
        async with Exchange("BTC/USD") as exchange:
            exchange.refusals["BTC/USD"] = "Currency pair not supported BTC/USD"
            recording = Recording(exchange.url, tmp_path)
            await until(lambda: len(recording.recorder.refused) == 3)
            words = (
                r"nothing was recorded: the exchange refused book BTC/USD \(and 2 more\): Currency pair not supported"
            )
            with pytest.raises(FeedError, match=words):
                await recording.end()
            assert len(events(tmp_path, "refused")) == 3

    run(test())


# Trouble with one symbol.


@pytest.mark.slow
def test_a_mismatch_is_one_resync_of_one_symbol(tmp_path: Path) -> None:
    """A wrong checksum: that symbol's book is left, its ack awaited, and asked for again, once; the updates in between
    are unchecked with their reason; no other symbol notices.
    """

    async def test() -> None:
        async with Exchange() as exchange:
            recording = Recording(exchange.url, tmp_path)
            await until(lambda: recording.live(3))
            exchange.ack_delay = 0.3
            exchange.wrong.add("ETH/USD")
            await until(lambda: not exchange.wrong)
            await until(lambda: recording.counts["checksums"]["book"]["bad"] == 1)
            await until(lambda: exchange.client.asked("unsubscribe", "book"))
            left = len(exchange.client.requests)
            await asyncio.sleep(0.15)
            assert len(exchange.client.requests) == left, "it waits for the ack"
            await until(lambda: recording.live(3))
            ok = recording.counts["checksums"]["book"]["ok"]
            await until(lambda: recording.counts["checksums"]["book"]["ok"] > ok + 100)
            summary = await recording.end()

            assert [r["symbol"] for r in exchange.client.asked("unsubscribe", "book")] == [["ETH/USD"]]
            assert [r["symbol"] for r in exchange.client.asked("subscribe", "book")][1:] == [["ETH/USD"]]
            assert exchange.client.asked("unsubscribe", "book")[0]["depth"] == 10
            assert summary["checksums"]["book"]["bad"] == 1
            assert summary["unchecked"] > 0
            report = proved(tmp_path)
            assert (report.bad, report.unchecked) == (1, summary["unchecked"])
            assert not verify(tmp_path, strict=True).proved
            kinds = [
                row["kind"] for row in events(tmp_path, *KINDS_OF_A_BOOK, symbol="ETH/USD") if row["channel"] == "book"
            ]
            assert kinds == ["subscribed", "snapshot", "mismatch", "resync", "unsubscribed", "subscribed", "snapshot"]
            for other in ("BTC/USD", "ADA/EUR"):
                assert report.symbols["book"][other]["ok"] == report.symbols["book"][other]["messages"]
                assert len(events(tmp_path, "snapshot", symbol=other)) == 1
            assert len(exchange.clients) == 1
            assert len([line for line in recording.logged if line.startswith("mismatch book ETH/USD")]) == 1

    run(test())


@pytest.mark.slow
def test_a_symbol_that_is_always_wrong_is_asked_for_ever_more_slowly(tmp_path: Path) -> None:
    """Mismatch after mismatch: the pauses between the attempts grow, so that the exchange is not stormed."""

    async def test() -> None:
        async with Exchange("BTC/USD", "ETH/USD", beat=0.005) as exchange:

            async def corrupt() -> None:
                while True:
                    exchange.wrong.add("ETH/USD")
                    await asyncio.sleep(0.005)

            recording = Recording(exchange.url, tmp_path)
            await until(lambda: recording.live(2))
            always = asyncio.create_task(corrupt())
            await until(lambda: len(exchange.client.asked("unsubscribe", "book")) == 3)
            always.cancel()
            exchange.wrong.clear()
            summary = await recording.end()
            assert summary["checksums"]["book"]["bad"] == len(events(tmp_path, "mismatch"))
            pauses = [row["ts_from"] - row["ts_recv"] for row in events(tmp_path, "resync")]
            assert pauses[:3] == [timedelta(0), timedelta(seconds=1), timedelta(seconds=2)]
            assert proved(tmp_path).symbols["book"]["BTC/USD"]["unchecked"] == 0

    run(test())


def test_a_refused_symbol_is_reported(tmp_path: Path) -> None:
    """A refusal ends neither the connection nor the others: it stands in the summary, the ledger and what is said."""

    async def test() -> None:
        async with Exchange() as exchange:
            exchange.refusals["ADA/EUR"] = "Currency pair not supported ADA/EUR"
            recording = Recording(exchange.url, tmp_path)
            await until(lambda: recording.live(2) and recording.counts["waiting"] == 0)
            summary = await recording.end()
            reason = "Currency pair not supported ADA/EUR"
            assert summary["refused"] == {f"{channel} ADA/EUR": reason for channel in ("book", "trade", "ticker")}
            refused = events(tmp_path, "refused", symbol="ADA/EUR")
            assert [row["channel"] for row in refused] == ["book", "trade", "ticker"]
            assert {row["facts"]["error"] for row in refused} == {reason}
            assert sum(line.startswith("refused") for line in recording.logged) == 3
            proved(tmp_path)

    run(test())


@pytest.mark.slow
def test_refusals_of_what_nobody_asked_for_take_no_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Symbols that the exchange makes up, without end, in words without end: some are named, what is said is short, and
    each is a row of the ledger.
    """
    monkeypatch.setattr("krakpot.net.client.REFUSED_MAX", 5)

    async def test() -> None:
        async with Exchange("BTC/USD") as exchange:
            recording = Recording(exchange.url, tmp_path)
            await until(lambda: recording.live(1))
            words = "no " * 10_000
            for n in range(20):
                exchange.client.send(frames.refusal(words, symbol=f"{n}{'X' * 5000}"))
            await until(lambda: sum(line.startswith("refused") for line in recording.logged) == 20)
            summary = await recording.end()
            assert len(summary["refused"]) == 5
            assert max(len(what) + len(reason) for what, reason in summary["refused"].items()) < 3000
            assert max(map(len, recording.logged)) < 3000
            refused = events(tmp_path, "refused")
            assert all(row["facts"]["error"].startswith(words[:500]) for row in refused)
            assert len({row["symbol"] for row in refused}) == 20

    run(test())


@pytest.mark.slow
def test_pairs_come_and_go(tmp_path: Path) -> None:
    """A listing that matches is subscribed, one that does not is left; a delisting ends with a row; a change of
    precision is a new book.
    """

    async def test() -> None:
        async with Exchange("BTC/USD", "ETH/USD", "ADA/EUR") as exchange:
            recording = Recording(exchange.url, tmp_path, symbols=("*/USD",))
            await until(lambda: recording.live(2))
            exchange.list_pair(Market("NEW/USD", price_precision=4))
            exchange.list_pair(Market("NEW/EUR"))
            await until(lambda: recording.live(3))
            gone = exchange.markets["ETH/USD"]
            gone.status = "delisted"
            exchange.list_pair(gone)
            await until(lambda: recording.live(2))
            changed = exchange.markets["BTC/USD"]
            changed.book.price_precision = 3
            exchange.list_pair(changed)
            await until(lambda: len(book_snapshots(exchange.client, "BTC/USD")) == 2)
            await until(lambda: recording.live(2))
            ok = recording.counts["checksums"]["book"]["ok"]
            await until(lambda: recording.counts["checksums"]["book"]["ok"] > ok + 50)
            summary = await recording.end()

            assert [row["symbol"] for row in events(tmp_path, "listed")] == ["NEW/USD"]
            assert [row["symbol"] for row in events(tmp_path, "delisted")] == ["ETH/USD"]
            (precision,) = events(tmp_path, "precision")
            assert (precision["symbol"], precision["facts"]["price"]) == ("BTC/USD", 3)
            assert {row["symbol"] for row in Lake(tmp_path).book().collect().to_dicts()} == {
                "BTC/USD",
                "ETH/USD",
                "NEW/USD",
            }
            precisions = Lake(tmp_path).book("BTC/USD").collect()["price_precision"].unique().sort().to_list()
            assert precisions == [1, 3]
            assert summary["checksums"]["book"]["bad"] == 0
            proved(tmp_path)

    run(test())


def book_snapshots(client: Client, symbol: str) -> list[bytes]:
    """Snapshots sent to a client."""
    start = b'{"channel":"book","type":"snapshot","data":[{"symbol":"%s"' % symbol.encode()
    return [frame for frame in client.sent if frame.startswith(start)]


# Wrong use.


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"symbols": ("XBT/USD",)}, r"symbols: 'XBT/USD' matches none of the 3 pairs; did you mean BTC/USD\?"),
        ({"symbols": ("BTC/*", "ETH/USDD")}, r"'ETH/USDD' matches none of the 3 pairs; did you mean ETH/USD"),
        ({"symbols": ("NOTHING*",)}, "'NOTHING[*]' matches none of the 3 pairs; `krakpot pairs` lists them all"),
        ({"exclude": ("*",)}, "exclude leaves none of the 3 pairs"),
    ],
)
def test_symbols_that_match_nothing_are_an_error_and_nothing_is_written(
    tmp_path: Path, options: dict[str, Any], words: str
) -> None:
    """A pattern that matches no pair ends the recording with names that are near, before anything is written: a lake
    that was there is as it was, and none is made.
    """

    async def test() -> None:
        lakes.make(tmp_path / "old", lakes.market(20))
        before = {path: path.stat().st_mtime_ns for path in (tmp_path / "old").rglob("*") if path.is_file()}
        async with Exchange() as exchange:
            for lake in (tmp_path / "new" / "lake", tmp_path / "old"):
                with pytest.raises(ConfigError, match=words):
                    await Recording(exchange.url, lake, **options).task
        assert [path.name for path in tmp_path.iterdir()] == ["old"]
        assert {path: path.stat().st_mtime_ns for path in (tmp_path / "old").rglob("*") if path.is_file()} == before

    run(test())


# The disk.


@pytest.mark.slow
def test_a_full_disk_ends_the_recording_and_keeps_what_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No space left, in the middle of a block: one sentence that says what helps; what stood before the block is whole,
    recovery seals it, and the proof holds.
    """
    full = threading.Event()
    real = os.write

    def write(handle: int, data: Any) -> int:
        if full.is_set() and Path(f"/proc/self/fd/{handle}").readlink().suffix == journal.SUFFIX:
            if len(data) > 100:
                return real(handle, memoryview(data)[:100])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(handle, data)

    class Disk:
        """``os`` as the journal sees it."""

        def __getattr__(self, name: str) -> Any:
            return write if name == "write" else getattr(os, name)

    monkeypatch.setattr(journal, "os", Disk())

    async def test() -> None:
        async with Exchange() as exchange:
            recording = Recording(exchange.url, tmp_path, seal_interval=300.0)
            await until(lambda: recording.live(3))
            await until(lambda: recording.recorder._writer.bytes > 20_000)
            full.set()
            with pytest.raises(StorageError, match="cannot write the journal: the disk is full; make room") as caught:
                await recording.task
            assert str(tmp_path) in str(caught.value)
        full.clear()
        # The recorder's lock goes with its process; here with its file.
        os.close(recording.recorder.public._journal._file)
        report = seal.recover(tmp_path)
        assert len(report.recovered) == 1
        assert report.torn == [], "the block that did not fit was taken back"
        proof = proved(tmp_path)
        assert proof.ok > 0
        assert len(events(tmp_path, "recovered")) == 1

    run(test())


@pytest.mark.slow
def test_a_recording_ends_in_order_before_the_disk_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Room runs out while recording: everything is written and sealed, the ledger says why it ended, and the sentence
    says what helps.
    """
    monkeypatch.setattr(disk, "LOOK", 0.05)

    async def test() -> None:
        async with Exchange() as exchange:
            recording = Recording(exchange.url, tmp_path, seal_interval=300.0)
            await until(lambda: recording.live(3))
            await until(lambda: recording.counts["frames"] > 200)
            usage = os.statvfs(tmp_path)
            monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10 * usage.f_frsize))
            with pytest.raises(
                StorageError, match=r"the disk has \d+\.\d kB left, less than the 200\.0 MB of --min-free"
            ):
                await recording.task
        assert journal.journals(tmp_path) == []
        assert proved(tmp_path).ok > 100
        ends = events(tmp_path, "disconnect", "stop", "recovered")
        assert [row["kind"] for row in ends] == ["disconnect", "stop"]
        assert "kB left, less than the 200.0 MB" in ends[0]["facts"]["reason"]

    run(test())


def test_a_lake_that_is_removed_ends_the_recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder goes while recording: noticed within a second and said; no half lake comes back."""
    monkeypatch.setattr(disk, "LOOK", 0.05)

    async def test() -> None:
        async with Exchange() as exchange:
            recording = Recording(exchange.url, tmp_path / "lake", seal_interval=300.0)
            await until(lambda: recording.live(3))
            await until(lambda: recording.recorder._writer.bytes > 0)
            shutil.rmtree(tmp_path / "lake")
            with pytest.raises(StorageError, match="it is gone; was the lake moved or removed"):
                await recording.task
        assert not (tmp_path / "lake").exists()

    run(test())


@pytest.mark.slow
def test_old_days_are_removed_while_recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """--keep: days long past go at the start, which the ledger tells; what is recorded stays, and is proved."""
    old = lakes.market(100)
    lakes.make(tmp_path, old, session=lakes.session_name(old[0][0]))

    def days() -> set[str]:
        return {folder.name for folder in tmp_path.glob("*/date=*")}

    assert days() == {"date=2026-08-02"}
    monkeypatch.setattr("krakpot.record.clock.quality", lambda _: {"synchronised": True})

    async def test() -> None:
        async with Exchange() as exchange:
            recording = Recording(exchange.url, tmp_path, keep=86_400.0)
            await until(lambda: recording.live(3))
            await until(lambda: any(line.startswith("removed 2026-08-02, which is older") for line in recording.logged))
            await recording.end()
        assert days()
        assert "date=2026-08-02" not in days()
        (row,) = events(tmp_path, "removed")
        assert row["facts"]["date"] == "2026-08-02"
        assert proved(tmp_path).ok > 0
        (quality,) = events(tmp_path, "clock")
        assert quality["facts"] == {"synchronised": True}

    run(test())


def test_a_failure_of_the_writer_s_thread_ends_the_recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that nobody foresaw, in the thread: the recording ends with it instead of going on without writing."""

    def broken(*_: Any) -> Path | None:
        raise MemoryError

    monkeypatch.setattr(journal.Writer, "write", broken)

    async def test() -> None:
        async with Exchange("BTC/USD") as exchange:
            with pytest.raises(MemoryError):
                await Recording(exchange.url, tmp_path).task

    run(test())


def test_a_failure_of_the_clock_s_duties_ends_the_recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same for the duties on the loop."""

    def broken(*_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(RecordingClient, "flush", broken)

    async def test() -> None:
        async with Exchange("BTC/USD") as exchange:
            with pytest.raises(ZeroDivisionError):
                await Recording(exchange.url, tmp_path).task

    run(test())


# Small things.


@pytest.mark.slow
def test_a_step_of_the_clock_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The host's clock is set by two seconds: a row of kind ``clock`` with the step."""

    async def test() -> None:
        async with Exchange("BTC/USD") as exchange:
            recording = Recording(exchange.url, tmp_path)
            await until(lambda: recording.live(1))
            recording.recorder._offset -= 2_000_000_000
            await until(lambda: any("clock of this machine stepped by +2.0" in line for line in recording.logged))
            await recording.end()
            (clock,) = [row for row in events(tmp_path, "clock") if "step_ns" in row["facts"]]
            assert abs(clock["facts"]["step_ns"] - 2_000_000_000) < 1_000_000_000

    run(test())
