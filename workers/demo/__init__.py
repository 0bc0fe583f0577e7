"""The demo clip that is shown where there is no camera and no microphone, and how it was made."""
