"""The time that a scheduler leaves a training, so that it can stop and save before it is killed."""

import os
import re
import subprocess

RESERVE = 300
"""Seconds for all but training: starting, the last update, a checkpoint on a slow disk."""


def hours_left() -> float | None:
    """Return for how long to train in this Slurm job, None without a job or a limit."""
    job = os.environ.get("SLURM_JOB_ID")
    if job is None:
        return None
    query = ["squeue", "--noheader", f"--jobs={job}", "--format=%L"]
    try:
        answer = subprocess.run(query, capture_output=True, encoding="utf-8", timeout=60).stdout
    except (OSError, subprocess.TimeoutExpired):  # as in a container that has no Slurm
        return None
    seconds = parse(answer.strip())
    return None if seconds is None else max(seconds - RESERVE, seconds / 2, 1) / 3600


def parse(left: str) -> int | None:
    """Return Slurm's [days-][[hours:]minutes:]seconds in seconds; None for "UNLIMITED" and such."""
    if not re.fullmatch(r"(\d+-)?\d+(:\d+)*", left):
        return None
    days, _, clock = left.rpartition("-")
    seconds = 0
    for field in clock.split(":"):
        seconds = 60 * seconds + int(field)
    return 86400 * int(days or 0) + seconds
