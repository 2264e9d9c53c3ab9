"""Files of a lake, and what is read from them."""
