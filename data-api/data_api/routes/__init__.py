"""The routes of the HTTP interface, by subject."""
