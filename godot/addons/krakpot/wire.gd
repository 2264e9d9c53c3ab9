## The binary messages of the stream of [code]krakpot view[/code], version 1: bytes into objects, without trust.
##
## Each function checks everything before it changes anything. It returns "", or a sentence that says what is damaged.
## [KrakpotFeed] calls them. docs/reference/stream.md of krakpot describes every byte.
class_name KrakpotWire
extends RefCounted

## Version of the stream that this addon reads.
const VERSION := 1
## Kinds of messages, byte 0.
enum Kind { BOOK = 1, TRADES = 2, ORDERS = 3, OVERVIEW = 4, GAP = 5, CLOCK = 6 }

const IN_SYNC := 1
const NOT_CONTINUED := 2


## Bytes that a message of this kind has at least; 0 if the kind is unknown.
static func least(kind: int) -> int:
	match kind:
		Kind.BOOK, Kind.ORDERS:
			return 40
		Kind.TRADES, Kind.OVERVIEW:
			return 16
		Kind.GAP:
			return 24
		Kind.CLOCK:
			return 32
	return 0


## The number of the pair of a book, trades, orders or a gap.
static func pair_of(data: PackedByteArray) -> int:
	return data.decode_u32(4)


## Kind 1.
static func read_book(data: PackedByteArray, book: KrakpotBook) -> String:
	var n := data.decode_u32(32)
	var m := data.decode_u32(36)
	var wrong := _head(data, n, m, 16, "book")
	if wrong:
		return wrong
	var asks := 40 + 16 * n
	var bid_prices := _floats(data, 40, n)
	var ask_prices := _floats(data, asks, m)
	if not _sorted(bid_prices, -1.0) or not _sorted(ask_prices, 1.0):
		return "a book whose levels are not sorted"
	if n and m and bid_prices[0] >= ask_prices[0]:
		return "a book whose best bid is not below its best ask"
	var bid_qtys := _floats(data, 40 + 8 * n, n)
	var ask_qtys := _floats(data, asks + 8 * m, m)
	if not _counted(bid_qtys) or not _counted(ask_qtys):
		return "a book with a quantity that is no number"
	book.bid_prices = bid_prices
	book.bid_qtys = bid_qtys
	book.ask_prices = ask_prices
	book.ask_qtys = ask_qtys
	_take_head(data, book)
	return ""


## Kind 3.
static func read_orders(data: PackedByteArray, orders: KrakpotOrders) -> String:
	var n := data.decode_u32(32)
	var m := data.decode_u32(36)
	var wrong := _head(data, n, m, 32, "level-3 book")
	if wrong:
		return wrong
	var asks := 40 + 32 * n
	var bid_prices := _floats(data, 40, n)
	var ask_prices := _floats(data, asks, m)
	if not _sorted(bid_prices, -1.0) or not _sorted(ask_prices, 1.0):
		return "a level-3 book whose orders are not sorted"
	var bid_qtys := _floats(data, 40 + 8 * n, n)
	var ask_qtys := _floats(data, asks + 8 * m, m)
	if not _counted(bid_qtys) or not _counted(ask_qtys):
		return "a level-3 book with a quantity that is no number"
	orders.bid_prices = bid_prices
	orders.bid_qtys = bid_qtys
	orders.bid_times_ns = _ints(data, 40 + 16 * n, n)
	orders.bid_ids = _ints(data, 40 + 24 * n, n)
	orders.ask_prices = ask_prices
	orders.ask_qtys = ask_qtys
	orders.ask_times_ns = _ints(data, asks + 16 * m, m)
	orders.ask_ids = _ints(data, asks + 24 * m, m)
	_take_head(data, orders)
	return ""


## Kind 2.
static func read_trades(data: PackedByteArray, trades: KrakpotTrades) -> String:
	var n := data.decode_u32(8)
	if data.size() != 16 + 42 * n:
		return _length("trades", data.size(), 16 + 42 * n)
	var sides := data.slice(16 + 40 * n, 16 + 41 * n)
	var types := data.slice(16 + 41 * n)
	if sides.count(0) + sides.count(1) != n or types.count(0) + types.count(1) != n:
		return "trades of a side or type that does not exist"
	trades.not_continued = data[1] & NOT_CONTINUED
	trades.left_out = data.decode_u32(12)
	trades.exchange_ns = _ints(data, 16, n)
	trades.received_ns = _ints(data, 16 + 8 * n, n)
	trades.ids = _ints(data, 16 + 16 * n, n)
	trades.prices = _floats(data, 16 + 24 * n, n)
	trades.qtys = _floats(data, 16 + 32 * n, n)
	trades.sides = sides
	trades.types = types
	return ""


