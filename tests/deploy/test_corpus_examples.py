"""The examples for clusters do what their comments say, as far as one machine can show it."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import yaml

DEPLOY = Path(__file__).parents[2] / "deploy"


def test_the_slurm_array_does_its_shard(tmp_path: Path) -> None:
    (tmp_path / "bimodal").write_text('#!/bin/sh\necho "$@"\n')
    (tmp_path / "bimodal").chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "SLURM_ARRAY_TASK_ID": "3",
        "SLURM_ARRAY_TASK_MIN": "1",
        "SLURM_ARRAY_TASK_COUNT": "16",
        "SLURM_CPUS_PER_TASK": "4",
    }
    command = ["bash", str(DEPLOY / "slurm" / "corpus.sbatch"), "/data/my study", "/data/results"]
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    assert said == "analyze /data/my study --out /data/results --shard 3/16 --workers 4\n"


def test_the_job_names_every_shard_once_and_runs_without_rights() -> None:
    job = yaml.safe_load((DEPLOY / "kubernetes" / "corpus-job.yaml").read_text())
    (container,) = job["spec"]["template"]["spec"]["containers"]
    count = job["spec"]["completions"]
    shards = set()
    for index in range(count):
        script = container["args"][0].replace("exec ", "echo ")
        environment = {**os.environ, "JOB_COMPLETION_INDEX": str(index)}
        said = subprocess.run(["/bin/sh", "-c", script], env=environment, capture_output=True, text=True, check=True)
        shards.add(re.search(r"--shard (\S+)", said.stdout).group(1))  # type: ignore[union-attr]
    assert shards == {f"{number}/{count}" for number in range(1, count + 1)}
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert {mount["mountPath"] for mount in container["volumeMounts"]} >= {"/dev/shm", "/tmp", "/results"}


def test_the_snakefile_runs_commands_that_exist() -> None:
    text = (DEPLOY / "snakemake" / "Snakefile").read_text()
    assert re.findall(r"bimodal (?:corpus )?\w+", text) == ["bimodal analyze", "bimodal corpus merge"]
