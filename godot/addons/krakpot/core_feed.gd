## [KrakpotFeed] without a server: books, orders and checksums are computed in the game, by the same Rust core.
##
## It has the properties, methods and signals of [KrakpotFeed], and a scene works with either. It needs the extension:
## [code]make godot[/code] in krakpot's repository builds it; without it [member KrakpotFeed.problem] says so.
## [codeblock]
## func _ready() -> void:
##     var feed := KrakpotCoreFeed.new()
##     feed.url = "exchange"  # or nothing: Kraken itself
##     feed.symbols = ["BTC/USD"]
##     feed.book_changed.connect(func(symbol: String) -> void: print(feed.book(symbol).mid()))
##     add_child(feed)
## [/codeblock]
## [member KrakpotFeed.url] is where the market is: [code]wss://ws.kraken.com/v2[/code] unless it is changed, the address of
## [code]krakpot exchange[/code], or the word [code]exchange[/code]: the built-in exchange runs in the game then. All pairs of
## the exchange are in [member KrakpotFeed.pairs]; what is in [member KrakpotFeed.symbols] is subscribed.
@icon("res://addons/krakpot/icons/feed.svg")
class_name KrakpotCoreFeed
extends KrakpotFeed

## Level 3 needs a token: get one from your server, and call [method set_token]. The exchange inside needs none.
signal token_needed

const MarketSocket := preload("core/market_socket.gd")
const ExchangeHost := preload("core/exchange_host.gd")
const Backoff := preload("core/backoff.gd")

const KRAKEN := "wss://ws.kraken.com/v2"
const KRAKEN_LEVEL3 := "wss://ws-l3.kraken.com/v2"
## [member KrakpotFeed.url] of the built-in exchange.
const INSIDE := "exchange"
const CLASSES: PackedStringArray = ["KrakpotSession", "KrakpotStream", "KrakpotExchange"]

## Whether level 3 is connected to, for [member KrakpotFeed.orders]. Kraken gives tokens for it to accounts.
@export var level3 := false
## Where level 3 is; if it is empty, found from [member KrakpotFeed.url].
@export var level3_url := ""
## Patterns of pairs that are followed besides those in [member KrakpotFeed.symbols], as [code]ETH/*[/code]: for figures of
## many pairs. The overview has prices of those that are followed only.
@export var follow: PackedStringArray = []
## Pairs of the built-in exchange.
@export var exchange_pairs := 20
## Its messages a second, of all pairs together.
@export var exchange_rate := 1000.0
## All that happens there follows from it.
@export var exchange_seed := 1

# The waits of all connections, also of those to come: Kraken counts attempts.
var _backoff := Backoff.new()
var _told := false


## Whether the extension is there.
static func is_built() -> bool:
	return Array(CLASSES).all(func(name: String) -> bool: return ClassDB.class_exists(name))


## The built-in exchange, if it runs here: a [code]KrakpotExchange[/code], with [code]book[/code], [code]inject[/code],
## [code]summary[/code]. Null otherwise.
func exchange() -> RefCounted:
	var socket := _socket as MarketSocket
	return socket.host.exchange if socket != null and socket.host != null else null


## The session of the current connection, a [code]KrakpotSession[/code]: exact levels, checksums, counters. Null without one.
## [param of_level3]: that of level 3.
func session(of_level3: bool = false) -> RefCounted:
	var socket := _socket as MarketSocket
	if socket == null:
		return null
	var client := socket.level3 if of_level3 else socket.public
	return client.session if client != null else null


## Give level 3 a token.
func set_token(token: String) -> void:
	var socket := _socket as MarketSocket
	if socket != null:
		socket.set_token(token)


## Stop the time of the built-in exchange, or let it go on.
func hold_exchange(held: bool) -> void:
	var socket := _socket as MarketSocket
	if socket != null and socket.host != null:
		socket.host.paused = held


func _connect() -> void:
	if not is_built():
		_ended("The extension of krakpot is not built: run “make godot” in its repository, or use KrakpotFeed.", "")
		return
	var inside := url.strip_edges() == INSIDE
	var address := KRAKEN if url in ["", EXAMPLE] else url.strip_edges()
	if not inside and not RegEx.create_from_string("^wss?://[^/?#\\s]+").search(address):
		_ended("“%s” is not where an exchange is. It looks like %s, or is the word %s." % [url, KRAKEN, INSIDE], "")
		return
	var socket := MarketSocket.new()
	socket.follow = follow
	socket.depth = depth
	var urls: Dictionary[String, String] = {}
	var host: ExchangeHost = null
	var wrong := ""
	if inside:
		host = ExchangeHost.new()
		var options := {"pairs": exchange_pairs, "rate": exchange_rate, "seed": exchange_seed}
		wrong = host.begin(options, MarketSocket.now_ns())
	else:
		urls = {"public": address, "level3": _level3_of(address)}
	if not wrong:
		var name := "exchange inside" if inside else address
		wrong = socket.begin(name, urls, host, level3, _backoff)
	if wrong:
		_ended("%s." % wrong, "")
		return
	_socket = socket
	_told = false
	state = State.CONNECTING
	_begun_ms = Time.get_ticks_msec()
	_heard_ms = _begun_ms


func _poll(now: int) -> void:
	super(now)
	var socket := _socket as MarketSocket
	if socket != null and socket.token_needed != _told:
		_told = socket.token_needed
		if _told:
			token_needed.emit()


func _level3_of(address: String) -> String:
	if level3_url:
		return level3_url
	if address == KRAKEN:
		return KRAKEN_LEVEL3
	# The built-in exchange as a server has both, at two paths.
	return address.trim_suffix("/v2").trim_suffix("/") + "/level3/v2"
