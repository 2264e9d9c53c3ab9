"""What an account with money does when something breaks: keys, handlers, sockets, REST, the disk, other programs."""

from __future__ import annotations

import asyncio
import errno
import os
import re
from collections.abc import Coroutine
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import krakpot
from krakpot.errors import ConfigError, KeyInUse, StorageError, Unreconciled
from krakpot.exchange.account import PERMISSIONS
from krakpot.net.rest import RestError
from krakpot.trade import client, journal, key, signed
from krakpot.trade.nonces import Nonces
from living import PAIR, Once, Quote, explained, limits, live, reached, server, started, truth

FAR = Decimal(50_000)
LOW = Decimal(40_000)


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nonces of each test are its own; what is waited for at Kraken is short."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(client, "LAG", 1.0)
    monkeypatch.setattr(client, "LIMIT", 8.0)
    monkeypatch.setattr(client, "REPORTS_WAIT", 2.0)


def run(work: Coroutine[Any, Any, None], seconds: float = 60) -> None:
    """Run a test."""
    asyncio.run(asyncio.wait_for(work, seconds))


def rest(m: krakpot.Market) -> list[Any]:
    """Two orders that nobody fills."""
    return [m.buy(PAIR, "0.001", price, post_only=True) for price in (FAR, LOW)]


def resting() -> Once:
    """A strategy with two orders at the exchange."""
    return Once(rest, ends=False)


def are_open(strategy: Once) -> bool:
    """Whether the exchange has told of both."""
    return bool(strategy.orders) and all(order.state == "open" for order in strategy.orders)


def private(exchange: krakpot.ExchangeServer) -> int:
    """Number of the private connection: the newest one."""
    return max(one.number for one in exchange.clients if one.number is not None)


async def again(one: Any, task: asyncio.Task[Any]) -> None:
    """The private connection is cut, and own orders are known again."""
    before = one.client._connection
    before.abort()
    await reached(lambda: one.client._connection not in {None, before}, task)
    await reached(lambda: one.client._account.phase == "ready", task)


# Keys.


def refused(folder: Path, kind: type[Exception], words: str, **options: Any) -> None:
    """The start fails so, and nothing was sent."""

    async def test() -> None:
        async with server() as exchange:
            account = live(folder, exchange, **options)
            with pytest.raises(kind, match=words):
                await krakpot.run_async(resting(), exchange, account, until="5s")
            assert truth(exchange, "closed") == truth(exchange) == []

    run(test())


def test_a_key_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    """The sentence says what to run."""

    async def test() -> None:
        async with server() as exchange:
            account = live(tmp_path, exchange)
            account.key_file.chmod(0o640)
            with pytest.raises(
                ConfigError, match=r"others could read or change the key file \(mode 0640\); run `chmod"
            ):
                await krakpot.run_async(resting(), exchange, account)

    run(test())


def test_a_key_file_in_a_git_work_tree_is_refused(tmp_path: Path) -> None:
    """One `git add` would publish it."""

    async def test() -> None:
        async with server() as exchange:
            account = live(tmp_path, exchange)
            (tmp_path / ".git").mkdir()
            with pytest.raises(ConfigError, match="inside a git work tree"):
                await krakpot.run_async(resting(), exchange, account)

    run(test())


@pytest.mark.parametrize(
    ("permissions", "words"),
    [
        ((*PERMISSIONS, "withdraw-funds"), "the key may send money away"),
        (tuple(one for one in PERMISSIONS if one != "modify-trades"), "lacks the permission modify-trades"),
    ],
)
def test_a_key_that_may_too_much_or_too_little_is_refused(
    tmp_path: Path, permissions: tuple[str, ...], words: str
) -> None:
    """Before anything is sent."""

    async def test() -> None:
        async with server() as exchange:
            account = live(tmp_path, exchange)
            exchange._answers.access[exchange.key.name].permissions = permissions
            with pytest.raises(ConfigError, match=words):
                await krakpot.run_async(resting(), exchange, account)
            assert not (tmp_path / "journal").exists()

    run(test())


def test_a_key_in_use_is_refused(tmp_path: Path) -> None:
    """Two processes would use each other's nonces."""

    async def test() -> None:
        async with server() as exchange:
            account = live(tmp_path, exchange)
            with Nonces(key.load(account.key_file).id), pytest.raises(KeyInUse):
                await krakpot.run_async(resting(), exchange, account)

    run(test())


