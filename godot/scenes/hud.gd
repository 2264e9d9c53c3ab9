## What every scene has on top: pair, prices, checksum, time, what is wrong, what is stale, keys, the control of a lake.
class_name Hud
extends CanvasLayer

const TOP := 52.0
const BOTTOM := 30.0
const BAR := 34.0
const SPEEDS: PackedFloat64Array = [0.1, 0.5, 1, 2, 5, 10, 30, 100, 300, 1000]

## Keys of the scene, for the line at the bottom.
@export var keys := ""
@export var title := ""

var sheet := Control.new()
var _font: Font


func _ready() -> void:
	_font = ThemeDB.fallback_font
	sheet.set_anchors_preset(Control.PRESET_FULL_RECT)
	sheet.mouse_filter = Control.MOUSE_FILTER_PASS
	sheet.draw.connect(_draw)
	sheet.gui_input.connect(_on_mouse)
	add_child(sheet)


func _process(_delta: float) -> void:
	sheet.queue_redraw()


## The part of the window that the scene has for itself.
func room() -> Rect2:
	var size := sheet.get_viewport_rect().size
	return Rect2(0, TOP, size.x, size.y - TOP - BOTTOM - (BAR if lake() else 0.0))


## Whether there is a recording to move in.
func lake() -> bool:
	return Market.source == "lake" and Market.clock.end_us > Market.clock.begin_us


func _unhandled_key_input(event: InputEvent) -> void:
	var key := event as InputEventKey
	if not key.pressed:
		return
	var clock := Market.clock
	match key.keycode:
		KEY_ESCAPE:
			get_tree().change_scene_to_file("res://scenes/main.tscn")
		KEY_1, KEY_2, KEY_3:
			get_tree().change_scene_to_file(Market.SCENES.values()[key.keycode - KEY_1])
		KEY_N:
			Market.step(-1 if key.shift_pressed else 1)
		KEY_SPACE:
			if lake():
				if clock.paused:
					clock.resume()
				else:
					clock.pause()
		KEY_LEFT, KEY_RIGHT:
			if lake():
				clock.skip((-1.0 if key.keycode == KEY_LEFT else 1.0) * (60.0 if key.shift_pressed else 10.0))
		KEY_COMMA, KEY_PERIOD:
			if lake():
				_faster(-1 if key.keycode == KEY_COMMA else 1)


func _faster(way: int) -> void:
	var at := SPEEDS.bsearch(Market.clock.speed)
	Market.clock.play_at(SPEEDS[clampi(at + way, 0, SPEEDS.size() - 1)])


func _slider() -> Rect2:
	var size := sheet.get_viewport_rect().size
	return Rect2(230, size.y - BOTTOM - BAR + 10, size.x - 250, 14)


func _on_mouse(event: InputEvent) -> void:
	var click := event as InputEventMouseButton
	if click != null and click.pressed and click.button_index == MOUSE_BUTTON_LEFT and lake():
		var slider := _slider()
		if slider.grow(8).has_point(click.position):
			var clock := Market.clock
			var share := clampf((click.position.x - slider.position.x) / slider.size.x, 0.0, 1.0)
			clock.seek(clock.begin_us + int(share * (clock.end_us - clock.begin_us)))


func say(at: Vector2, text: String, size := 15, colour := Market.TEXT) -> float:
	sheet.draw_string(_font, at, text, HORIZONTAL_ALIGNMENT_LEFT, -1, size, colour)
	return at.x + _font.get_string_size(text, HORIZONTAL_ALIGNMENT_LEFT, -1, size).x


func _draw() -> void:
	var size := sheet.get_viewport_rect().size
	sheet.draw_rect(Rect2(0, 0, size.x, TOP), Market.PANEL)
	sheet.draw_rect(Rect2(0, size.y - BOTTOM, size.x, BOTTOM), Market.PANEL)
	_draw_top(size)
	var x := say(Vector2(16, size.y - 10), keys, 13, Market.DIM)
	say(Vector2(x + 18, size.y - 10), "N next pair   1 2 3 scenes   Esc menu", 13, Market.DIM)
	if lake():
		_draw_time(size)
	var trouble: String = Market.trouble()
	if trouble:
		_draw_banner(size, trouble)
	if Market.stale:
		_draw_stale(size)


