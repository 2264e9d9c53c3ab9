## The books of the last minutes as a texture, for shaders: a column for each moment, a cell for each price.
##
## Add it beside a [KrakpotFeed], name the pair, and include [code]history.gdshaderinc[/code] in a shader that gets the
## uniforms of [method apply]. Both the time and the price go round in a ring. Only the layer of a new column is uploaded.
@icon("res://addons/krakpot/icons/history.svg")
class_name KrakpotHistory
extends Node

## Columns of the ring.
const COLUMNS := 1024
## Cells of a column, each of [member bin_ticks] ticks; the cell behind them has the best prices.
const BINS := 512
## Columns of a layer of the texture.
const LAYER := 16
const CHANNELS := 4
## States of a cell, in its alpha.
const KNOWN := 1.0
const BEYOND := 0.5

## Where the books come from.
@export var feed: KrakpotFeed
## The pair.
@export var symbol := "":
	set(value):
		if symbol != value:
			symbol = value
			clear()
## Time of a column in seconds.
@export_range(0.01, 60.0) var column_seconds := 0.05:
	set(value):
		if column_seconds != value:
			column_seconds = value
			clear()

## The ring: layers of [constant LAYER] columns. Red: quantity, of asks negative. Green: number of the cell, which tells it
## from one that went round. Blue: quantity from the best price to here. Alpha: 0 not known, 0.5 beyond the levels, 1 known.
var texture: Texture2DArray
## Ticks of a cell. It is chosen from the first book.
var bin_ticks := 1
## Cells are counted from this one.
var origin_bin := 0
## Columns are counted from this one; -1 before the first book.
var origin_column := -1
## The newest column.
var newest := -1
## Where the middle of the book is, in cells.
var mid_bin := 0.0
## The quantity of a strong level, for colours and heights: it follows the books.
var strong := 1.0
## The sum of quantities that the books reach, for heights.
var deep := 1.0

var _images: Array[Image] = []
var _row := PackedFloat32Array()
var _image: Image
var _scale := 1.0
var _dirty: Dictionary[int, bool] = {}
var _last_ns := 0


func _ready() -> void:
	if texture == null:
		clear()
	if feed != null:
		feed.book_changed.connect(_on_book)


func _process(_delta: float) -> void:
	for layer in _dirty:
		texture.update_layer(_images[layer], layer)
	_dirty.clear()


## Forget everything.
func clear() -> void:
	_images = []
	for i in COLUMNS / LAYER:
		_images.append(Image.create_empty(BINS + 1, LAYER, false, Image.FORMAT_RGBAF))
	if texture == null:
		texture = Texture2DArray.new()
		texture.create_from_images(_images)
	else:
		for i in _images.size():
			_dirty[i] = true
	origin_column = -1
	newest = -1
	_image = null
	_last_ns = 0


## The column of a time, with its fraction, counted as the shader counts.
func column_at(ns: int) -> float:
	var step := int(column_seconds * 1e9)
	return float(ns / step - origin_column) + float(ns % step) / step


## The cell of a price, with its fraction.
func bin_at(price: float) -> float:
	return price * _scale / bin_ticks - origin_bin


## The price at a cell.
func price_at(bin: float) -> float:
	return (bin + origin_bin) * bin_ticks / _scale


## A cell of a column, as shaders have it: see [member texture].
func cell(column: int, bin: int) -> Color:
	var slot := posmod(column, COLUMNS)
	return _images[slot / LAYER].get_pixel(posmod(bin, BINS), slot % LAYER)


## Give a material the uniforms of [code]history.gdshaderinc[/code].
func apply(material: ShaderMaterial) -> void:
	material.set_shader_parameter("history", texture)
	material.set_shader_parameter("newest", newest)
	material.set_shader_parameter("strong", strong)
	material.set_shader_parameter("deep", deep)


func _on_book(changed: String) -> void:
	if changed == symbol:
		add(feed.book(symbol), feed.pair(symbol))


