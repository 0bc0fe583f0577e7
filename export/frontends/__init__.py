"""Front ends as pieces of a graph: everything that is done to values before a network sees them."""
