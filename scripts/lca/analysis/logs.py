"""Reading consolidated logs (see `lca.recorder`) by columns."""

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq

from .. import ESTIMATORS, LAGS


def blocks(log: Path) -> pd.DataFrame:
    """Return the log's blocks: name, stack, layer, component, heads, elements."""
    metadata = pq.read_schema(log).metadata
    return pd.DataFrame(json.loads(metadata[b"blocks"]))


def lags(log: Path) -> list[str]:
    """Return those of `lca.LAGS` that the log records."""
    recorded = {name.split("/")[0] for name in pq.read_schema(log).names}
    return [lag for lag in LAGS if lag in recorded]


def estimators(log: Path) -> list[str]:
    """Return the estimators of `lca.ESTIMATORS` that the log can give."""
    needed = {"midpoint": {"next_batch", "second_batch"}}
    recorded = set(lags(log))
    return [name for name in ESTIMATORS if needed.get(name, {name}) <= recorded]


def _midpoint(log: Path, read: Callable[[str], pd.DataFrame]) -> pd.DataFrame:
    """Extrapolate the sums at lags 1 and 2, as read by `read`, to half a step after theta_t."""
    beta1 = json.loads(pq.read_schema(log).metadata[b"about"])["beta1"]
    following, second = read("next_batch"), read("second_batch")
    return following + (following - second) / (2 * beta1)


def series(log: Path, estimator: str, statistic: str) -> pd.DataFrame:
    """Return a statistic of every block over the updates: a row per update, a column per block.

    `estimator` may be a lag (see `lca.LAGS`). The midpoint estimator has no statistic but "sum".
    """
    if estimator == "midpoint":
        return _midpoint(log, lambda lag: series(log, lag, statistic))
    names = blocks(log)["name"]
    columns = [f"{estimator}/{statistic}/{name}" for name in names]
    table = pq.read_table(log, columns=["update", *columns])
    return table.rename_columns(["update", *names]).to_pandas().set_index("update")


def head_series(log: Path, estimator: str) -> pd.DataFrame:
    """Return the sum of every head over the updates; columns are (block name, head from 1)."""
    if estimator == "midpoint":
        return _midpoint(log, lambda lag: head_series(log, lag))
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
    """Return what is recorded of every update besides LCA: loss, learning rate and so on."""
    columns = [name for name in pq.read_schema(log).names if "/" not in name]
    return pq.read_table(log, columns=columns).to_pandas().set_index("update")
