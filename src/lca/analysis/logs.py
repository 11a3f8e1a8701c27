"""Reading consolidated logs (see `lca.recorder`) by columns."""

import json
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from .. import ESTIMATORS, LAGS, PROBES
from ..files import LogError
from .uncertainty import FEWEST

READ_AT_ONCE = 16
"""Columns read at a time: with all at once, most of the time would go into finding the memory."""


def count_updates(log: Path) -> int:
    """Return the number of updates of a log. Raises `LogError` if it does not have 1, 2, 3, ..."""
    try:
        updates = _open(log).read(columns=["update"])["update"].to_numpy()
    except (OSError, KeyError, ValueError) as error:
        raise LogError(f"{log}: cannot be read as a log: {str(error).splitlines()[0]}") from None
    wrong = np.flatnonzero(updates != np.arange(1, len(updates) + 1))
    if len(wrong):
        raise LogError(f"{log}: has update {updates[wrong[0]]} in place of {wrong[0] + 1}")
    return len(updates)


def blocks(log: Path) -> pd.DataFrame:
    """Return the log's blocks: name, stack, layer, component, heads, elements."""
    metadata = _open(log).schema_arrow.metadata
    return pd.DataFrame(json.loads(metadata[b"blocks"]))


def heads(log: Path) -> pd.DataFrame:
    """Return the heads of the log's blocks: name, stack, layer, component, head, elements."""
    found = blocks(log).query("heads > 1")
    found = found.loc[found.index.repeat(found["heads"])]
    found.insert(4, "head", found.groupby("name").cumcount() + 1)
    found["elements"] //= found["heads"]
    return found.drop(columns="heads").reset_index(drop=True)


def lags(log: Path) -> list[str]:
    """Return those of `lca.LAGS` that the log records."""
    recorded = _groups(log)
    return [lag for lag in LAGS if lag in recorded]


def probes(log: Path) -> list[str]:
    """Return those of `lca.PROBES` that the log records."""
    recorded = _groups(log)
    return [name for name in PROBES if f"probe_{name}" in recorded]


def estimators(log: Path) -> list[str]:
    """Return the estimators of `lca.ESTIMATORS` that the log can give for every update."""
    needed = {"trapezoid": {"curvature", "next_batch"}}
    recorded = {*_groups(log)} & {*LAGS, "curvature"}
    return [name for name in ESTIMATORS if needed.get(name, {name}) <= recorded]


def statistics(log: Path, estimator: str) -> set[str]:
    """Return the statistics that the log has of an estimator; of the trapezoid only the sum."""
    return _groups(log).get(estimator, {"sum"})


def block_rows(log: Path, estimator: str, statistic: str) -> Iterator[NDArray[np.floating]]:
    """Yield a statistic of one block after the other over the updates, in the order of `blocks`.

    `estimator` may be any group of the log's values (see `lca.recorder`), NaN where there is none.
    The trapezoid has no statistic but "sum".
    """
    return _rows(log, estimator, [f"{statistic}/{name}" for name in blocks(log)["name"]])


def head_rows(log: Path, estimator: str) -> Iterator[NDArray[np.floating]]:
    """Yield the sum of one head after the other over the updates, in the order of `heads`."""
    names = heads(log)[["name", "head"]].itertuples(index=False)
    return _rows(log, estimator, [f"sum/{name}/{head}" for name, head in names])


def series(log: Path, estimator: str, statistic: str) -> pd.DataFrame:
    """Return what `block_rows` yields as a frame: a row per update, a column per block name."""
    return _frame(log, block_rows(log, estimator, statistic), pd.Index(blocks(log)["name"]))


def head_series(log: Path, estimator: str) -> pd.DataFrame:
    """Return what `head_rows` yields as a frame: columns are (block name, head)."""
    return _frame(
        log, head_rows(log, estimator), pd.MultiIndex.from_frame(heads(log)[["name", "head"]])
    )


def facts(log: Path) -> pd.DataFrame:
    """Return what is recorded besides LCA: loss, learning rate and so on (see `lca.recorder`).

    What is a list of its own at an update, batch by batch, is left out.
    """
    schema = _open(log).schema_arrow
    columns = [
        field.name
        for field in schema
        if field.name.count("/") < 2 and not pa.types.is_list(field.type)
    ]
    frame: pd.DataFrame = _open(log).read(columns=columns).to_pandas()
    return frame.set_index("update")


