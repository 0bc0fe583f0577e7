"""What keeps the processes of a session as the table says: start, watch, restart, swap, scale, stop."""