func _draw_top(size: Vector2) -> void:
	var book: KrakpotBook = Market.shown_book()
	var pair: KrakpotPair = Market.pair(Market.chosen)
	var x := say(Vector2(16, 34), title if title else Market.chosen, 24) + 22
	if not title and pair != null:
		if book.in_sync:
			x = say(Vector2(x, 33), pair.price_text(book.best_bid()), 19, Market.BID) + 12
			x = say(Vector2(x, 33), pair.price_text(book.best_ask()), 19, Market.ASK) + 22
			x = say(Vector2(x, 22), "spread", 11, Market.DIM)
			say(Vector2(x - 36, 40), pair.price_text(book.spread()), 14)
			x = _draw_imbalance(Vector2(x + 34, 0), book.imbalance()) + 24
		elif book.states:
			x = say(Vector2(x, 33), "out of sync: nobody knows this book", 16, Market.BAD) + 22
		if book.states and book.in_sync:
			var words := ["not checked", "✓ checksum %08x" % book.checksum, "× checksum wrong"]
			var colours := [Market.DIM, Market.GOOD, Market.BAD]
			say(Vector2(x, 32), words[book.checked], 14, colours[book.checked])
	var clock := Market.clock
	var where: String = "LIVE" if clock.live else "recording “%s”" % Market.source_name
	if Market.state != KrakpotFeed.State.OPEN:
		where = "not connected"
	var time := clock.text()
	var wide := _font.get_string_size(time, HORIZONTAL_ALIGNMENT_LEFT, -1, 14).x
	say(Vector2(size.x - wide - 16, 22), time, 14)
	wide = _font.get_string_size(where, HORIZONTAL_ALIGNMENT_LEFT, -1, 12).x
	var colour := Market.GOOD if clock.live and Market.trouble() == "" else Market.DIM
	say(Vector2(size.x - wide - 16, 41), where, 12, colour)


func _draw_imbalance(at: Vector2, value: float) -> float:
	say(at + Vector2(0, 22), "imbalance", 11, Market.DIM)
	var bar := Rect2(at.x, 31, 90, 8)
	sheet.draw_rect(bar, Market.LINE)
	if not is_nan(value):
		var middle := bar.position.x + 45
		var way := value * 45.0
		sheet.draw_rect(Rect2(minf(middle, middle + way), 31, absf(way), 8), Market.BID if value > 0 else Market.ASK)
		sheet.draw_rect(Rect2(middle - 0.5, 29, 1, 12), Market.TEXT)
	return at.x + 90


func _draw_time(size: Vector2) -> void:
	var clock := Market.clock
	sheet.draw_rect(Rect2(0, size.y - BOTTOM - BAR, size.x, BAR), Market.PANEL.darkened(0.15))
	var slider := _slider()
	var long := maxf(clock.end_us - clock.begin_us, 1.0)
	sheet.draw_rect(slider.grow_individual(0, -4, 0, -4), Market.LINE)
	for span in clock.spans:
		if span["symbol"] == Market.chosen and span["channel"] == "book":
			var from: float = (span["from_us"] - clock.begin_us) / long * slider.size.x
			var to: float = (span["to_us"] - clock.begin_us) / long * slider.size.x
			var part := Rect2(slider.position.x + from, slider.position.y + 4, maxf(to - from, 1.0), 6)
			sheet.draw_rect(part, Color(Market.BID, 0.45))
	var share := clampf((clock.shown_ns / 1000 - clock.begin_us) / long, 0.0, 1.0)
	sheet.draw_circle(slider.position + Vector2(share * slider.size.x, 7), 7, Market.TEXT)
	var words := "paused" if clock.paused else ("end" if clock.at_end else "× %s" % String.num(clock.speed, 1))
	say(Vector2(16, slider.position.y + 12), words, 14, Market.MARK if clock.paused else Market.TEXT)
	say(Vector2(84, slider.position.y + 12), "space  ← →  , .", 13, Market.DIM)


func _draw_banner(size: Vector2, sentence: String) -> void:
	var wide := minf(size.x - 80, 900.0)
	var tall := _font.get_multiline_string_size(sentence, HORIZONTAL_ALIGNMENT_LEFT, wide - 40, 17).y
	var box := Rect2((size.x - wide) / 2, TOP + 16, wide, tall + 26)
	sheet.draw_rect(box, Color(0.23, 0.09, 0.085, 0.96))
	sheet.draw_rect(box, Market.BAD, false, 1.5)
	var at := box.position + Vector2(20, 30)
	sheet.draw_multiline_string(_font, at, sentence, HORIZONTAL_ALIGNMENT_LEFT, wide - 40, 17, -1, Market.TEXT)


func _draw_stale(size: Vector2) -> void:
	var text := "STALE: nothing new comes. What you see is old."
	var wide := _font.get_string_size(text, HORIZONTAL_ALIGNMENT_LEFT, -1, 22).x
	var box := Rect2((size.x - wide) / 2 - 24, size.y * 0.5 - 28, wide + 48, 50)
	sheet.draw_rect(box, Color(0.17, 0.165, 0.06, 0.95))
	sheet.draw_rect(box, Market.MARK, false, 2)
	say(box.position + Vector2(24, 34), text, 22, Market.MARK)
