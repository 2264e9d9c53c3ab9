"""Runs strategies on a replay, a live feed or the built-in exchange, with simulated orders or with money.

>>> class JoinBest:
...     def book(self, m, e):
...         bid, _, ask, _ = m.best(e.symbol)
...         if not m.orders(e.symbol, "buy"):
...             m.buy(e.symbol, "0.01", bid, post_only=True)
>>> replay = krakpot.Replay("data", ["BTC/USD"], "2026-11-22", "2026-11-23")  # doctest: +SKIP
>>> krakpot.run(JoinBest(), replay, krakpot.Paper({"USD": 50_000}, fees=("0.25%", "0.40%")))  # doctest: +SKIP
"""

from __future__ import annotations

import asyncio
import copy
import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from krakpot._core import Trading
from krakpot.errors import ConfigError, LimitBreached, words_of
from krakpot.exchange.server import ExchangeServer
from krakpot.feed.feed import Feed
from krakpot.lake.format import stamp
from krakpot.replay.replay import Replay
from krakpot.replay.source import TIME_MAX
from krakpot.trade.client import AccountClient
from krakpot.trade.compiled import COMPILED, CompiledStrategy, raised_inside
from krakpot.trade.live import Live
from krakpot.trade.loaded import LoadedData, LoadedReplay
from krakpot.trade.market import Market, Strategy, handlers_of, lines_of, on_stop, on_store
from krakpot.trade.options import Duration, OnError, Paper, RunOptions
from krakpot.trade.result import Bounds, Built, Result, made_of
from krakpot.trade.schedule import Schedule
from krakpot.trade.shadow import Shadow
from krakpot.trade.signals import Signals
from krakpot.trade.source import TICK, Data, FeedData, LiveData, PlayedData, ReplayData, TradedPair
from krakpot.values import Numbers, Time, shown

PLACE = "krakpot.run"
STARTED = "an error of a handler"
EXCHANGE, REAL = "exchange", "real"
"""Model and latency of a run with money."""
LOSS = "krakpot:loss"
INTERRUPTED = "interrupted"
HALTED = "a signal"
"""Why SIGUSR1 halts it."""
LOGGER = logging.getLogger("krakpot.trade")
Recorded = Replay | LoadedReplay
RECORDED = "a krakpot.Replay or what krakpot.load returns"
"""What is allowed where a run needs a recording, in words."""
Source = Recorded | Feed | ExchangeServer


