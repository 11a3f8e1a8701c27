"""The lock of a folder, so that no two processes train the same model."""

import fcntl
import os
import platform
import re
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from . import slurm
from .job import InputError

PATIENCE = 10
"""Seconds that the processes reading data for a trainer that was killed take to notice it."""

PAUSE = 20
"""Seconds between two looks at the queue for the holder's job."""


@contextmanager
def locked(folder: Path) -> Iterator[int]:
    """Hold the folder's lock, as a file descriptor that the trainer inherits.

    The trainer keeps it should this process be killed, so that a second attempt cannot write
    beside it. In a Slurm job, another that holds it is waited for as long as it is in the queue.
    Raises `InputError` if somebody else holds it and does not die within `PATIENCE`.

    The folder is made, for its owner alone: what is in it will be unpickled.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    with (folder / "lock").open("a+", encoding="utf-8") as lock:
        while not _try_lock_for(PATIENCE, lock):
            holder = _holder(lock)
            if not _is_queued(holder):
                raise InputError(f"{folder}: another process is training this model ({holder})")
            print(f"{folder}: waiting for the end of {holder}", file=sys.stderr)
            while _is_queued(_holder(lock)) and not _try_lock(lock):
                time.sleep(PAUSE)
        lock.truncate(0)
        number = slurm.own_job()
        holder = f"Slurm job {number}" if number else f"process {os.getpid()}"
        lock.write(f"{platform.node()}, {holder}")
        lock.flush()
        yield lock.fileno()


def _try_lock_for(seconds: float, file: TextIO) -> bool:
    deadline = time.monotonic() + seconds
    while not _try_lock(file):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True


def _try_lock(file: TextIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder(lock: TextIO) -> str:
    lock.seek(0)
    return lock.read()


def _is_queued(holder: str) -> bool:
    """Return whether the holder is another job than this one that is, or may be, in the queue."""
    job = re.search(r"Slurm job (\d+)$", holder)
    if job is None or slurm.own_job() in (None, job[1]) or not shutil.which("squeue"):
        return False
    return slurm.ask(job[1], "%T") != ""
