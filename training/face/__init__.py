"""The static face model: framing, training and its artifact."""
