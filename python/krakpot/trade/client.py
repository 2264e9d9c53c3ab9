"""The client of an account with money: the private connection, looks at REST, the journal, the dead-man timer.

What frames mean and what may be sent is decided in the extension (``_core.LiveAccount``). Here is what it needs of the
world: sockets, time, files. One account has one client; it lives as long as the run.
"""

from __future__ import annotations

import asyncio
import os
import re
import ssl
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

from krakpot._core import LiveAccount, Trading
from krakpot.config import REST_URL
from krakpot.errors import (
    ConfigError,
    FeedError,
    KrakpotError,
    StorageError,
    TokenError,
    Unreconciled,
    counted,
)
from krakpot.net.backoff import Backoff
from krakpot.net.connection import Connection, ServerBusy, connect
from krakpot.net.market import symbol_of
from krakpot.net.rest import Public, RestError
from krakpot.trade import account
from krakpot.trade.clock import ClockWatch
from krakpot.trade.journal import HALTED, Intent, Journal, rows
from krakpot.trade.key import CONFIRM, Key, load
from krakpot.trade.live import PRIVATE_URL, Live
from krakpot.trade.looks import METHODS, Looks
from krakpot.trade.nonces import Nonces, state_folder
from krakpot.trade.shadow import Shadow
from krakpot.trade.signed import Signed, check

TOKEN = re.compile(r"[!-~]+")
LAG = account.LAG
LIMIT = 120.0
"""Seconds after which a comparison with the exchange has failed."""
REPORTS_WAIT = 5.0
"""Seconds in which the end of own orders is waited for at the end."""
PINGS = 15.0
"""Seconds between two comparisons of the clocks."""
SIGNS = 1.0
"""The same while a request has no answer: an answer to something later says that none is on its way."""
CANCELS = 2.0
"""Seconds after which a halted account asks again for the end of orders that are open: a cancel may have been lost."""
SAVES = 0.2
"""Seconds after which rows are written that no request waits for."""
ARMS = 4
"""The dead-man timer is set again this often while it runs."""


