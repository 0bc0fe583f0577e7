"""The post office: knows messages, knows nothing of emotions."""