def batches(
    log: Path, source: str
) -> tuple[pd.DataFrame, pd.DataFrame, NDArray[np.float64]] | None:
    """Return the losses of the fixed batches of a source such as `dropout`, one by one.

    That are two frames, before and after the step, with a row for each update at which they were
    measured and a column for each batch, and how many tokens each batch predicts. None if the log
    does not have them.
    """
    names = [f"{source}/{when}_by_batch" for when in ("before", "after")]
    tokens = json.loads(_open(log).schema_arrow.metadata[b"about"]).get(f"{source}_tokens")
    if tokens is None or not {*names} <= {*_open(log).schema_arrow.names}:
        return None
    table = _open(log).read(columns=["update", *names]).to_pandas().set_index("update")
    measured = [table[name].dropna() for name in names]
    before, after = (pd.DataFrame(rows.tolist(), index=rows.index) for rows in measured)
    return before, after, np.array(tokens, dtype=float)


def _groups(log: Path) -> dict[str, set[str]]:
    """Return the groups of values that are recorded, with the statistics of each."""
    found: dict[str, set[str]] = {}
    for column in _open(log).schema_arrow.names:
        if column.count("/") > 1:
            group, statistic, _ = column.split("/", 2)
            found.setdefault(group, set()).add(statistic)
    return found


def _frame(log: Path, rows: Iterator[NDArray[np.floating]], columns: pd.Index) -> pd.DataFrame:
    updates = _open(log).read(columns=["update"])["update"].to_numpy()
    values = np.array(list(rows)).reshape(len(columns), len(updates))
    return pd.DataFrame(values.T, pd.Index(updates, name="update"), columns)


def _open(log: Path) -> pq.ParquetFile:
    """Open a log for reading some of its columns; `pq.read_table` takes several times as long."""
    state = Path(log).stat()
    return _opened(log, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=2)
def _opened(log: Path, modified: int, size: int) -> pq.ParquetFile:
    """Open a log once: with thousands of columns, that takes as long as reading some of them."""
    return pq.ParquetFile(log, pre_buffer=False)


def _rows(log: Path, estimator: str, columns: list[str]) -> Iterator[NDArray[np.floating]]:
    """Yield columns of an estimator or group, such as `sum/decoder.1.w1`, one after the other."""
    if estimator == "trapezoid":
        yield from _trapezoid(log, columns)
        return
    file = _open(log)
    names = [f"{estimator}/{column}" for column in columns]
    for start in range(0, len(names), READ_AT_ONCE):
        some = names[start : start + READ_AT_ONCE]
        table = file.read(columns=some)
        yield from (table[name].to_numpy() for name in some)


def _trapezoid(log: Path, columns: list[str]) -> Iterator[NDArray[np.floating]]:
    """Yield the ends of the steps less half the curvature, as is told for all updates.

    What is known of every update, how much larger next_batch is than own_batch, tells much of the
    curvature, above all where a step overshoots. The rest is carried from the updates measured:
    a generalised regression estimator (Cassel, Saerndal & Wretman 1976).
    """
    carried, slope = _carried(log), curvature_slope(log)
    groups = (_rows(log, group, columns) for group in ("next_batch", "own_batch", "curvature"))
    for end, own, curvature in zip(*groups, strict=True):
        told = slope * (end - own)
        yield end - (told + (curvature - told)[carried]) / 2


def curvature_slope(log: Path) -> float:
    """Return by how much the curvature rises with next_batch - own_batch, all blocks together.

    By least squares over the updates at which it was measured, weighted by those they stand for; 0
    where they are too few to tell.
    """
    state = Path(log).stat()
    return _slope(log, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=2)
def _slope(log: Path, modified: int, size: int) -> float:
    weights = _open(log).read(columns=["curvature/updates"])["curvature/updates"].to_numpy()
    measured = np.flatnonzero(weights > 0)
    if len(measured) < FEWEST:
        return 0.0
    names = [f"sum/{name}" for name in blocks(log)["name"]]
    own, end, curvature = (
        np.sum([row[measured] for row in _rows(log, group, names)], axis=0, dtype=float)
        for group in ("own_batch", "next_batch", "curvature")
    )
    covariance = np.cov(end - own, curvature, aweights=weights[measured])
    return float(covariance[0, 1] / covariance[0, 0]) if covariance[0, 0] else 0.0


def _carried(log: Path) -> NDArray[np.intp]:
    """Return for each row the row of the update whose curvature stands for it.

    Strata follow each other from the first update (see `lca.curvature`); beyond the last that is
    measured in the log, its curvature is carried on.
    """
    strata = _open(log).read(columns=["curvature/updates"])["curvature/updates"].to_numpy()
    measured = np.flatnonzero(strata > 0)
    carried = np.repeat(measured, strata[measured].astype(int))[: len(strata)]
    return np.concatenate([carried, np.full(len(strata) - len(carried), measured[-1])])
