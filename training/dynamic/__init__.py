"""The dynamic face model: training and its artifact."""
