## The probe with a feed of the core besides the plain one, and the states of both by pair and message.
extends "res://test/probe.gd"

const Backoff := preload("res://addons/krakpot/core/backoff.gd")
const Pacer := preload("res://addons/krakpot/core/pacer.gd")

## The feed whose books are computed here.
var core: KrakpotCoreFeed
## States of books: of the plain feed and of that of the core, by symbol, time of the exchange and checksum.
var plain_books := {}
var core_books := {}
## The same of orders, by symbol, time and checksum: sides of price, quantity, time.
var plain_orders := {}
var core_orders := {}


## A new feed of the core, with these properties.
func connect_core(url: String, properties: Dictionary) -> bool:
	if core != null:
		core.free()
	signals = []
	core_books = {}
	core_orders = {}
	core = KrakpotCoreFeed.new()
	core.url = url
	for name: String in properties:
		core.set(name, PackedStringArray(properties[name]) if properties[name] is Array else properties[name])
	listen(core)
	core.book_changed.connect(func(symbol: String) -> void: keep(core.book(symbol), core_books))
	core.orders_changed.connect(func(symbol: String) -> void: keep_orders(core.queues(symbol), core_orders))
	core.token_needed.connect(func() -> void: signals.append(["token"]))
	add_child(core)
	return true


## Keep the states of the plain feed, too.
func keep_plain() -> bool:
	feed.book_changed.connect(func(symbol: String) -> void: keep(feed.book(symbol), plain_books))
	feed.orders_changed.connect(func(symbol: String) -> void: keep_orders(feed.queues(symbol), plain_orders))
	return true


func keep(book: KrakpotBook, into: Dictionary) -> void:
	if book.in_sync:
		var key := "%s %d %d" % [book.symbol, book.exchange_ns, book.checksum]
		into[key] = [book.bid_prices, book.bid_qtys, book.ask_prices, book.ask_qtys, book.checked]


func keep_orders(orders: KrakpotOrders, into: Dictionary) -> void:
	if orders.in_sync:
		var key := "%s %d %d" % [orders.symbol, orders.exchange_ns, orders.checksum]
		into[key] = [
			orders.bid_prices, orders.bid_qtys, orders.bid_times_ns,
			orders.ask_prices, orders.ask_qtys, orders.ask_times_ns, orders.checked,
		]


## How many states both feeds had, and the keys of those that differ.
func compared(one: Dictionary, other: Dictionary) -> Dictionary:
	var both := one.keys().filter(func(key: String) -> bool: return other.has(key))
	return {"both": both.size(), "differ": both.filter(func(key: String) -> bool: return one[key] != other[key])}


## The books of the core and the truth of the exchange inside, at this moment and exactly: pairs whose books differ, and
## how many levels were compared.
func against_truth(depth: int) -> Dictionary:
	core._socket.host.paused = true
	# What the exchange has sent is received first.
	core._process(0.0)
	var wrong: Array[String] = []
	var levels := 0
	for symbol in core.symbols:
		var truth: Dictionary = core.exchange().book(symbol, depth)
		var here: Dictionary = core.session().levels(symbol, depth)
		levels += PackedStringArray(truth["bids"]).size() / 2
		if truth != here:
			wrong.append(symbol)
	core._socket.host.paused = false
	return {"wrong": wrong, "levels": levels}


## The waits of a policy whose chance is a half: entries are [time, seconds that the connection before was open, maintenance].
func waits(entries: Array) -> Array:
	var policy := Backoff.new()
	policy.random = func() -> float: return 0.5
	return entries.map(
		func(entry: Array) -> float:
			if entry[1]:
				policy.opened(entry[1])
			return policy.delay(entry[0], entry[2])
	)


## How many of these requests go out at each of these times.
func paced(count: int, times: Array) -> Array:
	var pacer := Pacer.new()
	var requests := PackedStringArray()
	for i in count:
		requests.append(str(i))
	pacer.add(requests)
	return times.map(func(at: float) -> Array: return Array(pacer.due(at)))


## What a session says of options, and an exchange.
func said_of(kind: String, options: Dictionary) -> String:
	var made: RefCounted = ClassDB.instantiate(kind)
	return made.open(options)
