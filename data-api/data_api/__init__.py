"""data-api: stores the accounts, predictions, feedback and promotions of Volant in Postgres."""

__version__ = "0.1.0"
