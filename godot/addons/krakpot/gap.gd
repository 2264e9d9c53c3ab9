## A time in which something is not known of a pair.
class_name KrakpotGap
extends RefCounted

## Names of the channels.
const CHANNELS: PackedStringArray = ["book", "trade", "level3", "ticker"]

## The pair, as [code]"BTC/USD"[/code].
var symbol: String
## What is not known: one of [constant CHANNELS].
var channel: String
## Where it begins, nanoseconds since 1970 UTC.
var from_ns := 0
## Where it ends; 0 while it lasts.
var to_ns := 0
## Why.
var reason: String
