"""The page of results: the newest metrics of every recipe."""
