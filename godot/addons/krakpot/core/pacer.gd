## Limits the rate of requests, and keeps their order: ten a second after a first ten. Times are seconds.
extends RefCounted

const RATE := 10.0

var _waiting: PackedStringArray = []
var _tokens := RATE
var _at := 0.0


## Queue requests.
func add(requests: PackedStringArray) -> void:
	_waiting.append_array(requests)


## Requests that may be sent now.
func due(now: float) -> PackedStringArray:
	_tokens = minf(RATE, _tokens + (now - _at) * RATE)
	_at = now
	var count := mini(_waiting.size(), int(_tokens))
	var found := _waiting.slice(0, count)
	_waiting = _waiting.slice(count)
	_tokens -= count
	return found
