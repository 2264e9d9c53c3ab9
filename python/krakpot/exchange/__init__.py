"""The built-in exchange: sockets and clock around the core's engine."""
