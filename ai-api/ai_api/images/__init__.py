"""Images by the hash of their bytes: the reference that stands in a row, and the store of the bytes."""
