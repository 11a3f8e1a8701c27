"""Reading consolidated logs (see `lca.recorder`) by columns."""

import json
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq


def blocks(log: Path) -> pd.DataFrame:
    """Return the log's blocks: name, stack, layer, component, heads, elements."""
    metadata = pq.read_schema(log).metadata
    return pd.DataFrame(json.loads(metadata[b"blocks"]))


def series(log: Path, estimator: str, statistic: str) -> pd.DataFrame:
    """Return a statistic of every block over the updates: a row per update, a column per block."""
    names = blocks(log)["name"]
    columns = [f"{estimator}/{statistic}/{name}" for name in names]
    table = pq.read_table(log, columns=["update", *columns])
    return table.rename_columns(["update", *names]).to_pandas().set_index("update")


def head_series(log: Path, estimator: str) -> pd.DataFrame:
    """Return the sum of every head over the updates; columns are (block name, head from 1)."""
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
