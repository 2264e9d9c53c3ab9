## When to connect again, and how fast requests go out: policies without a clock or a socket. Times are seconds.
##
## At once at first, then after 1, 2, 4 … 30 seconds and jitter. All connections of a feed share one.
extends RefCounted

## Attempts made at once: the first one, and three after drops.
const FAST := 4
## Kraken bans an address for ten minutes after about 150 attempts in ten minutes.
const BUDGET := 120
## Seconds in which they count.
const WINDOW := 600.0
## The longest wait before jitter, seconds.
const LONGEST := 30.0
## A connection that was open for this many seconds forgives the failures before it.
const STABLE := 30.0

## From 0 to 1.
var random := randf
var _failures := 0
var _attempts: Array[float] = []


## Report a connection that was open, and for how many seconds.
func opened(seconds: float) -> void:
	if seconds >= STABLE:
		_failures = 0


## The wait before the next attempt, which is counted at its end. In maintenance the engine of the exchange needs some seconds.
func delay(now: float, maintenance: bool = false) -> float:
	var step := mini(_failures - FAST, 16)
	var wait := 0.0 if step < 0 else minf(LONGEST, pow(2.0, step))
	if wait:
		wait += random.call() * 0.75
	if maintenance:
		wait = maxf(wait, 5.0 + random.call() * 2.0)
	_failures += 1
	_attempts = _attempts.filter(func(at: float) -> bool: return at > now - WINDOW)
	if _attempts.size() >= BUDGET:
		wait = maxf(wait, _attempts[_attempts.size() - BUDGET] + WINDOW - now)
	_attempts.append(now + wait)
	_attempts.sort()
	return wait