def test_a_journal_in_use_is_refused(tmp_path: Path) -> None:
    """Two strategies with one journal would take each other's numbers."""
    with journal.Journal(tmp_path / "journal", prefix="Once0000"):
        refused(tmp_path, StorageError, "another process writes this journal")


def test_a_damaged_journal_is_refused(tmp_path: Path) -> None:
    """Nothing is traded on what may be wrong."""
    (tmp_path / "journal").write_bytes(b"0123 {}\n")
    refused(tmp_path, StorageError, "row 0 of the journal, at byte 0, is damaged")


# Handlers.


@pytest.mark.parametrize("where", ["book", "order", "timer", "start"])
def test_an_exception_of_a_handler(tmp_path: Path, where: str) -> None:
    """Own orders are cancelled, the journal is closed, and then it is raised, from wherever the handler was called."""

    class Bad(Once):
        def start(self, m: krakpot.Market) -> None:
            if where == "start":
                raise KeyError(where)

        def book(self, m: krakpot.Market, e: Any) -> None:
            super().book(m, e)
            if self.done and where == "timer":
                m.after("10ms")
            if where == "book" and are_open(self):
                raise KeyError(where)

        def order(self, m: krakpot.Market, e: Any) -> None:
            if where == "order" and are_open(self):
                raise KeyError(where)

        def timer(self, m: krakpot.Market, e: Any) -> None:
            if are_open(self):
                raise KeyError(where)

    async def test() -> None:
        async with server() as exchange:
            with pytest.raises(KeyError, match=where) as caught:
                await krakpot.run_async(Bad(rest, ends=False), exchange, live(tmp_path, exchange))
            assert f"in the handler {where}" in caught.value.__notes__[0]
            assert truth(exchange) == []
            assert len(truth(exchange, "closed")) == (0 if where == "start" else 2)

    run(test())
    assert explained(tmp_path).open == ()
    assert journal.read(tmp_path / "journal")[-1].kind == "end"


def test_an_exception_while_orders_are_looked_up(tmp_path: Path) -> None:
    """REST tells what became of an order, and the handler that hears it raises: that is no fault of REST."""

    class Bad(Once):
        def order(self, m: krakpot.Market, e: Any) -> None:
            if e.order.state not in {"open", "pending", "sent"}:
                raise ValueError(e.order.state)

    strategy = Bad(rest, ends=False)

    async def test() -> None:
        async with server() as exchange, started(tmp_path, strategy, exchange) as (one, task):
            await reached(lambda: are_open(strategy), task)
            gone = strategy.orders[0]
            assert one.client is not None
            one.client._connection.abort()
            # Nobody hears of it: it is found by the comparison.
            await one.client._signed.ask("CancelOrder", txid=gone.order_id)
            with pytest.raises(ValueError, match="canceled"):
                await asyncio.wait_for(task, 20)
            assert truth(exchange) == []

    run(test())


def test_a_strategy_that_is_halted_by_its_error(tmp_path: Path) -> None:
    """The run goes on without it, own orders are cancelled, and the result has the error."""

    class Bad(Once):
        def order(self, m: krakpot.Market, e: Any) -> None:
            if are_open(self):
                raise KeyError("first")

    strategy = Bad(rest, ends=False)

    async def test() -> None:
        async with server() as exchange, started(tmp_path, strategy, exchange, on_error="halt") as (one, task):
            await reached(lambda: len(truth(exchange, "closed")) == 2, task)
            assert not task.done()
            one.end("enough")
            (result,) = await task
            assert "first" in str(result.error)

    run(test())
    assert explained(tmp_path).open == ()


# The private socket.


def test_the_private_connection_is_cut(tmp_path: Path) -> None:
    """Orders are refused meanwhile; a cancel waits; all is known again after a new connection, and orders go."""
    strategy = resting()

    async def test() -> None:
        async with server() as exchange, started(tmp_path, strategy, exchange) as (one, task):
            await reached(lambda: are_open(strategy), task)
            (market,) = one.markets
            exchange.inject("handshake,for=3s")
            exchange.inject(f"cut,connection={private(exchange)}")
            assert one.client is not None
            account = one.client._account
            await reached(lambda: account.phase == "down", task)
            order = market.buy(PAIR, "0.001", FAR, post_only=True)
            assert (order.state, str(order.reason)) == (
                "rejected", "krakpot:account: the private connection is down; only cancels wait for it"
            )  # fmt: skip
            market.cancel(strategy.orders[0])
            await reached(lambda: strategy.orders[0].state == "canceled", task)
            assert [row["id"] for row in truth(exchange)] == [strategy.orders[1].order_id]
            await reached(lambda: account.phase == "ready", task)
            again = market.buy(PAIR, "0.001", FAR, post_only=True)
            await reached(lambda: again.state == "open", task)
        assert truth(exchange) == []

    run(test())
    assert explained(tmp_path).open == ()


