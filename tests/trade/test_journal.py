"""The journal: rows are on disk before frames leave, chained, whole after a crash, and they explain the balances."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import pytest

from krakpot.errors import ConfigError, StorageError
from krakpot.trade import journal as module
from krakpot.trade.journal import FIRST, STORE_MAX, Journal, audit, read, sentences

TERMS: dict[str, Any] = {"symbol": "BTC/USD", "side": "buy", "qty": Decimal("0.50"), "price": Decimal("100.0")}


def opened(path: Path, **options: Any) -> Journal:
    """The journal of the strategy ``maker000``, with a clock that stands."""
    return Journal(path, prefix="maker000", clock=lambda: 1_000, **options)


def add(journal: Journal, order: int, **more: Any) -> None:
    """An order is asked for."""
    journal.intent("add", order, f"maker000{order:010}", **(TERMS | more))


def fill(journal: Journal, order: int, number: int, qty: str = "0.25", side: str = "buy", **more: Any) -> None:
    """An order is filled at 100."""
    cost = Decimal(qty) * 100
    facts = {
        "symbol": "BTC/USD",
        "side": side,
        "qty": Decimal(qty),
        "price": Decimal(100),
        "cost": cost,
        "at": 900 + number,
    }
    facts |= {"fees": {"USD": Decimal("0.04")}, "exec_id": f"T{number}"} | more
    journal.add("fill", order=order, **facts)


def story(path: Path) -> list[int]:
    """A journal of a few orders; where each commit ended."""
    ends = []
    with opened(path) as journal:
        ends.append(path.stat().st_size)
        journal.add("balances", totals={"BTC": Decimal("1.0"), "USD": Decimal(1000)})
        journal.commit()
        ends.append(path.stat().st_size)
        add(journal, 0)
        add(journal, 1, qty=Decimal(2))
        journal.commit()
        ends.append(path.stat().st_size)
        journal.add("answer", order=0, asked="add", order_id="OAAA", error="")
        fill(journal, 0, 1)
        journal.store({"level": 3, "note": "ä"})
        journal.commit()
        ends.append(path.stat().st_size)
        journal.add("report", order=1, change="canceled", ended="canceled")
        journal.commit()
        ends.append(path.stat().st_size)
    ends.append(path.stat().st_size)
    return ends


def refused(path: Path, words: str) -> str:
    """The sentence of a journal that cannot be opened; the file stays as it is."""
    data = path.read_bytes()
    with pytest.raises(StorageError, match=words) as caught:
        opened(path)
    assert path.read_bytes() == data
    return str(caught.value)


def test_what_was_written_is_known_again(tmp_path: Path) -> None:
    """Orders, fills, the strategy's state and the highest number come back; digits stay as they were."""
    path = tmp_path / "journal"
    story(path)
    assert path.stat().st_mode & 0o077 == 0
    rows = read(path)
    assert [row.number for row in rows] == list(range(len(rows)))
    assert (rows[2].facts["qty"], rows[2].facts["price"], rows[2].ts) == ("0.50", "100.0", 1_000)
    with opened(path) as journal:
        state = journal.state
        assert journal.clean
        assert (state.last_order, state.last_fill, state.torn) == (1, 901, 0)
        assert state.stored == {"level": 3, "note": "ä"}
        assert [intent.order for intent in state.open] == [0]
        assert (state.orders[0].order_id, state.orders[0].filled, state.orders[0].answered) == (
            "OAAA",
            Decimal("0.25"),
            True,
        )
        assert state.orders[1].ended == "canceled"
        fill(journal, 0, 1)
        assert state.orders[0].filled == Decimal("0.25"), "the same fill counts once"


