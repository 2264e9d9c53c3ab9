"""The page as a widget of a notebook: no server, no port, everything over the notebook's own connection."""
