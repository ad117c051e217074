"""What the routes share: middleware, the caller and the wired pieces, reading rows, error responses."""
