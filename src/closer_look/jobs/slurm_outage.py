"""Keeps Snakemake's Slurm plugin from forgetting its jobs while Slurm does not answer.

When a status query fails, version 2.8.0 of the plugin yields none of the jobs it was asked about,
which to Snakemake means that it need not ask about them again: their ends are never collected, and
nothing that depends on them is started. When `sbatch` fails, that is a failure of the job.
`profiles/slurm-outage.md` has the report for upstream.
"""

import functools
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Callable
from types import ModuleType

PLUGIN = "snakemake_executor_plugin_slurm"

PATIENCE = 3600
"""Seconds that a job waits to be submitted to a controller that does not answer."""

PAUSE = 10
"""Seconds between two looks for it."""


class NoAnswer(Exception):
    """Slurm did not say how the jobs are: that is not to say that there are none."""


def mend(plugin: ModuleType | None = None) -> None:
    """Have the plugin keep all jobs when a query fails, and submit none while Slurm is down.

    It asks again at its next check. Does nothing where the plugin was not loaded.
    """
    plugin = plugin or sys.modules.get(PLUGIN)
    if plugin is None or hasattr(plugin, "NoAnswer"):
        return
    plugin.NoAnswer = NoAnswer
    plugin.query_job_status = _or_no_answer(plugin.query_job_status)
    executor = plugin.Executor
    executor.check_active_jobs = _keeping(executor.check_active_jobs)
    executor.run_job = _when_up(executor.run_job)
    executor.run_array_jobs = _when_up(executor.run_array_jobs)


def _or_no_answer(query: Callable) -> Callable:
    """Return the plugin's query with an exception where it returns (None, None)."""

    async def query_job_status(*arguments):
        statuses, duration = await query(*arguments)
        if statuses is None:
            raise NoAnswer
        return statuses, duration

    return query_job_status


def _keeping(check: Callable) -> Callable:
    """Return the plugin's check that yields all jobs, as still active, where there is no answer.

    It queries before it yields or reports any job.
    """

    async def check_active_jobs(executor, active_jobs: list) -> AsyncGenerator:
        try:
            async for job in check(executor, active_jobs):
                yield job
        except NoAnswer:
            executor.logger.warning(
                f"Slurm does not say how its {len(active_jobs)} jobs are; asking again later."
            )
            for job in active_jobs:
                yield job

    return check_active_jobs


def _when_up(submit: Callable) -> Callable:
    """Return the plugin's submission, in a thread of its own, that waits for the controller."""

    @functools.wraps(submit)
    def submit_when_up(executor, jobs):
        deadline = time.monotonic() + PATIENCE
        while not _is_up() and time.monotonic() < deadline:
            executor.logger.warning("Slurm does not answer; submitting later.")
            time.sleep(PAUSE)
        return submit(executor, jobs)

    return submit_when_up


def _is_up() -> bool:
    ping = ["scontrol", "ping"]
    try:
        found = subprocess.run(ping, capture_output=True, encoding="utf-8", timeout=60)
        return " UP" in found.stdout
    except subprocess.TimeoutExpired:
        return False
    except OSError:  # no scontrol: what is wrong is for the plugin to say
        return True
