"""Sockets to Kraken, and small HTTP."""
