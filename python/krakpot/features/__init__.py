"""Features and labels: pure functions on frames that a lake gives."""
