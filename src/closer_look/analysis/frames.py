"""The tables of runs: each says which run it is of, and several make one frame."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from ..config import Run
from ..jobs.job import InputError


def with_run(frame: pd.DataFrame, run: Run) -> pd.DataFrame:
    """Return the frame with the facets of the run as its first columns."""
    facets = run._asdict()
    return frame.assign(**facets)[[*facets, *frame]]


def write(frame: pd.DataFrame, path: str | Path) -> None:
    """Write a table small: floats are split into their bytes, of which only some are noise."""
    floats = list(frame.select_dtypes(np.floating))
    others = [name for name in frame if name not in floats]
    frame.to_parquet(
        path,
        index=False,
        compression="zstd",
        use_dictionary=others,
        use_byte_stream_split=floats,
        write_page_checksum=True,
    )


def load(path: str | Path, **selection: Any) -> pd.DataFrame:
    """Return the rows of a table, or a `selection` of them as pandas has it.

    Raises `InputError` if it is damaged: pages are held to their checksums, if only a bit differs.
    """
    try:
        return pd.read_parquet(path, page_checksum_verification=True, **selection)
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"{path}: damaged: {reason}; remove it, and Snakemake makes it anew"
        ) from error


def read(
    paths: Sequence[str | Path], estimator: str | None = None, columns: list[str] | None = None
) -> pd.DataFrame:
    """Return the rows of all tables, of one estimator if it is given, and `columns` only.

    Raises `InputError` if a table is damaged or without the estimator, and if there is no table.
    """
    if not paths:
        raise InputError("main_runs: no run to draw; name one in the configuration")
    filters = [("estimator", "==", estimator)] if estimator else None
    frames = []
    for path in paths:
        frames.append(load(path, columns=columns, filters=filters))
        if estimator and frames[-1].empty:
            recorded = load(path, columns=["estimator"])["estimator"].unique()
            raise InputError(
                f"{path}: has no {estimator}, only {', '.join(recorded)}; set "
                f"`training.{estimator}.every` above 0 in the configuration, and `snakemake` "
                "trains and draws it"
            )
    return pd.concat(frames, ignore_index=True)