class Run:
    """A run of one strategy or several, until it is over. ``krakpot.run`` makes one."""

    def __init__(
        self,
        strategies: Mapping[str, Any],
        feed: Source,
        trader: Paper | Live,
        options: RunOptions,
        *,
        cancels: str = "ahead",
        shadow: Paper | None = None,
        out: str | Path | None = None,
        log: Callable[[str], None] | None = None,
    ) -> None:
        """Check everything; nothing is read or connected yet. ``log`` is told what happens to an account with money."""
        if not isinstance(trader, (Paper, Live)):
            sentence = f"{PLACE}: trader: {shown(trader)} is not allowed; allowed is a krakpot.Paper or a krakpot.Live"
            raise ConfigError(sentence)
        if isinstance(trader, Live) and isinstance(feed, Recorded):
            sentence = f"{PLACE}: feed: orders with money need a live feed; {type(feed).__name__} is the past"
            raise ConfigError(sentence)
        self._names = list(strategies)
        self._handlers = [handlers_of(one, f"{PLACE}: strategy") for one in strategies.values()]
        self._live = trader if isinstance(trader, Live) else None
        self._paper = trader if isinstance(trader, Paper) else shadow
        self._strategies = list(strategies.values())
        self.client: AccountClient | None = None
        """The account with money."""
        self._log = log or (lambda sentence: LOGGER.info("%s", sentence))
        self._halt_asked = False
        self._options = options
        self._feed = feed
        self._out = _folder(out, self._names)
        self.reason = ""
        """Why it is to end; empty while it is not."""
        self._errors: dict[int, Exception] = {}
        self._fees: dict[str, tuple[int, int]] = {}
        """Those of the account with money."""
        self.quote = "" if self._paper is None else self._paper.quote
        """The asset in which values are given; with money known once the data is open."""
        self.data: Data
        if isinstance(feed, Replay):
            self.data = ReplayData(feed)
        elif isinstance(feed, LoadedReplay):
            self.data = LoadedData(feed)
        elif isinstance(feed, Feed):
            self.data = FeedData(feed)
        elif not isinstance(feed, ExchangeServer):
            allowed = f"{RECORDED}, a krakpot.Feed or a krakpot.ExchangeServer"
            sentence = f"{PLACE}: feed: {shown(feed)} is not allowed; allowed is {allowed}"
            raise ConfigError(sentence)
        self._cancels = cancels
        self._model = EXCHANGE
        if isinstance(trader, Paper):
            self._model = trader.model if trader.model == "orders" else f"{trader.model}, cancels {cancels}"
        self.core: Trading | None = None
        """The run in the extension, once the data is open."""
        self.markets: list[Market] = []
        # Without fees nothing can run; this says so before anything is read.
        for symbol in self.data.symbols if isinstance(feed, Recorded) else ("",):
            if self._paper is not None:
                self._paper.fees_of(symbol)

    async def run(self) -> list[Result]:
        """Run to the end; the results in the order of the strategies."""
        async with AsyncExitStack() as stack:
            await self._connect(stack)
            self._take_live()
            if self.client is not None:
                self.client.halts = stack.enter_context(Signals(self)).halts
                stack.push_async_callback(self.client.close)
                await self.client.open()
            await self.data.open()
            stack.push_async_callback(self.data.close)
            if self.client is not None:
                self._fees = await self.client.fees(self.data.symbols)
            core = self.prepare()
            if any(COMPILED in one for one in self._handlers):
                stack.enter_context(raised_inside())
            core.set_handlers(self._wanted(core))
            try:
                reason = await self.data.drive(core, self._until, self._why_to_end)
            except BaseException as error:
                if core.failed is not None:
                    account, handler = core.failed
                    whose = f" of {self._names[account]}" if self._names[account] else ""
                    error.add_note(f"krakpot: in the handler {handler}{whose}, at {stamp(core.now).isoformat()}")
                # Own orders are cancelled; nothing more is said to the strategies.
                for number in range(len(self.markets)):
                    core.halt(number, STARTED)
                if self.client is not None:
                    # At once: closing the feed takes a while.
                    await self.client.close()
                raise
            if self.client is not None:
                # While their ends can still be heard.
                await self.client.close()
            core.stop(reason)
            found = self._results(core, reason)
        lost = None if self._live is None else core.halted(0)
        if lost is not None and lost.startswith(LOSS):
            raise LimitBreached(lost, found[0])
        return found

    async def _connect(self, stack: AsyncExitStack) -> None:
        """Start the built-in exchange, and a feed of all its pairs."""
        server = self._feed
        if isinstance(server, ExchangeServer):
            if not server.address:
                await stack.enter_async_context(server)
            self.data = FeedData(
                Feed(
                    ["*"], channels=["book", "trade", "level3"], url=server.address, level3_url=server.level3_address,
                    rest_url=server.rest_address, api_key=server.key.name, api_secret=server.key.secret_text,
                )
            )  # fmt: skip

    def _take_live(self) -> None:
        """Make the client of the account with money."""
        live, data, server = self._live, self.data, self._feed
        if live is not None and isinstance(data, FeedData):
            urls = (server.private_address, server.rest_address) if isinstance(server, ExchangeServer) else ("", "")
            (strategy,) = self._strategies
            self.client = AccountClient(live, strategy, urls, self._log, None)
            self.client.shadow = None if self._paper is None else Shadow()
            self.data = LiveData(data.feed, self.client)

    def prepare(self) -> Trading:
        """Make the run in the extension, with its pairs and accounts."""
        pairs, paper = self.data.pairs(), self._paper
        level3 = paper.model == "orders" if paper is not None else all(map(self.data.has_level3, self.data.symbols))
        for pair in pairs:
            if level3 and not self.data.has_level3(pair.symbol):
                sentence = (
                    f"{PLACE}: trader: model='orders' needs level 3, which the data does not have of {pair.symbol}; "
                    "give level 3, or use krakpot.Paper(…, model='bounds')"
                )
                raise ConfigError(sentence)
        if self._live is None:
            self._check_assets(pairs)
        core = self.core = self._new_core(self.data.depth(level3=level3), pairs)
        for pair in pairs:
            fees = self._fees[pair.symbol] if self._fees else self._simulated.fees_of(pair.symbol)
            pair.add_to(core, fees, level3=level3)
        for number, handlers in enumerate(self._handlers):
            hears = ("book" in handlers, "trade" in handlers)
            if self.client is not None:
                self.client.attach(core, hears, self.data.symbols)
            else:
                balances = [(asset, f"{amount:f}") for asset, amount in self._simulated.balances.items()]
                core.add_account(balances, *hears)
            market = Market(core, number, self.data, tuple(pair.symbol for pair in pairs))
            on_stop(market, self.end)
            if self.client is not None:
                on_store(market, self.client.journal.state.stored, self.client.journal.store)
            self.markets.append(market)
        return core

    @property
    def _simulated(self) -> Paper:
        assert self._paper is not None, "a run without money has it"
        return self._paper

    def _new_core(self, depth: int | None, pairs: list[TradedPair]) -> Trading:
        options, paper = self._options, self._paper
        if self._live is not None:
            # Values are in the quote asset that most pairs have.
            self.quote = Counter(pair.quote for pair in pairs).most_common(1)[0][0]
        if paper is None:
            return Trading(
                self.quote, numbers=options.numbers, wake=options.wake, every=options.every,
                warmup=options.warmup, depth=depth, venue="live",
            )  # fmt: skip
        latency = paper.latency
        return Trading(
            self.quote, numbers=options.numbers, wake=options.wake, every=options.every, warmup=options.warmup,
            model=paper.model, cancels=self._cancels, amend_up=paper.amend_up, gaps=paper.gaps, depth=depth,
            latency=None if isinstance(latency, str) else (latency.entry_ns, latency.response_ns, latency.millionths),
            venue="paper" if self._live is None else "shadow",
        )  # fmt: skip

    def _wanted(self, core: Trading) -> list[tuple[Market, dict[str, Callable[..., object]]]]:
        """The handlers of each strategy, and the market that they are given."""
        halts = self._options.on_error == "halt"
        handlers = [self._guarded(core, number, one) if halts else one for number, one in enumerate(self._handlers)]
        return list(zip(self.markets, handlers, strict=True))

    def _check_assets(self, pairs: list[Any]) -> None:
        known = sorted({asset for pair in pairs for asset in (pair.base, pair.quote)})
        for asset in self._simulated.balances:
            if asset not in known:
                sentence = (
                    f"krakpot.Paper: balances: {asset} is in no pair of this run; its assets are {', '.join(known)}"
                )
                raise ConfigError(sentence)

    def _guarded(
        self, core: Trading, number: int, handlers: Mapping[str, Callable[..., object]]
    ) -> dict[str, Callable[..., object]]:
        """Handlers after whose first error the account is halted, and the strategy is called no more."""

        def guard(handler: Callable[..., object]) -> Callable[..., object]:
            def call(*arguments: object) -> None:
                if number in self._errors:
                    return
                try:
                    handler(*arguments)
                except Exception as error:  # noqa: BLE001  # whatever a strategy's code raises: its result has it
                    self._errors[number] = error
                    core.halt(number, f"{type(error).__name__}: {words_of(error)}")

            return call

        return {name: handler if name == COMPILED else guard(handler) for name, handler in handlers.items()}

    def end(self, reason: str) -> None:
        """End the run soon; the results are those so far."""
        self.reason = self.reason or reason
        data: Data | None = getattr(self, "data", None)
        if data is not None:
            data.interrupt()
        core: Trading | None = getattr(self, "core", None)
        if core is not None:
            core.end()

    def interrupt(self) -> bool:
        """A signal: end in order. False before anything was sent: then there is nothing to put in order."""
        self.reason = self.reason or INTERRUPTED
        return self.client is not None and self.client.started

    def abandon(self) -> None:
        """A second signal: end now, whatever is open."""
        if self.client is not None:
            self.client.abandon()

    def halt(self) -> None:
        """A signal: halt as soon as no handler is being called."""
        self._halt_asked = True

    def _why_to_end(self) -> str:
        """Why the run is to end; empty while it is not."""
        if self.client is not None:
            if self.client.error is not None:
                raise self.client.error
            if self._halt_asked and self.core is not None and self.core.halted(0) is None:
                self.core.halt(0, HALTED)
            lost = None if self.core is None else self.core.halted(0)
            if lost is not None and lost.startswith(LOSS):
                return lost
        return self.reason

    def _until(self, begin: int) -> int | None:
        return self._options.end(begin)

    def _results(self, core: Trading, reason: str) -> list[Result]:
        paper = self._paper
        begin, end = core.begin_ns or core.now, core.now
        latency, seed = (str(paper.latency), paper.seed) if self._live is None and paper is not None else (REAL, 0)
        quote = self.quote
        built = Built(
            name=self.data.name, symbols=self.data.symbols, begin=begin, end=max(begin, end), model=self._model,
            latency=latency, seed=seed, quote=quote, attribution=core.attribution(),
            prices=self._prices(core), messages=core.messages, reason=reason,
            left=() if self.client is None else self.client.left,
        )  # fmt: skip
        found = []
        for number, market in enumerate(self.markets):
            error = self._errors.get(number)
            told = "" if error is None else f"{type(error).__name__}: {words_of(error)}"
            made = made_of(core.tables(number), built, lines_of(market), told)
            if self.client is not None and self.client.shadow is not None:
                shadow = self.client.shadow.frame(made.orders, made.fills, made.requests)
                made = replace(made, shadow=shadow)
            found.append(made)
        if self._out is not None:
            for name, result in zip(self._names, found, strict=True):
                result.save(self._out / name if len(found) > 1 else self._out)
        return found

    def _prices(self, core: Trading) -> dict[str, Decimal]:
        """The middle of the last best prices, where both are known: at the end of a recording no book is in sync."""
        found = {}
        for symbol in self.data.symbols:
            best = core.last_best(symbol)
            if best is not None and best[0] is not None and best[2] is not None:
                facts = core.pair(symbol)
                unit = Decimal(1).scaleb(-facts["price_precision"]) if self._options.numbers == "int" else Decimal(1)
                found[symbol] = (Decimal(str(best[0])) + Decimal(str(best[2]))) / 2 * unit
        return found


