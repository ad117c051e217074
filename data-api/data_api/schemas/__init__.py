"""Bodies of requests and responses, by subject."""
