"""CPU seconds of `bimodal.Detector` on a clip against those of `bimodal analyze` with one face worker, in turn."""

from __future__ import annotations

import resource
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from bimodal.bench.errors import BenchError
from bimodal.bench.figures import Outcome, figure, in_turn
from bimodal.bench.plan import Plan
from bimodal.bench.system import write_config
from bimodal.child_process import child_environment, python_command
from bimodal.workers.demo import DEMO

PART = "detector"
COMMAND, IN_PROCESS = "bimodal analyze: CPU", "Detector.events: CPU"
FLOOR = 0.85
"""Of the command's CPU, the most that the detector may take."""

PROGRAM = """
import sys, bimodal
with bimodal.Detector(sys.argv[1]) as detector:
    assert sum(1 for _ in detector.events(sys.argv[2]))
"""


def measure(plan: Plan) -> Outcome:
    """CPU seconds of both on the demo clip, starts included. Raises BenchError where one does not come to its end."""
    config = plan.folder / "detector.yaml"
    write_config(plan.config, config)

    def command() -> float:
        with TemporaryDirectory(dir=plan.folder) as out:
            options = ("--out", out, "--config", str(config), "--face-workers", "1")
            return _cpu_s(python_command("bimodal", "analyze", str(DEMO), *options))

    def in_process() -> float:
        program = plan.folder / "detector.py"
        program.write_text(PROGRAM)
        return _cpu_s([*python_command("x")[:2], str(program), str(config), str(DEMO)])

    found = in_turn({COMMAND: command, IN_PROCESS: in_process}, plan.repeats, plan.tell)
    against = figure(COMMAND, found[COMMAND], "s")
    mine = figure(IN_PROCESS, found[IN_PROCESS], "s", against=against, floor=FLOOR, at_most=True)
    return Outcome(part=PART, figures=(against, mine))


def _cpu_s(command: list[str]) -> float:
    """CPU seconds, user and system, of a command and all the processes that it waits for."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, env=child_environment(), capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(f"{Path(command[-1]).name} ended with code {done.returncode}: {done.stderr.strip()[-200:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
