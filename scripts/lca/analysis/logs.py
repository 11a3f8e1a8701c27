"""Reading consolidated logs (see `lca.recorder`) by columns."""

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq

from .. import ESTIMATORS, LAGS, PROBES


def blocks(log: Path) -> pd.DataFrame:
    """Return the log's blocks: name, stack, layer, component, heads, elements."""
    metadata = pq.read_schema(log).metadata
    return pd.DataFrame(json.loads(metadata[b"blocks"]))


def lags(log: Path) -> list[str]:
    """Return those of `lca.LAGS` that the log records."""
    recorded = _groups(log)
    return [lag for lag in LAGS if lag in recorded]


def probes(log: Path) -> list[str]:
    """Return those of `lca.PROBES` that the log records."""
    recorded = _groups(log)
    return [name for name in PROBES if f"probe_{name}" in recorded]


def _groups(log: Path) -> set[str]:
    return {name.split("/")[0] for name in pq.read_schema(log).names if name.count("/") > 1}


def estimators(log: Path) -> list[str]:
    """Return the estimators of `lca.ESTIMATORS` that the log can give for every update."""
    needed = {"trapezoid": {"cross_batch", "next_batch"}}
    recorded = set(lags(log))
    return [name for name in ESTIMATORS if needed.get(name, {name}) <= recorded]


def _trapezoid(read: Callable[[str], pd.DataFrame]) -> pd.DataFrame:
    """Return the mean of a step's two ends; its end alone where the batch could not be cut."""
    end = read("next_batch")
    return (read("cross_batch").fillna(end) + end) / 2


def series(log: Path, estimator: str, statistic: str) -> pd.DataFrame:
    """Return a statistic of every block over the updates: a row per update, a column per block.

    `estimator` may be any group of the log's values (see `recorder`), NaN where there is none. The
    trapezoid has no statistic but "sum".
    """
    if estimator == "trapezoid":
        return _trapezoid(lambda lag: series(log, lag, statistic))
    names = blocks(log)["name"]
    columns = [f"{estimator}/{statistic}/{name}" for name in names]
    table = pq.read_table(log, columns=["update", *columns])
    return table.rename_columns(["update", *names]).to_pandas().set_index("update")


def head_series(log: Path, estimator: str) -> pd.DataFrame:
    """Return the sum of every head over the updates; columns are (block name, head from 1)."""
    if estimator == "trapezoid":
        return _trapezoid(lambda lag: head_series(log, lag))
    table = blocks(log)
    heads = [
        (row.name, head)
        for row in table[table["heads"] > 1].itertuples(index=False)
        for head in range(1, row.heads + 1)
    ]
    columns = [f"{estimator}/sum/{name}/{head}" for name, head in heads]
    frame = pq.read_table(log, columns=["update", *columns]).to_pandas().set_index("update")
    return frame.set_axis(pd.MultiIndex.from_tuples(heads, names=["name", "head"]), axis="columns")


def facts(log: Path) -> pd.DataFrame:
    """Return what is recorded besides LCA: loss, learning rate and so on (see `recorder`)."""
    columns = [name for name in pq.read_schema(log).names if name.count("/") < 2]
    return pq.read_table(log, columns=columns).to_pandas().set_index("update")
