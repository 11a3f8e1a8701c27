"""What Slurm says of its jobs; that it does not answer for a while is no answer."""

import os
import subprocess
import time

PATIENCE = 300
"""Seconds to wait for a controller that does not answer: as long as one takes to be restarted."""

PAUSE = 10
"""Seconds between two questions."""

UNKNOWN = "Invalid job id"
"""What squeue says of a job that is gone for longer."""


def own_job() -> str | None:
    """Return the number of the job that this process is in, if it is in one."""
    return os.environ.get("SLURM_JOB_ID")


def ask(job: str, what: str) -> str | None:
    """Return what squeue's format `what` gives of a job: nothing if it is not in the queue.

    None if Slurm does not answer within `PATIENCE`, or is not installed, as in a container.
    """
    query = ["squeue", "--noheader", f"--jobs={job}", f"--format={what}"]
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            answer = subprocess.run(query, capture_output=True, encoding="utf-8", timeout=60)
        except FileNotFoundError:
            return None
        except subprocess.TimeoutExpired:
            pass
        else:
            if answer.returncode == 0:
                return answer.stdout.strip()
            if UNKNOWN in answer.stderr:
                return ""
        if time.monotonic() > deadline:
            return None
        time.sleep(PAUSE)
