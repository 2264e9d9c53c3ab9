"""An account by signed REST: what is read, how a kill goes on and ends, with answers that were written down."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from krakpot.net.rest import Public, RestError
from krakpot.trade.account import (
    LAG,
    NONCES_MAX,
    PATIENCE,
    Killed,
    asset_name,
    balances,
    kill,
    open_orders,
    system,
)
from krakpot.trade.key import Key, Secret
from krakpot.trade.nonces import Nonces
from krakpot.trade.signed import Signed
from waiting import run

KEY = Key("nameOfAKey", Secret("c2VjcmV0"), "test", "main")
URL = "http://127.0.0.1:9"
ORDER: dict[str, Any] = {
    "opentm": 1000.5, "vol": "1.25000000", "vol_exec": "0.10000000", "cl_ord_id": "makerBTC0000000011",
    "descr": {"pair": "XBTUSD", "type": "buy", "ordertype": "limit", "price": "30010.0", "price2": "0"},
}  # fmt: skip
NONE: dict[str, Any] = {"open": {}}


class Scripted(Signed):
    """Answers what was written down: results, or errors that are raised."""

    def __init__(self, folder: Path, **answers: list[Any]) -> None:
        super().__init__(URL, KEY, Nonces(KEY.id, folder))
        self.answers = answers
        self.asked: list[str] = []

    async def ask(self, method: str, **_fields: object) -> dict[str, Any]:
        """The next answer; the last one again and again."""
        self.asked.append(method)
        answers = self.answers[method]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        return dict(answer)

    def close(self) -> None:
        """Free the key."""
        self._nonces.close()


class Market(Public):
    """Public data that was written down."""

    def __init__(self, **answers: Any) -> None:
        super().__init__(URL)
        self.answers: dict[str, Any] = {
            "Time": {"unixtime": 1010},
            "AssetPairs": {"XXBTZUSD": {"altname": "XBTUSD", "wsname": "XBT/USD"}},
        } | answers

    async def get(self, name: str, **_parameters: object) -> dict[str, Any]:
        """The answer."""
        answer = self.answers[name]
        if isinstance(answer, Exception):
            raise answer
        return dict(answer)


def error(words: str = "", *, lasting: bool = False, wait: float = 0.0) -> RestError:
    """An error of REST."""
    return RestError(f"REST: {words or 'no answer'}", lasting=lasting, wait=wait, words=words)


BUSY, DENIED = error("EService:Unavailable"), error("EGeneral:Permission denied", lasting=True)


def killed(
    folder: Path, cancels: list[Any], looks: list[Any], patience: float = PATIENCE
) -> tuple[Any, list[str], Any]:
    """What a kill came to, what it said, and its requests with the seconds that it waited between them."""
    said: list[str] = []
    now = 0.0
    signed = Scripted(folder, CancelAll=cancels, OpenOrders=looks)

    async def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    async def test() -> Killed:
        return await kill(signed, said.append, patience=patience, sleep=sleep, clock=lambda: now)

    found: Any = None

    async def both() -> None:
        nonlocal found
        try:
            found = await test()
        except RestError as raised:
            found = raised

    run(both())
    signed.close()
    return found, said, (signed.asked, now)


def shown(*names: str) -> dict[str, Any]:
    """An answer of OpenOrders."""
    return {"open": dict.fromkeys(names, ORDER)}


def test_all_are_gone_at_once(tmp_path: Path) -> None:
    """The cancel goes first; a second one, which finds none, proves it; nothing is waited for, nothing is said."""
    found, said, (asked, now) = killed(tmp_path, [{"count": 3}, {"count": 0}], [NONE])
    assert found == Killed(3, (), gone=True, looked=True)
    assert asked == ["CancelAll", "OpenOrders"] * 2
    assert (said, now) == ([], 0.0)


def test_nothing_was_open(tmp_path: Path) -> None:
    """One cancel and one look."""
    found, _, (asked, _) = killed(tmp_path, [{"count": 0}], [NONE])
    assert (found.gone, found.cancelled, asked) == (True, 0, ["CancelAll", "OpenOrders"])


def test_orders_that_are_placed_meanwhile_are_cancelled_too(tmp_path: Path) -> None:
    """A program that still runs loses against a kill only once it stops; if it does not, that is said."""
    cancels = [{"count": one} for one in (2, 1, 1, 0)]
    found, _, _ = killed(tmp_path, cancels, [NONE])
    assert (found.gone, found.cancelled) == (True, 4)
    found, said, (_, now) = killed(tmp_path, [{"count": 1}], [NONE])
    assert (found.gone, found.left, found.why) == (False, (), "new orders were placed all the while")
    assert PATIENCE - 5 <= now <= PATIENCE
    assert said == []


def test_late_rest_is_waited_for(tmp_path: Path) -> None:
    """For longer than REST may be late; it is said once; then the ids that are left are told."""
    found, said, (_, now) = killed(tmp_path, [{"count": 2}, {"count": 0}], [shown("O1", "O2")] * 5 + [NONE])
    assert found == Killed(2, (), gone=True, looked=True)
    assert len(said) == 1
    assert said[0].startswith("2 orders are still shown as open; REST may show orders for up to 60 s")
    found, said, (asked, now) = killed(tmp_path, [{"count": 2}, {"count": 0}], [shown("O1", "O2"), shown("O2")])
    assert (found.gone, found.left, found.cancelled, found.why) == (False, ("O2",), 2, "")
    assert LAG < now <= PATIENCE
    assert len(said) == 2
    assert asked.count("OpenOrders") < 25, "no tier of Kraken refuses that many looks"


def test_trouble_is_tried_again(tmp_path: Path) -> None:
    """A busy exchange, a lost answer, too many looks: cancels may always be sent again."""
    found, said, (_, now) = killed(tmp_path, [error(wait=7.0), BUSY, {"count": 2}, {"count": 0}], [BUSY, NONE])
    assert (found.gone, found.cancelled) == (True, 2)
    assert now >= 7.0
    assert len(said) == 2, "once for each reason"
    assert all("trying again, for" in sentence for sentence in said)
    found, _, (asked, now) = killed(tmp_path, [BUSY], [NONE])
    assert found is BUSY
    assert "OpenOrders" not in asked
    assert now > LAG
    found, _, _ = killed(tmp_path, [{"count": 2}, {"count": 0}], [BUSY])
    assert (found.gone, found.cancelled, found.why) == (False, 2, str(BUSY))


@pytest.mark.parametrize(
    "refusal",
    [DENIED, error("EGeneral:Temporary lockout"), error("EAPI:Invalid key", lasting=True)],
)
def test_what_trying_again_cannot_help(tmp_path: Path, refusal: RestError) -> None:
    """It is raised at once; after a cancel that was answered, what is known is told."""
    found, _, (asked, now) = killed(tmp_path, [refusal], [NONE])
    assert (found, asked, now) == (refusal, ["CancelAll"], 0.0)
    found, _, (asked, _) = killed(tmp_path, [{"count": 2}, refusal], [shown("O1")])
    assert (found.gone, found.left, found.why) == (False, ("O1",), str(refusal))
    assert asked == ["CancelAll", "OpenOrders", "CancelAll"]


def test_nonces_of_another_machine(tmp_path: Path) -> None:
    """A few that are refused are waited for; many would lock the key."""
    refused = error("EAPI:Invalid nonce", lasting=True)
    found, _, _ = killed(tmp_path, [refused] * 3 + [{"count": 1}, {"count": 0}], [NONE])
    assert (found.gone, found.cancelled) == (True, 1)
    found, _, (asked, now) = killed(tmp_path, [refused], [NONE])
    assert (found, asked) == (refused, ["CancelAll"] * NONCES_MAX)
    assert 0 < now < LAG


def test_a_key_that_may_not_look(tmp_path: Path) -> None:
    """It does not look again; a cancel that found none is the proof."""
    found, said, (asked, now) = killed(tmp_path, [{"count": 3}, {"count": 0}], [DENIED])
    assert found == Killed(3, (), gone=True, looked=False)
    assert (asked, said, now) == (["CancelAll", "OpenOrders", "CancelAll"], [], 0.0)


@pytest.mark.parametrize("answer", [{}, {"count": "3"}, {"count": None}])
def test_answers_of_a_cancel_that_cannot_be_read(tmp_path: Path, answer: dict[str, Any]) -> None:
    """They prove nothing."""
    found, _, _ = killed(tmp_path, [answer], [NONE])
    assert isinstance(found, RestError)
    assert "the answer is not what Kraken documents" in str(found)


def listed(folder: Path, answer: dict[str, Any], market: Market | None = None) -> tuple[Any, list[str]]:
    """The open orders of an answer, or the error; and what was said."""
    signed = Scripted(folder, OpenOrders=[answer], BalanceEx=[answer])
    said: list[str] = []
    found: Any = None

    async def test() -> None:
        nonlocal found
        try:
            found = await open_orders(signed, market or Market(), said.append)
        except RestError as raised:
            found = raised

    run(test())
    signed.close()
    return found, said


def test_orders_are_read(tmp_path: Path) -> None:
    """Digits stay as they are; a name of a strategy has its prefix; the oldest comes first."""
    young = ORDER | {"opentm": 1009.0, "cl_ord_id": None}
    found, said = listed(tmp_path, {"open": {"young": young, "old": ORDER}})
    old, new = found
    assert (old.id, old.symbol, old.qty, old.filled, old.price) == (
        "old", "BTC/USD", "1.25000000", "0.10000000", "30010.0",
    )  # fmt: skip
    assert (old.price2, old.age, old.prefix, new.age, new.prefix, new.cl_ord_id) == (
        None, 9.5, "makerBTC", 1.0, None, None,
    )  # fmt: skip
    assert said == []
    assert listed(tmp_path, NONE, Market(Time=BUSY)) == ([], [])


@pytest.mark.parametrize(
    ("name", "prefix"),
    [
        ("makerBTC0000000011", "makerBTC"),
        ("makerBTC000000001", None),
        ("makerBTC000000001i", None),
        ("maker-BT0000000011", None),
        ("3e2f0e3c-6a51-4b0e-9f5a-000000000000", None),
        ("\x1b[2Jevil", None),
        ("", None),
    ],
)
def test_whose_an_order_is(tmp_path: Path, name: str, prefix: str | None) -> None:
    """Only the exact form is a strategy's; what a terminal would obey is not shown."""
    found, _ = listed(tmp_path, {"open": {"O1": ORDER | {"cl_ord_id": name}}})
    assert found[0].prefix == prefix
    assert found[0].cl_ord_id.isprintable()


