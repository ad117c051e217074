"""Calls about people: accounts, API keys, invitations, sign-in and the snapshot of callers."""
