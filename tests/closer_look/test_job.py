import re
import subprocess
import sys
from queue import Queue

import pytest

from closer_look.jobs import terminal
from fake_bin import ROOT

SCRIPT = """
import sys
from types import SimpleNamespace
from closer_look.jobs.job import InputError, job
from lca.files import LogError

with job(SimpleNamespace(log=[sys.argv[1]], rule="train")):
    print("at work")
    raise {}
"""
IMPORTS = """
import runpy, sys
for script in sys.argv[1:]:
    runpy.run_path(script)
    assert "fairseq" not in sys.modules, script
"""
MISTAKE = "InputError('corpus: empty')"
BROKEN = "LogError('log: damaged')"
BUG = "OSError(28, 'No space left on device')"


def run(log, error, **environment):
    """Run a job that writes to `log` and ends with an error; return what the terminal shows."""
    process = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(error), log],
        env={"PYTHONPATH": str(ROOT / "src")} | environment,
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


def test_so_is_a_broken_log(tmp_path):
    log = tmp_path / "log"
    assert run(log, BROKEN) == "error: log: damaged\n"
    assert sorted(log.read_text().splitlines()) == ["at work", "error: log: damaged"]


def test_the_traceback_of_anything_else_is_in_the_log(tmp_path):
    log = tmp_path / "log"
    line = "OSError: [Errno 28] No space left on device"
    assert run(log, BUG) == f"error: train: {line} (see {log})\n"
    assert "Traceback" in log.read_text() and line in log.read_text()


@pytest.mark.parametrize(("error", "words"), [(MISTAKE, "corpus: empty"), (BUG, "No space left")])
def test_a_full_disk_takes_no_log_but_hides_no_reason(error, words):
    assert words in run("/dev/full", error).splitlines()[0]


def test_where_snakemake_draws_on_the_terminal_it_says_what_jobs_would(monkeypatch, tmp_path):
    monkeypatch.setattr(terminal.os, "environ", {})
    said = Queue()
    terminal.relay(said.put)
    assert run(tmp_path / "log", MISTAKE, **terminal.os.environ) == ""
    assert said.get(timeout=10) == "error: corpus: empty"


def test_where_snakemake_draws_on_the_terminal_it_says_which_jobs_are_done(monkeypatch, tmp_path):
    monkeypatch.setattr(terminal.os, "environ", {})
    said = Queue()
    terminal.relay(said.put)
    done = SCRIPT.replace("raise {}", "")
    log = tmp_path / "log"
    environment = {"PYTHONPATH": str(ROOT / "src"), **terminal.os.environ}
    subprocess.run([sys.executable, "-c", done, log], env=environment, check=True)
    assert re.fullmatch(rf"{log}: done in 0:00:\d\d", said.get(timeout=20))


def test_what_nobody_listens_to_is_said_on_the_terminal(tmp_path):
    gone = {terminal.ADDRESS: str(tmp_path / "gone")}
    assert run(tmp_path / "log", MISTAKE, **gone) == "error: corpus: empty\n"


def test_without_a_socket_nothing_is_lost(monkeypatch, tmp_path):
    deep = tmp_path / ("long" * 30)
    deep.mkdir()
    monkeypatch.setattr(terminal.tempfile, "tempdir", str(deep))
    monkeypatch.setattr(terminal.os, "environ", {})
    terminal.relay(print)
    assert run(tmp_path / "log", MISTAKE, **terminal.os.environ) == "error: corpus: empty\n"


def test_no_script_imports_fairseq_which_logs_then_before_its_own_log_is_open():
    scripts = [str(path) for path in sorted(ROOT.glob("scripts/*/*.py"))]
    environment = {"PYTHONPATH": str(ROOT / "src")}
    subprocess.run([sys.executable, "-c", IMPORTS, *scripts], env=environment, check=True)
