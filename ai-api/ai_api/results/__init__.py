"""The page of results: the newest figures of every recipe."""
