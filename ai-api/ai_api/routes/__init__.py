"""The HTTP calls of ai-api: bytes to typed values, values to responses."""
