"""The folders that Snakemake works in, checked before it does."""

import os
from collections.abc import Iterable
from pathlib import Path

from .jobs.job import InputError

RESULTS = Path("results")


def check(folders: Iterable[Path], results: Path = RESULTS) -> None:
    """Raise `InputError` if a folder has braces in its path, or if results cannot be written.

    Snakemake writes the paths of its own folders into shell commands, and formats what comes out.
    """
    for folder in folders:
        if set("{}") & set(str(folder)):
            raise InputError(
                f"{folder}: Snakemake cannot work where a folder has {{ or }} in its name"
            )
    if results.is_symlink() and not results.exists():
        raise InputError(
            f"{results}: a link to {results.readlink()}, which is not there: make that folder"
        )
    if results.exists() and not (results.is_dir() and os.access(results, os.W_OK)):
        raise InputError(f"{results}: not a folder that can be written to")
