"""The broker and its clients: messages, routing, dispatch and shared memory. Knows nothing of emotions."""
