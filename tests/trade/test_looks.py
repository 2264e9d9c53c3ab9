"""Questions to REST: within Kraken's counter, with pauses after failures, and nothing that was read is lost."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

import krakpot
from krakpot.net.rest import RestError
from krakpot.trade import client, journal, looks
from krakpot.trade.looks import PAGE, Looks
from krakpot.trade.signed import COUNTERS, Counter
from living import PAIR, Once, explained, live, reached, server, started

SECOND = 10**9
Answer = dict[str, Any]


class World:
    """An account at an exchange whose REST counts as Kraken says of the lowest tier, in virtual time."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.counter = Counter()
        self.asked: list[tuple[float, str, dict[str, Any]]] = []
        self.errors: list[RestError] = []
        """What is answered first, last one first."""
        self.closed: dict[str, Answer] = {}
        self.trades: dict[str, Answer] = {}
        self.used, self.highest = 0.0, 0.0
        self.at = self.now

    async def ask(self, method: str, **fields: Any) -> Answer:
        await asyncio.sleep(0)
        self.counter.add(method, self.now)
        most, decay = COUNTERS[60]
        self.used = max(0.0, self.used - (self.now - self.at) * decay) + (4 if method == "TradesHistory" else 1)
        self.at, self.highest = self.now, max(self.highest, self.used)
        assert self.used <= most + 1e-6, f"Kraken refuses {method}"
        self.asked.append((self.now, method, fields))
        if self.errors:
            raise self.errors.pop()
        begin = int(fields.get("ofs", 0))
        if method == "TradesHistory":
            return {"trades": dict(list(self.trades.items())[begin : begin + PAGE])}
        if method == "QueryOrders":
            return {}
        rows = [one for one in self.closed.items() if fields.get("cl_ord_id") in {None, one[1].get("cl_ord_id")}]
        return {"closed": dict(rows[begin : begin + PAGE])}

    def unreadable(self, method: str) -> RestError:
        return RestError(f"{method}: unreadable", lasting=True)

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


def order(name: str | None) -> Answer:
    """An ended order as REST shows it."""
    return {
        "cl_ord_id": name, "status": "canceled", "descr": {"price": "1.0", "price2": "0"}, "vol": "1.00",
        "vol_exec": "0", "opentm": 1.5, "closetm": 2.5, "reason": None,
    }  # fmt: skip


def trade() -> Answer:
    """A fill as REST shows it."""
    return {"ordertxid": "O1", "trade_id": 7, "vol": "1.0", "price": "2", "cost": "2", "fee": "0", "maker": True}


def made() -> tuple[World, Looks, list[str]]:
    """A world, and who asks it."""
    world, said = World(), list[str]()
    one: Any = world
    return world, Looks(one, said.append, sleep=world.sleep, clock=lambda: world.now), said


def run(work: Coroutine[Any, Any, Any]) -> Any:
    """What comes of it."""
    return asyncio.run(work)


def busy(wait: float = 0.0, *, lasting: bool = False) -> RestError:
    """A refusal."""
    return RestError("no", lasting=lasting, wait=wait)


def pauses(world: World) -> list[float]:
    """Seconds between the questions."""
    times = [at for at, *_ in world.asked]
    return [after - before for before, after in itertools.pairwise(times)]


def test_a_time_that_kraken_names_is_waited_for() -> None:
    """A lockout, or a `Retry-After`: nothing is asked before."""
    world, one, said = made()
    world.errors = [busy(3.0), busy(40.0), busy(900.0)]
    run(one.trades(0))
    waited = pauses(world)
    assert len(waited) == len(said) == 3
    assert all(named <= found <= named + 2 for named, found in zip((900, 40, 4), waited, strict=True)), waited


def test_pauses_grow() -> None:
    """After each failure in a row, up to half a minute; a success ends that. Other questions do not wait for it."""
    world, one, _ = made()
    world.errors = [busy() for _ in range(9)]
    run(one.trades(0))
    waited = pauses(world)
    assert all(wait <= found <= wait + 0.75 for wait, found in zip((1, 2, 4, 8, 16, 30, 30), waited, strict=False))
    before = world.now
    run(one.orders(["O1"]))
    assert world.now == before
    one.succeeded("TradesHistory")
    world.errors = [busy()]
    run(one.trades(0))
    assert 1 <= pauses(world)[-1] <= 13, "the pause is short again; the counter may ask for more"


