"""SQL about privacy: erasure, retention, expiry and a person's own data."""
