"""Replay: the events of a recording, as a live feed gave them."""
