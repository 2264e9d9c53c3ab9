"""The Rust core: sessions, books, checksums, tables; and the built-in exchange.

Times are nanoseconds since the Unix epoch, UTC, and always arguments: the core reads no clock.
Prices and quantities are exact; no digit passes through binary floating point.
"""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, ClassVar, Literal, TypeAlias, final

__all__ = [
    "ACCOUNT_HASH",
    "CHANNELS",
    "DEBUG",
    "DEPTHS",
    "EVENT_CHANNELS",
    "EXCHANGE_SWITCHES",
    "FAULTS",
    "INTERVALS",
    "LEDGER_KINDS",
    "LEVEL3_COSTS",
    "LEVEL3_DEPTHS",
    "LEVEL3_RATES",
    "LIMITS",
    "PAIRS_MAX",
    "PROFILE",
    "TABLES",
    "Batch",
    "Book",
    "BookChanges",
    "BookEvent",
    "BookSampler",
    "Budget",
    "Compiled",
    "Digest",
    "Events",
    "Exchange",
    "Fill",
    "Frame",
    "Gap",
    "GapEvent",
    "JournalRows",
    "Level3Event",
    "LiveAccount",
    "Loaded",
    "Loader",
    "OhlcEvent",
    "Order",
    "OrderEvent",
    "Orders",
    "Questions",
    "Queue",
    "QueueReader",
    "ReplayWindow",
    "Replayer",
    "Schema",
    "Session",
    "StateCollector",
    "StatusEvent",
    "SubscriptionEvent",
    "TickerEvent",
    "Timer",
    "TradeEvent",
    "Trading",
    "Verifier",
    "__version__",
    "align",
    "check_frame",
    "matches",
    "replaying",
    "schema",
    "text_frame",
]  # fmt: skip

_Number: TypeAlias = Any
"""A price, quantity or amount: a Decimal, a float or an int, as was asked for."""
_Channel: TypeAlias = Literal["book", "trade", "ticker", "ohlc", "level3"]
_Kind: TypeAlias = Literal["snapshot", "update"]
_Outcome: TypeAlias = Literal["ok", "unchecked", "mismatch", "crossed", "refused"]
_Side: TypeAlias = Literal["bid", "ask"]
_SubscriptionState: TypeAlias = Literal[
    "pending", "requested", "acked", "active", "idle", "resyncing", "unsubscribing", "rejected", "removed"
]

__version__: str
"""Version of the package; the Rust workspace's."""
DEBUG: bool
"""Whether the extension was built without optimisation (importing such a build warns)."""
PROFILE: str
"""Cargo's profile of the build: release, develop, debug."""
TABLES: tuple[str, ...]
"""Names of the lake's tables, in the order of `docs/reference/tables.md`."""
LIMITS: Mapping[str, int]
"""The named bounds of `limits.rs`: FRAME_MAX, NESTING_MAX, SYMBOLS_MAX, …"""
LEDGER_KINDS: Mapping[str, Mapping[str, bool]]
"""Kinds of ledger rows and what each means for coverage.

Properties: begins_book, begins_feed (trades, tickers, candles), ends_book, ends_feed, needs_symbol (it ends something
only
if it names a symbol), tells_since (`ts_from` tells since when nothing came), is_error.
"""
CHANNELS: Mapping[str, str]
"""Channels that are subscribed symbol by symbol, and the table that each fills."""
DEPTHS: tuple[int, ...]
"""Book depths that Kraken offers."""
LEVEL3_DEPTHS: tuple[int, ...]
"""Depths of level 3 that Kraken offers."""
LEVEL3_COSTS: Mapping[int, int]
"""Units that a level-3 subscription costs, by its depth."""
LEVEL3_RATES: Mapping[str, int]
"""Units of level-3 subscriptions that Kraken allows in a second, by account: standard, pro."""
EVENT_CHANNELS: tuple[str, ...]
"""What there are events of: book, trade, ticker, ohlc, level3, status, subscription, gap."""
INTERVALS: tuple[int, ...]
"""Minutes of a candle that Kraken offers."""
EXCHANGE_SWITCHES: tuple[tuple[str, str, str, str], ...]
"""What the built-in exchange does where Kraken is silent: a switch, its default, the other value, what it decides."""
FAULTS: tuple[tuple[str, str, str, str], ...]
"""Faults of the built-in exchange: name, what it happens to, the default of `by`, what it does."""
PAIRS_MAX: int
"""Most pairs of the built-in exchange."""
ACCOUNT_HASH: int
"""Multiplier of the hash in the built-in exchange's account: hash = hash × this + number, modulo 2**64."""

@final
class Schema:
    """Arrow schema of a table, by the Arrow PyCapsule interface: `pyarrow.schema(schema)`."""

    def __arrow_c_schema__(self) -> object: ...

def schema(table: str) -> Schema:
    """Arrow schema of a table, as written to journals and parts.

    Parameters
    ----------
    table
        One of `TABLES`.

    Raises
    ------
    ValueError
        If there is no such table.

    Examples
    --------
    >>> import pyarrow as pa
    >>> pa.schema(schema("trades")).names[:3]
    ['session', 'message', 'entry']

    """

def matches(pattern: str, symbol: str) -> bool:
    """Whether the glob `pattern` matches the whole of `symbol`: `*` any run of characters, `?` one. Case matters.

    >>> matches("*/USD", "BTC/USD")
    True
    """

def text_frame(text: bytes, key: bytes) -> bytes:
    """Return the WebSocket frame of a whole text message, masked with the four bytes of `key` as a client's must be."""

def check_frame(frame: bytes) -> None:
    """Raise what is wrong with a frame; return None if a session can take all of it.

    A session never raises for a frame: it writes a ledger row with the same sentence and goes on.

    Parameters
    ----------
    frame
        One WebSocket message of Kraken's, as bytes.

    Raises
    ------
    krakpot.errors.DecodeError
        If the frame is not JSON, no message, or not as the protocol promises; of several odd items the first. `channel`
        and `field` are empty if they are not known; `offset` is the byte in the frame, None if it is not known.
    krakpot.errors.LimitExceeded
        If it exceeds one of `LIMITS`.

    Examples
    --------
    >>> check_frame(b'{"channel":"heartbeat"}')

    """

@final
class Batch:
    """Rows of one table: an Arrow record batch, by the Arrow PyCapsule interface, without copying.

    `pyarrow.record_batch(batch)` and `polars.from_arrow(pyarrow.record_batch(batch))` share its buffers.
    """

    @property
    def table(self) -> str:
        """Name of the table, one of `TABLES`."""
    @property
    def num_rows(self) -> int:
        """Number of rows."""
    def __arrow_c_schema__(self) -> object: ...
    def __arrow_c_array__(self, requested_schema: object | None = None) -> tuple[object, object]: ...

@final
class Book:
    """A copy of one level-2 book, as the session held it when asked."""

    @property
    def symbol(self) -> str: ...
    @property
    def depth(self) -> int: ...
    @property
    def price_precision(self) -> int: ...
    @property
    def qty_precision(self) -> int: ...
    @property
    def checksum(self) -> int:
        """CRC32 of the best ten levels of both sides, computed now."""
    def bids(self, levels: int | None = None) -> list[tuple[str, str]]:
        """Price and quantity as decimal text padded to the pair's precision, best first."""
    def asks(self, levels: int | None = None) -> list[tuple[str, str]]:
        """Price and quantity as decimal text padded to the pair's precision, best first."""
    def to_arrow(self) -> Frame:
        """All levels as columns side, level (0 is the best), price and qty (Decimal(38, 10))."""

@final
class Orders:
    """One level-3 book of a symbol: its orders in the order of their queues, and the level-2 book that follows.

    Prices and quantities are decimal text, given in any form of a JSON number, told padded to the precision; times are
    ns. An order of a message: (side, event, order_id, price, qty, timestamp); side `bid` or `ask`; event `add`,
    `modify`, `delete`, or None as in snapshots (added). `modify` is what such an event does to the order's place in its
    queue, which is not documented: `keep_place` (unless its price changes) or `take_timestamp`.
    """

    def __new__(cls, *, depth: int, price_precision: int, qty_precision: int, modify: str = "keep_place") -> Orders: ...
    def snapshot(
        self, orders: Sequence[tuple[str, str | None, str, str, str, int]], checksum: int | None = None
    ) -> dict[str, Any]:
        """Begin the book anew; the result is that of `update`."""
    def update(
        self, orders: Sequence[tuple[str, str | None, str, str, str, int]], checksum: int | None = None
    ) -> dict[str, Any]:
        """Apply one message, then keep the best `depth` levels a side; those that fall out take their orders along.

        {"outcome", "checksum", "checksum_level2", "modify"}. Outcomes: ok, unchecked (no checksum given, or no live
        book), mismatch, crossed; the latter two end the book until the next snapshot. `checksum` is the level-3 one as
        computed, `checksum_level2` that of the level-2 view; None without a book. `modify` is the answer that the
        checksum verified, where the message can tell the two apart: the other one is tried before a book is given up.
        `ValueError` if an order is malformed (nothing is changed then); `krakpot.errors.DecodeError` if a number cannot
        be held, `LimitExceeded` for more than LIMITS["ORDERS_MAX"] orders (the book is out of sync then).
        """
    @property
    def in_sync(self) -> bool:
        """Whether there is a book that may be trusted."""
    @property
    def modify(self) -> str:
        """The answer in force: as given, or as last verified against it. It outlives the book."""
    def bids(self, levels: int | None = None) -> list[tuple[str, str, int]]:
        """The level-2 view: price, sum of quantities, number of orders; best first. Empty without a book."""
    def asks(self, levels: int | None = None) -> list[tuple[str, str, int]]:
        """The level-2 view: price, sum of quantities, number of orders; best first. Empty without a book."""
    def queue(self, side: str, price: str) -> list[tuple[str, str, int]]:
        """Order id, quantity and time of the orders at a price, the first to be filled first."""
    def order(self, order_id: str) -> dict[str, Any] | None:
        """An order: side, price, qty, timestamp (its place's), and orders_ahead and qty_ahead at its price."""
    def counts(self) -> dict[str, int]:
        """Of the book: orders, bids and asks (levels), replaced (added though held).

        And unknown_entries: modifies and deletes of orders that the book did not hold, of all updates so far.
        """

