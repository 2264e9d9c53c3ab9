## All pairs at once: price and its last minutes, volume, spread, imbalance, and whether the checksums are right.
extends Control

## Size of the tile of a pair; its width is what it has at least.
const TILE := Vector2(248, 98)
const GAP := 8.0
const SORTS: PackedStringArray = ["volume", "spread", "imbalance", "checksums", "name"]

## Place of [member sort] in [constant SORTS].
@export var sort := 0

var lines: Array[Dictionary] = []
var scroll := 0
var _sheet := Control.new()
var _font: Font
var _wrong_at: Dictionary[String, int] = {}
var _wrong: Dictionary[String, int] = {}

@onready var hud: Hud = $Hud


func _ready() -> void:
	_font = ThemeDB.fallback_font
	set_anchors_preset(PRESET_FULL_RECT)
	_sheet.set_anchors_preset(PRESET_FULL_RECT)
	_sheet.mouse_filter = MOUSE_FILTER_IGNORE
	_sheet.draw.connect(_draw_all)
	add_child(_sheet)
	Market.overview_received.connect(_on_overview)
	Market.stale_changed.connect(func(_stale: bool) -> void: _sheet.queue_redraw())
	resized.connect(_sheet.queue_redraw)


func _on_overview(found: KrakpotOverview) -> void:
	lines = []
	for i in found.size():
		var symbol := found.symbols[i]
		var mid := (found.bids[i] + found.asks[i]) / 2.0
		if is_nan(mid):
			mid = found.lasts[i]
		if found.wrong[i] > _wrong.get(symbol, 0):
			_wrong_at[symbol] = Time.get_ticks_msec()
		_wrong[symbol] = found.wrong[i]
		lines.append({
			"symbol": symbol, "mid": mid, "spread": (found.asks[i] - found.bids[i]) / mid * 1e4,
			"volume": found.volumes[i] * mid, "imbalance": found.imbalances[i], "right": found.right[i],
			"wrong": found.wrong[i], "sync": found.sync[i],
		})
	_order()
	_sheet.queue_redraw()


func _order() -> void:
	match SORTS[sort]:
		"name":
			lines.sort_custom(func(a: Dictionary, b: Dictionary) -> bool: return a["symbol"] < b["symbol"])
		"spread":
			lines.sort_custom(func(a: Dictionary, b: Dictionary) -> bool: return _key(a, "spread") < _key(b, "spread"))
		"imbalance":
			lines.sort_custom(
				func(a: Dictionary, b: Dictionary) -> bool: return _key(a, "imbalance") > _key(b, "imbalance")
			)
		"checksums":
			lines.sort_custom(
				func(a: Dictionary, b: Dictionary) -> bool:
					return [a["sync"] != 0, -a["wrong"]] < [b["sync"] != 0, -b["wrong"]]
			)
		_:
			lines.sort_custom(func(a: Dictionary, b: Dictionary) -> bool: return _key(a, "volume") > _key(b, "volume"))


# What is not known comes last.
func _key(line: Dictionary, name: String) -> float:
	var value: float = line[name]
	return (INF if name == "spread" else -INF) if is_nan(value) else value


func _unhandled_key_input(event: InputEvent) -> void:
	var key := event as InputEventKey
	if not key.pressed:
		return
	match key.keycode:
		KEY_S:
			sort = (sort + 1) % SORTS.size()
			_order()
		KEY_UP, KEY_DOWN, KEY_PAGEUP, KEY_PAGEDOWN:
			scroll += -1 if key.keycode in [KEY_UP, KEY_PAGEUP] else 1
		KEY_ENTER:
			get_tree().change_scene_to_file(Market.SCENES["heat"])
	_sheet.queue_redraw()


func _unhandled_input(event: InputEvent) -> void:
	var click := event as InputEventMouseButton
	if click == null or not click.pressed:
		return
	if click.button_index in [MOUSE_BUTTON_WHEEL_UP, MOUSE_BUTTON_WHEEL_DOWN]:
		scroll += -1 if click.button_index == MOUSE_BUTTON_WHEEL_UP else 1
		_sheet.queue_redraw()
	elif click.button_index == MOUSE_BUTTON_LEFT:
		for i in lines.size():
			if tile(i).has_point(click.position):
				Market.chosen = lines[i]["symbol"]
				get_tree().change_scene_to_file(Market.SCENES["heat"])


func columns() -> int:
	return maxi(1, int((hud.room().size.x - 24 + GAP) / (TILE.x + GAP)))


## Where a line is drawn.
func tile(i: int) -> Rect2:
	var wide := columns()
	var room := hud.room()
	var size := Vector2((room.size.x - 24 - GAP * (wide - 1)) / wide, TILE.y)
	return Rect2(
		Vector2(12 + i % wide * (size.x + GAP), room.position.y + 40 + (i / wide - scroll) * (TILE.y + GAP)), size
	)


