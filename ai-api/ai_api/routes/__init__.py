"""The HTTP calls of ai-api, one file per subject."""
