"""A window on the desk that shows every stream with what was seen in it."""