def test_intents_are_on_disk_before_commit_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All collected rows are in one write and one sync; nothing is written before."""
    path = tmp_path / "journal"
    journal = opened(path)
    before = path.read_bytes()
    synced: list[bytes] = []
    writes: list[int] = []
    real_sync, real_write = os.fsync, os.pwrite

    def sync(handle: int) -> None:
        real_sync(handle)
        synced.append(path.read_bytes())

    def pwrite(handle: int, data: bytes, at: int) -> int:
        writes.append(len(data))
        return real_write(handle, data, at)

    monkeypatch.setattr("krakpot.trade.journal.os.fsync", sync)
    monkeypatch.setattr("krakpot.trade.journal.os.pwrite", pwrite)
    for order in range(20):
        add(journal, order)
    assert (path.read_bytes(), writes) == (before, [])
    journal.commit()
    assert (len(synced), len(writes)) == (1, 1)
    assert synced[0].count(b'"kind":"intent"') == 20
    journal.commit()
    assert len(synced) == 1, "nothing is new"
    loose = Journal(tmp_path / "loose", prefix="maker000", durable=False)
    synced.clear()
    add(loose, 0)
    loose.commit()
    assert not synced, "it was chosen"
    assert loose.path.read_bytes().count(b'"kind":"intent"') == 1


def test_a_crash_at_every_byte(tmp_path: Path) -> None:
    """Whatever length the file has, it is opened, has all whole rows, tells what was torn, and goes on from there."""
    path = tmp_path / "journal"
    ends = story(path)
    data = path.read_bytes()
    rows = read(path)
    boundaries = [0]
    for line in data.splitlines(keepends=True):
        boundaries.append(boundaries[-1] + len(line))
    assert set(ends) <= set(boundaries)
    torn = 0
    for length in range(len(data) + 1):
        path.write_bytes(data[:length])
        whole = max(place for place, end in enumerate(boundaries) if end <= length)
        with opened(path) as journal:
            assert journal.state.torn == length - boundaries[whole]
            torn += journal.state.torn > 0
            add(journal, 7)
        again = read(path)
        assert again[:whole] == rows[:whole]
        rest = [row.kind for row in again[whole:]]
        assert rest == [*(["torn"] if length > boundaries[whole] else []), "begin", "intent", "end"]
        if rest[0] == "torn":
            assert again[whole].facts["at"] == boundaries[whole]
            assert again[whole].facts["bytes"] == length - boundaries[whole]
    assert torn > 500
    path.write_bytes(data + bytes(4096))
    with opened(path) as journal:
        assert journal.state.torn == 4096, "zeros, as a file system leaves them after a power failure"


def test_everything_else_is_refused(tmp_path: Path) -> None:
    """A byte that differs, a row that is missing, repeated or moved: the row and its place are named."""
    path = tmp_path / "journal"
    story(path)
    data = path.read_bytes()
    lines = data.splitlines(keepends=True)
    random = Random(7)
    looked = 0
    for _ in range(400):
        at = random.randrange(len(data) - 1)
        changed = bytearray(data)
        changed[at] ^= 1 << random.randrange(8)
        if changed.count(b"\n") != data.count(b"\n") or changed == data:
            continue
        path.write_bytes(changed)
        row = data[:at].count(b"\n")
        begin = len(b"".join(lines[:row]))
        assert f"row {row} of the journal, at byte {begin}, is damaged" in refused(path, "was changed|not text")
        looked += 1
    assert looked > 300
    for moved in (
        lines[:2] + lines[3:],
        lines[1:],
        [lines[0], lines[0], *lines[1:]],
        [*lines[:2], lines[3], lines[2], *lines[4:]],
    ):
        path.write_bytes(b"".join(moved))
        assert "rows are missing" in refused(path, "is damaged")
        with pytest.raises(StorageError, match="is damaged"):
            read(path)
    forged = '{"n":0,"ts":1,"kind":"fish"}'
    path.write_text(f"{module._hash(FIRST, forged)} {forged}\n")
    assert "row 0 of kind 'fish'" in refused(path, "is damaged")


def test_a_full_disk_halts_before_the_next_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Orders and amendments are refused, cancels are not; what was collected is written when there is room again."""
    path = tmp_path / "journal"
    journal = opened(path)
    add(journal, 0)
    journal.commit()
    good = path.read_bytes()
    real = os.pwrite

    def full(handle: int, data: bytes, at: int) -> int:
        real(handle, data[: len(data) // 2], at)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("krakpot.trade.journal.os.pwrite", full)
    add(journal, 1)
    with pytest.raises(StorageError, match="the disk is full"):
        journal.commit()
    assert path.read_bytes().startswith(good)
    for method in ("add", "amend"):
        with pytest.raises(StorageError, match="no order is sent any more"):
            journal.intent(method, 2, "maker0000000000002", qty=Decimal(1))
    journal.intent("cancel", 0, "maker0000000000000")
    with pytest.raises(StorageError, match="the disk is full"):
        journal.commit()
    monkeypatch.setattr("krakpot.trade.journal.os.pwrite", real)
    journal.commit()
    assert [row.facts.get("method") for row in read(path)] == [None, "add", "add", "cancel"]
    with pytest.raises(StorageError, match="no order is sent any more"):
        add(journal, 3)
    journal.close()
    journal = opened(path)
    add(journal, 3)
    path.unlink()
    with pytest.raises(StorageError, match="No such file"):
        journal.commit()


def test_one_process_a_journal(tmp_path: Path) -> None:
    """A second process, and another strategy, are refused; a closed journal takes nothing."""
    path = tmp_path / "journal"
    with opened(path) as journal:
        assert "another process writes this journal" in refused(path, "end it first")
    journal.close()
    with pytest.raises(StorageError, match="is closed"):
        journal.commit() if journal.add("note", words="late") else None
    with pytest.raises(ConfigError, match="belongs to the strategy 'maker000', not to 'taker000'"):
        Journal(path, prefix="taker000")
    with pytest.raises(StorageError, match="cannot be opened"):
        opened(tmp_path / "none" / "journal")


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (lambda journal: journal.store({"a": 1.5}), r"store.a is a float; allowed are text, whole numbers, Decimal"),
        (lambda journal: journal.store([1]), "a list is not allowed; allowed is a dict"),
        (lambda journal: journal.store({"a": "x" * STORE_MAX}), "at most 65536 bytes"),
        (lambda journal: journal.store({"a": Decimal("NaN")}), "only finite numbers"),
        (lambda journal: journal.add("note", n=7), "are the journal's own names"),
        (lambda journal: journal.add("fill", order=1), "lacks exec_id, symbol"),
        (lambda journal: journal.add("fish"), "a row 'fish' is not known"),
        (lambda journal: journal.add("note", words="x" * module.ROW_MAX), "is too large"),
    ],
)
def test_what_cannot_be_kept(tmp_path: Path, act: Callable[[Journal], object], words: str) -> None:
    """It is refused with its name, and leaves no trace."""
    with opened(tmp_path / "journal") as journal:
        with pytest.raises(ConfigError, match=words):
            act(journal)
        journal.store(
            {
                "a": "x" * (STORE_MAX - len('{"a":""}')),
            }
        )
    assert [row.kind for row in read(journal.path)] == ["begin", "store", "end"]


