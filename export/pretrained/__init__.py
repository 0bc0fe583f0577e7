"""Models of other projects, converted as they are published."""