## Add a state of a book.
func add(book: KrakpotBook, pair: KrakpotPair) -> void:
	var ns := book.received_ns
	if pair == null or ns < _last_ns:
		# Moved back: what is here is of later.
		clear()
		if pair == null:
			return
	if origin_column < 0:
		if not book.in_sync or book.bid_prices.is_empty() or book.ask_prices.is_empty():
			return
		_begin(book, pair)
	_last_ns = ns
	var column := ns / int(column_seconds * 1e9) - origin_column
	if column > newest + COLUMNS:
		clear()
		add(book, pair)
		return
	# Until this state the one before held; after a gap nothing did.
	if _image != null and not book.not_continued:
		_fill(newest + 1, column - 1)
	else:
		_image = null
		_fill(newest + 1, column - 1)
	_image = _drawn(book)
	_fill(column, column)
	newest = column


func _begin(book: KrakpotBook, pair: KrakpotPair) -> void:
	_scale = pow(10.0, pair.price_precision)
	origin_column = book.received_ns / int(column_seconds * 1e9)
	newest = -1
	# The levels that matter fill about half of the ring.
	var n := mini(mini(book.bid_prices.size(), book.ask_prices.size()), 100) - 1
	var reach := (book.ask_prices[n] - book.bid_prices[n]) * _scale
	bin_ticks = maxi(1, ceili(reach / (BINS * 0.6)))
	origin_bin = floori(book.mid() * _scale / bin_ticks) - 65536
	mid_bin = bin_at(book.mid())


func _fill(from: int, to: int) -> void:
	for column in range(maxi(from, to - COLUMNS + 1), to + 1):
		var slot := posmod(column, COLUMNS)
		var layer := slot / LAYER
		if _image == null:
			_images[layer].fill_rect(Rect2i(0, slot % LAYER, BINS + 1, 1), Color(0, 0, 0, 0))
		else:
			_images[layer].blit_rect(_image, Rect2i(0, 0, BINS + 1, 1), Vector2i(0, slot % LAYER))
		_dirty[layer] = true


# A column of a book, or null if the book is not known.
func _drawn(book: KrakpotBook) -> Image:
	if not book.in_sync or book.bid_prices.is_empty() or book.ask_prices.is_empty():
		return null
	_row = PackedFloat32Array()
	_row.resize((BINS + 1) * CHANNELS)
	mid_bin = bin_at(book.mid())
	var middle := floori(mid_bin)
	var total := _side(book.bid_prices, book.bid_qtys, 1, middle)
	total = maxf(total, _side(book.ask_prices, book.ask_qtys, -1, middle))
	deep = total if deep == 1.0 else lerpf(deep, total, 0.02)
	var top := book.bid_qtys.slice(0, 50)
	top.append_array(book.ask_qtys.slice(0, 50))
	top.sort()
	var high := maxf(top[int(top.size() * 0.93)], 1e-12)
	strong = high if strong == 1.0 else lerpf(strong, high, 0.02)
	var at := BINS * CHANNELS
	_row[at] = bin_at(book.best_bid())
	_row[at + 1] = bin_at(book.best_ask())
	_row[at + 3] = KNOWN
	return Image.create_from_data(BINS + 1, 1, false, Image.FORMAT_RGBAF, _row.to_byte_array())


# One side from its best price outward; returns the sum of its quantities.
func _side(prices: PackedFloat64Array, qtys: PackedFloat64Array, sign: int, middle: int) -> float:
	var i := 0
	var sum := 0.0
	var n := prices.size()
	for step in BINS / 2:
		# Bids have the cells up to the middle, asks those behind it.
		var bin := middle - step if sign > 0 else middle + 1 + step
		var qty := 0.0
		while i < n:
			var cell := floori((roundf(prices[i] * _scale)) / bin_ticks) - origin_bin
			if cell < bin if sign > 0 else cell > bin:
				break
			qty += qtys[i]
			i += 1
		sum += qty
		var at := posmod(bin, BINS) * CHANNELS
		_row[at] = qty * sign
		_row[at + 1] = bin
		_row[at + 2] = sum * sign
		_row[at + 3] = KNOWN if i < n else BEYOND
	return sum