def test_a_half_open_private_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Silence is noticed, and the connection is made anew."""
    monkeypatch.setattr("krakpot.net.connection.DEAD_AFTER", 2.0)
    monkeypatch.setattr("krakpot.net.connection.PING_AFTER", 1.0)
    strategy = resting()

    async def test() -> None:
        async with server() as exchange, started(tmp_path, strategy, exchange) as (one, task):
            await reached(lambda: are_open(strategy), task)
            exchange.inject(f"half_open,connection={private(exchange)}")
            assert one.client is not None
            before = one.client._connection
            await reached(lambda: one.client._connection not in {None, before}, task)
            await reached(lambda: one.client._account.phase == "ready", task)
            assert are_open(strategy)

    run(test())


def test_the_start_cannot_be_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No snapshot comes: the start fails in time, with what is missing."""
    monkeypatch.setattr(client, "LIMIT", 2.0)

    async def test() -> None:
        async with server(faults=["drop,channel=executions"]) as exchange:
            with pytest.raises(Unreconciled, match="sent no snapshot of the account"):
                await asyncio.wait_for(krakpot.run_async(resting(), exchange, live(tmp_path, exchange)), 10)

    run(test())


def test_a_later_comparison_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The strategy is halted, its orders are cancelled, and the run goes on until somebody ends it."""
    monkeypatch.setattr(client, "LIMIT", 3.0)
    strategy = resting()

    async def test() -> None:
        async with server() as exchange, started(tmp_path, strategy, exchange) as (one, task):
            await reached(lambda: are_open(strategy), task)
            exchange.inject("drop,channel=executions")
            exchange.inject(f"cut,connection={private(exchange)}")
            reason = await reached(lambda: one.core.halted(0), task)
            assert reason.startswith("krakpot:unreconciled: the exchange sent no snapshot")
            await reached(lambda: truth(exchange) == [], task)
            assert not task.done()
            (market,) = one.markets
            assert market.buy(PAIR, "0.001", FAR).state == "rejected"

    run(test())


def test_a_connection_that_never_lasts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each connection is cut before own orders are known: in the end the strategy is halted, and its orders go."""
    monkeypatch.setattr(client, "LIMIT", 3.0)
    strategy = resting()

    async def test() -> None:
        async with server() as exchange, started(tmp_path, strategy, exchange) as (one, task):
            await reached(lambda: are_open(strategy), task)
            exchange.inject("drop,channel=executions")
            exchange.inject("cut=every:1s")
            await reached(lambda: one.core.halted(0), task, 30)
            assert "were not compared with the exchange" in one.core.halted(0)
            exchange.exchange.clear_faults()
            await reached(lambda: truth(exchange) == [], task)

    run(test())


# REST.


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("nonce", "another program uses this API key"), ("lockout", "Kraken locked the API key for a while"),
    ],
)  # fmt: skip
def test_rest_refuses_the_start(tmp_path: Path, fault: str, words: str) -> None:
    """With Kraken's words and what they mean."""

    async def test() -> None:
        async with server(faults=[fault]) as exchange:
            with pytest.raises(RestError, match=words):
                await krakpot.run_async(resting(), exchange, live(tmp_path, exchange))

    run(test())


