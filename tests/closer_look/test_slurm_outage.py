"""What a silent Slurm does to Snakemake's plugin; tests/workflow/test_slurm.py has a real one."""

import asyncio
import logging
import threading
from types import SimpleNamespace

import snakemake_executor_plugin_slurm
from snakemake_executor_plugin_slurm.job_status_query import query_job_status

from closer_look.jobs import slurm_outage
from closer_look.jobs.slurm_outage import mend

JOBS = ["11", "12"]


def plugin(answers):
    """A plugin as ours: `answers` are what its queries find, None where Slurm does not answer."""
    answers = iter(answers)

    async def query_job_status(command, logger):
        statuses = next(answers)
        return (None, None) if statuses is None else (statuses, 0.1)

    class Executor:
        logger = logging.getLogger("snakemake")
        submitted = []

        async def check_active_jobs(self, active_jobs):
            statuses, _ = await module.query_job_status("squeue", self.logger)
            for job in active_jobs if statuses is not None else []:
                if statuses.get(job) != "COMPLETED":
                    yield job

        def run_job(self, job):
            self.submitted.append(job)

        run_array_jobs = run_job

    module = SimpleNamespace(Executor=Executor, query_job_status=query_job_status)
    return module


def rounds(module, number):
    """Return the jobs that are known as active after each of some rounds, as Snakemake does it."""
    executor, active, found = module.Executor(), JOBS, []

    async def check():
        return [job async for job in executor.check_active_jobs(active)]

    for _ in range(number):
        active = asyncio.run(check())
        found.append(active)
    return found


ANSWERS = [{"11": "RUNNING"}, None, None, {"11": "COMPLETED", "12": "RUNNING"}, {"12": "COMPLETED"}]


def test_jobs_that_nothing_is_known_of_are_kept():
    unmended = plugin(ANSWERS)
    assert rounds(unmended, 5) == [JOBS, [], [], [], []]
    mended = plugin(ANSWERS)
    mend(mended)
    assert rounds(mended, 5) == [JOBS, JOBS, JOBS, ["12"], []]


def test_mending_twice_is_mending_once():
    module = plugin(ANSWERS)
    mend(module)
    before = module.Executor.check_active_jobs
    mend(module)
    assert module.Executor.check_active_jobs is before


def test_a_query_of_the_real_plugin_that_fails_says_so_as_expected():
    logger = logging.getLogger("snakemake")
    assert asyncio.run(query_job_status("false", logger)) == (None, None)
    assert snakemake_executor_plugin_slurm.query_job_status
    assert snakemake_executor_plugin_slurm.Executor.run_array_jobs


def test_nothing_is_submitted_while_the_controller_is_down(tmp_path, monkeypatch):
    up = tmp_path / "up"
    scontrol = tmp_path / "scontrol"
    scontrol.write_text(f"#!/bin/sh\n[ -e {up} ] && state=UP\necho Slurmctld is ${{state-DOWN}}\n")
    scontrol.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(slurm_outage, "PAUSE", 0.01)
    module = plugin([])
    mend(module)
    executor = module.Executor()
    waiting = threading.Thread(target=executor.run_job, args=["13"])
    waiting.start()
    waiting.join(0.3)
    assert executor.submitted == []
    up.touch()
    waiting.join(10)
    assert executor.submitted == ["13"]


def test_a_controller_that_stays_away_is_the_plugins_to_report(monkeypatch):
    monkeypatch.setattr(slurm_outage, "PATIENCE", 0)
    monkeypatch.setattr(slurm_outage, "_is_up", lambda: False)
    module = plugin([])
    mend(module)
    module.Executor().run_job("13")
    assert module.Executor.submitted == ["13"]


def test_without_the_plugin_there_is_nothing_to_mend(monkeypatch):
    monkeypatch.setattr(slurm_outage, "PLUGIN", "of_no_such_name")
    mend()
