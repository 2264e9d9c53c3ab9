"""Recording: from connections to journals."""