def test_a_lockout_is_waited_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each request would begin the time anew, so none is sent; then the account is known again."""
    monkeypatch.setattr(signed, "LOCKOUT", 3.0)
    strategy = resting()

    async def test() -> None:
        async with server() as exchange, started(tmp_path, strategy, exchange) as (one, task):
            await reached(lambda: are_open(strategy), task)
            exchange.inject("lockout=once,by=2s")
            exchange.inject(f"cut,connection={private(exchange)}")
            assert one.client is not None
            await reached(lambda: one.client._account.phase == "down", task)
            await reached(lambda: one.client._account.phase == "ready", task)
            assert sum(fault["name"] == "lockout" for fault in exchange.injected) == 1
            assert are_open(strategy)

    run(test())


@pytest.mark.parametrize("answer", [{}, {"closed": []}, {"closed": {"X": 1}}, {"closed": {"X": {"descr": {}}}}])
def test_an_answer_that_is_none_is_no_evidence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: Any) -> None:
    """An order of an earlier run has ended, and REST answers nonsense: it is not thought dead, but asked again."""
    nonsense = [answer] * 2
    (tmp_path / "other").mkdir()

    async def test() -> None:
        async with server() as exchange:
            async with started(tmp_path / "other", resting(), exchange, prefix="other000") as (one, task):
                await reached(lambda: one.client is not None and one.client.started, task)
                await add(one, "Once00000000000007")
                await one.client._signed.ask("CancelOrder", cl_ord_id="Once00000000000007")
            with journal.Journal(tmp_path / "journal", prefix="Once0000") as earlier:
                earlier.intent(
                    "add", 7, "Once00000000000007", symbol=PAIR, side="buy", qty="0.001", price=str(FAR), deadline=0
                )
            plain = signed.Signed.ask

            async def garbage(self: Any, method: str, **fields: object) -> dict[str, Any]:
                if method == "ClosedOrders" and nonsense:
                    wrong: dict[str, Any] = nonsense.pop()
                    return wrong
                result: dict[str, Any] = await plain(self, method, **fields)
                return result

            monkeypatch.setattr(signed.Signed, "ask", garbage)
            async with started(tmp_path, Once(rest), exchange) as (one, task):
                await reached(lambda: one.client is not None and one.client.started, task)
            assert nonsense == []
            (found,) = [row for row in journal.read(tmp_path / "journal") if row.facts.get("order") == 7][1:]
            assert (found.kind, found.facts["ended"]) == ("report", "canceled")

    run(test())
    assert explained(tmp_path).open == ()


def test_a_token_of_nonsense(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A token that no request can carry is an answer that cannot be read; later it is asked for again."""
    strategy = resting()
    tokens: list[Any] = ["", "with space", "ünicode", 7, None]

    async def test() -> None:
        async with server() as exchange, started(tmp_path, strategy, exchange) as (one, task):
            await reached(lambda: are_open(strategy), task)
            assert one.client is not None
            ask = one.client._signed.ask

            async def garbage(method: str, **fields: object) -> dict[str, Any]:
                if method == "GetWebSocketsToken" and tokens:
                    return {"token": tokens.pop()}
                result: dict[str, Any] = await ask(method, **fields)
                return result

            monkeypatch.setattr(one.client._signed, "ask", garbage)
            exchange.inject(f"cut,connection={private(exchange)}")
            await reached(lambda: not tokens and one.client._account.phase == "ready", task)
            assert are_open(strategy)

    run(test())


def test_a_refused_token(tmp_path: Path) -> None:
    """The connection is made anew, with another one."""
    strategy = resting()

    async def test() -> None:
        async with (
            server(faults=["token_refused=once"]) as exchange,
            started(tmp_path, strategy, exchange) as (_, task),
        ):
            await reached(lambda: are_open(strategy), task)

    run(test())
    assert explained(tmp_path).open == ()


# The disk.


@pytest.mark.parametrize("call", ["pwrite", "fsync"])
def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    """No order leaves that the journal does not have; own orders are cancelled all the same."""
    strategy = resting()

    async def test() -> None:
        async with server() as exchange, started(tmp_path, strategy, exchange) as (one, task):
            await reached(lambda: are_open(strategy), task)
            (market,) = one.markets

            def full(*_: object) -> int:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

            with monkeypatch.context() as patch:
                patch.setattr(os, call, full)
                market.buy(PAIR, "0.001", FAR, post_only=True)
                await reached(lambda: one.core.halted(0), task)
                assert "the disk is full" in one.core.halted(0)
                await reached(lambda: truth(exchange) == [], task)
            assert len(truth(exchange, "closed")) == 2, "the third was never sent"
            assert market.buy(PAIR, "0.001", FAR).state == "rejected", "also when there is room again"
            await asyncio.sleep(0.5)
            assert len(truth(exchange, "closed")) == 2

    run(test())
    explained(tmp_path)


def test_a_journal_that_is_removed(tmp_path: Path) -> None:
    """Rows that nobody can read are none."""
    strategy = resting()

    async def test() -> None:
        async with server() as exchange, started(tmp_path, strategy, exchange) as (one, task):
            await reached(lambda: are_open(strategy), task)
            (tmp_path / "journal").unlink()
            (market,) = one.markets
            market.buy(PAIR, "0.001", FAR, post_only=True)
            await reached(lambda: one.core.halted(0), task)
            await reached(lambda: truth(exchange) == [], task)
            assert len(truth(exchange, "closed")) == 2

    run(test())


# The end.


