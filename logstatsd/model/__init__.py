"""The plain data that flows between the other rooms."""
