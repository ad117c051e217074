"""What `data-api setup` does: roles, databases, migrations, grants and the first accounts."""
