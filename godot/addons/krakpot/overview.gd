## One line of figures of every pair, about once a second. Line [code]i[/code] has [code]symbols[i][/code],
## [code]bids[i][/code] and so on. What is not known is NAN.
class_name KrakpotOverview
extends RefCounted

## Whether a book is in sync.
enum Sync {
	OUT,  ## It is not: nobody knows its levels.
	IN,  ## It is.
	NOT_READ,  ## Nobody reads this book: a lake of many pairs, and no subscription of it.
}

## The time, nanoseconds since 1970 UTC.
var time_ns := 0
## The pairs.
var symbols: PackedStringArray
## Best bids.
var bids: PackedFloat64Array
## Best asks.
var asks: PackedFloat64Array
## Last prices.
var lasts: PackedFloat64Array
## Volumes of 24 hours in the base currency; where there is no ticker, of the trades seen.
var volumes: PackedFloat64Array
## Imbalances of the best five levels, −1 (asks only) to 1 (bids only).
var imbalances: PackedFloat64Array
## Checksums that were right.
var right: PackedInt64Array
## Checksums that were wrong.
var wrong: PackedInt64Array
## Whether each book is in sync, one of [enum Sync].
var sync: PackedByteArray


## How many pairs there are.
func size() -> int:
	return symbols.size()
