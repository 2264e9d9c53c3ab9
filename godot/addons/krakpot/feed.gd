## A client of [code]krakpot view[/code]: books, trades, level-3 queues and figures of Kraken's market, live or from a lake.
##
## Add it to a scene, name the pairs, and read the books:
## [codeblock]
## func _ready() -> void:
##     var feed := KrakpotFeed.new()
##     feed.symbols = ["BTC/USD"]
##     feed.book_changed.connect(func(symbol: String) -> void: print(feed.book(symbol).mid()))
##     add_child(feed)
## [/codeblock]
## It connects when it enters the tree, and connects again by itself when the connection is lost. In a lake it goes on at the
## time where it was. Every message is checked; nothing that a server sends makes it fail. [member problem] is a sentence for
## people: what is wrong, and what to do.
@icon("res://addons/krakpot/icons/feed.svg")
class_name KrakpotFeed
extends Node

## The server has said what it has: [member pairs], [member source] and [member clock] are known.
signal connected
## There is no connection, and why. If it can help, another one is tried: see [member retry_in].
signal disconnected(reason: String)
## [method book] of this pair has a new state.
signal book_changed(symbol: String)
## New trades of a subscribed pair.
signal trades_received(trades: KrakpotTrades)
## [method queues] of this pair has a new state.
signal orders_changed(symbol: String)
## Something was not received, or not recorded.
signal gap_received(gap: KrakpotGap)
## Figures of all pairs, if [member overview] is on.
signal overview_received(overview: KrakpotOverview)
## [member stale] changed.
signal stale_changed(stale: bool)
## The server refused a request, in its own words.
signal refused(sentence: String)
## A message was damaged. It was dropped, and the next one is read.
signal damaged(sentence: String)
## [member pairs] changed.
signal pairs_changed
## [member exchange_problem] or [member system] changed.
signal status_changed

## State of the connection to the server.
enum State {
	CLOSED,  ## Not connected, and not trying.
	CONNECTING,  ## A connection is being made.
	OPEN,  ## Connected: the server has said what it has.
	WAITING,  ## The connection was lost or refused. Another one is tried soon.
}

## Seconds before the first attempt to connect again.
const BACKOFF_FIRST := 0.5
## Seconds before any later attempt, at most.
const BACKOFF_MAX := 10.0
const BACKOFF_FACTOR := 1.8
## Seconds in which a server must say hello.
const HELLO_TIMEOUT := 8.0
## Seconds without a message after which a connection counts as lost: the server sends its clock every second.
const SILENCE := 15.0
## Bytes of messages that may wait to be read: one of 1,000 levels a side with all orders may have a megabyte.
const BUFFER := 1 << 23
const EXAMPLE := "ws://127.0.0.1:8765/stream"

## The address that [code]krakpot view[/code] prints, or that of its stream. Both work, with [code]?token=…[/code] if there
## is one.
@export var url := EXAMPLE:
	set(value):
		url = value
		if state != State.CLOSED:
			open()
## The pairs whose books and trades are wanted, 100 at most. Assign the whole list to change it.
@export var symbols: PackedStringArray = []:
	set(value):
		var before := symbols
		symbols = value
		_subscriptions_changed(before)
## Levels a side, 1 to 1000.
@export_range(1, 1000) var depth := 100:
	set(value):
		depth = clampi(value, 1, 1000)
		_subscribe(symbols)
## Whether level-3 queues are wanted, too. A pair of which the server has none is refused.
@export var orders := false:
	set(value):
		orders = value
		_subscribe(symbols)
## States of a pair a second, at most; 1 to 60.
@export_range(1, 60) var rate := 30:
	set(value):
		rate = clampi(value, 1, 60)
		_ask("rate", {"per_second": rate})
## Whether figures of all pairs are wanted, once a second.
@export var overview := false:
	set(value):
		overview = value
		_ask("overview", {"on": overview})
## Whether it connects when it enters the tree.
@export var autoconnect := true