## Kind 4; [param pairs]: all pairs of the server.
static func read_overview(data: PackedByteArray, overview: KrakpotOverview, pairs: Array[KrakpotPair]) -> String:
	var n := data.decode_u32(4)
	if data.size() != 16 + 53 * n:
		return _length("an overview", data.size(), 16 + 53 * n)
	var numbers := data.slice(16 + 40 * n, 16 + 44 * n).to_int32_array()
	var symbols := PackedStringArray()
	symbols.resize(n)
	for i in n:
		if numbers[i] < 0 or numbers[i] >= pairs.size():
			return "an overview of pair %d, which does not exist" % numbers[i]
		symbols[i] = pairs[numbers[i]].symbol
	overview.symbols = symbols
	overview.time_ns = data.decode_s64(8)
	overview.bids = _floats(data, 16, n)
	overview.asks = _floats(data, 16 + 8 * n, n)
	overview.lasts = _floats(data, 16 + 16 * n, n)
	overview.volumes = _floats(data, 16 + 24 * n, n)
	overview.imbalances = _floats(data, 16 + 32 * n, n)
	overview.right.resize(n)
	overview.wrong.resize(n)
	for i in n:
		overview.right[i] = data.decode_u32(16 + 44 * n + 4 * i)
		overview.wrong[i] = data.decode_u32(16 + 48 * n + 4 * i)
	overview.sync = data.slice(16 + 52 * n)
	return ""


## Kind 5.
static func read_gap(data: PackedByteArray, gap: KrakpotGap) -> String:
	var k := data.decode_u16(2)
	if data.size() != 24 + k:
		return _length("a gap", data.size(), 24 + k)
	if data[1] >= KrakpotGap.CHANNELS.size():
		return "a gap of channel %d, which does not exist" % data[1]
	gap.channel = KrakpotGap.CHANNELS[data[1]]
	gap.from_ns = data.decode_s64(8)
	gap.to_ns = data.decode_s64(16)
	gap.reason = data.slice(24).get_string_from_utf8()
	return ""


## Kind 6.
static func read_clock(data: PackedByteArray, clock: KrakpotClock) -> String:
	if data.size() != 32:
		return _length("a clock", data.size(), 32)
	var speed := data.decode_double(24)
	if not is_finite(speed) or speed < 0.0:
		return "a clock whose speed is not a number"
	clock.paused = data[1] & 1
	clock.at_end = data[1] & 2
	clock.live = data[1] & 4
	clock.exchange_up = data[1] & 8
	clock.shown_ns = data.decode_s64(8)
	clock.server_ns = data.decode_s64(16)
	clock.speed = speed
	return ""


static func _head(data: PackedByteArray, n: int, m: int, width: int, what: String) -> String:
	if data.size() != 40 + width * (n + m):
		return _length("a " + what, data.size(), 40 + width * (n + m))
	if data[2] > KrakpotBook.Checksum.WRONG:
		return "a %s with the checksum state %d, which does not exist" % [what, data[2]]
	if n + m and not data[1] & IN_SYNC:
		return "a %s that is out of sync and has levels" % what
	return ""


static func _take_head(data: PackedByteArray, into: Resource) -> void:
	into.set("in_sync", bool(data[1] & IN_SYNC))
	into.set("not_continued", bool(data[1] & NOT_CONTINUED))
	into.set("checked", data[2])
	into.set("received_ns", data.decode_s64(8))
	into.set("exchange_ns", data.decode_s64(16))
	into.set("checksum", data.decode_u32(24))
	into.set("messages", data.decode_u32(28))
	into.set("states", int(into.get("states")) + 1)


static func _floats(data: PackedByteArray, at: int, count: int) -> PackedFloat64Array:
	return data.slice(at, at + 8 * count).to_float64_array()


static func _ints(data: PackedByteArray, at: int, count: int) -> PackedInt64Array:
	return data.slice(at, at + 8 * count).to_int64_array()


# Equal prices are allowed: orders of one level. What is not a number is refused.
static func _sorted(prices: PackedFloat64Array, way: float) -> bool:
	var before := -INF
	for price in prices:
		if not (price * way >= before and is_finite(price)):
			return false
		before = price * way
	return true


static func _counted(qtys: PackedFloat64Array) -> bool:
	for qty in qtys:
		if not (qty >= 0.0 and is_finite(qty)):
			return false
	return true


static func _length(what: String, has: int, should: int) -> String:
	return "%s of %d bytes that should have %d" % [what, has, should]