func _text(where: Vector2, text: String, size: int, colour: Color, right := false) -> void:
	if right:
		where.x -= _font.get_string_size(text, HORIZONTAL_ALIGNMENT_LEFT, -1, size).x
	_sheet.draw_string(_font, where, text, HORIZONTAL_ALIGNMENT_LEFT, -1, size, colour)


func _draw_all() -> void:
	var room := hud.room()
	var wide := columns()
	var rows := ceili(lines.size() / float(wide))
	scroll = clampi(scroll, 0, maxi(0, rows - int((room.size.y - 40) / (TILE.y + GAP))))
	var right := 0
	var wrong := 0
	var most := 1e-9
	for line in lines:
		right += line["right"]
		wrong += line["wrong"]
		if not is_nan(line["volume"]):
			most = maxf(most, line["volume"])
	_text(Vector2(16, room.position.y + 26), "%d pairs by %s" % [lines.size(), SORTS[sort]], 14, Market.DIM)
	_text(Vector2(room.size.x - 16, room.position.y + 26), "checksums: %d right, %d wrong" % [right, wrong], 14,
		Market.GOOD if wrong == 0 else Market.BAD, true)
	for i in lines.size():
		var box := tile(i)
		if box.position.y >= room.position.y + 30 and box.end.y <= room.end.y:
			_draw_tile(box, lines[i], most)


func _draw_tile(box: Rect2, line: Dictionary, most: float) -> void:
	var symbol: String = line["symbol"]
	var pair: KrakpotPair = Market.pair(symbol)
	if pair == null:
		return
	var grey := 0.45 if Market.stale else 1.0
	_sheet.draw_rect(box, Market.PANEL)
	var volume: float = line["volume"]
	if not is_nan(volume):
		_sheet.draw_rect(Rect2(box.position.x, box.end.y - 3, box.size.x * sqrt(volume / most), 3), Color(Market.BID, 0.8 * grey))
	_draw_past(Rect2(box.position + Vector2(140, 34), Vector2(box.size.x - 152, 32)), symbol, grey)
	_text(box.position + Vector2(10, 22), symbol, 16, Color(Market.TEXT, grey))
	_text(box.position + Vector2(10, 48), pair.price_text(line["mid"]), 17, Color(Market.TEXT, grey))
	var quote := symbol.get_slice("/", 1)
	_text(box.position + Vector2(10, 67), "vol %s %s" % [Market.short(volume), quote], 12, Color(Market.DIM, grey))
	_text(box.position + Vector2(10, 86), "spread %s" % ("–" if is_nan(line["spread"]) else "%.1f bp" % line["spread"]), 12,
		Color(Market.DIM, grey))
	_draw_imbalance(Rect2(box.position + Vector2(140, 78), Vector2(box.size.x - 152, 8)), line["imbalance"], grey)
	var health := health_of(line)
	_text(Vector2(box.end.x - 10, box.position.y + 21), health[0], 13, Color(health[1], grey), true)


## What is said of the checksums of a line, and its colour.
func health_of(line: Dictionary) -> Array:
	if line["sync"] == KrakpotOverview.Sync.OUT:
		return ["! out of sync", Market.BAD]
	if Time.get_ticks_msec() - _wrong_at.get(line["symbol"], -60000) < 60000:
		return ["× %d wrong" % line["wrong"], Market.BAD]
	if line["sync"] == KrakpotOverview.Sync.NOT_READ or line["right"] == 0:
		return ["· not checked", Market.DIM]
	return ["✓ %s" % (str(line["right"]) if line["right"] < 1000 else Market.short(line["right"])), Market.GOOD]


func _draw_past(box: Rect2, symbol: String, grey: float) -> void:
	var values: PackedFloat32Array = Market.past.get(symbol, PackedFloat32Array())
	if values.size() < 2:
		return
	var sorted := values.duplicate()
	sorted.sort()
	var low := sorted[0]
	var long := maxf(sorted[-1] - low, 1e-12)
	var points := PackedVector2Array()
	for i in values.size():
		points.append(box.position + Vector2(i / (values.size() - 1.0), 1.0 - (values[i] - low) / long) * box.size)
	_sheet.draw_polyline(points, Color(Market.GOOD if values[-1] >= values[0] else Market.ASK, grey), 1.5, true)


func _draw_imbalance(bar: Rect2, value: float, grey: float) -> void:
	_sheet.draw_rect(bar, Market.LINE)
	if is_nan(value):
		return
	var middle := bar.get_center().x
	var way := value * bar.size.x / 2.0
	var colour := Market.BID if value > 0 else Market.ASK
	_sheet.draw_rect(Rect2(minf(middle, middle + way), bar.position.y, absf(way), bar.size.y), Color(colour, grey))
	_sheet.draw_rect(Rect2(middle - 0.5, bar.position.y - 2, 1, bar.size.y + 4), Color(Market.TEXT, grey))
