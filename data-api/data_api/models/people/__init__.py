"""Tables of people: accounts, API keys, invitations, sign-ins and signing keys."""
