## A connection to the exchange inside, with the face of a WebSocketPeer as far as a client needs it.
extends RefCounted

var id := -1
var _exchange: RefCounted
var _state := WebSocketPeer.STATE_CONNECTING
var _packets: Array = []
var _code := -1


func _init(exchange: RefCounted, endpoint: String) -> void:
	_exchange = exchange
	id = exchange.open_connection(endpoint)


## Take what the exchange has for it.
func poll() -> void:
	if _state == WebSocketPeer.STATE_CLOSED:
		return
	_state = WebSocketPeer.STATE_OPEN
	_packets.append_array(_exchange.take(id))


## The exchange ended it.
func ended(code: int) -> void:
	_state = WebSocketPeer.STATE_CLOSED
	_code = code
	_exchange.close_connection(id)


func get_ready_state() -> int:
	return _state


func get_available_packet_count() -> int:
	return _packets.size()


func get_packet() -> PackedByteArray:
	return _packets.pop_front()


func send_text(text: String) -> int:
	if _state != WebSocketPeer.STATE_OPEN:
		return FAILED
	_exchange.receive(id, text.to_utf8_buffer())
	return OK


func close() -> void:
	if _state != WebSocketPeer.STATE_CLOSED:
		ended(1000)


func get_close_code() -> int:
	return _code


func get_close_reason() -> String:
	return "" if _code == 1000 else "a fault of the exchange"
