"""The learned fusion: pairs, training, evaluation."""