def _folder(out: Any, names: list[str]) -> Path | None:  # noqa: ANN401  # whatever a caller gave
    """The folder of a result, made before anything runs: a long run is not lost because it cannot be written."""
    if out is None:
        return None
    place = f"{PLACE}: out"
    if not isinstance(out, (str, os.PathLike)):
        sentence = f"{place}: {shown(out)} is not allowed; allowed is a folder"
        raise ConfigError(sentence)
    if len(names) > 1:
        for name in names:
            if not name or Path(name).name != name or name == "..":
                sentence = f"krakpot.run_many: strategies: {shown(name)} cannot be the name of a folder in out"
                raise ConfigError(sentence)
    folder = Path(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        sentence = f"{place}: {folder} cannot be made ({words_of(error)}); choose a folder that you may write to"
        raise ConfigError(sentence) from error
    if not os.access(folder, os.W_OK | os.X_OK):
        sentence = f"{place}: {folder} cannot be written to; choose another folder"
        raise ConfigError(sentence)
    return folder


def _no_loop(instead: str) -> None:
    """``ConfigError`` if a loop runs in this thread: then a plain call cannot wait."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    sentence = f"{PLACE}: an event loop runs here, as in a notebook; use `await {instead}`"
    raise ConfigError(sentence)


def _copy_of(strategy: Any) -> Any:  # noqa: ANN401  # any object
    """A strategy as it is before a pass: the second one must not know of the first."""
    try:
        return copy.deepcopy(strategy)
    except Exception as error:  # whatever its attributes raise
        sentence = (
            f"{PLACE}: strategy: it cannot be copied, which two passes need ({type(error).__name__}: "
            f"{words_of(error)}); give a new one, which has not run yet"
        )
        raise ConfigError(sentence) from error


async def run_async(
    strategy: Strategy | Schedule | CompiledStrategy | Any,  # noqa: ANN401  # any object with some of the handlers
    feed: Source,
    trader: Paper | Live,
    *,
    wake: str | None = "touch",
    numbers: Numbers = "decimal",
    until: Time | Duration | None = None,
    warmup: Duration = 0,
    shadow: Paper | None = None,
    on_error: OnError = "raise",
    out: str | Path | None = None,
) -> Result | Bounds:
    """Run a strategy within a running event loop, as in a notebook; see ``krakpot.run``.

    Examples
    --------
    >>> result = await krakpot.run_async(strategy, replay, paper)  # doctest: +SKIP

    """
    options = RunOptions.read(wake=wake, numbers=numbers, until=until, warmup=warmup, on_error=on_error)
    if isinstance(trader, Paper) and trader.model == "bounds":
        if not isinstance(feed, Recorded):
            sentence = f"{PLACE}: trader: model='bounds' needs two passes, so {RECORDED}; a feed has one"
            raise ConfigError(sentence)
        both = []
        for cancels in ("ahead", "behind"):
            folder = None if out is None else Path(out) / cancels
            one = Run({"": _copy_of(strategy)}, feed, trader, options, cancels=cancels, out=folder)
            both += await one.run()
        return Bounds(*both)
    if shadow is not None and not (isinstance(trader, Live) and isinstance(shadow, Paper) and shadow.model == "orders"):
        sentence = f"{PLACE}: shadow: it is a krakpot.Paper with model='orders', beside a krakpot.Live"
        raise ConfigError(sentence)
    return (await Run({"": strategy}, feed, trader, options, shadow=shadow, out=out).run())[0]


def run(
    strategy: Strategy | Schedule | CompiledStrategy | Any,  # noqa: ANN401  # any object with some of the handlers
    feed: Source,
    trader: Paper | Live,
    *,
    wake: str | None = "touch",
    numbers: Numbers = "decimal",
    until: Time | Duration | None = None,
    warmup: Duration = 0,
    shadow: Paper | None = None,
    on_error: OnError = "raise",
    out: str | Path | None = None,
) -> Result | Bounds:
    """Run a strategy on recorded or live data, with simulated orders or with money.

    Parameters
    ----------
    strategy
        An object with some of the handlers of ``krakpot.Strategy``, a ``krakpot.Schedule``, or a function with
        ``@krakpot.compiled``.
    feed
        A ``krakpot.Replay``, or the same in memory (``krakpot.load``) for many runs; a ``krakpot.Feed`` that is not
        started, or a ``krakpot.ExchangeServer``.
    trader
        A ``krakpot.Paper``, or with a feed a ``krakpot.Live``: then orders are real.
    wake
        When the handlers ``book`` and ``trade`` are called. ``"touch"``: when the best prices or quantities are others,
        and at every trade. ``"message"``: at every message. An interval, as ``"100ms"``: ``book`` once in it, if there
        was a message. None: never; timers, orders and fills are heard always.
    numbers
        How prices and quantities are given and taken: ``"decimal"``, ``"float"``, or ``"int"``, steps of the pair.
    until
        When it ends: a time, or a duration from the first message on; None: with the data.
    warmup
        So long from the first message on no order is accepted, and ``m.warm`` is false.
    shadow
        With a ``krakpot.Live``: a ``krakpot.Paper`` that is given the same requests, for ``result.shadow``.
    on_error
        After an exception in a handler own orders are cancelled. ``"raise"``: then it is raised. ``"halt"``: the run
        goes on without this strategy, and the result has the error.
    out
        A folder for the result.

    Returns
    -------
    Result or Bounds
        What came of it; two results, if the trader's model is ``"bounds"``.

    Raises
    ------
    ConfigError
        An argument is wrong, before anything runs; or an event loop runs here: then use ``run_async``.
    Exception
        What a handler raised.

    Examples
    --------
    >>> result = krakpot.run(strategy, krakpot.Replay("data", ["BTC/USD"]), paper)  # doctest: +SKIP
    >>> result.fills.group_by("evidence").len()  # doctest: +SKIP

    """
    _no_loop("krakpot.run_async(…)")
    return asyncio.run(
        run_async(
            strategy, feed, trader, wake=wake, numbers=numbers, until=until, warmup=warmup, shadow=shadow,
            on_error=on_error, out=out,
        )
    )  # fmt: skip


def run_many(
    strategies: Mapping[str, Any],
    feed: Recorded,
    trader: Paper,
    *,
    wake: str | None = "touch",
    numbers: Numbers = "decimal",
    until: Time | Duration | None = None,
    warmup: Duration = 0,
    on_error: OnError = "raise",
    out: str | Path | None = None,
) -> Mapping[str, Result]:
    """Run many strategies in one pass over a recording: each has an account, and none sees the orders of the others.

    Parameters
    ----------
    strategies
        By name.
    feed
        A ``krakpot.Replay``, or the same in memory (``krakpot.load``).
    trader
        A ``krakpot.Paper``, which each of them gets.
    wake, numbers, until, warmup, on_error, out
        As of ``krakpot.run``.

    Returns
    -------
    Mapping[str, Result]
        The result of each, by its name.

    Raises
    ------
    ConfigError
        As of ``krakpot.run``; there is no strategy; or two of them are one object.

    Examples
    --------
    >>> results = krakpot.run_many({f"{n}": Quote(n) for n in range(100)}, replay, paper)  # doctest: +SKIP

    """
    place = "krakpot.run_many"
    _no_loop("asyncio.to_thread(krakpot.run_many, …)")
    if not isinstance(feed, Recorded):
        sentence = f"{place}: feed: {shown(feed)} is not allowed; allowed is {RECORDED}"
        raise ConfigError(sentence)
    if not isinstance(strategies, Mapping) or not strategies:
        sentence = f"{place}: strategies: {shown(strategies)} is not allowed; allowed are strategies by name"
        raise ConfigError(sentence)
    if not all(isinstance(name, str) for name in strategies):
        sentence = f"{place}: strategies: {shown(list(strategies))} are not allowed as names; allowed is text"
        raise ConfigError(sentence)
    if len({id(one) for one in strategies.values()}) < len(strategies):
        sentence = f"{place}: strategies: one object is there twice; make one for each name"
        raise ConfigError(sentence)
    if isinstance(trader, Paper) and trader.model == "bounds":
        sentence = f"{place}: trader: model='bounds' gives two results; run such strategies one by one"
        raise ConfigError(sentence)
    options = RunOptions.read(wake=wake, numbers=numbers, until=until, warmup=warmup, on_error=on_error, place=place)
    found = asyncio.run(Run(strategies, feed, trader, options, out=out).run())
    return dict(zip(strategies, found, strict=True))


def events(
    feed: Recorded,
    trader: Paper,
    *,
    wake: str | None = "touch",
    numbers: Numbers = "decimal",
    until: Time | Duration | None = None,
    warmup: Duration = 0,
) -> Iterator[tuple[Market, Any]]:
    """Iterate over what a strategy would hear, for those who prefer a loop: the market, and an event.

    Parameters
    ----------
    feed
        A ``krakpot.Replay``, or the same in memory (``krakpot.load``).
    trader
        A ``krakpot.Paper``.
    wake, numbers, until, warmup
        As of ``krakpot.run``.

    Yields
    ------
    tuple[Market, Any]
        The market, and a book event, a trade, an ``OrderEvent``, a ``Fill``, a ``Gap`` or a ``Timer``.

    Raises
    ------
    ConfigError
        An argument is wrong.

    Examples
    --------
    >>> for m, event in krakpot.events(replay, paper):  # doctest: +SKIP
    ...     if isinstance(event, krakpot.Fill):
    ...         print(event.price, event.evidence)

    """
    if not isinstance(feed, Recorded):
        sentence = f"krakpot.events: feed: {shown(feed)} is not allowed; allowed is {RECORDED}"
        raise ConfigError(sentence)
    options = RunOptions.read(wake=wake, numbers=numbers, until=until, warmup=warmup, place="krakpot.events")
    one = Run({"": _All()}, feed, trader, options)
    return _iterate(one, options)


class _All:
    """Hears everything; the loop is given it instead."""

    def book(self, m: Market, e: object) -> None:
        """Wanted."""

    def trade(self, m: Market, e: object) -> None:
        """Wanted."""


def _iterate(one: Run, options: RunOptions) -> Iterator[tuple[Market, Any]]:
    data = one.data
    assert isinstance(data, PlayedData), "checked"
    data.look()
    try:
        core, until = one.prepare(), None
        (market,) = one.markets
        while not one.reason:
            if until is None and core.begin_ns is not None:
                until = options.end(core.begin_ns, "krakpot.events")
            halt = data.step(core, TIME_MAX if until is None else until, fetch=True)
            last = until if halt == "until" else core.now if halt == "end" else None
            while not one.reason and (said := core.next(last)) is not None:
                if said[2] is not None:
                    yield market, said[2]
            if halt in {"end", "until"}:
                return
            if halt == "waits":
                time.sleep(TICK)
    finally:
        data.end()