def test_balances_are_explained(tmp_path: Path) -> None:
    """Fills, fees and entries lead from one row of balances to the next, to the last digit; what does not is told."""
    path = tmp_path / "journal"
    with opened(path) as journal:
        journal.add("balances", totals={"BTC": Decimal("1.0"), "USD": Decimal("1000.0000")})
        add(journal, 0)
        add(journal, 1, side="sell", qty=Decimal(1))
        fill(journal, 0, 1, trade_id=7)
        fill(journal, 0, 1)
        # A trade fills an order once, whatever the fill is called.
        fill(journal, 0, 8, trade_id=7)
        fill(journal, 1, 2, trade_id=7, qty="0.75", side="sell", fees={"USD": "0.1", "BTC": "0.0000000001"})
        journal.add("entry", asset="USD", amount=Decimal(-50), fee=Decimal("0.5"), type="withdrawal")
        journal.add("balances", totals={"BTC": Decimal("0.4999999999"), "USD": Decimal("999.3600")})
    found = audit(path)
    assert (found.explained, found.orders, found.fills, found.open) == (True, 2, 2, (0, 1))
    assert found.balances == {"BTC": Decimal("0.4999999999"), "USD": Decimal("999.36")}
    assert sentences(found)[-1] == "everything is explained"
    with opened(path) as journal:
        journal.add("balances", totals={"BTC": Decimal("0.4999999999"), "USD": Decimal("999.3601")})
        fill(journal, 0, 3, qty="0.5")
        fill(journal, 9, 4)
        journal.add("report", order=0, change="amended", qty=Decimal("0.75"))
        fill(journal, 0, 5, qty="0")
    found = audit(path)
    assert found.unexplained == {"USD": Decimal("0.0001")}
    assert [problem.partition(": ")[2] for problem in found.problems] == [
        "the exchange says 999.3601 USD, fills and entries say 999.3600; 0.0001 USD more than explained",
        "order 0 is filled with 0.75, more than its 0.50",
        "a fill of order 9, which no row asked for",
    ]
    assert "may be open: 0, 1" in sentences(found)


def test_an_order_that_lives_after_all(tmp_path: Path) -> None:
    """An order that was believed to be rejected may be open again, as soon as a row shows it."""
    path = tmp_path / "journal"
    with opened(path) as journal:
        add(journal, 0)
        journal.add("answer", order=0, asked="add", error="EOrder:Insufficient funds", ended="rejected")
        assert journal.state.open == []
        journal.add("report", order=0, change="looked", state="pending", ended=None)
    assert audit(path).open == (0,)
    with opened(path) as journal:
        assert [intent.order for intent in journal.state.open] == [0]
        journal.add("report", order=0, change="canceled", ended="canceled")
    assert audit(path).open == ()


