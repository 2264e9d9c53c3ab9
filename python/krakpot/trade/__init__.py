"""Strategies: run on recorded and on live data, with simulated orders, and what came of it."""
