"""Films of what was seen: annotated copies of files, and recordings of live streams, with sound."""
