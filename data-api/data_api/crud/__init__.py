"""The only SQL. It flushes and never commits: the edge does."""
