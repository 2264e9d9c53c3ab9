## What [KrakpotCoreFeed] reads instead of a connection to [code]krakpot view[/code]: the same stream, made here.
##
## It has the face of a WebSocketPeer as far as [KrakpotFeed] needs it. Behind it are the connections to the exchange.
extends RefCounted

const Backoff := preload("backoff.gd")
const Client := preload("client.gd")
const ExchangeHost := preload("exchange_host.gd")

const CHANNELS: PackedStringArray = ["book", "trade", "ticker"]
## Levels a side that the exchange offers, of books and of level 3.
const DEPTHS: PackedInt64Array = [10, 25, 100, 500, 1000]
const LEVEL3_DEPTHS: PackedInt64Array = [10, 100, 1000]
## Seconds after which a client is told that nothing came yet.
const PATIENCE := 4.0

## The stream, a [code]KrakpotStream[/code].
var stream: RefCounted
## The connection of the public channels.
var public: Client
## The connection of level 3; null without it.
var level3: Client
## The exchange inside; null without it.
var host: ExchangeHost
## Patterns of pairs that are followed, whether somebody subscribes them or not.
var follow: PackedStringArray
## Levels a side to begin with; more are requested when somebody subscribes more.
var depth := 10
## Whether level 3 waits for a token.
var token_needed := false
var _urls: Dictionary[String, String]
var _packets: Array = []
var _text := false
var _begun := 0.0
var _greeted := false


## Begin. What is wrong, or nothing. [param urls]: addresses by endpoint, without any if the exchange is inside.
func begin(name: String, urls: Dictionary[String, String], exchange: ExchangeHost, with_level3: bool, backoff: Backoff) -> String:
	_urls = urls
	host = exchange
	_begun = seconds()
	stream = ClassDB.instantiate(&"KrakpotStream")
	stream.set_name(name)
	public = Client.new("public", _make, stream, backoff)
	var options := {"channels": CHANNELS, "symbols": follow, "depth": _offered(depth, DEPTHS)}
	var wrong := public.begin(options, seconds(), now_ns())
	if with_level3 and not wrong:
		level3 = Client.new("level3", _make, stream, backoff)
		options = {"channels": ["level3"], "symbols": PackedStringArray(), "instrument": false}
		options["level3_depth"] = _offered(depth, LEVEL3_DEPTHS)
		wrong = level3.begin(options, seconds(), now_ns())
	return wrong


func poll() -> void:
	var at := seconds()
	var now := now_ns()
	if host != null:
		host.step(now)
	public.step(at, now)
	if level3 != null:
		# Level 3 has a host of its own, which does not describe the pairs.
		level3.session.import_pairs(public.session, now)
		level3.session.cross_check(public.session, now)
		level3.step(at, now)
		token_needed = level3.session.token_needed()
		if token_needed and host != null:
			set_token("inside")
			token_needed = false
	if not _greeted and at - _begun > PATIENCE and not public.is_open():
		stream.connection("public", false, "the exchange has not answered yet", now)
	var found: Array = stream.take(at, now, public.session, level3.session if level3 != null else null)
	_greeted = _greeted or not found.is_empty()
	_packets.append_array(found)


## Give level 3 a token.
func set_token(token: String) -> void:
	if level3 != null:
		level3.session.set_token(token)


func send_text(text: String) -> int:
	stream.request(text)
	_follow(public, false, DEPTHS, "depth")
	if level3 != null:
		_follow(level3, true, LEVEL3_DEPTHS, "level3_depth")
	return OK


# What is subscribed here is subscribed at the exchange.
func _follow(client: Client, orders: bool, depths: PackedInt64Array, option: String) -> void:
	var wanted: PackedStringArray = stream.wanted(orders)
	if not orders:
		wanted.append_array(follow)
	if client.options["symbols"] != wanted:
		client.select(wanted, now_ns())
	var deepest: int = stream.deepest(orders)
	if deepest > client.options[option]:
		client.restart({option: _offered(deepest, depths)}, seconds(), now_ns())


# The smallest number that is offered and enough.
static func _offered(levels: int, depths: PackedInt64Array) -> int:
	return depths[mini(depths.bsearch(levels), depths.size() - 1)]


func get_available_packet_count() -> int:
	return _packets.size()


func get_packet() -> PackedByteArray:
	var found: Variant = _packets.pop_front()
	_text = found is String
	return (found as String).to_utf8_buffer() if _text else found


func was_string_packet() -> bool:
	return _text


func get_ready_state() -> int:
	return WebSocketPeer.STATE_OPEN


func get_close_code() -> int:
	return -1


func get_close_reason() -> String:
	return ""


func close() -> void:
	var now := now_ns()
	public.stop(now)
	if level3 != null:
		level3.stop(now)


func _make(endpoint: String) -> RefCounted:
	return host.connect_to(endpoint) if host != null else Client.web_socket(_urls[endpoint])


## A clock that only goes forward.
static func seconds() -> float:
	return Time.get_ticks_usec() / 1e6


## The time of this machine, nanoseconds since 1970.
static func now_ns() -> int:
	return int(Time.get_unix_time_from_system() * 1e6) * 1000
