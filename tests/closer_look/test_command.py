import sys

import pytest

from closer_look.jobs.command import run
from closer_look.jobs.job import InputError


def test_lines_without_progress_displays(capsys):
    program = r"print('start'); print('1 %\r2 %', end='\r'); print('done')"
    assert run("python", "-c", program) == ["start", "done"]
    assert capsys.readouterr().out == "start\ndone\n"


def test_the_last_line_tells_why_a_tool_failed(monkeypatch):
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    program = "print('so far so good'); raise ValueError('too bad')"
    with pytest.raises(InputError, match="^python: ValueError: too bad$"):
        run("python", "-c", program)


CAUSE = """
def fail():
    raise FloatingPointError("gradients are NaN\\nin layer 3")
"""
CHAINS = {
    "while it was handled": """
try:
    fail()
except FloatingPointError:
    next(iter([]))
""",
    "by it": """
try:
    fail()
except FloatingPointError as error:
    raise RuntimeError("worker 0 failed") from error
""",
    "of which one was handled": """
import traceback
try:
    {}["unimportant"]
except KeyError:
    traceback.print_exc()
try:
    fail()
except FloatingPointError:
    raise StopIteration
""",
    "that is ignored at the end": """
class Loader:
    def __del__(self):
        raise AssertionError("can only test a child process")
loader = Loader()
fail()
""",
    "and the last words of another process": """
import atexit
atexit.register(print, "leaked semaphores")
fail()
""",
}


@pytest.mark.parametrize("chain", CHAINS)
def test_of_an_exception_and_another_the_cause_tells_why(chain):
    with pytest.raises(InputError, match="^python: FloatingPointError: gradients are NaN$"):
        run("python", "-c", CAUSE + CHAINS[chain])


def test_a_silent_failure_has_its_status():
    with pytest.raises(InputError, match="^python: exit 3$"):
        run("python", "-c", "raise SystemExit(3)")


def test_what_killed_a_tool_is_said_instead_of_its_last_line():
    program = "import os, signal; print('fine', flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    with pytest.raises(InputError, match=r"^python: killed by SIGKILL \(.*out of memory\)$"):
        run("python", "-c", program)


def test_a_script_runs_where_its_first_line_can_name_no_interpreter(monkeypatch, tmp_path):
    folder = tmp_path / "My Project/bin"
    folder.mkdir(parents=True)
    (folder / "python").symlink_to(sys.executable)
    tool = folder / "tool"
    tool.write_text(f"#!{folder}/python\nprint('works')\n")
    tool.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(folder / "python"))
    assert run("tool") == ["works"]


def test_a_tool_outside_the_environment_is_not_run(monkeypatch, tmp_path):
    tool = tmp_path / "stray"
    tool.write_text("#!/bin/sh\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(InputError, match="^stray: not installed beside "):
        run("stray")
