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
from collections.abc import AsyncIterator, Awaitable, Callable
from logging import Logger
from types import ModuleType
from typing import Any, Protocol

PLUGIN = "snakemake_executor_plugin_slurm"

PATIENCE = 3600
"""Seconds that a job waits to be submitted to a controller that does not answer."""

PAUSE = 10
"""Seconds between two looks for it."""


class Executor(Protocol):
    """What is used here of the plugin's executor."""

    logger: Logger


Query = Callable[..., Awaitable[tuple[object, object]]]
Check = Callable[[Executor, list[object]], AsyncIterator[object]]
Submit = Callable[[Executor, object], object]
"""The methods of the plugin, which has no types."""


class NoAnswer(Exception):
    """Slurm did not say how the jobs are: that is not to say that there are none."""


def mend(plugin: ModuleType | None = None) -> None:
    """Have the plugin keep all jobs when a query fails, and submit none while Slurm is down.

    It asks again at its next check. Does nothing where the plugin was not loaded.
    """
    mended: Any = plugin or sys.modules.get(PLUGIN)
    if mended is None or hasattr(mended, "NoAnswer"):
        return
    mended.NoAnswer = NoAnswer
    mended.query_job_status = _or_no_answer(mended.query_job_status)
    executor = mended.Executor
    executor.check_active_jobs = _keeping(executor.check_active_jobs)
    executor.run_job = _when_up(executor.run_job)
    executor.run_array_jobs = _when_up(executor.run_array_jobs)


def _or_no_answer(query: Query) -> Query:
    """Return the plugin's query with an exception where it returns (None, None)."""

    async def query_job_status(*arguments: object) -> tuple[object, object]:
        statuses, duration = await query(*arguments)
        if statuses is None:
            raise NoAnswer
        return statuses, duration

    return query_job_status


def _keeping(check: Check) -> Check:
    """Return the plugin's check that yields all jobs, as still active, where there is no answer.

    It queries before it yields or reports any job.
    """

    async def check_active_jobs(
        executor: Executor, active_jobs: list[object]
    ) -> AsyncIterator[object]:
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


def _when_up(submit: Submit) -> Submit:
    """Return the plugin's submission, in a thread of its own, that waits for the controller."""

    @functools.wraps(submit)
    def submit_when_up(executor: Executor, jobs: object) -> object:
        deadline = time.monotonic() + PATIENCE
        while not _is_up() and time.monotonic() < deadline:
            executor.logger.warning("Slurm does not answer; submitting later.")
            time.sleep(PAUSE)
        return submit(executor, jobs)

    return submit_when_up


def _is_up() -> bool:
    ping = ["scontrol", "ping"]
    try:
        answer = subprocess.run(ping, capture_output=True, encoding="utf-8", timeout=60)
        return " UP" in answer.stdout
    except subprocess.TimeoutExpired:
        return False
    except OSError:  # no scontrol: what is wrong is for the plugin to say
        return True
