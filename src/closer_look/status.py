"""Print how far each run is, and how fast: `python -m closer_look.status [CONFIGFILE ...]`."""

from pathlib import Path

import pandas as pd

from . import config_file
from .config import settings_by_run
from .training.progress import markdown, progress
from .trees import Tree

RESULTS = Path("results")


def status(wanted: dict[str, Tree], results: Path = RESULTS) -> pd.DataFrame:
    """Return a row for each of the runs that are `wanted`, given with their settings."""
    rows = []
    for run, settings in wanted.items():
        so_far = progress(results / "state", run, results / "logs/train" / f"{run}.log")
        done = (results / "runs" / run / "log.parquet").exists()
        total = settings["total_updates"]
        update = total if done else min(so_far.update, total)
        rows.append(
            {
                "run": run,
                "update": update,
                "of": total,
                "loss": so_far.loss,
                "tokens/s": settings["tokens_per_update"] / so_far.seconds,
                "hours left": 0.0 if done else (total - update) * so_far.seconds / 3600,
                "": "done" if done else so_far.holder or ("stopped" if update else "not begun"),
            }
        )
    return pd.DataFrame(rows)


if __name__ == "__main__":
    table = status(settings_by_run(config_file.of_command_line(__doc__)))
    print(markdown(table, ("", "d", "d", ".3f", ".0f", ".1f", "")))