## State of the connection to the server.
var state := State.CLOSED
## What is wrong and what to do, in a sentence for people; empty if all is well.
var problem := ""
## Seconds until the next attempt to connect, while [member state] is [constant State.WAITING].
var retry_in: float:
	get:
		return maxf(0.0, (_due_ms - Time.get_ticks_msec()) / 1000.0) if state == State.WAITING else 0.0
## Whether what is here is old: the server has not said what time it is for longer than it promised, or is not connected.
var stale := false
## Where the data of the server come from: [code]"lake"[/code], [code]"live"[/code], or empty before the first connection.
var source := ""
## Name of the lake, or of the exchange.
var source_name := ""
## All pairs of the server.
var pairs: Array[KrakpotPair] = []
## Why no data can come from the exchange; empty if they can.
var exchange_problem := ""
## State of the exchange, as [code]"online"[/code].
var system := ""
## The time that is shown, and the control of it.
var clock := KrakpotClock.new()
## Refused subscriptions: sentences by symbol.
var refusals: Dictionary[String, String] = {}
## Messages that were received on all connections.
var received := 0
## Messages that were damaged, on all connections.
var damaged_count := 0

# A WebSocketPeer, or what has its face.
var _socket: RefCounted
var _books: Dictionary[String, KrakpotBook] = {}
var _queues: Dictionary[String, KrakpotOrders] = {}
var _attempts := 0
var _due_ms := 0
var _begun_ms := 0
var _heard_ms := 0
var _clock_ms := 0
var _stale_after := 3.0
var _number := 0
# What was requested and is not answered yet: method and symbol by number.
var _asked: Dictionary[int, PackedStringArray] = {}
# The place in a lake, to go back there on a new connection.
var _place := {"name": "", "at_us": 0, "paused": false, "speed": 1.0, "end": false}


func _init() -> void:
	clock._feed = self
	# A game that is paused still reads: messages do not pile up.
	process_mode = Node.PROCESS_MODE_ALWAYS


func _enter_tree() -> void:
	if autoconnect and not Engine.is_editor_hint():
		open()


func _exit_tree() -> void:
	close()


## Connect; closes the connection before. It goes on trying until [method close].
func open() -> void:
	_drop()
	_attempts = 0
	_connect()


## Close the connection, and do not connect again.
func close() -> void:
	if state == State.CLOSED:
		return
	_drop()
	_ended("", "")


## The book of a pair. It is there at once, and has levels as soon as they are received.
func book(symbol: String) -> KrakpotBook:
	if not _books.has(symbol):
		var made := KrakpotBook.new()
		made.symbol = symbol
		_books[symbol] = made
	return _books[symbol]


## The level-3 book of a pair. It has orders if [member orders] is on and the server has them.
func queues(symbol: String) -> KrakpotOrders:
	if not _queues.has(symbol):
		var made := KrakpotOrders.new()
		made.symbol = symbol
		_queues[symbol] = made
	return _queues[symbol]


## A pair by its symbol; null if the server does not have it.
func pair(symbol: String) -> KrakpotPair:
	for one in pairs:
		if one.symbol == symbol:
			return one
	return null


## The address of the stream that an address means: that of the page becomes that of its stream. Empty if it is none.
static func stream_url(address: String) -> String:
	var form := RegEx.create_from_string("^(ws|wss|http|https)://([^/?#\\s]+)(/[^?#\\s]*)?(\\?[^#\\s]*)?(#.*)?$")
	var found := form.search(address.strip_edges())
	if found == null:
		return ""
	var path := found.get_string(3)
	if path == "" or path == "/":
		path = "/stream"
	return found.get_string(1).replace("http", "ws") + "://" + found.get_string(2) + path + found.get_string(4)


func _process(_delta: float) -> void:
	var now := Time.get_ticks_msec()
	if state == State.WAITING and now >= _due_ms:
		_connect()
	if _socket != null:
		_poll(now)
	_set_stale(state != State.OPEN and received > 0 or state == State.OPEN and now - _clock_ms > _stale_after * 1000.0)


# The connection.


