## Depth over time as a heat map, with trades as circles, and the ladder of the book at its right edge.
extends Control

const LADDER := 250.0
const AXIS := 74.0
const TRADES_MAX := 1500

## Columns that are shown.
@export var span := 500.0
## Cells that are shown.
@export var bins := 240.0

var history := KrakpotHistory.new()
var middle := NAN
var trades: Array[Array] = []
var _picture := ColorRect.new()
var _marks := Control.new()
var _sheet := Control.new()
var _material := ShaderMaterial.new()
var _font: Font

@onready var hud: Hud = $Hud


func _ready() -> void:
	_font = ThemeDB.fallback_font
	set_anchors_preset(PRESET_FULL_RECT)
	history.feed = Market
	add_child(history)
	_material.shader = preload("res://shaders/heat.gdshader")
	_picture.material = _material
	var circles := ShaderMaterial.new()
	circles.shader = preload("res://shaders/circle.gdshader")
	_marks.material = circles
	for one: Control in [_picture, _marks, _sheet]:
		one.mouse_filter = MOUSE_FILTER_IGNORE
		add_child(one)
	_marks.clip_contents = true
	_marks.draw.connect(_draw_marks)
	_sheet.draw.connect(_draw_sheet)
	Market.chosen_changed.connect(_choose)
	Market.trades_received.connect(_on_trades)
	_choose()


func _choose() -> void:
	history.symbol = Market.chosen
	trades.clear()
	middle = NAN


func _on_trades(found: KrakpotTrades) -> void:
	if found.symbol != Market.chosen:
		return
	if found.not_continued:
		trades.clear()
	for i in found.size():
		trades.append([found.received_ns[i], found.prices[i], found.qtys[i], found.sides[i]])
	if trades.size() > TRADES_MAX:
		trades = trades.slice(-TRADES_MAX)


func _unhandled_key_input(event: InputEvent) -> void:
	var key := event as InputEventKey
	if key.pressed:
		match key.keycode:
			KEY_UP:
				bins = maxf(bins / 1.25, 24.0)
			KEY_DOWN:
				bins = minf(bins * 1.25, KrakpotHistory.BINS * 0.9)
			KEY_MINUS:
				span = minf(span * 1.25, KrakpotHistory.COLUMNS - 24.0)
			KEY_EQUAL, KEY_PLUS:
				span = maxf(span / 1.25, 60.0)


## The rectangle of the picture.
func chart() -> Rect2:
	var room := hud.room()
	return Rect2(room.position, Vector2(room.size.x - LADDER - AXIS, room.size.y - 24))


## The right edge, in columns.
func head() -> float:
	if history.newest < 0:
		return 0.0
	return clampf(history.column_at(Market.clock.now_ns()), history.newest, history.newest + 30.0) + 1.0


## Where a time and a price are drawn.
func at(ns: int, price: float) -> Vector2:
	var box := chart()
	var low := middle - bins / 2.0
	return box.position + Vector2(
		(1.0 - (head() - history.column_at(ns)) / span) * box.size.x,
		(1.0 - (history.bin_at(price) - low) / bins) * box.size.y
	)


func _process(delta: float) -> void:
	# A faster recording has longer columns, so that the picture moves at the same pace.
	history.column_seconds = 0.05 * maxf(Market.clock.speed, 0.2)
	if history.newest >= 0:
		middle = history.mid_bin if is_nan(middle) else lerpf(middle, history.mid_bin, 1.0 - exp(-2.5 * delta))
	if absf(middle - history.mid_bin) > bins * 0.4:
		middle = history.mid_bin
	var box := chart()
	for one: Control in [_picture, _marks]:
		one.position = box.position
		one.size = box.size
	history.apply(_material)
	_material.set_shader_parameter("head", head())
	_material.set_shader_parameter("span", span)
	_material.set_shader_parameter("low", middle - bins / 2.0)
	_material.set_shader_parameter("high", middle + bins / 2.0)
	_material.set_shader_parameter("size", box.size)
	_material.set_shader_parameter("grey", 1.0 if Market.stale else 0.0)
	_marks.queue_redraw()
	_sheet.queue_redraw()


func _draw_marks() -> void:
	if history.newest < 0:
		return
	var box := chart()
	var white := preload("res://shaders/white.tres")
	for one: Array in trades:
		var where := at(one[0], one[1]) - box.position
		if where.x < -20:
			continue
		var radius := clampf(4.0 + 9.0 * sqrt(one[2] / history.strong), 4.0, 26.0)
		var colour := Color("a6dcff") if one[3] == 0 else Color("ffc48a")
		_marks.draw_texture_rect(white, Rect2(where - Vector2.ONE * radius, Vector2.ONE * radius * 2), false, Color(colour, 0.9))


