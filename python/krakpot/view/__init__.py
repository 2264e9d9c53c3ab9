"""Pictures of frames: books, coverage, spreads, queues. It draws what it is given and reads no files."""
