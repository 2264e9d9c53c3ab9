"""What a strategy sees, from any source: events, books, and the stream that delivers them."""
