"""Reading consolidated logs (see `lca.recorder`) by columns."""

import json
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from .. import ESTIMATORS, LAGS, PROBES
from ..files import LogError

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
    rows = blocks(log).query("heads > 1")
    rows = rows.loc[rows.index.repeat(rows["heads"])]
    rows.insert(4, "head", rows.groupby("name").cumcount() + 1)
    rows["elements"] //= rows["heads"]
    return rows.drop(columns="heads").reset_index(drop=True)


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
    recorded = {*_groups(log)} & {*LAGS, "trapezoid"}
    return [name for name in ESTIMATORS if name in recorded]


def statistics(log: Path, estimator: str) -> set[str]:
    """Return the statistics that the log has of an estimator; of the trapezoid only the sum."""
    return _groups(log)[estimator]


def block_rows(log: Path, estimator: str, statistic: str) -> Iterator[NDArray[np.floating]]:
    """Yield a statistic of one block after the other, in the order of `blocks`: `(updates,)`.

    `estimator` may be any group of the log's values (see `lca.recorder`), NaN where there is none.
    The trapezoid has no statistic but "sum"; what a stride did is spread evenly over its updates.
    """
    return _rows(log, estimator, [f"{statistic}/{name}" for name in blocks(log)["name"]])


def head_rows(log: Path, estimator: str) -> Iterator[NDArray[np.floating]]:
    """Yield the sum of one head after the other, in the order of `heads`: `(updates,)`."""
    names = heads(log)[["name", "head"]].itertuples(index=False)
    return _rows(log, estimator, [f"sum/{name}/{head}" for name, head in names])


def series(log: Path, estimator: str, statistic: str) -> pd.DataFrame:
    """Return what `block_rows` yields as a frame: a row per update, a column per block name."""
    rows = block_rows(log, estimator, statistic)
    return _frame(_updates(log), rows, pd.Index(blocks(log)["name"]))


def head_series(log: Path, estimator: str) -> pd.DataFrame:
    """Return what `head_rows` yields as a frame: columns are (block name, head)."""
    names = pd.MultiIndex.from_frame(heads(log)[["name", "head"]])
    return _frame(_updates(log), head_rows(log, estimator), names)


def strides(log: Path) -> pd.DataFrame:
    """Return the strides of the trapezoid by their last update: how many `updates` each has, and
    its `residual`, what the rule is off: the allocated less the measured change of the loss."""
    (changes,) = _by_group(log, ["changes"])
    whole = sum(by_group.astype(float) for by_group in block_groups(log))
    residual = (whole - changes.astype(float)) @ _shares(log)
    return pd.DataFrame({"updates": stride_lengths(log), "residual": residual})


def stride_lengths(log: Path) -> pd.Series:
    """Return how many updates each stride of the trapezoid has, by its last."""
    columns = ["update", "trapezoid/updates"]
    frame = _open(log).read(columns=columns).to_pandas().dropna().set_index("update")
    lengths: pd.Series = frame["trapezoid/updates"].astype(int)
    return lengths


def group_tokens(log: Path) -> NDArray[np.float64]:
    """Return how many tokens each group of the trapezoid's text predicts: `(groups,)`."""
    about = json.loads(_open(log).schema_arrow.metadata[b"about"])
    return np.array(about["trapezoid_tokens"], dtype=float)


def block_groups(log: Path) -> Iterator[NDArray[np.floating]]:
    """Yield what the strides did to the loss of each group of the trapezoid's text, `(strides,
    groups)`, of one block after the other."""
    return _by_group(log, [f"sum/{name}" for name in blocks(log)["name"]])


def head_groups(log: Path) -> Iterator[NDArray[np.floating]]:
    """Yield the same of one head after the other, in the order of `heads`: `(strides, groups)`."""
    names = heads(log)[["name", "head"]].itertuples(index=False)
    return _by_group(log, [f"sum/{name}/{head}" for name, head in names])


def group_series(log: Path) -> pd.DataFrame:
    """Return what `block_groups` yields as a frame: a row per stride, by its last update, and
    group."""
    return _frame(_of_groups(log), block_groups(log), pd.Index(blocks(log)["name"]))


def head_group_series(log: Path) -> pd.DataFrame:
    """Return what `head_groups` yields likewise: columns are (block name, head)."""
    names = pd.MultiIndex.from_frame(heads(log)[["name", "head"]])
    return _frame(_of_groups(log), head_groups(log), names)


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
    groups: dict[str, set[str]] = {}
    for column in _open(log).schema_arrow.names:
        if column.count("/") > 1:
            group, statistic, _ = column.split("/", 2)
            groups.setdefault(group, set()).add(statistic)
    return groups


def _updates(log: Path) -> NDArray[np.integer]:
    updates: NDArray[np.integer] = _open(log).read(columns=["update"])["update"].to_numpy()
    return updates


def _of_groups(log: Path) -> NDArray[np.integer]:
    """Return the last update of each stride, as often as there are groups."""
    return np.repeat(stride_lengths(log).index.to_numpy(), len(group_tokens(log)))


def _frame(
    updates: NDArray[np.integer], rows: Iterator[NDArray[np.floating]], columns: pd.Index
) -> pd.DataFrame:
    values = np.array([row.ravel() for row in rows]).reshape(len(columns), len(updates))
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
        lengths, number, shares = stride_lengths(log).to_numpy(), len(_updates(log)), _shares(log)
        for by_group in _by_group(log, columns):
            yield _spread(by_group @ shares, lengths, number)
        return
    for values in read(log, [f"{estimator}/{column}" for column in columns]):
        yield values.to_numpy()


def _by_group(log: Path, columns: list[str]) -> Iterator[NDArray[np.floating]]:
    """Yield columns of the trapezoid, an array (strides, groups) each."""
    groups = len(group_tokens(log))
    for values in read(log, [f"trapezoid/{column}" for column in columns]):
        yield pc.list_flatten(values).to_numpy().reshape(-1, groups)


def read(log: Path, names: list[str]) -> Iterator[pa.ChunkedArray]:
    """Yield columns of the log by their names."""
    file = _open(log)
    for start in range(0, len(names), READ_AT_ONCE):
        some = names[start : start + READ_AT_ONCE]
        table = file.read(columns=some)
        yield from (table[name] for name in some)


def _shares(log: Path) -> NDArray[np.float64]:
    """Return the share of each group in the tokens: its weight in a mean over them."""
    tokens = group_tokens(log)
    shares: NDArray[np.float64] = tokens / tokens.sum()
    return shares


def _spread(
    values: NDArray[np.floating], lengths: NDArray[np.integer], updates: int
) -> NDArray[np.float64]:
    """Return the mean of an update of the stride that each belongs to. Beyond the last stride that
    ends within the log, it is carried on."""
    means = values / lengths
    spread = np.repeat(means, lengths)
    beyond = np.full(updates - len(spread), means[-1])
    whole: NDArray[np.float64] = np.concatenate([spread, beyond])
    return whole
