"""Print what changes, from Python: python listen.py [ADDRESS OF THE EVENT BUS]. Without one, this machine's system."""

import sys

import bimodal

for event in bimodal.listen(sys.argv[1] if len(sys.argv) > 1 else None, changes=True):
    verdict = event.emotion
    print(event.stream, f"{event.t:.2f}", verdict.label or f"unknown: {verdict.because}", flush=True)
