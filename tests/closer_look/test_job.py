import subprocess
import sys

import pytest

from fake_bin import ROOT

SCRIPT = """
import sys
from types import SimpleNamespace
from closer_look.jobs.job import InputError, job

with job(SimpleNamespace(log=[sys.argv[1]], rule="train")):
    print("at work")
    raise {}
"""
MISTAKE = "InputError('corpus: empty')"
BUG = "OSError(28, 'No space left on device')"


def run(log, error):
    """Run a job that writes to `log` and ends with an error; return what the terminal shows."""
    process = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(error), log],
        env={"PYTHONPATH": str(ROOT / "scripts")},
        capture_output=True,
        text=True,
    )
    assert process.returncode != 0
    assert process.stdout == ""
    return process.stderr


def test_a_mistake_is_one_line_on_the_terminal_and_in_the_log(tmp_path):
    log = tmp_path / "log"
    assert run(log, MISTAKE) == "error: corpus: empty\n"
    assert sorted(log.read_text().splitlines()) == ["at work", "error: corpus: empty"]


def test_the_traceback_of_anything_else_is_in_the_log(tmp_path):
    log = tmp_path / "log"
    line = "OSError: [Errno 28] No space left on device"
    assert run(log, BUG) == f"error: train: {line} (see {log})\n"
    assert "Traceback" in log.read_text() and line in log.read_text()


@pytest.mark.parametrize(("error", "words"), [(MISTAKE, "corpus: empty"), (BUG, "No space left")])
def test_a_full_disk_takes_no_log_but_hides_no_reason(error, words):
    assert words in run("/dev/full", error).splitlines()[0]
