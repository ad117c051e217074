"""The admin page at /admin: tables for admins, with the same rules and audit as the HTTP interface."""
