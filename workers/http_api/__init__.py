"""The HTTP API: analyses, events, and the control of a running system, for programs in any language."""
