## The level-3 book of a pair: every order, by price and then by place in the queue. Its newest state.
##
## [method KrakpotFeed.queues] returns it, if [member KrakpotFeed.orders] is on. Order [code]i[/code] of the bids has
## [code]bid_prices[i][/code], [code]bid_qtys[i][/code] and so on.
@icon("res://addons/krakpot/icons/orders.svg")
class_name KrakpotOrders
extends Resource

## The pair, as [code]"BTC/USD"[/code].
var symbol: String
## Prices of the bids, best first.
var bid_prices: PackedFloat64Array
## Quantities of the bids.
var bid_qtys: PackedFloat64Array
## Times of the bids, nanoseconds since 1970 UTC.
var bid_times_ns: PackedInt64Array
## Numbers of the bids: the same for the same order while a connection lasts.
var bid_ids: PackedInt64Array
## Prices of the asks, best first.
var ask_prices: PackedFloat64Array
## Quantities of the asks.
var ask_qtys: PackedFloat64Array
## Times of the asks, nanoseconds since 1970 UTC.
var ask_times_ns: PackedInt64Array
## Numbers of the asks.
var ask_ids: PackedInt64Array
## Whether the book may be trusted. Out of sync it has no orders.
var in_sync := false
## Whether the state before is of another time, or lies before a gap.
var not_continued := false
## What became of the checksum of the last message.
var checked := KrakpotBook.Checksum.NOT_CHECKED
## The checksum that the exchange sent with the last message.
var checksum := 0
## Messages of the exchange between the state before and this one.
var messages := 0
## When the last message was received, nanoseconds since 1970 UTC.
var received_ns := 0
## The exchange's time of the last message, nanoseconds since 1970 UTC.
var exchange_ns := 0
## States that were received.
var states := 0