@pytest.mark.parametrize("answer", [{}, {"trades": []}, {"trades": {"T": {"vol": "nan"}}}])
def test_what_cannot_be_read_is_asked_again_later(answer: Answer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller hears of it, and the next question waits."""
    world, one, _ = made()
    plain, wrong = world.ask, [answer] * 3

    async def ask(method: str, **fields: Any) -> Answer:
        found = await plain(method, **fields)
        return wrong.pop() if wrong else found

    monkeypatch.setattr(world, "ask", ask)

    async def all_of_it() -> None:
        for _ in range(3):
            with pytest.raises(RestError, match="unreadable"):
                await one.trades(0)
        assert await one.trades(0) == []

    run(all_of_it())
    assert [int(pause) for pause in pauses(world)] == [1, 2, 4]
    one.failed("TradesHistory")
    before = world.now
    run(one.trades(0))
    assert world.now - before >= 8, "what the answer says cannot be"


def test_pages_that_were_read_are_kept() -> None:
    """A page that fails is asked for again, not those before it; new rows meanwhile shift the others."""
    world, one, _ = made()
    world.trades = {f"T{n}": trade() for n in range(120)}
    plain = world.ask

    async def ask(method: str, **fields: Any) -> Answer:
        if fields["ofs"] == PAGE and not any(error.words for error in world.errors) and len(world.asked) == 1:
            world.errors = [busy(), busy(5.0)]
            world.trades = {f"N{n}": trade() for n in range(3)} | world.trades
        return await plain(method, **fields)

    world.ask = ask  # type: ignore[method-assign]  # that is the point
    found = {row[1] for row in run(one.trades(0))}
    assert found == {f"T{n}" for n in range(120)}
    assert [fields["ofs"] for _, _, fields in world.asked] == [0, PAGE, PAGE, PAGE, 2 * PAGE]


def test_two_hundred_orders_without_an_id() -> None:
    """They are read by the time in which they were made; Kraken's counter is not exceeded, however often they are."""
    world, one, _ = made()
    names = [f"maker{n:03}" for n in range(200)]
    world.closed = {f"O{n}": order(f"maker{n:03}" if n % 2 else None) for n in range(300)}
    asked, rows = run(one.closed(names, 5 * SECOND, 9 * SECOND))
    assert {row[0] for row in rows if row[0]} == set(names[1::2]) | {f"maker{n:03}" for n in range(201, 300, 2)}
    assert len(world.asked) == 7, "six pages, and one that ends them"
    assert world.asked[0][2] == {"start": "5.0000", "end": "9.0000", "closetime": "open", "ofs": 0}
    assert abs(asked - time.time_ns()) < 60 * SECOND

    async def at_once() -> None:
        await asyncio.gather(*(one.closed(names, 0, SECOND) for _ in range(5)), *(one.trades(0) for _ in range(5)))

    run(at_once())
    assert world.highest > COUNTERS[60][0] - 4, "it is used"


def test_few_names_among_many_orders_of_others() -> None:
    """Then their names are asked for, and not all pages; what is found in the first ones is not."""
    world, one, _ = made()
    world.closed = {f"O{n}": order(None) for n in range(5000)} | {"OX": order("b")}
    world.closed = {"OY": order("c")} | world.closed
    _, rows = run(one.closed(["a", "b", "c"], 0, SECOND))
    assert {(row[0], row[1]) for row in rows if row[0]} == {("b", "OX"), ("c", "OY")}
    assert [fields.get("ofs", fields.get("cl_ord_id")) for *_, fields in world.asked] == [0, PAGE, 2 * PAGE, "a", "b"]
    world.asked.clear()
    run(one.closed(["b"], 0, SECOND))
    assert [fields for *_, fields in world.asked] == [{"cl_ord_id": "b"}]


def test_the_counter_of_the_tier() -> None:
    """Requests that fill it wait, and Kraken's own word that it is full counts."""
    counter = Counter()
    for _ in range(3):
        assert counter.wait("TradesHistory", 0.0) == 0
        counter.add("TradesHistory", 0.0)
    assert counter.wait("TradesHistory", 0.0) == pytest.approx(1 / 0.33)
    assert counter.wait("CancelAll", 0.0) == 0
    counter.set_tier(180)
    assert counter.wait("TradesHistory", 0.0) == 0
    counter.fill(1.0)
    assert counter.wait("ClosedOrders", 1.0) == pytest.approx(1.0)
    assert counter.wait("ClosedOrders", 2.0) == pytest.approx(0.0)


@pytest.fixture
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nonces of the test are its own, and REST is not late."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(client, "LAG", 1.0)


@pytest.mark.usefixtures("quick")
def test_a_start_with_many_orders_without_an_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two hundred were written and maybe sent: a few questions tell what became of them."""
    asked: list[str] = []
    plain = looks.Looks._ask

    async def noted(self: Looks, method: str, read: Callable[[Any], Any], **fields: object) -> Any:
        asked.append(method)
        return await plain(self, method, read, **fields)

    async def test() -> None:
        async with server(account=["tier=starter"]) as exchange:
            (tmp_path / "other").mkdir()
            async with started(tmp_path / "other", Once(lambda _: [], ends=False), exchange, prefix="other000") as (
                one, task,
            ):  # fmt: skip
                await reached(lambda: one.client is not None and one.client.started, task)
                for n in range(5):
                    await one.client._signed.ask(
                        "AddOrder", pair="XBTUSD", type="buy", ordertype="limit", volume="0.001", price="50000",
                        oflags="post", cl_ord_id=f"Once000000000000{n:02}",
                    )  # fmt: skip
                await one.client._signed.ask("CancelAll")
            with journal.Journal(tmp_path / "journal", prefix="Once0000") as earlier:
                for n in range(200):
                    # By the exchange's clock, which is this machine's.
                    deadline = time.time_ns() - 3 * SECOND + n
                    earlier.intent(
                        "add", n, f"Once0000{n:010}", symbol=PAIR, side="buy", qty="0.001", price="50000",
                        deadline=deadline,
                    )  # fmt: skip
            monkeypatch.setattr(looks.Looks, "_ask", noted)
            begun = time.monotonic()
            result = await krakpot.run_async(Once(lambda _: []), exchange, live(tmp_path, exchange), until="30s")
            assert isinstance(result, krakpot.Result)
            assert time.monotonic() - begun < 25
            # By their names it would have been 200 requests each time; the counter allows 15 at once.
            assert 1 <= asked.count("ClosedOrders") <= 12, asked

    run(test())
    assert explained(tmp_path).open == ()
    ends = [row.facts["ended"] for row in journal.read(tmp_path / "journal") if row.facts.get("ended")]
    assert (ends.count("canceled"), ends.count("dead")) == (5, 195)
