## The feed that all scenes share, what is chosen to look at, and the colours of everything.
##
## Behind `--` on Godot's command line: `--url=ADDRESS`, `--symbol=PAIR`, `--depth=LEVELS`, `--scene=heat`.
extends KrakpotFeed

signal chosen_changed

const GROUND := Color(0.043, 0.059, 0.078)
const PANEL := Color(0.075, 0.098, 0.125)
const LINE := Color(0.16, 0.20, 0.25)
const TEXT := Color(0.87, 0.90, 0.93)
const DIM := Color(0.53, 0.58, 0.63)
const BID := Color("56b4e9")
const ASK := Color("f0853a")
const GOOD := Color("35c79b")
const BAD := Color("ff8a80")
const MARK := Color("f0e442")
## Seconds that [member past] goes back.
const PAST := 180
const SCENES := {"heat": "res://scenes/heat.tscn", "land": "res://scenes/land.tscn", "pairs": "res://scenes/pairs.tscn"}

## The pair that is shown; the first one of the server if it is empty.
var chosen := "":
	set(value):
		if chosen != value:
			chosen = value
			symbols = [value] if value else []
			chosen_changed.emit()
## What went wrong last and is not an enduring problem, and when it was told.
var note := ""
var note_ms := 0
## Gaps of the chosen pair, newest last.
var gaps: Array[KrakpotGap] = []
## The scene to begin with, from the command line.
var first_scene := ""
## Middle prices of each pair, one a second, newest last.
var past: Dictionary[String, PackedFloat32Array] = {}


func _init() -> void:
	super()
	depth = 100
	overview = true
	for argument in OS.get_cmdline_user_args():
		var value := argument.get_slice("=", 1) if not argument.begins_with("--url") else argument.substr(6)
		match argument.get_slice("=", 0):
			"--url":
				url = value
			"--symbol":
				chosen = value
			"--depth":
				depth = value.to_int()
			"--scene":
				first_scene = value


func _ready() -> void:
	connected.connect(_on_connected)
	refused.connect(_note)
	damaged.connect(_note)
	gap_received.connect(_on_gap)
	overview_received.connect(_on_overview)


func _on_connected() -> void:
	if chosen == "" and not pairs.is_empty():
		chosen = pairs[0].symbol
	if source == "lake":
		clock.ask_coverage([chosen])


func _on_gap(gap: KrakpotGap) -> void:
	if gap.symbol == chosen and gap.channel == "book":
		gaps.append(gap)


func _on_overview(found: KrakpotOverview) -> void:
	for i in found.size():
		var mid := (found.bids[i] + found.asks[i]) / 2.0
		if is_nan(mid):
			mid = found.lasts[i]
		if is_nan(mid):
			continue
		var values: PackedFloat32Array = past.get(found.symbols[i], PackedFloat32Array())
		values.append(mid)
		past[found.symbols[i]] = values.slice(-PAST)


func _note(sentence: String) -> void:
	note = sentence
	note_ms = Time.get_ticks_msec()


## The chosen pair's book.
func shown_book() -> KrakpotBook:
	return book(chosen)


## Choose the pair that comes behind the chosen one, or before it.
func step(way: int) -> void:
	if pairs.is_empty():
		return
	var at := 0
	for one in pairs:
		if one.symbol == chosen:
			at = one.number
	gaps.clear()
	chosen = pairs[posmod(at + way, pairs.size())].symbol
	if source == "lake":
		clock.ask_coverage([chosen])


## A sentence that must be seen: what is wrong and what to do. Empty if all is well.
func trouble() -> String:
	if problem:
		return problem
	if state == State.CONNECTING:
		return "Connecting to %s" % _shown_url()
	if state == State.OPEN and exchange_problem:
		return "No connection to the exchange: %s. Books come when it is up again." % exchange_problem
	if note and Time.get_ticks_msec() - note_ms < 8000:
		return note
	return ""


## A quantity with as many digits as fit.
static func short(value: float) -> String:
	if is_nan(value):
		return "–"
	for unit: Array in [[1e9, "G"], [1e6, "M"], [1e3, "k"]]:
		if absf(value) >= unit[0]:
			return "%.*f%s" % [1 if absf(value) < 100.0 * unit[0] else 0, value / unit[0], unit[1]]
	return "%.4f" % value if absf(value) < 1.0 else ("%.2f" % value if absf(value) < 100.0 else "%.0f" % value)
