"""How a body is read: after the caller is known, within bounds, by one reader of JSON and one of forms."""
