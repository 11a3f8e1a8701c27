import os
import platform
import subprocess
import threading

import pytest

from closer_look.jobs import lock, slurm
from closer_look.jobs.job import InputError
from closer_look.jobs.lock import locked


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(lock, "PATIENCE", 0.1)
    monkeypatch.setattr(lock, "PAUSE", 0.01)
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)


def test_a_model_is_trained_by_one_process_at_a_time(tmp_path):
    folder = tmp_path / "state" / "run"
    refused = pytest.raises(InputError, match=f"^{folder}: another process is training")
    with locked(folder), locked(tmp_path / "state" / "other"), refused, locked(folder):
        pass
    with locked(folder):
        pass


def test_who_trains_a_model_is_said(tmp_path, monkeypatch):
    for holder in (f"process {os.getpid()}", "Slurm job 12"):
        refused = pytest.raises(InputError, match=rf"\({platform.node()}, {holder}\)$")
        with locked(tmp_path), refused, locked(tmp_path):
            pass
        monkeypatch.setenv("SLURM_JOB_ID", "12")


def test_a_process_that_is_about_to_die_is_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "PATIENCE", 10)
    with locked(tmp_path) as descriptor:
        subprocess.Popen(["sleep", "0.5"], pass_fds=[descriptor])
    with locked(tmp_path):
        pass


def test_a_trainer_keeps_the_lock_of_its_dead_parent(tmp_path):
    with locked(tmp_path) as descriptor:
        trainer = subprocess.Popen(["sleep", "60"], pass_fds=[descriptor])
    try:
        with pytest.raises(InputError, match="another process"), locked(tmp_path):
            pass
    finally:
        trainer.kill()
        trainer.wait()
    with locked(tmp_path):
        pass


def test_the_state_is_its_owners_alone(tmp_path):
    folder = tmp_path / "state" / "run"
    with locked(folder):
        assert folder.stat().st_mode & 0o777 == 0o700


@pytest.fixture
def queue(tmp_path, monkeypatch):
    """Return a function that sets what squeue says, by a line of shell; this is job 12."""
    (tmp_path / "bin").mkdir()
    squeue = tmp_path / "bin" / "squeue"

    def says(line):
        new = squeue.with_name("new")
        new.write_text(f'#!/bin/sh\n[ "$2" = --jobs=11 ] || exit 9\n{line}\n')
        new.chmod(0o755)
        new.rename(squeue)

    monkeypatch.setattr(slurm, "PAUSE", 0.01)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    return says


GONE = "echo slurm_load_jobs error: Invalid job id specified >&2; exit 1"
SILENT = "echo slurm_load_jobs error: Unable to contact slurm controller >&2; exit 1"


@pytest.fixture
def held(tmp_path, monkeypatch):
    """A folder that a process of job 11 holds; and what ends it."""
    monkeypatch.setenv("SLURM_JOB_ID", "11")
    with locked(tmp_path / "run") as descriptor:
        trainer = subprocess.Popen(["sleep", "60"], pass_fds=[descriptor])
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    yield tmp_path / "run", trainer.kill
    trainer.kill()
    trainer.wait()


@pytest.mark.parametrize("answer", ["echo RUNNING", SILENT])
def test_a_job_is_waited_for_while_it_is_or_may_be_in_the_queue(
    held, queue, answer, monkeypatch, capsys
):
    folder, kill = held
    monkeypatch.setattr(slurm, "PATIENCE", 0.05)
    queue(answer)
    entered = threading.Event()

    def wait():
        with locked(folder):
            entered.set()

    waiting = threading.Thread(target=wait)
    waiting.start()
    assert not entered.wait(1)
    kill()
    waiting.join(10)
    assert entered.is_set()
    line = f"{folder}: waiting for the end of {platform.node()}, Slurm job 11\n"
    assert capsys.readouterr().err == line


@pytest.mark.parametrize("answer", ["exit 0", GONE])
def test_a_job_that_left_the_queue_and_lives_on_is_not_waited_for(held, queue, answer):
    queue(answer)
    with pytest.raises(InputError, match="another process .*Slurm job 11"), locked(held[0]):
        pass


def test_outside_slurm_a_job_is_not_waited_for(held, queue, monkeypatch):
    queue("echo RUNNING")
    monkeypatch.delenv("SLURM_JOB_ID")
    with pytest.raises(InputError, match="another process .*Slurm job 11"), locked(held[0]):
        pass


def test_a_job_does_not_wait_for_itself(held, queue, monkeypatch):
    queue("echo RUNNING")
    monkeypatch.setenv("SLURM_JOB_ID", "11")
    with pytest.raises(InputError, match="another process .*Slurm job 11"), locked(held[0]):
        pass
