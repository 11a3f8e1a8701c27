"""Command-line tools of the Python environment that runs the script."""

import io
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from closer_look.jobs.job import InputError

PYTHON = {
    "PYTHONUNBUFFERED": "1",  # both streams in the order of printing
    "PYTHONUTF8": "1",  # files and streams, whatever the locale
    "PYTHONIOENCODING": "utf-8",  # otherwise the user's would count
}


def run(
    tool: str, *arguments: str | Path, threads: int = 1, inherit: Sequence[int] = ()
) -> list[str]:
    """Run a tool and return the lines it printed, which go to the log at once.

    PyTorch may use `threads`: more than the cores that the job was given would be far slower than
    one. The tool inherits the file descriptors of `inherit`.

    Progress displays, lines that end in a carriage return, are left out. A tool that is not
    installed or that fails is an `InputError`, with the last line it printed or what killed it.
    """
    executable = shutil.which(tool, path=Path(sys.executable).parent)
    if executable is None:
        raise InputError(f"{tool}: not installed beside {sys.executable}")
    with subprocess.Popen(
        [executable, *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, **PYTHON, "OMP_NUM_THREADS": str(threads)},
        pass_fds=inherit,
    ) as process:
        lines = []
        for line in io.TextIOWrapper(process.stdout, "utf-8", errors="replace", newline=""):
            if line.strip() and not line.endswith("\r"):
                print(line, end="", flush=True)
                lines.append(line.strip())
    if process.returncode < 0:
        name = signal.Signals(-process.returncode).name
        hint = " (the machine or the job may be out of memory)" if name == "SIGKILL" else ""
        raise InputError(f"{tool}: killed by {name}{hint}")
    if process.returncode != 0:
        raise InputError(f"{tool}: {lines[-1] if lines else f'exit {process.returncode}'}")
    return lines
