"""What was seen, drawn into a picture: one code for the window, recordings and stills."""
