"""Prove that a log is whole: `python -m lca.verify LOG...`.

Checks that each update from 1 on has exactly one row, that every number is finite, that the heads
of a block add up to the block, that no statistic contradicts another, and that the strides of the
trapezoid follow each other.
"""

import argparse
import sys
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd
import pyarrow.compute as pc
import pyarrow.parquet as pq

from . import LAGS
from .analysis import logs
from .files import LogError
from .recorder import fingerprint, statistics

TOLERANCE = 1e-3
"""Largest difference between a block and its heads, relative to the sizes of the heads."""


def verify(log: Path) -> int:
    """Return the number of updates in a whole log. Raises `LogError` at the first flaw."""
    updates = logs.count_updates(log)
    try:
        _check_pages(log)
        _check_values(log)
    except (OSError, KeyError, ValueError) as error:
        raise LogError(f"{log}: damaged: {str(error).splitlines()[0]}") from None
    return updates


def _check_values(log: Path) -> None:
    """Check that what is in the log fits together."""
    _check_facts(log)
    blocks = logs.blocks(log).set_index("name")
    for group in (*logs.lags(log), *(f"probe_{name}" for name in logs.probes(log))):
        frames = {name: logs.series(log, group, name) for name in statistics(group)}
        _check_columns(log, group, blocks, frames, logs.head_series(log, group))
    if "trapezoid" in logs.estimators(log):
        _check_strides(log)
        frames = {"sum": logs.group_series(log)}
        _check_columns(log, "trapezoid", blocks, frames, logs.head_group_series(log))


def _check_pages(log: Path) -> None:
    """Check all that was written against its checksums; older logs have none."""
    file = pq.ParquetFile(log, page_checksum_verification=True)
    for group in range(file.num_row_groups):
        file.read_row_group(group)
    expected = file.schema_arrow.metadata.get(b"fingerprint")
    if expected is not None and fingerprint(file.schema_arrow).encode() != expected:
        raise LogError(f"{log}: damaged: its columns, blocks or facts are not what was written")


def _check_facts(log: Path) -> None:
    """Check that what is known besides LCA is finite."""
    facts = pq.read_table(log, columns=list(logs.facts(log)))
    for name, column in zip(facts.column_names, facts.columns, strict=True):
        is_finite = pc.is_finite(column).fill_null(True).to_numpy()
        if not is_finite.all():
            raise LogError(f"{log}: update {is_finite.argmin() + 1}: {name} is not finite")


def _check_columns(
    log: Path,
    group: str,
    blocks: pd.DataFrame,
    frames: dict[str, pd.DataFrame],
    of_heads: pd.DataFrame,
) -> None:
    """Check the columns of one group of values (see `recorder`) against each other: frames of each
    statistic's updates and blocks, and of the sums of heads."""
    heads = of_heads.T.groupby(level="name").sum(min_count=1).T
    sizes = of_heads.abs().T.groupby(level="name").sum(skipna=False).T
    if group not in LAGS:  # which have a value at every update
        absent = frames["sum"].isna().all(axis="columns")
        frames = {name: frame[~absent] for name, frame in frames.items()}
        heads, sizes = heads[~absent], sizes[~absent]
    for name, frame in frames.items():
        _refuse(log, group, name, _not_finite(frame), "is not finite")
    _refuse(log, group, "sum", _not_finite(sizes), "has a head that is not finite")
    sums = frames["sum"]
    differ = (heads - sums[heads.columns]).abs() > TOLERANCE * sizes
    _refuse(log, group, "sum", differ, "is not the sum of the heads")
    if len(frames) == 1:
        return
    positive, helping, hurting = (frames[name] for name in ("positive", "helping", "hurting"))
    slack = TOLERANCE * (sums.abs().max() + positive.max())
    _refuse(log, group, "positive", positive < -slack, "is negative")
    _refuse(log, group, "positive", positive < sums - slack, "is less than the sum")
    _refuse(log, group, "hurting", helping + hurting > blocks["elements"], "is too many elements")


def _check_strides(log: Path) -> None:
    """Check that strides (see `trapezoid`) follow each other, each with a value of every group."""
    lengths = logs.stride_lengths(log)
    wrong = lengths.index != lengths.cumsum()
    if wrong.any():
        raise LogError(
            f"{log}: update {lengths.index[wrong][0]}: trapezoid/updates is out of place"
        )
    names = [name for name in pq.read_schema(log).names if name.startswith("trapezoid/sum/")]
    groups = np.zeros(logs.count_updates(log), int)
    groups[lengths.index - 1] = len(logs.group_tokens(log))
    for name, values in zip(names, logs.read(log, names), strict=True):
        differ = pc.list_value_length(values).fill_null(0).to_numpy() != groups
        if differ.any():
            raise LogError(f"{log}: update {differ.argmax() + 1}: {name} does not fit the strides")


def _not_finite(frame: pd.DataFrame) -> pd.DataFrame:
    return cast(pd.DataFrame, ~np.isfinite(frame))  # a frame, whatever NumPy's types say


def _refuse(log: Path, group: str, statistic: str, wrong: pd.DataFrame, problem: str) -> None:
    """Raise `LogError` for the first true value of the frame `wrong` (updates, blocks)."""
    if wrong.to_numpy().any():
        update, name = cast(tuple[int, str], wrong.stack().idxmax())
        raise LogError(f"{log}: update {update}: {group}/{statistic}/{name} {problem}")


def main(arguments: list[str] | None = None) -> int:
    """Verify the logs given on the command line; return 1 if one has a flaw."""
    parser = argparse.ArgumentParser(prog="python -m lca.verify", description=__doc__)
    parser.add_argument("logs", nargs="+", type=Path, help="consolidated logs, log.parquet")
    flaws = 0
    for log in parser.parse_args(arguments).logs:
        try:
            print(f"{log}: whole, updates 1 to {verify(log)}")
        except LogError as error:
            print(f"error: {error}", file=sys.stderr)
            flaws += 1
    return 1 if flaws else 0


if __name__ == "__main__":
    sys.exit(main())
