## The exchange inside: its time goes with that of this machine, and its connections are given what they receive.
extends RefCounted

const ExchangeSocket := preload("exchange_socket.gd")
## A game that stood still does not make up for more than this, nanoseconds.
const STEP_MAX := 1_000_000_000
## How long a token for level 3 is good, nanoseconds.
const TOKEN_LIFE := 86_400_000_000_000

## The exchange, a [code]KrakpotExchange[/code]: [code]inject(fault)[/code], [code]book(symbol, depth)[/code] and others.
var exchange: RefCounted
## Whether its time stands still.
var paused := false
var _sockets: Dictionary[int, ExchangeSocket] = {}
var _last_ns := 0


## What is wrong with the options, or nothing.
func begin(options: Dictionary, now_ns: int) -> String:
	exchange = ClassDB.instantiate(&"KrakpotExchange")
	_last_ns = now_ns
	var wrong: String = exchange.open(options.merged({"start": now_ns}))
	exchange.allow("inside", now_ns + TOKEN_LIFE)
	return wrong


## A new connection to [code]public[/code] or [code]level3[/code].
func connect_to(endpoint: String) -> RefCounted:
	var socket := ExchangeSocket.new(exchange, endpoint)
	_sockets[socket.id] = socket
	return socket


## Move its time to now.
func step(now_ns: int) -> void:
	var passed := clampi(now_ns - _last_ns, 0, STEP_MAX)
	_last_ns = now_ns
	if not paused:
		exchange.advance(exchange.now() + passed)
	var ended: PackedInt64Array = exchange.take_ended()
	for i in range(0, ended.size(), 2):
		if _sockets.has(ended[i]):
			_sockets[ended[i]].ended(ended[i + 1])
	for id: int in _sockets.keys():
		if _sockets[id].get_ready_state() == WebSocketPeer.STATE_CLOSED:
			_sockets.erase(id)
