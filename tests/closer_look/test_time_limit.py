import pytest

from closer_look.jobs import slurm
from closer_look.jobs.time_limit import RESERVE, hours_left, parse


@pytest.mark.parametrize(
    ("left", "seconds"),
    [
        ("2-00:00:00", 2 * 86400),
        ("1-02:03:04", 86400 + 2 * 3600 + 3 * 60 + 4),
        ("47:59:59", 48 * 3600 - 1),
        ("1:00", 60),
        ("7", 7),
        ("0:00", 0),
        ("UNLIMITED", None),
        ("NOT_SET", None),
        ("INVALID", None),
        ("", None),
    ],
)
def test_slurms_way_to_write_a_time(left, seconds):
    assert parse(left) == seconds


@pytest.fixture
def squeue(tmp_path, monkeypatch):
    """Have squeue answer what is given to the fixture, in job 12."""

    def answer(left):
        (tmp_path / "squeue").write_text(f'#!/bin/sh\n[ "$2" = --jobs=12 ] && echo {left}\n')
        (tmp_path / "squeue").chmod(0o755)

    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    return answer


def test_a_long_job_keeps_the_reserve(squeue):
    squeue("1-00:00:00")
    assert hours_left() == pytest.approx(24 - RESERVE / 3600)


def test_a_short_job_trains_for_half_of_it(squeue):
    squeue("1:00")
    assert hours_left() == pytest.approx(30 / 3600)


def test_a_job_at_its_end_still_stops_by_itself(squeue):
    squeue("0:00")
    assert hours_left() > 0  # 0 would be no limit to fairseq


def test_a_job_without_a_limit(squeue):
    squeue("UNLIMITED")
    assert hours_left() is None


def test_without_slurm_there_is_no_limit(squeue, monkeypatch):
    squeue("1:00")
    monkeypatch.delenv("SLURM_JOB_ID")
    assert hours_left() is None


def test_a_job_without_squeue_has_no_limit(monkeypatch, tmp_path):
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert hours_left() is None


def test_a_controller_that_does_not_answer_at_once_is_asked_again(squeue, tmp_path, monkeypatch):
    """Its silence is no missing limit."""
    monkeypatch.setattr(slurm, "PAUSE", 0.01)
    asked = tmp_path / "asked"
    squeue(f"1:00; [ -e {asked} ] || {{ touch {asked}; exit 1; }}")
    assert hours_left() == pytest.approx(30 / 3600)


def test_a_controller_that_stays_away_is_given_up(squeue, monkeypatch):
    monkeypatch.setattr(slurm, "PAUSE", 0.01)
    monkeypatch.setattr(slurm, "PATIENCE", 0.05)
    squeue("1:00; exit 1")
    assert hours_left() is None


def test_a_job_that_slurm_no_longer_knows_is_not_asked_for_again(squeue):
    squeue("; echo slurm_load_jobs error: Invalid job id specified >&2; exit 1")
    assert slurm.ask("12", "%T") == ""
