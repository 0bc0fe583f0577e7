"""Scripts of the repository; no wheel holds them."""
