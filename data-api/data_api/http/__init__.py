"""HTTP machinery that several routes share. It holds no route."""
