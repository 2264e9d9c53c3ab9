"""The built-in exchange: sockets and clock around ``_core.Exchange``."""
