"""How far trainings are, by their own logs: the same on a cluster as on a laptop."""

import fcntl
import re
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq


class Progress(NamedTuple):
    """Where a training stands."""

    update: int
    """The last that is known of, 0 before the first."""
    loss: float
    """Nats per predicted token, mean of the log's last part; NaN before the first checkpoint."""
    seconds: float
    """Wall time of an update, median of that part; NaN likewise."""
    holder: str
    """The host and job or process that trains it now; empty if none does."""


def progress(state: Path, run: str, log: Path) -> Progress:
    """Return the progress of `run`, whose folder is in `state`; `log` is what its trainer said."""
    folders = sorted(state.glob(f"{run.replace('/', '-')}-*"), key=lambda p: p.stat().st_mtime)
    update = max(map(int, re.findall(r"num_updates[=: ]+(\d+)", _read(log))), default=0)
    if not folders:
        return Progress(update, float("nan"), float("nan"), "")
    parts = sorted((folders[-1] / "log").glob("part-*.parquet"))
    rows = pd.DataFrame(columns=["update", "loss", "seconds"], dtype=float)
    with suppress(IndexError, OSError, pa.ArrowException):  # none, or damaged
        rows = pq.read_table(parts[-1], columns=list(rows)).to_pandas()
    return Progress(
        max(update, *rows["update"].astype(int), 0),
        rows["loss"].mean(),
        rows["seconds"].diff().median(),
        _holder(folders[-1] / "lock"),
    )


def markdown(table: pd.DataFrame, formats: str | tuple[str, ...]) -> str:
    """Return a table for the terminal; what is missing is blank."""
    table = table.astype(object).where(table.notna(), None)
    return table.to_markdown(index=False, tablefmt="simple", floatfmt=formats, missingval="")


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""


def _holder(lock: Path) -> str:
    """Return who holds the lock of a state folder (see `lock.locked`), if that can be seen."""
    with suppress(FileNotFoundError, PermissionError), lock.open(encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return file.read()
    return ""
