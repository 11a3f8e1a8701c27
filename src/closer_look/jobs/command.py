"""Command-line tools of the Python environment that runs the script."""

import io
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from .job import InputError

TRACEBACK = "Traceback (most recent call last):"
CHAINED = (
    "During handling of the above exception, another exception occurred:",
    "The above exception was the direct cause of the following exception:",
)
IGNORED = "Exception ignored in"  # while Python shuts down
PYTHON = {
    "PYTHONUNBUFFERED": "1",  # both streams in the order of printing
    "PYTHONUTF8": "1",  # files and streams, whatever the locale
    "PYTHONIOENCODING": "utf-8",  # otherwise the user's would count
}


def run(
    tool: str,
    *arguments: str | Path,
    threads: int = 1,
    inherit: Sequence[int] = (),
    listener: Callable[[str], None] | None = None,
) -> list[str]:
    """Run a tool and return the lines it printed, which go to the log at once.

    PyTorch may use `threads`: more than the cores that the job was given would be far slower than
    one. The tool inherits the file descriptors of `inherit`; `listener` is given each line.

    Progress displays, lines that end in a carriage return, are left out. Raises `InputError` if the
    tool is not installed or fails, and says why (see `_reason`) or what killed it.
    """
    executable = shutil.which(tool, path=Path(sys.executable).parent)
    if executable is None:
        raise InputError(f"{tool}: not installed beside {sys.executable}")
    with subprocess.Popen(
        [*_interpreter(executable), executable, *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, **PYTHON, "OMP_NUM_THREADS": str(threads)},
        pass_fds=inherit,
    ) as process:
        assert process.stdout is not None  # it is a pipe
        lines = []
        for line in io.TextIOWrapper(process.stdout, "utf-8", errors="replace", newline=""):
            if line.strip() and not line.endswith("\r"):
                print(line, end="", flush=True)
                lines.append(line.rstrip())
                if listener:
                    listener(line)
    if process.returncode < 0:
        name = signal.Signals(-process.returncode).name
        hint = " (the machine or the job may be out of memory)" if name == "SIGKILL" else ""
        raise InputError(f"{tool}: killed by {name}{hint}")
    if process.returncode != 0:
        raise InputError(f"{tool}: {_reason(lines) or f'exit {process.returncode}'}")
    return [line.strip() for line in lines]


def _reason(lines: list[str]) -> str:
    """Return what a tool's output says of its failure: the exception, else the last line.

    Of exceptions that followed from each other it is the first, of several lines the first.
    """
    reason, previous, ahead = "", "", False
    for line in lines:
        if line.strip() == TRACEBACK:
            ahead = previous not in CHAINED and not previous.startswith(IGNORED)
        elif ahead and not line.startswith(" "):
            reason, ahead = line, False
        previous = line.strip()
    return reason or previous


def _interpreter(executable: str) -> list[str]:
    """Return what runs a script of Python: its first line can name no path with a blank in it."""
    with open(executable, "rb") as file:
        first = file.readline(200)
    return [sys.executable] if first.startswith(b"#!") and b"python" in first else []
