"""The server of ``krakpot view``: a page, and a stream of states for programs that draw."""