func _connect() -> void:
	var address := stream_url(url)
	if address == "":
		_ended("“%s” is not an address of a stream. It looks like %s" % [url, EXAMPLE], "")
		return
	var socket := WebSocketPeer.new()
	socket.inbound_buffer_size = BUFFER
	socket.max_queued_packets = 4096
	_socket = socket
	state = State.CONNECTING
	_begun_ms = Time.get_ticks_msec()
	_heard_ms = _begun_ms
	if socket.connect_to_url(address) != OK:
		_lost("the address cannot be connected to")


func _poll(now: int) -> void:
	var socket := _socket
	socket.poll()
	# A handler of a signal may close the connection, or make another one.
	while socket == _socket and socket.get_available_packet_count() > 0:
		var data: PackedByteArray = socket.get_packet()
		received += 1
		_heard_ms = now
		var wrong := _text(data) if socket.was_string_packet() else _binary(data)
		if wrong:
			damaged_count += 1
			damaged.emit("The server sent %s. The message was dropped; if this goes on, restart the server." % wrong)
	if socket != _socket:
		return
	if socket.get_ready_state() == WebSocketPeer.STATE_CLOSED:
		var reason: String = socket.get_close_reason()
		if socket.get_close_code() == 1001 and reason == "":
			reason = "the server closes"
		_lost(reason)
	elif state == State.CONNECTING and now - _begun_ms > HELLO_TIMEOUT * 1000.0:
		_lost("it does not say hello")
	elif now - _heard_ms > SILENCE * 1000.0:
		_lost("nothing came for %d seconds" % int(SILENCE))


# The connection is gone: try again.
func _lost(reason: String) -> void:
	var was_open := state == State.OPEN
	_drop()
	_attempts += 1
	var wait := minf(BACKOFF_MAX, BACKOFF_FIRST * pow(BACKOFF_FACTOR, _attempts - 1)) * randf_range(0.75, 1.25)
	_due_ms = Time.get_ticks_msec() + int(wait * 1000.0)
	state = State.WAITING
	var why := ": " + reason if reason else ""
	if was_open:
		problem = "The connection to %s was lost%s. It is tried again." % [_shown_url(), why]
	else:
		problem = (
			"No server of krakpot answers at %s%s. Start one: krakpot view LAKE, or krakpot view live. It is tried again."
			% [_shown_url(), why]
		)
	_set_stale(received > 0)
	disconnected.emit(problem)


# No other attempt can help.
func _ended(sentence: String, reason: String) -> void:
	state = State.CLOSED
	problem = sentence
	_set_stale(received > 0)
	disconnected.emit(sentence if sentence else reason)


func _drop() -> void:
	_asked.clear()
	if _socket != null:
		_socket.close()
		_socket = null


func _set_stale(now_stale: bool) -> void:
	if stale != now_stale:
		stale = now_stale
		stale_changed.emit(stale)


# A picture of the screen must not show the token.
func _shown_url() -> String:
	return stream_url(url).get_slice("?", 0)


# Requests.


func _ask(method: String, fields: Dictionary, symbol: String = "") -> void:
	if state != State.OPEN:
		return
	_number += 1
	_asked[_number] = PackedStringArray([method, symbol])
	var message := fields.duplicate()
	message["method"] = method
	message["req_id"] = _number
	_socket.send_text(JSON.stringify(message))


# One by one: a pair that is refused does not take the others with it.
func _subscribe(wanted: PackedStringArray) -> void:
	for symbol in wanted:
		refusals.erase(symbol)
		_ask("subscribe", {"symbols": [symbol], "depth": depth, "orders": orders}, symbol)
	_tell_refusals()


func _subscriptions_changed(before: PackedStringArray) -> void:
	for symbol in before:
		if symbol not in symbols:
			if not refusals.erase(symbol):
				_ask("unsubscribe", {"symbols": [symbol]})
			_forget(symbol)
	var added := PackedStringArray()
	for symbol in symbols:
		if symbol not in before:
			added.append(symbol)
	_subscribe(added)