def test_pairs_without_a_name(tmp_path: Path) -> None:
    """They keep REST's, and it is said why."""
    found, said = listed(tmp_path, {"open": {"O1": ORDER}}, Market(AssetPairs=error("EQuery:Unknown asset pair")))
    assert found[0].symbol == "XBTUSD"
    assert said == ["the names of pairs are those of REST: REST: EQuery:Unknown asset pair"]


def changed(change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    """An answer with one order that was changed."""
    order = copy.deepcopy(ORDER)
    change(order)
    return {"open": {"O1": order}}


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"open": []},
        {"open": {"O1": 1}},
        changed(lambda order: order.pop("descr")),
        changed(lambda order: order.update(descr="buy")),
        changed(lambda order: order.update(vol="much")),
        changed(lambda order: order.update(vol="NaN")),
        changed(lambda order: order.update(opentm=None)),
        changed(lambda order: order["descr"].pop("price")),
        changed(lambda order: order["descr"].update(price=[])),
    ],
)
def test_orders_that_cannot_be_read(tmp_path: Path, answer: dict[str, Any]) -> None:
    """One sentence, no traceback."""
    found, _ = listed(tmp_path, answer)
    assert isinstance(found, RestError)
    assert "REST OpenOrders: the answer is not what Kraken documents" in str(found)