class AccountClient:
    """One account at the exchange, from ``open`` to ``close``."""

    def __init__(
        self,
        live: Live,
        strategy: object,
        urls: tuple[str, str],
        log: Callable[[str], None],
        tls: ssl.SSLContext | None,
    ) -> None:
        """``urls``: of the private WebSocket and of REST, where ``live`` names none; empty: Kraken's."""
        self._live = live
        self._log = log
        self._tls = tls
        self.url = live.url or urls[0] or PRIVATE_URL
        self.rest_url = live.rest_url or urls[1] or REST_URL
        self.prefix = live.prefix_of(strategy)
        self.error: BaseException | None = None
        """What ends the run."""
        self.started = False
        """Whether the strategy has begun: what comes before is told when it has."""
        self.left: tuple[str, ...] = ()
        """Orders that may still be open after the end: the exchange's ids, or own names."""
        self.halts = False
        """Whether a signal halts the run."""
        self.shadow: Shadow | None = None
        """What a simulated exchange did with the same requests."""
        self.key: Key
        self.journal: Journal
        self._signed: Signed
        self._looks: Looks
        self._nonces: Nonces | None = None
        self._account: LiveAccount
        self._core: Trading
        self._connection: Connection | None = None
        self._ready = asyncio.Event()
        self._was_ready = False
        self._ending = False
        self._abandoned = self._closed = False
        self._halt_noted = False
        self._unknown_since: float | None = None
        """When own orders were to be compared first since they were known; None: they are known, or nobody can."""
        self._work: asyncio.Task[None] | None = None
        self._asking: set[asyncio.Task[None]] = set()
        self._armed_at = float("-inf")
        self._pinged_at = float("-inf")
        self._saved_at = self._cancelled_at = 0.0
        self._said = ""
        self._watch = ClockWatch()

    # Begin.

    async def open(self) -> None:
        """Read the key and the journal, and ask the exchange what the key may do.

        Raises
        ------
        ConfigError
            The key must not be used, or nobody confirmed the account.
        KeyInUse
            Another process uses the key.
        StorageError
            The journal cannot be used.
        RestError
            The exchange does not answer.

        """
        live = self._live
        key = self.key = load(live.key_file)
        key.check_host(self.rest_url)
        key.check_host(self.url)
        self._nonces = Nonces(key.id)
        self._signed = Signed(self.rest_url, key, self._nonces, tls=self._tls)
        self._looks = Looks(self._signed, self._say)
        found = await check(self._signed)
        if found.problems:
            raise ConfigError(f"{key.place}: {'; '.join(found.problems)}")
        for warning in found.warnings:
            self._log(f"warning: {warning}")
        folder = state_folder()
        path = live.journal or folder / f"{key.account or key.id}-{self.prefix}.journal"
        if live.journal is None:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        is_new = not path.exists() or all(row.facts.get("validate") for row in rows(path) if row.kind == "begin")
        if is_new and key.mode == "live" and not live.validate:
            # Nothing else runs yet; and here Ctrl-C ends the question.
            _confirm(key.account or Path(live.key_file).stem, self.rest_url)
        self.journal = Journal(
            path,
            prefix=self.prefix,
            key_id=key.id,
            durable=live.durable,
            halts=self.halts,
            validate=live.validate,
        )
        self._log(f"journal: {path}")

    async def fees(self, symbols: Sequence[str]) -> dict[str, tuple[int, int]]:
        """Maker and taker fee of the account for each pair, in millionths, as the exchange says."""
        listed = await Public(self.rest_url, tls=self._tls).get("AssetPairs")
        names = {}
        for name, facts in listed.items():
            if isinstance(facts, dict) and (symbol := symbol_of(str(facts.get("wsname")))) in symbols:
                names[symbol] = name
        lacking = [symbol for symbol in symbols if symbol not in names]
        if lacking:
            raise ConfigError(f"krakpot.Live: the exchange's REST does not know {', '.join(lacking)}")
        result = await self._signed.ask("TradeVolume", pair=",".join(names.values()))
        found = {}
        try:
            for symbol, name in names.items():
                taker = Decimal(str(result["fees"][name]["fee"]))
                # A pair whose makers and takers pay alike has no fee of makers.
                maker = Decimal(str(((result.get("fees_maker") or {}).get(name) or result["fees"][name])["fee"]))
                found[symbol] = (int(maker * 10**4), int(taker * 10**4))
        except (ArithmeticError, KeyError, TypeError, ValueError):
            raise self._signed.unreadable("TradeVolume") from None
        return found

    def attach(self, core: Trading, hears: tuple[bool, bool], symbols: Sequence[str]) -> None:
        """Add the account to a run, with what the journal says of earlier runs."""
        live, limits, state = self._live, self._live.limits, self.journal.state
        self._core, self._fills_before = core, state.fills
        # A new journal does not know earlier names, so numbers begin with the time.
        first = max(state.last_order + 1, time.time_ns() // 10**9 * 1000)
        amounts = [(asset, f"{one:f}") for asset, one in limits.inventory.items()]
        self._account = LiveAccount(
            core, self.prefix, hears=hears, first_order=first, sent_before=state.sent,
            order_value=f"{limits.order_value:f}", inventory=amounts, loss=f"{limits.loss:f}",
            open_orders=limits.open_orders, collar=limits.collar, orders_per_minute=limits.orders_per_minute,
            stale=limits.stale, fee_share=limits.fee_share, fat_finger=limits.fat_finger, ramp=limits.ramp,
            clock=limits.clock, self_trade=live.self_trade, validate=live.validate, strangers=live.strangers,
            lag=int(LAG * 1e9), limit=int(LIMIT * 1e9), dead_man=self._arms(),
            shared=live.account == "shared",
        )  # fmt: skip
        if state.balances is not None:
            self._account.restore_balances([(asset, f"{total:f}") for asset, total in state.balances.items()])
        for facts in self.journal.fills():
            if facts["symbol"] in symbols:
                self._account.restore_fill(facts["symbol"], facts["side"], _fill(facts))
        for intent in state.open:
            self._restore(intent, symbols)

    def _restore(self, intent: Intent, symbols: Sequence[str]) -> None:
        facts = intent.facts
        if facts["symbol"] not in symbols:
            sentence = (
                f"krakpot.run: feed: the journal has an order of {facts['symbol']} that may be open, {intent.name}; "
                "add that pair to the feed"
            )
            raise ConfigError(sentence)
        fills = list(intent.fills.values())
        self._account.restore_order(
            intent.order, facts["symbol"], facts["side"], f"{intent.total:f}", facts.get("price"),
            post_only=bool(facts.get("post_only")), tag=str(facts.get("tag") or ""), order_id=intent.order_id or None,
            sent=int(facts.get("deadline") or 0) - 60 * 10**9, deadline=int(facts.get("deadline") or 0),
            fills=[_fill(one) for one in fills], last_fill=max((one["at"] for one in fills), default=None),
        )  # fmt: skip

    @property
    def state(self) -> tuple[str, str]:
        """``starting``, ``reconciling``, ``trading``, ``paused``, ``halted`` or ``stopping``; and why, if known."""
        if not hasattr(self, "_account"):
            return "starting", ""
        if self._closed:
            return "stopping", ""
        if (halted := self._core.halted(0)) is not None:
            return "halted", halted
        if not self._was_ready:
            return "reconciling", ""
        why = self._account.why_not(time.time_ns())
        return ("trading", "") if why is None else ("paused", why)

    @property
    def fills(self) -> int:
        """Fills of this run."""
        return self.journal.state.fills - self._fills_before

    def _arms(self) -> bool:
        return self._live.account == "exclusive" and self._live.dead_man is not None

    async def reconciled(self) -> None:
        """Connect, and wait until own orders are known.

        Raises
        ------
        Unreconciled
            They are not, after two minutes; or they do not agree with the exchange's.

        """
        self._work = asyncio.create_task(self._connect_always())
        self._work.add_done_callback(self._over)
        end = time.monotonic() + LIMIT + 2 * SAVES
        while not self._ready.is_set():
            self.tick()
            if self.error is not None:
                raise self.error
            if time.monotonic() > end:
                raise Unreconciled(self._account.troubles or [f"no answer of {self.url} within {LIMIT:.0f} s"])
            with suppress(TimeoutError):
                await asyncio.wait_for(self._ready.wait(), 0.02)

    def _over(self, work: asyncio.Task[None]) -> None:
        if not work.cancelled() and (error := work.exception()) is not None:
            self.error = self.error or error

    # The connection.

    async def new(self) -> str:
        """Request a token for level 3, if the feed has the same key; ``TokenError`` says why there is none."""
        try:
            return await self._token()
        except RestError as error:
            raise TokenError(str(error), lasting=error.lasting, retry_after=error.wait) from None
        except StorageError as error:
            # Without a number nothing can be signed; the disk may have room again.
            raise TokenError(str(error), lasting=False) from None

    async def _connect_always(self) -> None:
        backoff = Backoff()
        while not self._ending:
            await asyncio.sleep(backoff.delay(time.monotonic()))
            busy: float | None = None
            try:
                token = await self._token()
                connection = await connect(self.url, self._frames, self._ping, tls=self._tls)
            except (FeedError, StorageError) as error:
                # Later it goes on trying: there may be orders to cancel.
                if not self._was_ready and (isinstance(error, StorageError) or getattr(error, "lasting", False)):
                    raise
                busy = error.retry_after if isinstance(error, ServerBusy) else getattr(error, "wait", None) or None
                self._say(f"private connection: {error}; trying again")
                if busy is not None:
                    await asyncio.sleep(busy)
                continue
            opened = time.monotonic()
            self._connection = connection
            # Each connection begins with both.
            self._armed_at = self._pinged_at = float("-inf")
            if self._unknown_since is None:
                self._unknown_since = opened
            try:
                for text in self._account.connected(time.time_ns(), token):
                    connection.send(text)
                del token
                reason = await self._alive(connection)
            finally:
                self._connection = None
                connection.abort()
                self._ready.clear()
                # The next connection asks anew.
                self._looks.drop()
                if not self._ending:
                    self._account.disconnected(time.time_ns())
                    self._told(time.time_ns())
            backoff.opened(opened, time.monotonic())
            if not self._ending:
                self._say(f"private connection: {reason}; connecting again")

    async def _token(self) -> str:
        result = await self._signed.ask("GetWebSocketsToken")
        token = result.get("token")
        if not isinstance(token, str) or not TOKEN.fullmatch(token):
            raise self._signed.unreadable("GetWebSocketsToken")
        return token

    async def _alive(self, connection: Connection) -> str:
        """Wait until the connection is gone; why it is."""
        while True:
            done, _ = await asyncio.wait([connection.closed], timeout=1.0)
            if done:
                return connection.closed.result()
            connection.check()

    def _ping(self) -> bytes:
        return self._account.ping(time.time_ns())

    def _frames(self, frames: list[bytes], ts: int) -> None:
        """Take what one read of the socket brought."""
        try:
            for data in frames:
                why = self._account.frame(ts, data)
                if why is not None:
                    self._renew(why)
                    break
            self._told(ts)
        except BaseException as error:  # noqa: BLE001  # it ends the run, which raises it
            self.error = self.error or error

    def _renew(self, why: str) -> None:
        self._say(f"private connection: {self.key.without(why)}; it is made anew")
        if self._connection is not None:
            self._connection.abort()

    def _told(self, now: int) -> None:
        """Let the strategy hear what came, and send what it asks for."""
        if self.started and self.error is None:
            self._core.advance(now)
        self.flush()
        self._note()

    def _say(self, sentence: str) -> None:
        if sentence != self._said:
            self._said = sentence
            self._log(sentence)

    # Requests.

    def flush(self) -> None:
        """Send what the strategy asked for: first the journal, then the frames."""
        now = time.time_ns()
        frames = [] if self._ending else self._account.requests(now, self.journal.rows)
        if not frames:
            return
        saved = self._save(now)
        connection = self._connection
        if connection is not None:
            for text, is_cancel in frames:
                if saved or is_cancel:
                    connection.send(text)

    def _note(self) -> None:
        """Collect rows of what was heard, and learn what rows say: the next request would wait for both."""
        self._account.note(time.time_ns(), self.journal.rows)
        self.journal.learn()

    def _save(self, now: int) -> bool:
        """Write the rows; False if that was not possible: then no order is sent any more."""
        self._saved_at = time.monotonic()
        try:
            self.journal.commit()
        except StorageError as error:
            self._account.set_trouble(now, f"journal: {error}")
            self._core.halt(0, f"krakpot:journal: {error}")
            self._say(str(error))
        # Rows that were refused once are missing, even if the disk takes others again.
        return self.journal.failed is None

    def heard(self, at: int) -> None:
        """The feed sent something at this time, ns, be it a heartbeat."""
        self._account.heard(at)

    def tick(self) -> None:
        """Do what is due; the run's loop calls it many times a second."""
        now, clock = time.time_ns(), time.monotonic()
        if self._ending:
            return
        if step := self._watch.step():
            self._account.clock_was_set(now, step)
            # The clocks are compared at once.
            self._armed_at = self._pinged_at = float("-inf")
            self._say(f"the clock of this machine was set by {step / 1e9:+.3f} s")
        why = self._account.advance(now)
        if why is not None:
            self._renew(why)
        self._look(now)
        phase = self._account.phase
        if phase == "ready" and not self._ready.is_set():
            self._was_ready = True
            self._ready.set()
            self._say(f"own orders agree with the exchange at {self.url}")
        if phase == "ready":
            self._unknown_since = None
        elif self.error is None and (phase == "failed" or self._is_late(clock)):
            self._fail()
        self._signs(now, clock)
        self.flush()
        self._look_at_shadow()
        halted = self._core.halted(0)
        if halted is not None and clock - self._cancelled_at > CANCELS:
            self._cancelled_at = clock
            self._core.halt(0, halted)
        if not self._halt_noted and (why := halted) is not None:
            self._halt_noted = True
            with suppress(StorageError):
                self.journal.add("note", text=HALTED, why=why)
            self._say(f"halted: {why}; own orders are cancelled, no new ones are sent")
        if clock - self._saved_at > SAVES:
            self._note()
            self._save(now)

    def _look_at_shadow(self) -> None:
        if self.shadow is not None:
            self.shadow.look(self._account, [order.id for order in self._core.orders(0)])

    def _look(self, now: int) -> None:
        """Ask REST what a comparison needs."""
        self._signed.counter.set_tier(self._account.max_rate)
        for number, kind, about in self._account.take_asks(now):
            task = asyncio.create_task(self._ask(number, kind, about))
            self._asking.add(task)
            task.add_done_callback(self._asking.discard)

    def _is_late(self, clock: float) -> bool:
        """Whether a comparison is not over in time: each lost connection begins it anew."""
        return self._unknown_since is not None and clock - self._unknown_since > LIMIT + 2 * SAVES

    def _fail(self) -> None:
        late = f"own orders were not compared with the exchange at {self.url} within {LIMIT:.0f} s; {self._said}"
        error = Unreconciled(self._account.troubles or [late])
        if not self._was_ready:
            self.error = error
        elif self._core.halted(0) is None:
            self._core.halt(0, f"krakpot:unreconciled: {'; '.join(error.troubles)}")
            self._say(str(error))

    def _signs(self, now: int, clock: float) -> None:
        """Set the dead-man timer again, and compare the clocks.

        Only the strategy's loop comes here, after its handlers: while one of them hangs, nobody sets the timer again.
        """
        connection = self._connection
        if connection is None:
            return
        timeout = self._live.dead_man
        if self._arms() and timeout is not None and clock - self._armed_at >= timeout / ARMS:
            seconds = timeout if self._account.may_arm(now) else 0
            text = self._account.arm(now, seconds)
            if text is not None:
                connection.send(text)
                self._armed_at = self._pinged_at = clock
        elif clock - self._pinged_at >= (SIGNS if self._account.needs_ping(now) else PINGS):
            self._pinged_at = clock
            connection.send(self._ping())

    # REST.

    async def _ask(self, number: int, kind: str, about: Any) -> None:  # noqa: ANN401  # as the kind says
        looks = self._looks
        try:
            if kind == "trades":
                fills = await looks.trades(about)
                why = self._account.rest_fills(time.time_ns(), number, fills)
            else:
                asked, rows = await (looks.orders(about) if kind == "orders" else looks.closed(*about))
                why = self._account.rest_orders(time.time_ns(), number, asked, rows)
        except KrakpotError as error:
            self._say(f"REST: {error}; asking again")
            self._account.unanswered(time.time_ns(), number)
            return
        except ValueError:
            self._say(f"REST {METHODS[kind]}: an answer has what no order of its pair can have; asking again")
            looks.failed(METHODS[kind])
            self._account.unanswered(time.time_ns(), number)
            return
        looks.succeeded(METHODS[kind])
        try:
            if why is not None:
                self._renew(why)
            self._told(time.time_ns())
        except BaseException as error:  # noqa: BLE001  # it ends the run, which raises it
            self.error = self.error or error

    # End.

    def abandon(self) -> None:
        """Let ``close`` wait for nothing; what is open stays open."""
        self._abandoned = self._ending = True

    async def close(self, *, cancel: bool = True) -> None:
        """Cancel own orders and wait for their reports; end journal and connection. ``left`` has what is not known."""
        if self._closed:
            return
        self._closed = True
        try:
            if hasattr(self, "_account"):
                await self._leave(cancel=cancel and not self._abandoned)
        finally:
            self._ending = True
            if self._connection is not None and self._abandoned:
                self._connection.abort()
            elif self._connection is not None:
                with suppress(FeedError):
                    await self._connection.close("the run ended")
            if self._work is not None:
                self._work.cancel()
            for task in (*self._asking, *([self._work] if self._work else [])):
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
            if hasattr(self, "journal"):
                with suppress(StorageError):
                    self.journal.close()
            if self._nonces is not None:
                self._nonces.close()

    def _net(self) -> str:
        """What ends orders that are left."""
        if self._arms() and self._account.timer is not None:
            return f"the exchange's dead-man timer cancels all orders of the account within {self._live.dead_man} s"
        return "nothing cancels them: `krakpot trade kill` does"

    async def _leave(self, *, cancel: bool) -> None:
        core, end = self._core, time.monotonic() + REPORTS_WAIT
        if cancel and self._was_ready:
            await self._cancel_own(end)
        self._look_at_shadow()
        self.left = self._open_now()
        if self.left:
            self._log(f"{counted(len(self.left), 'own order')} may be open: {', '.join(self.left)}; {self._net()}")
        if self._was_ready and not core.orders(0) and self._arms() and self._connection is not None:
            text = self._account.arm(time.time_ns(), 0)
            if text is not None:
                self._connection.send(text)
        # Reports and balances come in different messages.
        while not self._account.note_balances():
            if self._connection is None or time.monotonic() > end:
                break
            await asyncio.sleep(0.02)
        self._note()
        self._save(time.time_ns())

    async def _cancel_own(self, end: float) -> None:
        """Cancel own orders, and wait for their reports."""
        core, asked = self._core, float("-inf")
        while True:
            if time.monotonic() - asked > CANCELS:
                asked = time.monotonic()
                core.halt(0, "the run ended")
            self.flush()
            if not core.orders(0) or time.monotonic() > end:
                break
            now = time.time_ns()
            if (why := self._account.advance(now)) is not None:
                self._renew(why)
            self._look(now)
            await asyncio.sleep(0.02)

    def _open_now(self) -> tuple[str, ...]:
        """Own orders that may be open: the exchange's ids, or own names."""
        orders = self._core.orders(0)
        found = tuple(order.order_id or f"{self.prefix}, order {order.id}" for order in orders)
        if self._was_ready:
            return found
        # Nobody compared them: what earlier runs left may be open.
        known = {order.id for order in orders}
        before = [intent for intent in self.journal.state.open if intent.order not in known]
        return found + tuple(one.order_id or f"{self.prefix}, order {one.order}" for one in before)


def _fill(facts: Mapping[str, Any]) -> tuple[str, str, int | None, str, str, str, str, bool]:
    """A fill of the journal as the extension takes it."""
    _, _, quote = facts["symbol"].partition("/")
    fee = facts["fees"].get(quote, "0")
    return (
        facts.get("order_id") or "", facts["exec_id"], facts.get("trade_id"), facts["qty"], facts["price"],
        facts["cost"], fee, bool(facts.get("maker")),
    )  # fmt: skip


def _confirm(name: str, address: str) -> None:
    """``ConfigError`` unless a person or a variable names the account."""
    given = os.environ.get(CONFIRM)
    if given is None:
        if not sys.stdin.isatty():
            sentence = (
                f"nobody confirmed the account; nothing was sent. The first start with a journal needs {CONFIRM}={name}"
            )
            raise ConfigError(sentence)
        given = input(f"Orders at {address} will cost money. Type the name of the account, {name}: ")
    if given.strip() != name:
        raise ConfigError(f"this is not the name of the account, which is {name!r}; nothing was sent")
