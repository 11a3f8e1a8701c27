"""What every script shares as a Snakemake job: its log, and one-line errors."""

import io
import os
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import NoReturn, Protocol, TextIO

from lca.files import LcaError

from . import terminal


class InputError(LcaError):
    """Something the user can mend: the message names the file, key or line, in one line."""


class Script(Protocol):
    """What Snakemake tells a rule's script of its job."""

    rule: str
    log: Sequence[str]


_terminal: int | None = None
"""Where the terminal is while a job's log has taken its place."""


def tell(message: str) -> None:
    """Say something in the log and on the terminal."""
    print(message, flush=True)
    if _terminal is not None:
        terminal.say(message, _terminal)


@contextmanager
def job(snakemake: Script) -> Iterator[None]:
    """Write all output of the job, child processes included, to the rule's log file.

    An `LcaError` ends the job with its message alone, on the terminal and in the log; any other
    exception leaves its traceback in the log. Where a logger plugin draws bars, which it does
    instead of naming the jobs, the terminal is told of each that is done.
    """
    start = time.monotonic()
    sys.stdout.flush()
    sys.stderr.flush()
    global _terminal
    _terminal = os.dup(2)
    for stream in (sys.stdout, sys.stderr):  # whatever the locale
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    with open(snakemake.log[0], "w", buffering=1, encoding="utf-8") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        try:
            yield
            if terminal.is_relayed():
                name = os.path.splitext(log.name)[0].removeprefix("results/logs/")
                duration = timedelta(seconds=round(time.monotonic() - start))
                terminal.say(f"{name}: done in {duration}", _terminal)
        except LcaError as error:
            _end(_terminal, log, f"error: {error}")
        except Exception as error:
            summary = f"error: {snakemake.rule}: {type(error).__name__}: {error} (see {log.name})"
            _end(_terminal, log, summary, traceback.format_exc())


def _end(place: int, log: TextIO, message: str, details: str = "") -> NoReturn:
    """End the job with a message on the terminal, and details, or else the message, in the log.

    In this order, and by the process's own end: a full disk, often the very reason, takes no log.
    """
    with suppress(OSError):
        terminal.say(message, place)
    with suppress(OSError):
        os.write(log.fileno(), (details or f"{message}\n").encode())
    sys.exit(1)
