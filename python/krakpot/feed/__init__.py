"""Live data for a strategy."""
