"""What a strategy sees, wherever the data comes from."""
