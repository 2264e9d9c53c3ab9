## The time that is shown, and the control of it: a lake can be played at any speed, paused, and moved in.
##
## [member KrakpotFeed.clock] is one. Each client of a server has its own place in a lake. Live there is only the present:
## the server refuses to move, and [signal KrakpotFeed.refused] says so.
@icon("res://addons/krakpot/icons/clock.svg")
class_name KrakpotClock
extends Resource

## The server said what time it is: at least once a second. Also when one of the properties changed.
signal ticked
## [member spans] are here.
signal coverage_changed

## The time that is shown, nanoseconds since 1970 UTC; 0 before the first.
var shown_ns := 0
## The server's own time, nanoseconds since 1970 UTC.
var server_ns := 0
## Whether the recording stands still.
var paused := false
## Whether this is the end of the recording.
var at_end := false
## Whether this is the market as it is now.
var live := false
## Whether the connection to the exchange is up; of a lake: whether the recorder's was, then.
var exchange_up := false
## Recorded seconds a second. Set it with [method play_at].
var speed := 1.0
## Where the recording begins, microseconds since 1970 UTC; 0 if that is not known.
var begin_us := 0
## Where it ends.
var end_us := 0
## What is recorded, after [method ask_coverage]: dictionaries with [code]symbol[/code], [code]channel[/code],
## [code]from_us[/code], [code]to_us[/code] and [code]reason[/code], why it ended. Between two spans there is a gap.
var spans: Array[Dictionary] = []

var _feed: KrakpotFeed
var _ticked_ms := 0


## Go to a time, microseconds since 1970 UTC, and go on from there.
func seek(at_us: int) -> void:
	_feed._move_to(at_us)


## Go forward or, with a negative number, back by so many seconds; not beyond the ends of the recording.
func skip(seconds: float) -> void:
	var at := shown_ns / 1000 + int(seconds * 1e6)
	if begin_us and end_us:
		at = clampi(at, begin_us, maxi(begin_us, end_us))
	seek(at)


## Stand still.
func pause() -> void:
	_feed._pause(true)


## Go on.
func resume() -> void:
	_feed._pause(false)


## Recorded seconds a second, 0.1 to 1000.
func play_at(recorded_seconds: float) -> void:
	_feed._play_at(recorded_seconds)


## Ask which times of these pairs are recorded. [signal coverage_changed] says when [member spans] are here.
func ask_coverage(symbols: PackedStringArray) -> void:
	_feed._ask("coverage", {"symbols": symbols})


## The time that is shown, carried on between two messages of the server so that pictures move evenly.
func now_ns() -> int:
	if shown_ns == 0 or paused or at_end:
		return shown_ns
	# The server tells the time four times a second. If it does not, time stops here too.
	var since := minf((Time.get_ticks_msec() - _ticked_ms) / 1000.0, 0.5)
	return shown_ns + int(since * speed * 1e9)


## The time that is shown, as [code]2026-11-29 06:19:00.250[/code] UTC; empty if it is not known.
func text() -> String:
	return text_of(shown_ns / 1000) if shown_ns else ""


## A time in microseconds since 1970 UTC as [code]2026-11-29 06:19:00.250[/code].
static func text_of(at_us: int) -> String:
	return "%s.%03d" % [Time.get_datetime_string_from_unix_time(at_us / 1000000, true), at_us / 1000 % 1000]
