## Does in Godot what a test says: reads expressions as JSON from its input, and writes each result in a line.
extends Node

const MARK := "@probe "
## The feed of the test.
var feed: KrakpotFeed
## The scene of the test.
var scene: Node
## What the feed's signals said, in their order: name, then the arguments.
var signals: Array[Array] = []

var _thread := Thread.new()
var _lines: Array[String] = []
var _lock := Mutex.new()


func _ready() -> void:
	process_mode = Node.PROCESS_MODE_ALWAYS
	# It stays while scenes change.
	var tree := get_tree()
	tree.current_scene = null
	Engine.max_fps = 60
	_thread.start(_read)
	print(MARK + "ready")


func _read() -> void:
	while true:
		var line := OS.read_string_from_stdin(1 << 20).strip_edges()
		_lock.lock()
		_lines.append(line)
		_lock.unlock()
		if line == "" or line == "quit":
			return


func _process(_delta: float) -> void:
	_lock.lock()
	var lines := _lines
	_lines = []
	_lock.unlock()
	for line in lines:
		if line == "" or line == "quit":
			_thread.wait_to_finish()
			get_tree().quit()
			return
		var text: String = JSON.parse_string(line)
		var expression := Expression.new()
		var result: Variant
		if expression.parse(text) != OK:
			result = {"wrong": expression.get_error_text()}
		else:
			result = {"result": expression.execute([], self, false)}
			if expression.has_execute_failed():
				result = {"wrong": expression.get_error_text()}
		print(MARK + JSON.stringify(result, "", false, true))


## A feed that connects to a server, with these properties.
func connect_feed(url: String, properties: Dictionary) -> bool:
	if feed != null:
		feed.free()
	signals = []
	feed = KrakpotFeed.new()
	feed.url = url
	for name: String in properties:
		feed.set(name, PackedStringArray(properties[name]) if properties[name] is Array else properties[name])
	listen(feed)
	add_child(feed)
	return true


## Note the signals of a feed.
func listen(to: KrakpotFeed) -> void:
	to.connected.connect(func() -> void: signals.append(["connected"]))
	to.disconnected.connect(func(reason: String) -> void: signals.append(["disconnected", reason]))
	to.refused.connect(func(sentence: String) -> void: signals.append(["refused", sentence]))
	to.damaged.connect(func(sentence: String) -> void: signals.append(["damaged", sentence]))
	to.stale_changed.connect(func(stale: bool) -> void: signals.append(["stale", stale]))
	to.gap_received.connect(
		func(gap: KrakpotGap) -> void:
			signals.append(["gap", gap.symbol, gap.channel, gap.from_ns, gap.to_ns, gap.reason])
	)
	to.trades_received.connect(func(trades: KrakpotTrades) -> void: signals.append(["trades", of(trades)]))
	to.orders_changed.connect(func(symbol: String) -> void: signals.append(["orders", symbol]))
	to.overview_received.connect(func(overview: KrakpotOverview) -> void: signals.append(["overview", of(overview)]))
	to.book_changed.connect(
		func(symbol: String) -> void: signals.append(["book", symbol, to.book(symbol).received_ns, of(to.book(symbol))])
	)
	to.pairs_changed.connect(func() -> void: signals.append(["pairs", to.pairs.size()]))
	to.status_changed.connect(func() -> void: signals.append(["status", to.exchange_problem, to.system]))
	to.clock.coverage_changed.connect(func() -> void: signals.append(["coverage", to.clock.spans]))


## The signals of a name, newest last.
func said(name: String) -> Array[Array]:
	return signals.filter(func(one: Array) -> bool: return one[0] == name)


## The arguments of the newest signal of a name.
func newest(name: String) -> Array:
	var found := said(name)
	return [] if found.is_empty() else found.back()


## All public properties of an object that a script declares.
func of(object: Object) -> Dictionary:
	var found := {}
	for property in object.get_property_list():
		var name: String = property["name"]
		if property["usage"] & PROPERTY_USAGE_SCRIPT_VARIABLE and not name.begins_with("_"):
			var value: Variant = object.get(name)
			if not value is Object:
				# JSON has no packed arrays of bytes; it writes other ones as lists.
				found[name] = Array(value) if typeof(value) > TYPE_ARRAY else value
	return found


## Assign a property, which expressions cannot.
func put(object: Object, name: String, value: Variant) -> bool:
	object.set(name, PackedStringArray(value) if value is Array else value)
	return true


## Show a scene of the project.
func open(path: String) -> bool:
	get_tree().change_scene_to_file(path)
	return true


## The scene that is shown.
func shown() -> Node:
	return get_tree().current_scene


## The four numbers of a colour.
func parts(colour: Color) -> Array[float]:
	return [colour.r, colour.g, colour.b, colour.a]


## Whether a scene is shown. Expressions compute both sides of an `and`, so they cannot ask this.
func shows(name: String) -> bool:
	return shown() != null and shown().name == name and shown().is_node_ready()


## The feed that all scenes share.
func market() -> KrakpotFeed:
	return get_tree().root.get_node("Market")


## Press a key.
func press(key: String) -> bool:
	for down: bool in [true, false]:
		var event := InputEventKey.new()
		event.keycode = OS.find_keycode_from_string(key)
		event.physical_keycode = event.keycode
		event.pressed = down
		Input.parse_input_event(event)
	return true


## Save a picture of the window.
func picture(path: String) -> bool:
	return get_viewport().get_texture().get_image().save_png(path) == OK