func _text(where: Vector2, text: String, size: int, colour: Color, right := false) -> void:
	if right:
		where.x -= _font.get_string_size(text, HORIZONTAL_ALIGNMENT_LEFT, -1, size).x
	_sheet.draw_string(_font, where, text, HORIZONTAL_ALIGNMENT_LEFT, -1, size, colour)


func _draw_sheet() -> void:
	var pair: KrakpotPair = Market.pair(Market.chosen)
	if pair == null or history.newest < 0:
		return
	var box := chart()
	_draw_axes(box, pair)
	_draw_ladder(Rect2(box.end.x + AXIS, box.position.y, LADDER, box.size.y + 24), pair)


func _draw_axes(box: Rect2, pair: KrakpotPair) -> void:
	var low := history.price_at(middle - bins / 2.0)
	var high := history.price_at(middle + bins / 2.0)
	var step := nice((high - low) / 9.0)
	var price := ceilf(low / step) * step
	while price < high:
		var y := box.end.y - (history.bin_at(price) - middle + bins / 2.0) / bins * box.size.y
		_sheet.draw_line(Vector2(0, y), Vector2(box.end.x, y), Color(1, 1, 1, 0.05))
		_text(Vector2(box.end.x + AXIS - 8, y + 5), pair.price_text(price), 12, Market.DIM, true)
		price += step
	var seconds := span * history.column_seconds
	step = nice(seconds / 6.0)
	var now := Market.clock.now_ns()
	var t := now - now % int(step * 1e9)
	while now - t < seconds * 1e9:
		var x := at(t, 0).x
		_sheet.draw_line(Vector2(x, box.position.y), Vector2(x, box.end.y), Color(1, 1, 1, 0.05))
		if x > 40 and x < box.end.x:
			_text(Vector2(x - 26, box.end.y + 17), KrakpotClock.text_of(t / 1000).substr(11, 8), 12, Market.DIM)
		t -= int(step * 1e9)
	for gap: KrakpotGap in Market.gaps:
		var from := at(gap.from_ns, 0).x
		if from > 0 and from < box.end.x:
			_text(Vector2(from + 8, box.position.y + 22), "gap: " + gap.reason, 13, Market.MARK)


func _draw_ladder(box: Rect2, pair: KrakpotPair) -> void:
	_sheet.draw_rect(box, Market.PANEL)
	var book: KrakpotBook = Market.shown_book()
	if not book.in_sync:
		_text(box.position + Vector2(20, 40), "out of sync", 16, Market.BAD)
		return
	var tall := 19.0
	var rows := ladder_rows()
	var most := 1e-12
	for i in rows:
		for qtys: PackedFloat64Array in [book.bid_qtys, book.ask_qtys]:
			if i < qtys.size():
				most = maxf(most, qtys[i])
	var middle_y := box.get_center().y
	for side in 2:
		var prices := book.ask_prices if side else book.bid_prices
		var qtys := book.ask_qtys if side else book.bid_qtys
		var colour := Market.ASK if side else Market.BID
		for i in mini(rows, prices.size()):
			var y := middle_y - 16 - (i + 1) * tall if side else middle_y + 16 + i * tall
			var wide := sqrt(qtys[i] / most) * (LADDER - 20)
			_sheet.draw_rect(Rect2(box.end.x - 10 - wide, y + 1, wide, tall - 2), Color(colour, 0.24))
			_text(Vector2(box.position.x + 104, y + 14), pair.price_text(prices[i]), 14, colour, true)
			_text(Vector2(box.end.x - 14, y + 14), Market.short(qtys[i]), 14, Market.TEXT, true)
	_text(Vector2(box.position.x + 20, middle_y + 6), "spread " + pair.price_text(book.spread()), 14, Market.DIM)


## Rows of a side of the ladder.
func ladder_rows() -> int:
	return int((chart().size.y + 24 - 40) / 2.0 / 19.0)


## 1, 2 or 5 times a power of ten, at least this.
static func nice(least: float) -> float:
	var power := pow(10.0, floorf(log(maxf(least, 1e-12)) / log(10.0)))
	for one: float in [1.0, 2.0, 5.0]:
		if one * power >= least:
			return one * power
	return 10.0 * power