# What is no longer received must not look as if it were.
func _forget(symbol: String) -> void:
	if _books.has(symbol):
		var empty := KrakpotBook.new()
		for name: String in ["bid_prices", "bid_qtys", "ask_prices", "ask_qtys"]:
			_books[symbol].set(name, empty.get(name))
		_books[symbol].in_sync = false


func _move_to(at_us: int) -> void:
	_place["at_us"] = at_us
	_place["end"] = false
	_ask("seek", {"at_us": at_us})


func _pause(pause: bool) -> void:
	_place["paused"] = pause
	_ask("pause" if pause else "resume", {})


func _play_at(speed: float) -> void:
	_place["speed"] = speed
	_ask("speed", {"speed": speed})


# On a new connection to the same lake: to the time that was shown.
func _go_back() -> void:
	if source != "lake" or source_name != _place["name"]:
		_place["name"] = source_name
		_place["paused"] = false
		_place["speed"] = 1.0
		return
	# First the pause: the recording would go on until it comes.
	if _place["paused"]:
		_ask("pause", {})
	if _place["speed"] != 1.0:
		_ask("speed", {"speed": _place["speed"]})
	if _place["at_us"] and not _place["end"]:
		_ask("seek", {"at_us": _place["at_us"]})


# Messages. Each returns what is damaged, or nothing.


func _text(data: PackedByteArray) -> String:
	var json := JSON.new()
	if json.parse(data.get_string_from_utf8()) != OK or not json.data is Dictionary:
		return "a text that is not a JSON object"
	var message: Dictionary = json.data
	var type: Variant = message.get("type")
	if type is String and type == "hello":
		return _hello(message)
	if state != State.OPEN:
		return "something before hello"
	match type:
		"symbols":
			return _read_pairs(message)
		"status":
			var reason := str(message.get("reason", ""))
			var up: bool = message.get("connection") is String and message["connection"] == "up"
			exchange_problem = "" if up else (reason if reason else "there is no connection to the exchange")
			system = str(message.get("system", ""))
			status_changed.emit()
		"answer":
			_answer(message)
		"coverage":
			return _coverage(message)
	return ""


func _hello(message: Dictionary) -> String:
	var version: Variant = message.get("stream")
	if not (version is float or version is int) or version != KrakpotWire.VERSION:
		_drop()
		_ended(
			(
				"The server speaks version %s of the stream; this addon reads version %d. Update the older of the two."
				% [JSON.stringify(version).trim_suffix(".0").left(20), KrakpotWire.VERSION]
			),
			""
		)
		return ""
	var after: Variant = message.get("stale_after_s")
	if not (after is float or after is int) or not (after > 0.0 and after < 1e6):
		return "hello without stale_after_s"
	pairs = []
	var wrong := _read_pairs(message)
	if wrong:
		return wrong
	_stale_after = after
	source = str(message.get("source", ""))
	source_name = str(message.get("name", ""))
	clock.begin_us = _time(message.get("begin_us"))
	clock.end_us = _time(message.get("end_us"))
	clock.live = source == "live"
	state = State.OPEN
	problem = ""
	exchange_problem = ""
	_attempts = 0
	_clock_ms = Time.get_ticks_msec()
	_ask("rate", {"per_second": rate})
	_go_back()
	if overview:
		_ask("overview", {"on": true})
	_subscribe(symbols)
	connected.emit()
	return ""


func _read_pairs(message: Dictionary) -> String:
	if not message.get("symbols") is Array:
		return "%s without a list of symbols" % message["type"]
	var list: Array = message["symbols"]
	var found: Array[KrakpotPair] = []
	for i in list.size():
		var one := KrakpotPair.read(list[i], i)
		if one == null:
			return "%s in which pair %d is damaged" % [message["type"], i]
		found.append(one)
	if found.size() < pairs.size():
		return "symbols without pairs that were there"
	pairs = found
	if state == State.OPEN and not refusals.is_empty():
		# They may be there now.
		_subscribe(refusals.keys())
	pairs_changed.emit()
	return ""


