"""Drawing of events into pictures, for the window, annotated films and stills."""
