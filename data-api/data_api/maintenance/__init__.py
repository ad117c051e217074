"""What `data-api maintain` does as the owner of the tables."""
