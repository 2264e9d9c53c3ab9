## The level-2 book of a pair: its newest state.
##
## [method KrakpotFeed.book] returns it. The object stays the same while states come: connect [signal Resource.changed],
## or look at it in each frame. A book that is out of sync has no levels, because nobody knows them.
@icon("res://addons/krakpot/icons/book.svg")
class_name KrakpotBook
extends Resource

## What became of a checksum.
enum Checksum {
	NOT_CHECKED,  ## There was none to compare with.
	RIGHT,  ## The levels give the checksum that the exchange sent.
	WRONG,  ## They do not. The book is out of sync.
}

## The pair, as [code]"BTC/USD"[/code].
var symbol: String
## Prices of bids, best first. Quantities are in [member bid_qtys] at the same places.
var bid_prices: PackedFloat64Array
## Quantities of bids.
var bid_qtys: PackedFloat64Array
## Prices of asks, best first. Quantities are in [member ask_qtys] at the same places.
var ask_prices: PackedFloat64Array
## Quantities of asks.
var ask_qtys: PackedFloat64Array
## Whether the book may be trusted.
var in_sync := false
## Whether the state before is of another time, or lies before a gap.
var not_continued := false
## What became of the checksum of the last message.
var checked := Checksum.NOT_CHECKED
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


## Price of the best bid; NAN if there is none.
func best_bid() -> float:
	return NAN if bid_prices.is_empty() else bid_prices[0]


## Price of the best ask; NAN if there is none.
func best_ask() -> float:
	return NAN if ask_prices.is_empty() else ask_prices[0]


## The middle of the best prices; NAN if one is not there.
func mid() -> float:
	return (best_bid() + best_ask()) / 2.0


## Best ask minus best bid; NAN if one is not there.
func spread() -> float:
	return best_ask() - best_bid()


## (bids − asks) / (bids + asks) of the quantities of the best levels, from −1 to 1; NAN if there are none.
func imbalance(levels: int = 5) -> float:
	var bids := _sum(bid_qtys, levels)
	var asks := _sum(ask_qtys, levels)
	return NAN if bids + asks == 0.0 else (bids - asks) / (bids + asks)


## The quantity at a price, of either side; 0 if there is no such level.
func qty_at(price: float) -> float:
	var at := bid_prices.find(price)
	if at >= 0:
		return bid_qtys[at]
	at = ask_prices.find(price)
	return 0.0 if at < 0 else ask_qtys[at]


static func _sum(qtys: PackedFloat64Array, levels: int) -> float:
	var sum := 0.0
	for i in mini(levels, qtys.size()):
		sum += qtys[i]
	return sum
