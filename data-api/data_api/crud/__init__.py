"""The only SQL about rows, by subject. It flushes and never commits: `database.py` does."""