@pytest.mark.parametrize(
    ("name", "feed"),
    [
        ("XXBT", "BTC"), ("ZUSD", "USD"), ("XBT.B", "BTC.B"), ("ZUSD.F", "USD.F"), ("XXDG", "DOGE"), ("SOL", "SOL"),
        ("XTZ", "XTZ"), ("ZRX", "ZRX"), ("ETH2.S", "ETH2.S"),
    ],
)  # fmt: skip
def test_names_of_assets(name: str, feed: str) -> None:
    """Old names of REST become those of the feed; others stay."""
    assert asset_name(name) == feed


def test_balances_and_the_state_of_the_exchange(tmp_path: Path) -> None:
    """Digits stay; what cannot be read is one sentence."""
    good = {"ZUSD": {"balance": "10.0000", "hold_trade": "0.5000"}, "XXBT": {"balance": "1E-10"}}
    signed = Scripted(tmp_path, BalanceEx=[good, {"ZUSD": "1"}, {"ZUSD": {"balance": "x"}}])

    async def test() -> None:
        found = await balances(signed)
        assert list(found) == ["BTC", "USD"]
        assert found["USD"].to_dict() == {"total": "10.0000", "held": "0.5000", "free": "9.5000"}
        assert found["BTC"].free == "0.0000000001"
        for _ in range(2):
            with pytest.raises(RestError, match="REST BalanceEx: the answer is not what Kraken documents"):
                await balances(signed)
        word, meaning = await system(signed, Market(SystemStatus={"status": "maintenance"}))
        assert (word, meaning) == ("maintenance", "nothing is taken, not even cancels")
        assert (await system(signed, Market(SystemStatus={"status": "new"})))[1] == "a state that krakpot does not know"
        with pytest.raises(RestError, match="not what Kraken documents"):
            await system(signed, Market(SystemStatus={}))

    run(test())
    signed.close()
