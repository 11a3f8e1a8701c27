"""The time that a scheduler leaves a training, so that it can stop and save before it is killed."""

import re

from . import slurm

RESERVE = 300
"""Seconds for all but training: starting, the last update, a checkpoint on a slow disk."""


def hours_left() -> float | None:
    """Return for how long to train in this Slurm job, None without a job or a limit."""
    job = slurm.own_job()
    if job is None:
        return None
    seconds = parse(slurm.ask(job, "%L") or "")
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
