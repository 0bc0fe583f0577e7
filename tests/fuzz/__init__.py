"""Fuzzing of every decoder that faces the outside. Each target takes bytes and raises only where it found a bug.

With coverage as the guide: `python -m tests.fuzz.NAME -max_total_time=60`, of messages, router, slots, config, artifact
and page.
Within the tests: test_fuzz.py, and test_page_served.py over real connections, for seconds; BIMODAL_FUZZ=20 makes it
twenty times as long.
"""
