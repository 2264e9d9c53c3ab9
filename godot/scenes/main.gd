## The menu: the address of the server, the three scenes, and what to do when there is no server.
extends Control

const WORDS := {
	"heat": ["1   Heat map", "Depth over time, with trades and ladder"],
	"land": ["2   Landscape", "The book as a land to fly through"],
	"pairs": ["3   All pairs", "Volume, spread, imbalance, checksums"],
}

var _said := Label.new()
var _address := LineEdit.new()


func _ready() -> void:
	if Market.first_scene in Market.SCENES:
		var path: String = Market.SCENES[Market.first_scene]
		Market.first_scene = ""
		get_tree().change_scene_to_file.call_deferred(path)
		return
	set_anchors_preset(PRESET_FULL_RECT)
	var column := VBoxContainer.new()
	column.set_anchors_preset(PRESET_CENTER)
	column.custom_minimum_size = Vector2(680, 0)
	column.grow_horizontal = GROW_DIRECTION_BOTH
	column.grow_vertical = GROW_DIRECTION_BOTH
	column.add_theme_constant_override("separation", 14)
	add_child(column)
	_label(column, "krakpot", 44, Market.TEXT)
	_label(column, "Kraken's order books, live or from a recording", 18, Market.DIM)
	_address.text = Market.url
	_address.placeholder_text = KrakpotFeed.EXAMPLE
	_address.tooltip_text = "The address that krakpot view prints; Enter connects"
	_address.text_submitted.connect(func(text: String) -> void: Market.url = text)
	column.add_child(_address)
	_said.autowrap_mode = TextServer.AUTOWRAP_WORD_SMART
	_said.custom_minimum_size = Vector2(680, 54)
	column.add_child(_said)
	for name: String in WORDS:
		var button := Button.new()
		button.text = "%s      %s" % WORDS[name]
		button.alignment = HORIZONTAL_ALIGNMENT_LEFT
		button.custom_minimum_size = Vector2(0, 48)
		button.pressed.connect(func() -> void: get_tree().change_scene_to_file(Market.SCENES[name]))
		column.add_child(button)
	_label(column, "1 2 3 scenes    Esc comes back here    in a recording: space pauses, ← → move, , . change the speed", 14,
		Market.DIM)


func _label(into: Container, text: String, size: int, colour: Color) -> void:
	var label := Label.new()
	label.text = text
	label.add_theme_font_size_override("font_size", size)
	label.add_theme_color_override("font_color", colour)
	into.add_child(label)


func _unhandled_key_input(event: InputEvent) -> void:
	var key := event as InputEventKey
	if key.pressed and key.keycode in [KEY_1, KEY_2, KEY_3]:
		get_tree().change_scene_to_file(Market.SCENES.values()[key.keycode - KEY_1])


func _process(_delta: float) -> void:
	var trouble: String = Market.trouble()
	_said.text = trouble
	_said.add_theme_color_override("font_color", Market.BAD)
	if trouble == "" and Market.state == KrakpotFeed.State.OPEN:
		var what := "live" if Market.source == "live" else "the recording “%s”" % Market.source_name
		_said.text = "Connected: %s, %d pairs, showing %s" % [what, Market.pairs.size(), Market.chosen]
		_said.add_theme_color_override("font_color", Market.GOOD)
