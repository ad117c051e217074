"""Tables of privacy: erasures, the ai-api instances that report to them, and retention."""
