## A pair of the server: its number in the stream, its digits, and what the server has of it.
class_name KrakpotPair
extends RefCounted

## The pair, as [code]"BTC/USD"[/code].
var symbol: String
## Its place in the list of the server, which is its number in binary messages.
var number: int
## Decimals of a price.
var price_precision: int
## Decimals of a quantity.
var qty_precision: int
## Levels a side that the server has.
var depth: int
## What the server has of it: [code]book[/code], [code]trade[/code], [code]level3[/code], [code]ticker[/code].
var channels: PackedStringArray


## A price with the decimals of this pair.
func price_text(price: float) -> String:
	return "–" if is_nan(price) else "%.*f" % [price_precision, price]


## The price as a whole number of the smallest steps that the exchange knows.
func ticks(price: float) -> int:
	return roundi(price * pow(10.0, price_precision))


## Reads an entry of [code]symbols[/code]; null if it is damaged.
static func read(found: Variant, at: int) -> KrakpotPair:
	if not found is Dictionary:
		return null
	var fields: Dictionary = found
	var pair := KrakpotPair.new()
	if not fields.get("symbol") is String or not fields.get("channels") is Array:
		return null
	pair.symbol = fields["symbol"]
	pair.number = at
	for name: String in ["price_precision", "qty_precision", "depth"]:
		var value: Variant = fields.get(name)
		# JSON has no whole numbers in Godot: they are floats.
		if not value is float and not value is int:
			return null
		pair.set(name, int(value))
	if pair.symbol.is_empty() or not (pair.price_precision in range(31)) or not (pair.qty_precision in range(31)):
		return null
	for channel: Variant in fields["channels"]:
		pair.channels.append(str(channel))
	return pair
