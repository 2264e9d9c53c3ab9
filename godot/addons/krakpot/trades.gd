## Trades of a pair that came together. Trade [code]i[/code] has [code]prices[i][/code], [code]qtys[i][/code] and so on.
class_name KrakpotTrades
extends RefCounted

## The pair, as [code]"BTC/USD"[/code].
var symbol: String
## Whether the trades before are of another time, or lie before a gap.
var not_continued := false
## Trades that were left out, because this client read too slowly.
var left_out := 0
## The exchange's times, nanoseconds since 1970 UTC.
var exchange_ns: PackedInt64Array
## Times of receipt, nanoseconds since 1970 UTC.
var received_ns: PackedInt64Array
## The exchange's ids.
var ids: PackedInt64Array
## Prices.
var prices: PackedFloat64Array
## Quantities.
var qtys: PackedFloat64Array
## Sides of the takers: 0 bought, 1 sold.
var sides: PackedByteArray
## Types of their orders: 0 limit, 1 market.
var types: PackedByteArray


## How many there are.
func size() -> int:
	return prices.size()