def test_the_end_without_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cancels get no answer: after some seconds the client says which orders may be open, and closes once."""
    monkeypatch.setattr(client, "REPORTS_WAIT", 1.0)
    strategy = resting()

    async def test() -> None:
        async with server() as exchange, started(tmp_path, strategy, exchange) as (one, task):
            await reached(lambda: are_open(strategy), task)
            exchange.inject("lost_request,method=cancel*")
            ids = {order.order_id for order in strategy.orders}
            one.end("enough")
            (result,) = await asyncio.wait_for(task, 4)
            assert set(result.built.left) == ids
            assert {row["id"] for row in truth(exchange)} == ids

    run(test())
    assert len(explained(tmp_path).open) == 2


def test_close_may_leave_orders_open(tmp_path: Path) -> None:
    """For a program that is started again at once."""
    strategy = resting()

    async def test() -> None:
        async with server() as exchange, started(tmp_path, strategy, exchange) as (one, task):
            await reached(lambda: are_open(strategy), task)
            assert one.client is not None
            await one.client.close(cancel=False)
            assert set(one.client.left) == {order.order_id for order in strategy.orders}
            assert len(truth(exchange)) == 2
            await one.client.close()
            assert len(truth(exchange)) == 2

    run(test())


# Limits that end it.


def test_a_loss_ends_the_run(tmp_path: Path) -> None:
    """More than may be lost: own orders are cancelled, and the error has the result."""

    class Loser(Quote):
        def book(self, m: krakpot.Market, e: Any) -> None:
            if m.trading and self.most:
                self.most -= 1
                m.buy(PAIR, "0.01", 80_000)
                m.buy(PAIR, "0.001", FAR, post_only=True)

    async def test() -> None:
        async with server() as exchange:
            account = live(tmp_path, exchange, limits=limits(loss="0.5"))
            with pytest.raises(
                krakpot.LimitBreached, match="krakpot:loss: .* USD are lost; 0.5 USD are allowed"
            ) as told:
                await asyncio.wait_for(krakpot.run_async(Loser(most=3), exchange, account, until="20s"), 30)
            assert told.value.result.fills.height > 0
            assert truth(exchange) == []

    run(test())
    assert explained(tmp_path).open == ()


def test_a_wrong_clock_lets_nothing_but_cancels_through(tmp_path: Path) -> None:
    """The exchange's clock is five seconds off."""
    strategy = resting()

    async def test() -> None:
        async with (
            server(faults=["skew,by=5s"]) as exchange,
            started(tmp_path, strategy, exchange, limits=limits(clock="250ms")) as (one, task),
        ):
            await reached(lambda: one.client is not None and one.client.started, task)
            await asyncio.sleep(0.5)
            (market,) = one.markets
            assert not strategy.done
            order = market.buy(PAIR, "0.001", FAR)
            assert order.state == "rejected"
            assert re.match(r"krakpot:clock: the exchange's clock is (49|50).. ms from this one; 250 ms", order.reason)

    run(test())


# Others in the account.


async def add(one: Any, name: str, price: Decimal = FAR) -> None:
    """An order of somebody else, by REST."""
    await one.client._signed.ask(
        "AddOrder", pair="XBTUSD", type="buy", ordertype="limit", volume="0.001", price=str(price), cl_ord_id=name
    )


def test_orders_of_others_are_left_alone(tmp_path: Path) -> None:
    """An order with another prefix is neither taken over nor cancelled; the dead-man timer is off."""
    strategy = resting()

    async def test() -> None:
        async with server() as exchange, started(tmp_path, strategy, exchange, account="shared") as (one, task):
            await reached(lambda: are_open(strategy), task)
            await add(one, "other0000000000001")
            await again(one, task)
            assert len(one.client._account.foreign) == 1
            one.end("enough")
            (result,) = await task
            assert result.built.left == ()
            assert [row["cl_ord_id"] for row in truth(exchange)] == ["other0000000000001"]

    run(test())
    explained(tmp_path)