func _answer(message: Dictionary) -> void:
	var number: Variant = message.get("req_id")
	var key := int(number) if number is float or number is int else -1
	var asked: PackedStringArray = _asked.get(key, PackedStringArray(["", ""]))
	_asked.erase(key)
	if message.get("success") is bool and not message["success"]:
		var sentence := str(message.get("error", "the server gives no reason"))
		if asked[0] == "subscribe" and asked[1] in symbols:
			refusals[asked[1]] = sentence
			_tell_refusals()
		refused.emit(sentence)


func _tell_refusals() -> void:
	if state == State.OPEN:
		problem = "" if refusals.is_empty() else "The server refused %s. %s" % [refusals.keys()[0], refusals.values()[0]]


func _coverage(message: Dictionary) -> String:
	if not message.get("spans") is Array:
		return "coverage without spans"
	var found: Array[Dictionary] = []
	for one: Variant in message["spans"]:
		var fields: Dictionary = one if one is Dictionary else {}
		var from := _time(fields.get("from_us"))
		var to := _time(fields.get("to_us"))
		if to < from or to == 0:
			return "coverage with a span without times"
		found.append({
			"symbol": str(fields.get("symbol")), "channel": str(fields.get("channel")), "from_us": from, "to_us": to,
			"reason": str(fields.get("reason", "")),
		})
	clock.spans = found
	if message.has("end_us"):
		clock.begin_us = _time(message.get("begin_us"))
		clock.end_us = _time(message.get("end_us"))
	_asked.erase(int(message.get("req_id", -1)))
	clock.coverage_changed.emit()
	return ""


# Microseconds of JSON: exact as a float until the year 2255.
static func _time(value: Variant) -> int:
	return int(value) if value is float or value is int else 0


func _binary(data: PackedByteArray) -> String:
	if data.is_empty():
		return "an empty message"
	var kind := data[0]
	var least := KrakpotWire.least(kind)
	if least == 0:
		# Later versions may have more kinds.
		return ""
	if data.size() < least:
		return "a message of kind %d of %d bytes that should have at least %d" % [kind, data.size(), least]
	if state != State.OPEN:
		return "market data before hello"
	if kind == KrakpotWire.Kind.CLOCK:
		return _clock(data)
	if kind == KrakpotWire.Kind.OVERVIEW:
		var figures := KrakpotOverview.new()
		var bad := KrakpotWire.read_overview(data, figures, pairs)
		if not bad:
			overview_received.emit(figures)
		return bad
	var number := KrakpotWire.pair_of(data)
	if number >= pairs.size():
		return "data of pair %d, which does not exist" % number
	return _market(kind, pairs[number].symbol, data)


func _clock(data: PackedByteArray) -> String:
	var wrong := KrakpotWire.read_clock(data, clock)
	if wrong:
		return wrong
	_clock_ms = Time.get_ticks_msec()
	clock._ticked_ms = _clock_ms
	if not clock.live:
		_place["at_us"] = clock.shown_ns / 1000
		_place["end"] = clock.at_end
	clock.end_us = maxi(clock.end_us, clock.shown_ns / 1000)
	clock.ticked.emit()
	return ""


func _market(kind: int, symbol: String, data: PackedByteArray) -> String:
	if symbol not in symbols:
		# It was on its way when it was unsubscribed.
		return ""
	var wrong := ""
	match kind:
		KrakpotWire.Kind.BOOK:
			var one := book(symbol)
			wrong = KrakpotWire.read_book(data, one)
			if not wrong:
				one.emit_changed()
				book_changed.emit(symbol)
		KrakpotWire.Kind.ORDERS:
			var one := queues(symbol)
			wrong = KrakpotWire.read_orders(data, one)
			if not wrong:
				one.emit_changed()
				orders_changed.emit(symbol)
		KrakpotWire.Kind.TRADES:
			var found := KrakpotTrades.new()
			found.symbol = symbol
			wrong = KrakpotWire.read_trades(data, found)
			if not wrong:
				trades_received.emit(found)
		KrakpotWire.Kind.GAP:
			var gap := KrakpotGap.new()
			gap.symbol = symbol
			wrong = KrakpotWire.read_gap(data, gap)
			if not wrong:
				gap_received.emit(gap)
	return wrong
