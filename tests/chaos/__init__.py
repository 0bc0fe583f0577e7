"""Chaos: a running system whose processes are killed, stopped and swapped at random, and what that costs.

Within the tests: test_*.py, one round of blows. By hand: `python -m tests.chaos --minutes 30 --seed 7` prints a table.
"""