@final
class Session:
    """Protocol state of one connection: frames and times in; rows, events and requests out.

    It never sends: `requests` says what the protocol calls for next, the caller sends it.
    With `passive=True` it asks for nothing and takes what comes (recorded frames).
    `after` hands over what must survive a reconnect: the last trade ids and the pairs that were followed.
    `depth` (of books) and `level3_depth` None ask for 100; where observing, the ack's depth is in force, else the
    smallest that holds the snapshot.

    Level 3 has a host of its own: its session has channels `["level3"]` and `instrument=False`, since the instrument
    channel is not served there, takes the pairs of the public session (`import_pairs`), and is given a token
    (`set_token`).
    """

    def __new__(
        cls,
        session: str,
        *,
        channels: Sequence[str] = ("book", "trade", "ticker"),
        symbols: Sequence[str] = ["*"],
        exclude: Sequence[str] = (),
        depth: int | None = None,
        level3_depth: int | None = None,
        interval: int = 1,
        precision: Mapping[str, tuple[int, int]] | None = None,
        frames: bool = False,
        tokenised: bool = False,
        instrument: bool = True,
        passive: bool = False,
        after: Session | None = None,
        channel_symbols: Mapping[str, Sequence[str]] | None = None,
        rows: bool = True,
        ledger: bool = True,
    ) -> Session: ...
    def collect(self, *, rows: bool, ledger: bool = True) -> None:
        """What the session makes from now on: rows for `drain`, and ledger rows for `take_ledger`.

        What was made before is kept until it is taken.
        """
    def select(
        self,
        symbols: Sequence[str],
        now: int,
        *,
        exclude: Sequence[str] = (),
        channel_symbols: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        """Replace the patterns while the session runs.

        Pairs that are selected now become pending. Those that are selected no more are unsubscribed; their books end.
        """
    @property
    def id(self) -> str: ...
    @property
    def now(self) -> int:
        """The latest time it was told, ns: of a frame, a tick, or the exchange where receive times are not known."""
    @property
    def last_received(self) -> int:
        """Receive time of the latest frame, ns; 0 before the first."""
    @property
    def system(self) -> str | None:
        """State of the exchange as it last said: online, maintenance, cancel_only, post_only."""
    def receive(self, frames: Sequence[bytes], ts_recv: int) -> None:
        """Take the frames of one socket read, in order. Lets go of the interpreter."""
    def ingest(self, frames: Sequence[bytes], ts_recv: Sequence[int] | None = None) -> None:
        """Take recorded frames with a receive time each; without times the largest `ts_event` so far stands in."""
    def tick(self, now: int) -> None:
        """Let time pass: `alive` rows, checkpoints, retries that fell due. Call it about every 100 ms."""
    def requests(self, now: int, budget: Budget | None = None) -> list[bytes]:
        """Requests to send now, in order. Each is handed out once.

        Subscriptions of level 3 keep to `budget`, which the sessions of an account share (None: one of its own). They
        carry the token: not to be logged.
        """
    def import_pairs(self, other: Session, symbols: Sequence[str], now: int) -> None:
        """Take what `other` knows of these pairs, as if the instrument channel had said it here; again when it changed.

        Writes no rows of `pairs`: `other` did.
        """
    def go_on_from(self, before: Session) -> None:
        """Go on where a replayed session ends, before anything is subscribed here.

        Its trades are not taken twice, missing ones are noticed, and gap events say for how long nothing was known.
        """
    def cross_check(self, other: Session, now: int) -> None:
        """Hold the best prices of level 3 against those that `other` has of the same symbols' books or tickers.

        Where they differ for ten seconds and level 3 was silent all the while, it is asked for again. Call it every
        second or so.
        """
    @property
    def token_needed(self) -> bool:
        """Whether it has level 3 to subscribe or to leave, and no token, or one that was refused."""
    def set_token(self, token: str) -> None:
        """Give it a token for level 3. It stands in requests and nowhere else."""
    def ping(self) -> bytes:
        """A ping request with a `req_id` of its own."""
    def add_ledger_row(
        self,
        kind: str,
        now: int,
        *,
        channel: str | None = None,
        symbol: str | None = None,
        ts_from: int | None = None,
        ts_to: int | None = None,
        count: int | None = None,
        detail: str | None = None,
    ) -> None:
        """Add a row to the ledger that only the caller can know of (start, stop, connect, limit, …)."""
    def end(self, now: int, detail: str) -> None:
        """The connection is gone: all books end, with a last `alive` and a `disconnect` row."""
    def take_ledger(self) -> list[dict[str, Any]]:
        """Ledger rows since the last call.

        Keys as in the ledger: kind, channel, symbol, ts_recv, ts_from, ts_to, count, detail.
        `alive` rows are left out. At most LIMITS["EVENTS_MAX"] are kept; the ledger keeps all.
        """
    @property
    def pending_rows(self) -> int:
        """Rows waiting to be taken, over all tables."""
    def drain(self) -> dict[str, Batch]:
        """The rows since the last call, by table; tables without rows are left out."""
    def counts(self) -> dict[str, Any]:
        """Counters of the session.

        {"frames", "messages": {channel: n}, "rows": {table: n}, "checksums": {"book": {"ok", "bad"}, "level3": {"ok",
        "bad"}}, "unchecked", "errors", "gaps"}. Also "unknown_entries" (removals of levels, changes and
        removals of orders that the book did not hold), "replaced" (orders added though held), "pairs" (known),
        "selected", "subscribed" (active or idle), "rejected", "in_sync" (books), "waiting" (for an ack or a snapshot).
        """
    @property
    def instrument_messages(self) -> int:
        """Messages about pairs that were taken, as `counts` has them."""
    def subscriptions(self) -> list[tuple[_Channel, str, _SubscriptionState, str]]:
        """(channel, symbol, state, reason) of every subscription; the reason is empty where all is well.

        States: pending (to be requested), requested, acked (its snapshot is to come), active, idle (active, and without
        data for a minute), resyncing (to be unsubscribed and subscribed again: a wrong checksum, no answer, or silent
        while another channel of the symbol moves), unsubscribing (also while its request
        waits for its turn), rejected (by the exchange), removed (delisted, or its numbers cannot be held).
        """
    def subscription(self, symbol: str, channel: str) -> tuple[_SubscriptionState, str] | None:
        """(state, reason) of one subscription; None if there is none."""
    def pair_status(self, symbol: str) -> str | None:
        """The status of a pair as the instrument channel said it last; None: it did not."""
    def pairs(self) -> list[dict[str, Any]]:
        """The instrument channel's pairs as known now.

        Keys: symbol, base, quote, status, price_precision, qty_precision, cost_precision, qty_min, cost_min and
        price_increment (text), marginable, selected.
        """
    def book(self, symbol: str) -> Book | None:
        """The book of `symbol` if it is live."""
    def best(self, symbol: str, numbers: str = "decimal") -> tuple[Any, Any, Any, Any] | None:
        """Best bid, its quantity, best ask, its quantity, if the book is live; None for those of an empty side.

        `numbers`: `decimal` (`decimal.Decimal`, padded to the precision), `float` (the nearest), `int` (whole steps of
        the precision).
        """
    def mid_and_spread(self, symbol: str, numbers: str = "decimal") -> tuple[Any, Any] | None:
        """Spread and middle, if the book is live; None for both where a side is empty. `decimal` or `float`."""
    def levels(
        self, symbol: str, side: str, levels: int | None = None, numbers: str = "decimal"
    ) -> list[tuple[Any, Any]] | None:
        """Price and quantity of the best levels of side `bid` or `ask`, best first, if the book is live."""
    def in_sync(self, symbol: str, channel: str = "book") -> bool:
        """Whether the book of `symbol` is in sync; `channel` is `book` or `level3`."""
    def last_mismatch(self, symbol: str, channel: str = "book") -> tuple[int, int] | None:
        """The last checksum of `symbol` that was wrong: what the exchange sent, and what was computed; None: none was.

        `channel` is `book` or `level3`.
        """
    def order_best(self, symbol: str, numbers: str = "decimal") -> tuple[Any, Any, Any, Any] | None:
        """The same as `best`, of level 3: the quantities are sums over the orders of a price."""
    def order_levels(
        self, symbol: str, side: str, levels: int | None = None, numbers: str = "decimal"
    ) -> list[tuple[Any, Any, int]] | None:
        """Price, quantity and number of orders of the best prices of level 3, best first, if the book is in sync."""
    def order_queue(
        self, symbol: str, side: str, price: Decimal | str | int, numbers: str = "decimal"
    ) -> list[tuple[str, Any, int]] | None:
        """(order_id, qty, ts_order) of the orders at a price, the first to be filled first.

        None if the book is out of sync, empty if it has no such price. With `numbers="int"` the price is in whole steps
        too; otherwise it is a Decimal or text, never a float.
        """
    def order(self, symbol: str, order_id: str, numbers: str = "decimal") -> dict[str, Any] | None:
        """An order of level 3: side, price, qty, ts_order, and orders_ahead and qty_ahead at its price.

        None if the book is out of sync, or has no such order.
        """
    def orders(self, symbol: str) -> Orders | None:
        """A copy of the level-3 book of `symbol` if it is live."""

@final
class Digest:
    """One number for all that a session made: its rows, its books, its subscriptions and its counts.

    Sessions that took the same frames at the same times have the same number, natively and as WebAssembly.

    >>> session, digest = Session("demo", passive=True), Digest()
    >>> session.receive([b'{"channel":"heartbeat"}'], 1)
    >>> digest.take(session)
    >>> 0 <= digest.value(session) < 1 << 64
    True
    """

    def __new__(cls) -> Digest: ...
    def take(self, session: Session) -> None:
        """Take the rows that the session has collected; `Session.drain` does not return them any more."""
    def value(self, session: Session) -> int:
        """The number: of the rows that were taken so far, and of the session's state now. 64 bits."""

@final
class Events:
    """Makes events of the frames of a session, for a strategy.

    `channels` are some of `EVENT_CHANNELS`; nothing else becomes an event. Frames of this call make rows only if the
    session makes rows at all (`Session(rows=False)`, `Session.collect`).
    """

    def __new__(cls, channels: Sequence[str]) -> Events: ...
    def receive(self, session: Session, frames: Sequence[bytes], ts_recv: int) -> list[Any]:
        """Give the frames of one socket read to the session; the events that they make, in the order of messages.

        Subscriptions whose state is another than told come last: with the first call all of them, later what changed.
        Without frames: what changed by time alone.
        """

@final
class BookEvent:
    """A message of the book channel: the session's book has it applied, unless `outcome` says otherwise."""

    channel: ClassVar[Literal["book"]]
    @property
    def symbol(self) -> str: ...
    @property
    def message(self) -> int: ...
    @property
    def ts_recv(self) -> int: ...
    @property
    def ts_event(self) -> int | None: ...
    @property
    def kind(self) -> _Kind: ...
    @property
    def checksum(self) -> int | None:
        """As the exchange sent it."""
    @property
    def outcome(self) -> _Outcome:
        """What came of it.

        ok: the checksum is right. mismatch, crossed: the book is out of sync until its next snapshot. unchecked: the
        book was out of sync, or the message had no checksum. refused: its numbers cannot be held; it was not applied,
        its entries are empty, and the book is out of sync.
        """
    def entries(self, numbers: str = "decimal") -> list[tuple[_Side, Any, Any]]:
        """Side (bid, ask), price, quantity (0: removed) of what the message changed; `numbers` as of `Session.best`."""

@final
class Level3Event:
    """A message of the level3 channel was applied, or was not the exchange's book."""

    channel: ClassVar[Literal["level3"]]
    @property
    def symbol(self) -> str: ...
    @property
    def message(self) -> int: ...
    @property
    def ts_recv(self) -> int: ...
    @property
    def ts_event(self) -> int | None: ...
    @property
    def kind(self) -> _Kind: ...
    @property
    def checksum(self) -> int | None:
        """As the exchange sent it."""
    @property
    def outcome(self) -> _Outcome:
        """As of `BookEvent`."""
    def orders(
        self, numbers: str = "decimal"
    ) -> list[tuple[_Side, Literal["add", "modify", "delete"] | None, str, Any, Any, int]]:
        """(side, event, order_id, price, qty, ts_order) of each entry; the event is None in a snapshot."""

@final
class TradeEvent:
    """A trade."""

    channel: ClassVar[Literal["trade"]]
    @property
    def symbol(self) -> str: ...
    @property
    def message(self) -> int: ...
    @property
    def ts_recv(self) -> int: ...
    @property
    def ts_event(self) -> int | None: ...
    @property
    def kind(self) -> _Kind: ...
    @property
    def side(self) -> str:
        """Of the taker: buy or sell."""
    @property
    def ord_type(self) -> str:
        """Of the taker: limit or market."""
    @property
    def trade_id(self) -> int: ...
    @property
    def price(self) -> Decimal: ...
    @property
    def qty(self) -> Decimal: ...

@final
class TickerEvent:
    """Best prices and 24-hour statistics; numbers with as many decimals as they need."""

    channel: ClassVar[Literal["ticker"]]
    @property
    def symbol(self) -> str: ...
    @property
    def message(self) -> int: ...
    @property
    def ts_recv(self) -> int: ...
    @property
    def ts_event(self) -> int | None: ...
    @property
    def bid(self) -> Decimal | None: ...
    @property
    def bid_qty(self) -> Decimal | None: ...
    @property
    def ask(self) -> Decimal | None: ...
    @property
    def ask_qty(self) -> Decimal | None: ...
    @property
    def last(self) -> Decimal | None: ...
    def statistics(self) -> dict[str, Decimal | None]:
        """Of 24 hours: volume, vwap, low, high, change, change_pct."""

@final
class OhlcEvent:
    """The latest values of a candle."""

    channel: ClassVar[Literal["ohlc"]]
    @property
    def symbol(self) -> str: ...
    @property
    def message(self) -> int: ...
    @property
    def ts_recv(self) -> int: ...
    @property
    def ts_event(self) -> int | None: ...
    @property
    def interval(self) -> int:
        """Minutes."""
    @property
    def interval_begin(self) -> int: ...
    @property
    def trades(self) -> int | None: ...
    def candle(self) -> dict[str, Decimal | None]:
        """The numbers open, high, low, close, vwap, volume."""

@final
class StatusEvent:
    """What the exchange says of itself."""

    channel: ClassVar[Literal["status"]]
    @property
    def message(self) -> int: ...
    @property
    def ts_recv(self) -> int: ...
    @property
    def system(self) -> str:
        """`online`, `maintenance`, `cancel_only`, `post_only`."""

@final
class SubscriptionEvent:
    """The state of a subscription changed."""

    channel: ClassVar[Literal["subscription"]]
    @property
    def symbol(self) -> str: ...
    @property
    def of(self) -> _Channel:
        """The channel that is subscribed."""
    @property
    def state(self) -> _SubscriptionState | Literal["off"]:
        """As of `Session.subscriptions`; off: it has ended, since it is no longer selected."""
    @property
    def reason(self) -> str: ...
    @property
    def ts_recv(self) -> int: ...

@final
class GapEvent:
    """Something of a symbol was missed. It comes when data is known again; of trades, when numbers are missing."""

    channel: ClassVar[Literal["gap"]]
    @property
    def symbol(self) -> str: ...
    @property
    def of(self) -> _Channel:
        """The channel that has the gap: book, level3, ticker, ohlc or trade."""
    @property
    def first_trade_id(self) -> int | None:
        """Of trades: the first number that is missing."""
    @property
    def last_trade_id(self) -> int | None:
        """Of trades: the last number that is missing."""
    @property
    def message(self) -> int: ...
    @property
    def ts_recv(self) -> int: ...
    @property
    def ts_from(self) -> int | None:
        """When the last data before the gap came, ns."""
    @property
    def ts_to(self) -> int:
        """When the first data after it came, ns."""
    @property
    def reason(self) -> str: ...

@final
class Budget:
    """What an account may subscribe of level 3: `rate` units a second, 200 for a standard account, 500 for pro.

    A symbol costs 5, 25 or 100 at depth 10, 100 or 1000. Symbols that were live before get `resync_share` of it at most
    (seen over ten seconds), so that trouble with some never keeps others from being subscribed. `ValueError` for a rate
    of 0 or a share outside 0 to 1. Source: Kraken's page of the channel level3.
    """

    def __new__(cls, *, rate: int = 200, resync_share: float = 0.1) -> Budget: ...

@final
class Verifier:
    """Rebuilds the books of one session from the rows of its tables alone and computes every checksum again.

    Give it `ends` first, then for each journal's parts, in order, `checkpoints` before `messages`; then call
    `finish`. Rows are sorted by (symbol, session, message, entry), in anything with the Arrow PyCapsule interface.

    Parameters
    ----------
    session
        Id of the session.
    channel
        `book` (tables `book`, `checkpoints`) or `level3` (`orders`, `orders_checkpoints`).
    shard, shards
        Take only symbols whose hash falls on `shard`, so that verifiers in several threads share the work on the same
        batches.

    Raises
    ------
    ValueError
        If an argument is not allowed. All methods: if the rows lack a column or have another type, or after `finish`.
    RuntimeError
        All methods: if an earlier call failed.

    Examples
    --------
    >>> verifier = Verifier("a session")
    >>> verifier.finish()
    []

    """

    def __new__(cls, session: str, *, channel: str = "book", shard: int = 0, shards: int = 1) -> Verifier: ...
    def ends(self, rows: object) -> None:
        """Take ledger rows (columns symbol, message, kind) after which a book is out of sync; null symbol: all books.

        Kinds: those of `LEDGER_KINDS` with `ends_book`, and `missing` for rows that the lake lacks.
        """
    def checkpoints(self, rows: object) -> None:
        """Take rows of the checkpoints of this session."""
    def messages(self, rows: object) -> None:
        """Take rows of the messages of this session. Releases the GIL."""
    def finish(self) -> list[dict[str, Any]]:
        """Return what was found, symbol by symbol.

        Keys: symbol, messages, ok, bad, unchecked, bad_unexplained, unchecked_unexplained, checkpoints_ok,
        checkpoints_bad, problems. `problems` is a list of at most ten sentences. Unexplained: no row of `ends` accounts
        for it.
        """

@final
class Frame:
    """Columns that are not a table of the lake: an Arrow record batch, by the Arrow PyCapsule interface."""

    def __arrow_c_schema__(self) -> object: ...
    def __arrow_c_array__(self, requested_schema: object | None = None) -> tuple[object, object]: ...

@final
class StateCollector:
    """Collects the states that the books of one channel went through in one session, verified as by `Verifier`.

    Rows as for `Verifier`; messages need `ts_recv` and `ts_event` too. Ends may come between messages, those of a
    message before its rows.

    Parameters
    ----------
    session
        Id of the session.
    channel
        `book` or `level3`.
    depths
        By symbol, the levels on each side that both channels have; else ten.

    Raises
    ------
    ValueError, RuntimeError
        As `Verifier`.

    Examples
    --------
    >>> import pyarrow as pa
    >>> pa.record_batch(StateCollector("a session", channel="book", depths={}).states()).num_rows
    0

    """

    def __new__(cls, session: str, *, channel: str, depths: Mapping[str, int]) -> StateCollector: ...
    def ends(self, rows: object) -> None:
        """Take ledger rows after which a book is out of sync, as `Verifier.ends`."""
    def checkpoints(self, rows: object) -> None:
        """Take rows of the checkpoints of this session."""
    def messages(self, rows: object) -> None:
        """Take rows of the messages of this session. Releases the GIL."""
    def states(self) -> Frame:
        """Return the states since the last call: a row for each message with a right checksum that changed the book.

        Columns: symbol, span (its number), message, ts_recv, ts_event, checksum (level 2, of the best ten levels), full
        (a 64-bit hash of the levels to the depth), entries (of the message).
        """
    def spans(self) -> Frame:
        """Return all spans so far: the times in which a book was in sync.

        Columns: symbol, span, message_from, ts_from, message_to, ts_to, reason. `reason` is the ledger's word for what
        ended it after `message_to`; null if the book is still in sync. `ts_to` is null if a row of the ledger ended it:
        that row has the time.
        """

@final
class BookChanges:
    """The books of one symbol after each message that changed them, rebuilt from the rows of one session.

    Rows as for `BookSampler`.

    Parameters
    ----------
    session
        Id of the session.
    channel
        `book` or `level3` (the level-2 book that follows from the orders).
    begin, end
        Only messages of [begin, end), ns.
    depth
        Levels on each side; a change of a deeper level counts for nothing.
    clock
        `recv`: times are receive times. `event`: the exchange's.
    floats
        Numbers in binary floating point; otherwise Decimal(38, 10).

    Raises
    ------
    ValueError, RuntimeError
        As `Verifier`.

    Examples
    --------
    >>> import polars as pl
    >>> changes = BookChanges("a session", channel="book", begin=0, end=1, depth=1)
    >>> pl.DataFrame(changes.frame()).columns
    ['ts', 'message', 'reason', 'checksum', 'bid_price_0', 'bid_qty_0', 'ask_price_0', 'ask_qty_0']

    """

    def __new__(
        cls,
        session: str,
        *,
        channel: str,
        begin: int,
        end: int,
        depth: int,
        clock: str = "recv",
        floats: bool = False,
    ) -> BookChanges: ...
    def ends(self, rows: object) -> None:
        """Take ledger rows after which the book is out of sync, as `Verifier.ends`."""
    def checkpoints(self, rows: object) -> None:
        """Take rows of the checkpoints of this session."""
    def begin(self, symbol: str, message: int) -> None:
        """Take the checkpoint before `message` as the book before it; otherwise the first book is a change."""
    def messages(self, rows: object) -> None:
        """Take rows of the messages of this session, whole messages. Releases the GIL."""
    def frame(self) -> Frame:
        """Return the changes, a row for each; the object is finished then.

        Columns: ts, message, reason (null if there is a book), checksum (level 2), bid_price_0, bid_qty_0, ask_price_0,
        ask_qty_0, bid_price_1, …; null if there is no such level.
        """

@final
class QueueReader:
    """The queues of one symbol, rebuilt from the rows of one session and verified as by `Verifier`.

    Rows as for `Verifier`, of one symbol; messages need `ts_recv` and `ts_event`. In a level-2 book each level counts
    as one order without an id and a time. What is read is chosen by the static method that makes it.

    Raises
    ------
    ValueError, RuntimeError
        As `Verifier`; `ValueError` also for a side or a price that is none.

    Examples
    --------
    >>> QueueReader.orders("a session", 0, depth=10).reason
    'absent'

    """

    @staticmethod
    def orders(session: str, at: int, *, depth: int, event: bool = False) -> QueueReader:
        """Every order of the best `depth` levels of level 3 at a time, ns: by the exchange's clock if `event`.

        A row for each order, bids first, best level first, in the order of the queue.
        """
    @staticmethod
    def order(session: str, order_id: str) -> QueueReader:
        """One order: a row after each message that changed it or its queue.

        `what` is "there", "delete" (deleted), "left" (with its level it left the window) or "end" (the book went out of
        sync; `reason`).
        """
    @staticmethod
    def level(session: str, at: int, *, channel: str, side: str, price: str) -> QueueReader:
        """The orders at a price, and those of the other side that an order at this price would meet.

        `at` is a time of the exchange, ns. The first row says whether the price is in the window at that time ("shown",
        "hidden"), the next ones which orders are there ("there"). Then a row for each change, from `before` to `qty`:
        "add", "modify", "delete", "moved" (to another price), "left" (the window), "shown", "hidden", or "end" (the
        book went out of sync; `reason`).
        """
    def ends(self, rows: object) -> None:
        """Take ledger rows after which the book is out of sync, as `Verifier.ends`."""
    def checkpoints(self, rows: object) -> None:
        """Take rows of the checkpoints of this session."""
    def begin(self, symbol: str, message: int) -> None:
        """Take the checkpoint before `message` as the book at the beginning; otherwise the first message begins."""
    def messages(self, rows: object) -> None:
        """Take rows of the messages of this session, whole messages. Releases the GIL."""
    @property
    def reason(self) -> str | None:
        """Why there is no book after the last message; None if there is one."""
    @property
    def checksum(self) -> int | None:
        """Kraken's checksum of the book whose orders were read, of `orders`."""
    @property
    def precision(self) -> tuple[int, int] | None:
        """Decimals of prices and of quantities of the last book."""
    def take(self, *, last: bool = False) -> Frame:
        """Take the rows so far. `last`: no message follows; a level then has its first rows in any case.

        Columns message, ts_recv, ts_event, what, reason, side, price, order_id, ts_order, before, qty, place, ahead,
        behind (quantities in front and at the back in the queue), level; null where they say nothing.
        """

@final
class BookSampler:
    """The books of one symbol at many times, rebuilt from the rows of one session and verified as by `Verifier`.

    Rows as for `Verifier`, of one symbol; messages need `ts_recv` if `clock` is not `message`, and `ts_event` if it is
    `event`. The book at a time is the book after the last message, in the order of application, that is not later.

    Parameters
    ----------
    session
        Id of the session.
    channel
        `book` or `level3` (the level-2 book that follows from the orders).
    times
        A table with the column `ts` (ns), sorted.
    depth
        Levels on each side.
    room
        How many of the times will likely have a book: columns that grow are copied.
    clock
        `recv`: the times are receive times. `event`: the exchange's. `message`: numbers of messages; then rows of the
        ledger between two messages count too.
    floats
        Numbers in binary floating point; otherwise Decimal(38, 10).

    Raises
    ------
    ValueError, RuntimeError
        As `Verifier`.

    Examples
    --------
    >>> import polars as pl
    >>> times = pl.DataFrame(schema={"ts": pl.Datetime("ns", "UTC")})
    >>> BookSampler("a session", channel="book", times=times, depth=10).first

    """

    def __new__(
        cls,
        session: str,
        *,
        channel: str,
        times: object,
        depth: int,
        room: int = 0,
        clock: str = "recv",
        floats: bool = False,
    ) -> BookSampler: ...
    def ends(self, rows: object) -> None:
        """Take ledger rows after which the book is out of sync, as `Verifier.ends`."""
    def checkpoints(self, rows: object) -> None:
        """Take rows of the checkpoints of this session."""
    def begin(self, symbol: str, message: int, since: int) -> None:
        """Take the checkpoint before `message` as the book from `since` on; otherwise the first message begins."""
    def messages(self, rows: object) -> None:
        """Take rows of the messages of this session, whole messages. Releases the GIL."""
    def close(self) -> None:
        """All rows were given; with the clock `message` the ends after the last message are taken."""
    @property
    def first(self) -> int | None:
        """Place of the first time that has a sample; None without a message."""
    def frame(self, until: int) -> Frame:
        """Return the books from `first` on and before the time at place `until`. The sampler is finished then.

        Columns: ts, reason (null if there is a book), checksum (level 2), bid_price_0, bid_qty_0, ask_price_0,
        ask_qty_0, bid_price_1, …; null if there is no such level.
        """

@final
class ReplayWindow:
    """Rows of some messages of one session, put in order. Any thread may make it. Releases the GIL.

    Parameters
    ----------
    tables
        By the name of a table its rows (Arrow): `book`, `orders`, `trades`, `ticker`, `ohlc`, `status`, `checkpoints`,
        `orders_checkpoints`, `ledger`; each in one piece, sorted by message and entry.
    by
        `recv`: messages are played at their receive time. `event`: at the exchange's time; those of one symbol and
        table keep their order.
    after
        The window before it, of the same session.
    floor
        No time in it is less, ns.

    Raises
    ------
    ValueError
        A table or column is missing, or of another type.

    Examples
    --------
    >>> window = ReplayWindow({})

    """

    def __new__(
        cls,
        tables: Mapping[str, object],
        *,
        by: Literal["recv", "event"] = "recv",
        after: ReplayWindow | None = None,
        floor: int | None = None,
    ) -> ReplayWindow: ...

@final
class Replayer:
    """Merges recorded sessions by time, and gives their events as a live feed would.

    Parameters
    ----------
    connection
        Makes the event of a connection: called with whether it is up, the facts of the ledger (JSON), the time (ns) and
        the endpoint.
    by
        As of `ReplayWindow`.
    since
        Events come from this time on, ns; what is before is applied in silence.

    Examples
    --------
    >>> Replayer(lambda up, detail, ts_recv, endpoint: None).play(0)
    ('end', None, [])

    """

    def __new__(
        cls,
        connection: Callable[[bool, str, int, Any], object],
        *,
        by: Literal["recv", "event"] = "recv",
        since: int | None = None,
    ) -> Replayer: ...
    def open(self, session: Session, endpoint: str) -> int:
        """Add a session, made by `replaying`; its number."""
    def add(self, player: int, window: ReplayWindow) -> None:
        """Add the next rows of a session. A window is taken once."""
    def finish(self, player: int) -> None:
        """No more rows of a session come."""
    def reopen(self, player: int) -> None:
        """More rows of a session come after all."""
    def subscribed(self, player: int, channel: str, symbol: str, ts_recv: int) -> None:
        """A session had this subscription before its first row."""
    def switch(self, key: int, channel: str, symbol: str, player: int, joined: bool) -> None:
        """From a time on a symbol's data in a channel is a session's. `joined`: it goes on where another one was."""
    def want(self, channels: Sequence[str], rows: bool) -> None:
        """Give events of these channels (`EVENT_CHANNELS`, `connection`) from now on; let sessions keep rows."""
    def interrupt(self, *, drop: bool = False) -> None:
        """Let `play` return after the events of this read of a socket; with `drop` it gives no more of them."""
    @property
    def now(self) -> int | None:
        """Time of what was played last, ns."""
    @property
    def reads(self) -> int:
        """Reads of sockets that were played, also in silence."""
    def peek(self, until: int) -> tuple[Literal["steps", "until", "end", "rows", "over"], int | None]:
        """`steps` if the next read of a socket before a time is known; else why it cannot be played, as of `play`."""
    @property
    def connected(self) -> bool:
        """Whether no connection of a session that is played is down."""
    def session(self, channel: str, symbol: str) -> Session | None:
        """The session that has a symbol's data in a channel now."""
    def track(self) -> None:
        """Remember from now on what was given last of each symbol, for `last`."""
    def last(self, channel: str, symbol: str) -> tuple[int, int, int | None] | None:
        """Latest exchange time, trade id and checksum that were given of a symbol in a channel."""
    def down(self, channel: str, symbol: str) -> str | None:
        """Facts of the ledger (JSON) about the end of its connection; None while it is up."""
    def play(
        self,
        until: int,
        listeners: Mapping[str, Sequence[tuple[Callable[[Any], object], str | None]]] | None = None,
        steps: int = 4096,
    ) -> tuple[Literal["until", "end", "rows", "over", "events", "steps", "interrupted"], int | None, list[Any]]:
        """Play up to a time (exclusive, ns), at most `steps` reads of a socket.

        With `listeners`, functions by channel, each for one symbol or for all, events are given to them. Otherwise the
        events of the first read that has some are returned.

        Returns
        -------
        tuple[str, int | None, list[Any]]
            Why it came to a halt: the time, the end, a session needs rows or is over (its number), there are events,
            the number of steps, `interrupt`.

        Raises
        ------
        ValueError
            A row cannot be.
        Exception
            What a listener raised.

        """

def replaying(session: str, channels: Sequence[str], after: Session | None = None) -> Session:
    """Make a session that replays recorded rows; `after`: the one whose connection was lost before.

    Examples
    --------
    >>> replaying("a session", ["book"]).id
    'a session'

    """

@final
class Queue:
    """Place of an own order in the queue of its price."""

    @property
    def orders_ahead(self) -> int:
        """Orders that are filled before it."""
    @property
    def qty_ahead(self) -> _Number:
        """Their quantity."""
    @property
    def qty_behind(self) -> _Number:
        """Quantity of the orders that are filled after it."""
    @property
    def exact(self) -> bool:
        """Whether all of them are shown; otherwise there may be more before it."""

@final
class Order:
    """An own order. It shows how it is now; numbers are as the run has them."""

    @property
    def id(self) -> int:
        """The account's own number of it."""
    @property
    def order_id(self) -> str | None:
        """The exchange's id; None before its answer."""
    @property
    def symbol(self) -> str:
        """The pair."""
    @property
    def side(self) -> Literal["buy", "sell"]: ...
    @property
    def kind(self) -> str:
        """`limit`, `market`, `iceberg`, `stop-loss`, `stop-loss-limit`, `take-profit`, `take-profit-limit`."""
    @property
    def qty(self) -> _Number:
        """Quantity in all, as amended."""
    @property
    def price(self) -> _Number:
        """Worst price, as amended; None of a market order."""
    @property
    def filled(self) -> _Number:
        """Quantity that is filled."""
    @property
    def left(self) -> _Number:
        """Quantity that is not filled yet."""
    @property
    def average(self) -> _Number:
        """Average price of its fills; None without one."""
    @property
    def state(
        self,
    ) -> Literal[
        "sent", "pending", "open", "amending", "canceling", "unknown", "filled", "canceled", "expired", "rejected"
    ]: ...
    @property
    def live(self) -> bool:
        """Whether it is not over."""
    @property
    def reason(self) -> str:
        """Why it was refused or ended: Kraken's text, or `krakpot:` and the limit; empty where nothing is said."""
    @property
    def tag(self) -> str:
        """The strategy's word for it."""
    @property
    def sent(self) -> int:
        """Local time at which it was sent, ns."""
    @property
    def acked(self) -> int | None:
        """Local time at which the exchange's answer was heard, ns."""
    @property
    def deadline(self) -> int:
        """The exchange does not match it after this time, ns."""
    @property
    def queue(self) -> Queue | None:
        """Its place; None where it does not rest."""
    @property
    def rest_tradable(self) -> bool:
        """Whether what is left is at least the least quantity of an order."""

@final
class OrderEvent:
    """What became of an own order."""

    @property
    def order(self) -> Order:
        """The order, as it is now."""
    @property
    def change(self) -> str:
        """What happened, in a word.

        `acked`, `rejected`, `pending`, `new`, `trade`, `filled`, `amended`, `restated`, `refilled`, `triggered`,
        `canceled`, `expired`, `unknown`; `amend acked`, `amend refused`, `cancel acked`, `cancel refused`.
        """
    @property
    def reason(self) -> str:
        """Why; empty where nothing is said."""
    @property
    def before(self) -> str:
        """Its state before."""
    @property
    def ts(self) -> int:
        """Time of the exchange, ns; local time of what was refused here."""

@final
class Fill:
    """A fill of an own order; numbers are as the run has them."""

    @property
    def order(self) -> Order: ...
    @property
    def symbol(self) -> str: ...
    @property
    def side(self) -> Literal["buy", "sell"]: ...
    @property
    def exec_id(self) -> str:
        """Its id."""
    @property
    def trade_id(self) -> int | None:
        """Number of the public trade, where there is one."""
    @property
    def counterparty(self) -> str | None:
        """Id of the order that it met, where that is known."""
    @property
    def qty(self) -> _Number: ...
    @property
    def price(self) -> _Number: ...
    @property
    def fee(self) -> _Number:
        """Fee, in the quote asset."""
    @property
    def liquidity(self) -> Literal["maker", "taker"]: ...
    @property
    def evidence(self) -> Literal["queue", "beyond", "through", "crossed", "taken", "exchange"]:
        """What proves it; docs/trading.md says what each means."""
    @property
    def doubt(self) -> bool:
        """Whether it lies in a gap's shadow, or the data of its instant does not explain it."""
    @property
    def ts(self) -> int:
        """Time of the exchange, ns."""

@final
class Gap:
    """Something is missing, or is there again; until then no new risk is taken."""

    @property
    def of(self) -> Literal["data", "trades", "account", "exchange", "clock"]:
        """What is missing.

        `data`: the book is out of sync. `trades`: trades were missed. With money also `account`: what becomes of own
        orders is not heard; `exchange`: a maintenance is near; `clock`: the clocks are too far apart.
        """
    @property
    def symbol(self) -> str:
        """The pair; empty: all of them."""
    @property
    def healed(self) -> bool:
        """Whether it is over."""
    @property
    def ts(self) -> int:
        """Local time, ns."""

@final
class Timer:
    """A time that a strategy asked for."""

    @property
    def tag(self) -> str: ...
    @property
    def ts(self) -> int:
        """Local time, ns."""

_OrderRow: TypeAlias = tuple[str | None, str, str, str, str | None, str, int, str]
"""An order as REST shows it: name, id, state, quantity, price, filled, time (ns), reason."""
_FillRow: TypeAlias = tuple[str, str, int | None, str, str, str, str, bool]
"""A fill: id of the order, of the fill, number of the trade, quantity, price, cost, fee in the quote asset, maker."""

@final
class JournalRows:
    """Rows that follow those of the journal of an account, as text, until they are written.

    Parameters
    ----------
    before
        Hash of the last row of the journal.
    number
        Number of the next one.

    """

    def __new__(cls, before: str, number: int) -> JournalRows: ...
    @property
    def number(self) -> int:
        """Number of the next row."""
    def refuse_orders(self) -> None:
        """Take no row of an order or an amendment from a `LiveAccount` any more."""
    def add(self, ts: int, kind: str, facts: str) -> None:
        """Add a row: its time (ns), its kind, and its facts as a JSON object."""
    def take_noted(self) -> list[tuple[int, int, Any, dict[str, Any]]]:
        """Rows that a `LiveAccount` added since the last call: number, time, kind, facts."""
    def unwritten(self) -> bytes:
        """Lines that are to be written next."""
    def written(self, bytes: int) -> None:  # noqa: A002  # what it counts
        """So many bytes of `unwritten` were written."""

@final
class LiveAccount:
    """An account at the exchange, for a client to connect: frames go in and out as text, rows for the journal come out.

    It is added to a run of the venue `live` or `shadow`, which has its pairs and no account yet. Times are local, ns;
    shares are in millionths. A limit that is None does not act.

    Parameters
    ----------
    prefix
        Eight letters and digits, with which the names of the strategy's orders begin.
    hears
        Whether the strategy has handlers of books, and of trades.
    first_order, sent_before
        Number of the first order; orders that earlier runs sent.
    order_value, inventory, loss, open_orders, collar, orders_per_minute, stale, fee_share, fat_finger, ramp
        As of `krakpot.Limits`.
    clock
        How far the clocks may be apart.
    self_trade
        `cancel_newest`, `cancel_oldest`, `cancel_both`.
    validate
        New orders are only checked by the exchange.
    strangers
        What is done to orders with this prefix that no journal has: `report` fails, `adopt` takes them over.
    lag, limit
        How old what REST shows may be; after how long a comparison has failed.
    dead_man
        No new risk is taken unless the dead-man timer runs.

    """

    def __new__(
        cls,
        trading: Trading,
        prefix: str,
        *,
        hears: tuple[bool, bool],
        first_order: int,
        sent_before: int = 0,
        order_value: str,
        inventory: Sequence[tuple[str, str]],
        loss: str,
        open_orders: int | None,
        collar: int | None,
        orders_per_minute: int | None,
        stale: int | None,
        fee_share: int | None,
        fat_finger: bool = True,
        ramp: int | None = None,
        clock: int | None = None,
        self_trade: str = "cancel_newest",
        validate: bool = False,
        strangers: str = "report",
        lag: int,
        limit: int,
        dead_man: bool = False,
        shared: bool = False,
    ) -> LiveAccount: ...
    def restore_balances(self, balances: Sequence[tuple[str, str]]) -> None:
        """Balances that an earlier run knew last: what differs from them now needs a reason."""
    def restore_fill(self, symbol: str, side: str, row: _FillRow) -> None:
        """A fill of an earlier run: it counts in what was bought and sold."""
    def restore_order(
        self,
        number: int,
        symbol: str,
        side: str,
        qty: str,
        price: str | None,
        *,
        post_only: bool = False,
        tag: str = "",
        order_id: str | None = None,
        sent: int,
        deadline: int,
        fills: Sequence[_FillRow],
        last_fill: int | None = None,
    ) -> None:
        """An order of an earlier run that may be at the exchange."""
    def connected(self, now: int, token: str) -> list[bytes]:
        """A connection is open, and its token is this: what is to be sent over it at once. Own orders are compared."""
    def disconnected(self, now: int) -> None:
        """The connection is gone."""
    def frame(self, now: int, data: bytes) -> str | None:
        """A frame of the private socket; why the connection is to be made anew, or None."""
    def advance(self, now: int) -> str | None:
        """It is so late; why the connection is to be made anew, or None."""
    def requests(self, now: int, rows: JournalRows) -> list[tuple[bytes, bool]]:
        """What the strategy asked for, as frames, and whether one is a cancel.

        Their rows, and those of what was heard before, are added to `rows`. The rows of all but cancels must be in the
        journal before they are sent.
        """
    def ping(self, now: int) -> bytes:
        """A request for a sign of life; its answer compares the clocks."""
    def needs_ping(self, now: int) -> bool:
        """Whether a sign of life is needed now: its answer proves that no report of an older request is on its way."""
    def clock_was_set(self, now: int, by: int) -> None:
        """Know that this machine's clock was set: it shows so much more than it would have, ns."""
    def arm(self, now: int, seconds: int) -> bytes | None:
        """The request that sets the dead-man timer of the account; 0 ends it. None without a connection."""
    def note(self, now: int, rows: JournalRows) -> None:
        """Add the rows of what was heard."""
    def note_balances(self) -> bool:
        """Make a row of the balances as they are now; false while they are not known."""
    def take_asks(self, now: int) -> list[tuple[int, Literal["orders", "closed", "trades"], Any]]:
        """What REST is to be asked: a number for the answer, and what it is about.

        `orders`: ids. `closed`: names, and between which times the orders were made. `trades`: a time. Times in ns.
        """
    def rest_orders(self, now: int, number: int, asked: int, rows: Sequence[_OrderRow]) -> str | None:
        """Orders that REST showed to a question, which was sent at `asked`."""
    def rest_fills(self, now: int, number: int, rows: Sequence[_FillRow]) -> str | None:
        """Fills that REST showed to a question."""
    def unanswered(self, now: int, number: int) -> None:
        """REST did not answer."""
    @property
    def phase(self) -> Literal["down", "reconciling", "ready", "failed"]:
        """How far the account is known."""
    @property
    def troubles(self) -> list[str]:
        """What does not agree, in sentences."""
    @property
    def foreign(self) -> list[str]:
        """Open orders of other programs, by the exchange's ids."""
    @property
    def offset(self) -> int | None:
        """The exchange's clock less this one; None while it is not known."""
    @property
    def max_rate(self) -> int | None:
        """How high the exchange lets the counter of orders be; None: it did not say yet."""
    @property
    def timer(self) -> int | None:
        """When the dead-man timer ends, by the exchange's clock."""
    def may_arm(self, now: int) -> bool:
        """Whether the dead-man timer should run: not in a maintenance."""
    def why_not(self, now: int) -> str | None:
        """Why no new risk is taken, without `krakpot:`; None if it may be."""
    @property
    def waiting(self) -> int:
        """Requests without an answer."""
    def set_trouble(self, now: int, why: str | None) -> None:
        """Something else forbids new risk; None: not any more."""
    def heard(self, now: int) -> None:
        """A message of the feed came, be it a heartbeat."""
    def place(self, order: int) -> tuple[int, str] | None:
        """Orders and quantity ahead of an order in the real queue of its price; None where it is not seen."""
    def take_shadow(self) -> list[tuple[int, Literal["answer", "report", "fill"], dict[str, Any]]]:
        """What the simulated exchange said to the same requests: when it would have been heard, kind, facts.

        The report that an order is there has `orders_ahead` and `qty_ahead`.
        """

@final
class Compiled:
    """A strategy that numba compiled, in one run: `krakpot.compiled` makes it, and nothing else may.

    Parameters
    ----------
    address
        Of a C function `int32(market*, state*)`, which returns 1, or 0 if it raised. Whoever gives another one crashes
        the process.
    size, version
        Of the struct for which it was compiled.
    state
        Its state at the begin.
    queue
        Whether orders show their place in the queue.

    Examples
    --------
    >>> Compiled.layout()["market"]["names"][:3]
    ['now', 'call', 'pair']

    """

    def __new__(cls, address: int, size: int, version: int, state: bytes, queue: bool = False) -> Compiled: ...
    def state(self) -> bytes:
        """Its state as it is now; `ValueError` while it runs."""
    @staticmethod
    def layout() -> dict[str, Any]:
        """The struct as `numpy.dtype` takes it (`market`), its `version`, and the words of its codes."""

@final
class Questions:
    """What would have become of many limit orders on a replay, each as if it were alone: for `Lake.would_fill`.

    Parameters
    ----------
    count
        How many orders are asked about.
    cancels
        None: level 3. Level 2: what left a level without being traded stood `ahead` of an order, or `behind` it.
    depth
        Levels a side that the record shows.
    keeps
        Whether single fills are kept.

    Examples
    --------
    >>> questions = Questions(1000)
    >>> questions.add_pair("BTC/USD", price_precision=1, qty_precision=8)
    0

    """

    def __new__(
        cls, count: int, *, cancels: str | None = None, depth: int | None = None, keeps: bool = False
    ) -> Questions: ...
    def add_pair(self, symbol: str, *, price_precision: int, qty_precision: int, level3: bool = True) -> int:
        """Add a pair; its number."""
    def ask(self, pair: int, frame: object) -> None:
        """Ask about orders, before anything is played.

        Columns: number (UInt32), buys (Boolean), price and qty (steps), at and until (ns). The numbers of all pairs
        begin at 0 and end before `count`.
        """
    def resume(self, replayer: Replayer, channel: str, now: int) -> None:
        """Take the books that are known at `now`, ns, where the replay is entered."""
    def play(self, replayer: Replayer, until: int, steps: int = 4096) -> tuple[str, int | None]:
        """Play so many reads of sockets; why it came to a halt, as `Replayer.play` says, or `answered`."""
    def finish(self) -> None:
        """Nothing more comes: all questions are answered."""
    def answers(self) -> tuple[Frame, Frame]:
        """Take all answers, in the order of the numbers, and the single fills if they are kept, by number and time."""

@final
class Loaded:
    """A recording in memory: events, and what a run asks of the books after each. `Loader.finish` makes it."""

    @property
    def messages(self) -> int:
        """Messages of books, trades, and gaps, as a run counts them."""
    @property
    def nbytes(self) -> int:
        """Bytes of memory that it needs, about."""
    def time(self, read: int) -> int | None:
        """When a read of a socket came, ns; None: there are no more."""
    @property
    def skipped(self) -> int:
        """Reads of sockets before its begin."""

@final
class Loader:
    """Reads a recording into memory: `krakpot.load` drives it.

    Examples
    --------
    >>> loader = Loader()
    >>> loader.add_pair("BTC/USD", price_precision=1, qty_precision=8, level3=True, level2=False)
    >>> loader.read(Replayer(lambda up, detail, ts_recv, endpoint: None), 0)
    ('end', None)
    >>> loader.finish().messages
    0

    """

    def __new__(cls) -> Loader: ...
    def add_pair(self, symbol: str, *, price_precision: int, qty_precision: int, level3: bool, level2: bool) -> None:
        """Add a pair that a run may have, and the kinds of books that the recording has of it."""
    def read(self, replayer: Replayer, until: int, steps: int = 4096) -> tuple[str, int | None]:
        """Read on, at most `steps` reads of a socket; why it came to a halt, as of `Replayer.play`."""
    @property
    def messages(self) -> int:
        """Messages so far."""
    @property
    def nbytes(self) -> int:
        """Bytes of memory that they need, about."""
    def finish(self) -> Loaded:
        """All that was read."""

@final
class Trading:
    """Strategies on one stream of data, with simulated orders: `krakpot.run` drives it.

    Parameters
    ----------
    quote
        The asset in which values are given.
    numbers
        `decimal`, `float` or `int`.
    wake
        `message`, `touch`, `every` (with `every`, ns) or `never`.
    warmup
        No order is accepted for so many ns from the first message on.
    model, cancels, amend_up, gaps
        As of `krakpot.Paper`; `cancels`: of bounds, `ahead` or `behind`.
    latency
        To the exchange and back, ns, and the coupling, millionths; None: as recorded.
    depth
        Levels a side that the data shows; None: as many as there can be.
    join
        What is traded and what leaves the book within so many ns is one instant; None: the default.
    venue
        `paper`: orders are simulated. `live`: a `LiveAccount` takes them. `shadow`: both.

    Examples
    --------
    >>> Trading("USD").assets()
    []

    """

    def __new__(
        cls,
        quote: str,
        *,
        numbers: str = "decimal",
        wake: str = "touch",
        every: int = 0,
        warmup: int = 0,
        model: str = "orders",
        cancels: str = "ahead",
        amend_up: str = "lose",
        latency: tuple[int, int, int] | None = None,
        gaps: str = "time",
        join: int | None = None,
        depth: int | None = None,
        venue: str = "paper",
    ) -> Trading: ...
    def add_pair(
        self,
        symbol: str,
        base: str,
        quote: str,
        *,
        price_precision: int,
        qty_precision: int,
        cost_precision: int,
        price_increment: str,
        qty_min: str,
        cost_min: str,
        maker: int,
        taker: int,
        status: str = "online",
        level3: bool = True,
    ) -> int:
        """Add a pair, before the accounts; fees in millionths. `level3`: its orders come by level 3."""
    def add_account(self, balances: Sequence[tuple[str, str]], book: bool, trade: bool) -> int:
        """Add an account; `book`, `trade`: whether its strategy has these handlers."""
    def set_handlers(self, handlers: Sequence[tuple[object, Mapping[str, Callable[..., object]]]]) -> None:
        """The market of each account, and its handlers by name.

        With a `Compiled` as `compiled` that hears all for which there are handlers; they are given why it failed.
        """
    def play(self, source: Replayer | Loaded, until: int, steps: int = 4096) -> tuple[str, int | None]:
        """Play a recording, and call handlers; as of `Replayer.play`. Raises what a handler raises."""
    def fetch(self, source: Replayer | Loaded, until: int) -> tuple[str, int | None] | None:
        """Read once from a recording, for `next`; what halts it, or None."""
    @property
    def reads(self) -> int:
        """Reads of a recording in memory that were played."""
    def next(self, until: int | None = None) -> tuple[int, str, Any] | None:
        """What is to be said next of what was read, or of what is due up to a time: account, handler, object."""
    def set_pair_status(self, now: int, symbol: str, status: str) -> None:
        """Know that the exchange says that a pair is in this state; new orders follow it from now on."""
    def see(self, now: int, symbol: str, session: Session) -> None:
        """Look at the book of a pair that was in sync before the run began."""
    def take(self, events: Sequence[object], session: Session) -> None:
        """Take events of a live feed, made with a session, and call handlers; nothing after `end`.

        With the state of a book's subscription: see which books of the session are out of sync.
        """
    def receive(
        self,
        made: Events,
        session: Session,
        frames: Sequence[bytes],
        ts_recv: int,
        after: Callable[[], object] | None = None,
    ) -> None:
        """Give the frames of one socket read to the session, and take the events that `made` makes of them.

        As `Events.receive` and then `take` with each event, without Python's objects of them. `after` is called after
        each event.
        """
    def advance(self, now: int, session: Session | None = None, level3: bool = False) -> None:
        """Let time pass, and call handlers; with a session, see which of the books that it had are out of sync."""
    def start(self, now: int) -> None:
        """Begin; a replay begins by itself."""
    def end(self) -> None:
        """Say nothing more; ``stop`` then ends it."""
    @property
    def failed(self) -> tuple[int, str] | None:
        """The account and the handler that raised."""
    def stop(self, reason: str) -> None:
        """End."""
    @property
    def now(self) -> int:
        """Time of what happened last, ns."""
    @property
    def begin_ns(self) -> int | None:
        """Time of the first message, ns."""
    @property
    def messages(self) -> int:
        """Messages of books, and trades, that were taken."""
    @property
    def warm(self) -> bool:
        """Whether the warm-up is over."""
    @property
    def system(self) -> str:
        """State of the exchange; empty before it said."""
    @property
    def next_due(self) -> int:
        """When something happens next without a message, ns."""
    def trading(self, account: int) -> bool:
        """Whether new orders are accepted."""
    def best(self, symbol: str) -> tuple[Any, Any, Any, Any] | None:
        """Best bid and ask with their quantities; None if the book is out of sync."""
    def last_best(self, symbol: str) -> tuple[Any, Any, Any, Any] | None:
        """The same as they were seen last, in sync or not."""
    def order(
        self,
        account: int,
        symbol: str,
        side: str,
        qty: object,
        price: object | None = None,
        *,
        tif: str = "gtc",
        expire: int | None = None,
        post_only: bool = False,
        display: object | None = None,
        trigger: object | None = None,
        stop: bool = True,
        deadline: int = ...,
        tag: str = "",
        confirm: bool = False,
    ) -> Order:
        """Place an order; `deadline`: ns from now. `confirm`: its unusual size is meant."""
    def amend(self, account: int, order: Order, qty: object | None = None, price: object | None = None) -> None: ...
    def cancel(self, account: int, order: Order) -> None: ...
    def cancel_all(self, account: int, symbol: str | None = None) -> None: ...
    def after(self, account: int, delay: int, tag: str) -> None:
        """Call the handler `timer` after so many ns."""
    def halt(self, account: int, reason: str) -> None:
        """Cancel its orders, and accept no new ones."""
    def halted(self, account: int) -> str | None:
        """Why it was halted."""
    def orders(
        self, account: int, symbol: str | None = None, side: str | None = None, tag: str | None = None
    ) -> list[Order]:
        """Its orders that are not over."""
    def balance(self, account: int, asset: str) -> list[Any]:
        """Total, held and free."""
    def inventory(self, account: int, symbol: str) -> tuple[Any, Any, Any, Any]:
        """Quantity, average cost, realised, unrealised."""
    def rate(self, account: int, symbol: str) -> tuple[float, int]:
        """The rate counter, and its limit."""
    def round(
        self,
        symbol: str,
        side: str | None,
        price: object | None = None,
        qty: object | None = None,
        how: str = "passive",
    ) -> _Number:
        """The nearest price or quantity that an order may have."""
    def assets(self) -> list[str]:
        """Assets of the pairs."""
    def attribution(self) -> dict[str, tuple[str, str]]:
        """By pair: quantity that was traded, and how much of it nothing in the book explains."""
    def tables(self, account: int) -> dict[str, Any]:
        """Tables of what the run left of an account: columns as lists, exact numbers as text."""
    def pair(self, symbol: str) -> dict[str, Any]:
        """Steps, minima, fees and status of a pair."""
    def pair_status(self, symbol: str) -> str:
        """The status of a pair; the rest of it stays as it was added."""

def align(left: object, right: object, *, window: int, nearest: int = 16) -> Frame:
    """Pair the states of two sequences: the longest chain of pairs that grows in both. Releases the GIL.

    Parameters
    ----------
    left, right
        Tables with the columns group (UInt32, sorted), key (UInt64), time (Int64, ns) and first (Boolean: the state
        begins a span), in anything with the Arrow PyCapsule interface. States are paired if they have the same group
        and key and are at most `window` ns apart; a `first` state also with the one that the other sequence was in
        before.
    window
        Largest difference of time, ns.
    nearest
        Candidates of each state: those nearest to the usual difference of time around it. Of equally long chains the
        one nearest to the usual differences, in sum, is taken.

    Returns
    -------
    Frame
        Columns left and right (UInt32): places in the two tables, one row for each pair.

    Raises
    ------
    ValueError
        If a column is missing, of another type or not sorted, or an argument is not allowed.

    """

@final
class Exchange:
    """The built-in exchange: a matching engine that speaks Kraken's v2 protocol, without sockets and clock.

    Requests in, blocks of WebSocket frames (server to client) out. Its time moves only by `advance`.

    Parameters
    ----------
    pairs
        Number of pairs, 1 to `PAIRS_MAX`.
    rate
        Messages per second of a full subscription, about.
    seed
        The same seed, requests and times give the same bytes.
    start
        Time of the exchange at the start, ns since the epoch. Trade ids begin at this time in microseconds, so a later
        start begins higher.
    log
        Whether `take_log` names every frame.
    book, level3
        Delay, jitter and conflation of the channel, ns, each up to an hour.
    history
        Most trades, of all pairs together, that are kept for `trades` and `candles`; None: a million, some 50 MB. The
        oldest are forgotten first.
    account
        What the account has and how it behaves, each `NAME=VALUE`: `balance.USD=5000`, `maker=0.25`, `taker=0.4`
        (percent), or `volume=0` (USD of the last 30 days: fees by Kraken's schedule), `tier=starter`, `intermediate` or
        `pro`, and the switches of `EXCHANGE_SWITCHES`.

    Raises
    ------
    ValueError
        If a value is not allowed.

    Examples
    --------
    >>> exchange = Exchange(pairs=3)
    >>> client = exchange.connect()
    >>> exchange.receive(client, b'{"method":"ping"}')
    >>> b'"method":"pong"' in exchange.take(client)
    True

    """

    def __new__(
        cls,
        *,
        pairs: int = 200,
        rate: float = 1000.0,
        seed: int = 1,
        start: int = 0,
        log: bool = False,
        book: tuple[int, int, int] | None = None,
        level3: tuple[int, int, int] | None = None,
        history: int | None = None,
        account: list[str] | None = None,
    ) -> Exchange: ...
    @property
    def now(self) -> int:
        """Time of the exchange, ns since the epoch."""
    @property
    def symbols(self) -> list[str]:
        """Symbols, the busiest first."""
    def connect(self, endpoint: str = "public") -> int:
        """Open a connection to `public`, `level3` or `private`; return its number. Its first frame waits to be taken.

        `ValueError` for another endpoint.
        """
    def allow(self, token: str, until: int) -> None:
        """Allow a WebSocket token for level3 and orders until `until`, ns. A subscription outlives its token."""
    def order(self, method: str, params: str) -> str:
        """Do what an order method of the private endpoint asks for, without a token.

        `params` are JSON, as there. Returns a JSON list of answers: objects with `result` or `orders_cancelled`, or
        with `error`.
        """
    def account(self, what: str, at: int) -> str:
        """Return the account as it was at a time, ns, as JSON.

        `what` is `orders`, `open`, `closed`, `trades`, `balances` (of each asset: all of it, what is held) or
        `entries`; null for another word. Amounts are texts, times ns.
        """
    @property
    def fees(self) -> tuple[str, str]:
        """Fees of a resting order and of one that takes, in percent, as they are now."""
    @property
    def fee_schedule(self) -> list[tuple[int, str, str]]:
        """The fees by the volume in USD from which they hold: one row if the volume does not matter."""
    @property
    def volume(self) -> str:
        """What the account traded for USD in the last 30 days, with what it began with."""
    @property
    def tier(self) -> str:
        """Tier of the account: starter, intermediate or pro."""
    def refuse_signed(self, method: str) -> str | None:
        """Return the text with which a fault refuses a signed request to REST, if one does."""
    def shown_at(self, method: str) -> int:
        """Return the time, ns, whose state a signed request to REST is shown: now, or earlier by a fault."""
    def disconnect(self, connection: int) -> None:
        """Forget a connection. Its account stays in `summary`."""
    def receive(self, connection: int, text: bytes) -> None:
        """Answer a request; the answers wait to be taken."""
    def advance(self, to: int, limit: int | None = None, wall: int = 0) -> int:
        """Move time forward to `to`, ns, or until a connection has `limit` bytes waiting; return the time reached.

        `wall` is the time that the log gives the frames, ns.
        """
    def take(self, connection: int) -> bytes:
        """Take what waits for a connection: whole WebSocket frames."""
    def take_log(self) -> bytes:
        """Take the log (if `log`): CSV, one line per frame.

        Columns: wall_ns,connection,frame,channel,symbol,checksum,sent_ns,fault.

        `checksum` is the checksum of a book or level3 message, the last trade id of a trade message, 0 for all others.
        `sent_ns` is the exchange's time at which the frame left, after the delay of its channel. `fault` names what
        happened to the frame. A frame that was not sent has a line too, with the number of the next frame that was. So
        has every other fault, with the number of the next frame if it happened to a connection.
        """
    def summary(self) -> str:
        """Return the account of what was sent, as JSON.

        `messages` (number of frames), `now` (ns), `faults` (how often each happened), and `connections`: for each
        `connection` (its number), `connection_id` (as its status message announced), `frames` and `bytes` that were
        sent, and `symbols`. These have for each channel the number of `messages` that were made, and `hash`, 16
        hexadecimal digits: over the checksums of book and level3 messages and the last trade ids of trade messages, in
        order, hash = hash × `ACCOUNT_HASH` + number, modulo 2**64. If faults happened to some of these messages,
        `faults` says which and how often.
        """
    def inject(self, text: str) -> None:
        """Inject a fault from now on.

        Parameters
        ----------
        text
            `NAME[=HOW][,KEY=VALUE]…`, as `drop=0.01,channel=book`. HOW is a chance, `once`, or `every:30s`; the keys
            are by, channel, method, symbol, connection, endpoint, after, for. `FAULTS` has the names;
            docs/exchange.md explains them.

        Raises
        ------
        ValueError
            If the text cannot be read; it says what is allowed.

        """
    def clear_faults(self) -> None:
        """End all faults. What they hold back comes; what they did stays done."""
    @property
    def faults(self) -> list[str]:
        """The faults that are in force or will be, as they were asked for."""
    def take_faults(self) -> list[dict[str, Any]]:
        """Return the faults that happened since the last call; at most 100,000 are kept.

        Keys: `ts` (ns), `name`, `connection`, `frame` (number of the connection's next frame), `channel`, `symbol`, and
        `by` (ns or a number). Faults of connections, as `cut`, are only reported: the caller does them.
        """
    def admit(self, who: str, endpoint: str = "public") -> tuple[int, int | None] | None:
        """Ask before `connect` whether a client of this address may connect to an endpoint.

        None if it may. Else the HTTP status (0: reset the connection without an answer), and the seconds for the header
        `Retry-After`, if there is to be one.
        """
    @property
    def system(self) -> str:
        """State of the exchange: online, maintenance, cancel_only, post_only."""
    @property
    def clock(self) -> int:
        """Time by the clock that stamps messages, ns: `now`, unless the fault `skew` lets it be off."""
    @property
    def upcoming_maintenance(self) -> str:
        """The maintenance that is announced, as the status channel has it: a JSON list, empty or with one entry."""
    def book(self, symbol: str, depth: int = 10) -> tuple[list[tuple[str, str]], list[tuple[str, str]]] | None:
        """Bids and asks as they are, best first: price and quantity, padded to the pair's precision.

        None for an unknown symbol.
        """
    def pairs(self) -> list[tuple[str, str, str, str, int, int]]:
        """Return the pairs that are listed: symbol, base, quote, status, decimals of prices and of quantities."""
    def trades(
        self, symbol: str, since: int | None = None, count: int = 1000
    ) -> list[tuple[str, str, int, str, str, int, int]] | None:
        """Return the oldest trades that are kept and come after the place `since`, ns; without it the latest ones.

        Price, quantity, time (ns), side of the taker (`b`, `s`), type of its order (`m`, `l`), id, and place of each:
        its time, or later by so many ns that no two trades of a pair have one. None for an unknown symbol.
        """
    def candles(
        self, symbol: str, minutes: int = 1, count: int = 720
    ) -> list[tuple[int, list[str], str, str, int]] | None:
        """Return the latest candles that have trades, oldest first, from the trades that are kept.

        Begin (ns); open, high, low and close; vwap, volume, and number of trades of each. None for an unknown symbol.
        """
    def refuse_rest(self) -> tuple[int, str] | None:
        """Ask before a request to REST for public data is answered whether a fault happens to it.

        None if none does. Else the HTTP status, and with the status 200 the text of the refusal.
        """
