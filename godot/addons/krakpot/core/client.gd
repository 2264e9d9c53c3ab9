## One connection to an exchange, made again whenever it is lost, and the session of the current one.
##
## What the protocol requires next decides the session, in Rust; this moves the bytes. As [code]web/feed.js[/code] of krakpot.
extends RefCounted

const Backoff := preload("backoff.gd")
const Pacer := preload("pacer.gd")

## Seconds of silence after which a ping is sent; Kraken sends a heartbeat every second.
const PING_AFTER := 5.0
## Seconds of silence after which a connection is dead, and in which it must be made.
const DEAD_AFTER := 15.0
## Bytes of messages that may wait: the pairs of Kraken are a megabyte in one message.
const BUFFER := 1 << 24
const PACKETS := 1 << 15
## What becomes an event: what the stream is made of.
const EVENTS: PackedStringArray = ["book", "trade", "ticker", "level3", "status", "gap"]

## The session, a [code]KrakpotSession[/code].
var session: RefCounted
## Options of the session, also of those of later connections.
var options: Dictionary
var _endpoint: String
var _make: Callable
var _stream: RefCounted
var _backoff: Backoff
var _pacer := Pacer.new()
var _socket: RefCounted
var _opened := -1.0
var _heard := 0.0
var _pinged := false
# When the next attempt is made, seconds; negative while there is a socket.
var _next := 0.0


## [param make] returns a socket, or null if the address cannot be connected to.
func _init(endpoint: String, make: Callable, stream: RefCounted, backoff: Backoff) -> void:
	_endpoint = endpoint
	_make = make
	_stream = stream
	_backoff = backoff


## What is wrong with the options, or nothing.
func begin(session_options: Dictionary, at: float, now: int) -> String:
	options = session_options
	session = ClassDB.instantiate(&"KrakpotSession")
	var wrong: String = session.open(options)
	session.want_events(EVENTS)
	_stream.connection(_endpoint, false, "", now)
	_next = at + _backoff.delay(at)
	return wrong


## Whether its connection is open.
func is_open() -> bool:
	return _opened >= 0.0


## Follow other pairs from now on, also on later connections. What is wrong, or nothing.
func select(symbols: PackedStringArray, now: int) -> String:
	options["symbols"] = symbols
	return session.select(symbols, PackedStringArray(), now)


## Connect again, with other options.
func restart(changed: Dictionary, at: float, now: int) -> void:
	options.merge(changed, true)
	if is_open():
		_lost("other options", at, now)
	else:
		session.open_after(options, _replaced())
		session.want_events(EVENTS)


## Do what is due.
func step(at: float, now: int) -> void:
	if _next >= 0.0 and at >= _next:
		_connect(at, now)
	if _socket != null:
		_receive(at, now)
	session.tick(now)
	if _socket == null:
		return
	if is_open():
		_pacer.add(session.requests(now))
		for request in _pacer.due(at):
			_socket.send_text(request)
	var silence := at - _heard
	if silence > DEAD_AFTER:
		_lost("no data for %d s" % silence if is_open() else "no answer within %d s" % DEAD_AFTER, at, now)
	elif is_open() and silence > PING_AFTER and not _pinged:
		_pinged = true
		_socket.send_text(session.ping())


## End it.
func stop(now: int) -> void:
	if _socket != null:
		_socket.close()
		_socket = null
	session.end(now, "closed")
	_next = INF


func _connect(at: float, now: int) -> void:
	_next = -1.0
	_pacer = Pacer.new()
	_heard = at
	_opened = -1.0
	_pinged = false
	_socket = _make.call(_endpoint)
	if _socket == null:
		_lost("the address cannot be connected to", at, now)


func _receive(at: float, now: int) -> void:
	_socket.poll()
	var state: int = _socket.get_ready_state()
	if state == WebSocketPeer.STATE_OPEN and not is_open():
		_opened = at
		_heard = at
		_stream.connection(_endpoint, true, "", now)
	while _socket.get_available_packet_count() > 0:
		session.receive(_socket.get_packet(), now)
		_heard = at
		_pinged = false
	if state == WebSocketPeer.STATE_CLOSED:
		var code: int = _socket.get_close_code()
		var reason: String = _socket.get_close_reason()
		var why := "nobody answers there" if not is_open() else "closed with code %d %s" % [code, reason]
		_lost(why.strip_edges(), at, now)


func _lost(reason: String, at: float, now: int) -> void:
	if _socket != null:
		_socket.close()
		_socket = null
	if is_open():
		_backoff.opened(at - _opened)
	_next = at + _backoff.delay(at, session.system() in ["maintenance", "cancel_only"])
	_stream.connection(_endpoint, false, reason, now)
	if is_open():
		_opened = -1.0
		session.end(now, reason)
		_stream.drain(session)
		session.open_after(options, _replaced())
		session.want_events(EVENTS)


# The session so far; a new one, not opened yet, is in its place.
func _replaced() -> RefCounted:
	var before := session
	session = ClassDB.instantiate(&"KrakpotSession")
	return before


## A socket of the engine to an address; null if it is none.
static func web_socket(address: String) -> WebSocketPeer:
	var socket := WebSocketPeer.new()
	socket.inbound_buffer_size = BUFFER
	socket.max_queued_packets = PACKETS
	return socket if socket.connect_to_url(address) == OK else null