def test_killed_at_any_moment(tmp_path: Path) -> None:
    """A process that was killed left every order that it said it would send."""
    path = tmp_path / "journal"
    code = (
        "from krakpot.trade.journal import Journal; from decimal import Decimal\n"
        f"journal = Journal({str(path)!r}, prefix='maker000')\n"
        "for order in range(10**6):\n"
        "    journal.intent('add', order, str(order), qty=Decimal(1)); journal.commit(); print(order, flush=True)\n"
    )
    sent = -1
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        for _ in range(30):
            sent = int(child.stdout.readline())
        child.send_signal(signal.SIGKILL)
        rest = child.stdout.read().split(b"\n")
        sent = max([sent, *(int(line) for line in rest[:-1])])
    with opened(path) as journal:
        assert sent >= 29
        assert set(range(sent + 1)) <= journal.state.orders.keys(), "all of them may be open"
        assert journal.state.last_order <= sent + 1
        assert not journal.clean


def test_what_a_crash_left_is_explained(tmp_path: Path) -> None:
    """A torn last row is a note, before and after it is cut off; a journal without balances says that."""
    path = tmp_path / "journal"
    with opened(path) as journal:
        add(journal, 0)
    whole = path.read_bytes()
    path.write_bytes(whole + b"half")
    found = audit(path)
    assert (found.explained, found.torn, len(found.notes)) == (True, 4, 1)
    assert "the next start cuts it off" in found.notes[0]
    assert "no row has the balances of the exchange, so there is nothing to compare" in sentences(found)
    assert path.read_bytes() == whole + b"half", "an audit changes nothing"
    with opened(path):
        pass
    found = audit(path)
    assert (found.explained, found.torn) == (True, 0)
    assert found.notes[0].endswith("nothing that it asked for was sent, and was cut off")
    assert found.to_dict()["notes"] == list(found.notes)


def test_facts_that_cannot_be_read(tmp_path: Path) -> None:
    """A row that is chained and still makes no sense is named, not a traceback."""
    path = tmp_path / "journal"
    with opened(path) as journal, pytest.raises(ConfigError, match="'balances' has a fact that cannot be read"):
        journal.add("balances", totals={"USD": "much"})
    path = tmp_path / "other"
    opened(path)._file  # noqa: B018  # it stays open, without a row of its end
    with path.open("rb") as file:
        before = file.read().split(b" ", 1)[0].decode()
    text = json.dumps({"n": 1, "ts": 0, "kind": "balances", "totals": {"USD": "much"}})
    with path.open("ab") as file:
        file.write(f"{hashlib.sha256(f'{before} {text}'.encode()).hexdigest()[:32]} {text}\n".encode())
    with pytest.raises(StorageError, match="row 1 of the journal, 'balances', has a fact that cannot be read"):
        audit(path)


def test_orders_that_ended_need_no_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that trades keeps what may be open; what it forgot still counts, once, also after a restart."""
    monkeypatch.setattr("krakpot.trade.journal.KNOWN_MAX", 10)
    monkeypatch.setattr("krakpot.trade.journal.OVER_MAX", 5)
    path = tmp_path / "journal"
    with opened(path) as journal:
        journal.add("balances", totals={"BTC": "0", "USD": "1000000"})
        for order in range(100):
            add(journal, order)
            fill(journal, order, order)
            if order != 50:
                journal.add("report", order=order, change="canceled", ended="canceled")
            # It comes twice, also after the end of its order.
            fill(journal, order, order, ended=None if order == 50 else "canceled")
        journal.store({"kind": "fill"})
        state = journal.state
        assert list(state.orders) == [50, *range(95, 100)]
        assert (len(state.fill_ids), len(state.trades), state.fills, state.last_order) == (10, 0, 100, 99)
        assert list(state.orders[50].fills) == [f"T{50}"], "its fills are needed to compare it"
        balances = state.balances
    found = audit(path)
    assert (found.orders, found.fills, found.open, found.balances) == (100, 100, (50,), balances)
    assert found.explained, found.problems
    with opened(path) as journal:
        assert journal.state.balances == balances
        assert [facts["order"] for facts in journal.fills()] == list(range(100))
        assert [intent.order for intent in journal.state.open] == [50]
        # One that was refused long ago is there after all.
        journal.add("report", order=7, change="new", order_id="OLATE", ended=None)
    with opened(path) as journal:
        assert [(one.order, one.order_id, set(one.fills)) for one in journal.state.open] == [
            (50, "", {"T50"}), (7, "OLATE", {"T7"}),
        ]  # fmt: skip