@pytest.mark.parametrize("account", ["shared", "exclusive"])
def test_fills_of_others(tmp_path: Path, account: Any) -> None:
    """In a shared account they count as if they came from outside, and a row says so; else nothing explains them."""
    strategy = resting()

    async def test() -> None:
        async with server() as exchange, started(tmp_path, strategy, exchange, account=account) as (one, task):
            await reached(lambda: are_open(strategy), task)
            total = one.markets[0].balance("BTC").total

            async def sell() -> None:
                await one.client._signed.ask("AddOrder", pair="XBTUSD", type="sell", ordertype="market", volume="0.01")

            await sell()
            if account == "shared":
                await reached(lambda: one.markets[0].balance("BTC").total == total - Decimal("0.01"), task)
                assert one.markets[0].balance("USD").total == Decimal(truth(exchange, "balances")["USD"][0])
            before = one.client._connection
            before.abort()
            await sell()
            await reached(lambda: one.client._connection not in {None, before}, task)
            await reached(lambda: one.client._account.phase == "ready", task)
            await reached(lambda: one.markets[0].balance("BTC").total == total - Decimal("0.02"), task)
            assert one.markets[0].inventory(PAIR).qty == 0

    run(test())
    audit = journal.audit(tmp_path / "journal")
    if account == "shared":
        assert audit.explained, audit.problems
        assert any(note.startswith("other programs of the account changed BTC by -0.02") for note in audit.notes)
    else:
        assert sorted(audit.unexplained) == ["BTC", "USD"]


@pytest.mark.parametrize("strangers", ["report", "adopt"])
def test_an_order_of_this_strategy_that_no_journal_has(tmp_path: Path, strangers: Any) -> None:
    """It fails the start with its name, or is taken over, and cancelled at the end like the others."""

    async def test() -> None:
        async with server() as exchange:
            async with started(tmp_path, resting(), exchange, account="shared") as (one, task):
                await reached(lambda: one.client is not None and one.client.started, task)
                await add(one, "Once00000000000007")
                await reached(lambda: len([row for row in truth(exchange) if row["cl_ord_id"].endswith("07")]) == 1)
            if strangers == "report":
                with pytest.raises(Unreconciled, match="Once00000000000007 of this strategy, and not in the journal"):
                    await krakpot.run_async(resting(), exchange, live(tmp_path, exchange))
                assert len(truth(exchange)) == 1
                return
            async with started(tmp_path, resting(), exchange, strangers="adopt") as (one, task):
                await reached(lambda: one.client is not None and one.client.started, task)
                assert [order.id for order in one.markets[0].orders()] == [7]
            assert truth(exchange) == []

    run(test())
    explained(tmp_path)


def test_a_pair_that_takes_no_orders(tmp_path: Path) -> None:
    """A status that it gets while the run goes on refuses orders here, in Kraken's words; when it is over they go."""
    strategy = resting()

    async def test() -> None:
        async with server() as exchange, started(tmp_path, strategy, exchange) as (one, task):
            await reached(lambda: are_open(strategy), task)
            (market,) = one.markets
            await reached(lambda: market.pair(PAIR).status == "online", task)
            exchange.inject("instrument=once,by=2s")
            status = await reached(lambda: {market.pair(PAIR).status} - {"online"}, task)
            refused = market.sell(PAIR, "0.001")
            assert refused.state == "rejected", "nothing was sent"
            assert refused.reason in {"EService:Unavailable", *(f"EService:Market in {word} mode" for word in status)}
            assert are_open(strategy)
            await reached(lambda: market.pair(PAIR).status == "online", task)
            sold = market.sell(PAIR, "0.001")
            await reached(lambda: sold.state == "filled", task)

    run(test())
    assert explained(tmp_path).open == ()


def test_two_pairs(tmp_path: Path) -> None:
    """Each with its own orders; all are gone afterwards, and the balances are explained."""

    async def test() -> None:
        async with server(pairs=2) as exchange:
            account = live(tmp_path, exchange, limits=limits(inventory={"BTC": 10, "ETH": 10}))
            result = await krakpot.run_async(Quote(qty="0.01"), exchange, account, until="4s")
            assert isinstance(result, krakpot.Result)
            assert set(result.orders["symbol"]) == {"BTC/USD", "ETH/USD"}
            assert truth(exchange) == []

    run(test())
    assert explained(tmp_path).open == ()


def test_a_feed_of_level_2(tmp_path: Path) -> None:
    """Without level 3 money trades as well: nothing is simulated."""

    async def test() -> None:
        async with server() as exchange:
            feed = krakpot.Feed(
                [PAIR], channels=["book", "trade"], url=exchange.address, rest_url=exchange.rest_address
            )
            account = live(tmp_path, exchange, url=exchange.private_address, rest_url=exchange.rest_address)
            result = await krakpot.run_async(Quote(), feed, account, until="3s")
            assert isinstance(result, krakpot.Result)
            assert result.fills.height > 0
            assert truth(exchange) == []

    run(test())
    assert explained(tmp_path).open == ()
