"""How far the allocations are from the loss change that they are to explain, along the run.

The loss is measured on the fixed batches of the probe: `dropout` is on training text with dropout
on, averaged over masks, the loss that the gradients of training are of; `train` is the same without
dropout, and `held_out` is on text that is not trained on.

Both have a standard error (see `uncertainty`): the sum of the allocations from its scatter over the
updates, of the trapezoid from how the groups of its text differ; the change of the loss from how
much the fixed batches differ in it. Logs that do not hold the losses batch by batch have none of
the latter.
"""

from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from . import logs
from .uncertainty import cumulative_errors, mean_error, ratio_error
from .windows import Windows

REFERENCES = {"dropout": "dropout", "train": "probe_train", "held_out": "probe_held_out"}
"""What the loss is measured on, and the facts of the log that hold it. The best is first: with
dropout, as in training."""

COLUMNS = ["loss", "change", "change_se", "lca", "lca_se"]


def completeness(log: Path) -> pd.DataFrame:
    """Return, for every reference and estimator, the loss and the LCA summed up to each probe.

    Columns: reference, estimator, update (0: before training), loss (nats per predicted token
    after it), change (of the loss since update 0), change_se (its standard error), lca (summed over
    all blocks and updates so far), lca_se (its standard error). Of the trapezoid there are no rows
    after the end of its last stride. For the estimator `probe`, which knows of single updates only,
    change and lca are sums over the probed updates, both of the same batches: lca_se is missing.
    Empty if the run was not probed.
    """
    facts = logs.facts(log)
    summed = sums(log)
    frames = []
    for reference, source in REFERENCES.items():
        before, after = facts[f"{source}/before"].dropna(), facts[f"{source}/after"].dropna()
        if after.empty:
            continue
        loss = pd.concat([pd.Series({0: before.loc[1]}), after])
        errors, errors_of_probes = _change_errors(log, source)
        measured = {"loss": loss, "change": loss - loss[0], "change_se": errors}
        for estimator, lca in summed.items():
            known = lca[lca.index.isin(after.index)]
            until = {name: values.loc[: known.index.max()] for name, values in measured.items()}
            frames.append(_frame(until | dict(known), reference, estimator))
        if source in {f"probe_{name}" for name in logs.probes(log)}:
            allocated = logs.series(log, source, "sum").loc[after.index].sum(axis="columns")
            change = (after - before).cumsum()
            measured = {"loss": loss, "change": change, "change_se": errors_of_probes}
            frames.append(_frame(measured | {"lca": allocated.cumsum()}, reference, "probe"))
    return pd.concat(frames, ignore_index=True) if frames else _frame({}, "", "").iloc[:0]


def sums(log: Path) -> dict[str, pd.DataFrame]:
    """Return for every estimator the LCA of all blocks summed up to each update, in double
    precision, and its standard error: frames with the columns lca and lca_se.

    That of the trapezoid ends with its last stride: what the updates beyond did is not known.
    """
    wholes = {name: _whole(log, name) for name in logs.estimators(log)}
    variances = {name: _variance(whole) for name, whole in wholes.items() if name != "trapezoid"}
    if "trapezoid" in wholes:
        wholes["trapezoid"] = wholes["trapezoid"][: logs.stride_lengths(log).index[-1]]
        variances["trapezoid"] = _variance_of_trapezoid(log, len(wholes["trapezoid"]))
    return {
        name: pd.DataFrame(
            {"lca": whole.cumsum(), "lca_se": np.sqrt(variances[name])},
            np.arange(1, len(whole) + 1),
        )
        for name, whole in wholes.items()
    }


def _whole(log: Path, group: str) -> NDArray[np.float64]:
    """Return the sum of all blocks at each update."""
    rows = (row.astype(np.float64) for row in logs.block_rows(log, group, "sum"))
    return cast(NDArray[np.float64], sum(rows))  # not 0, which would be the sum of no block


def _variance(series: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the variance of the sum of a series up to each update, from its scatter."""
    windows, updates = Windows(len(series)), np.arange(1, len(series) + 1)
    variance = cumulative_errors(windows.mean(series), windows.last) ** 2
    by_update: NDArray[np.float64] = np.interp(updates, [0, *windows.last], [0.0, *variance])
    return by_update


def _variance_of_trapezoid(log: Path, updates: int) -> NDArray[np.float64]:
    """Return the variance of the trapezoid's sum up to each update, from the groups of its text."""
    by_group = np.cumsum(sum(block.astype(float) for block in logs.block_groups(log)), axis=0)
    tokens, ends = logs.group_tokens(log), logs.stride_lengths(log).index
    variance = [mean_error(row, tokens) ** 2 for row in by_group]
    by_update: NDArray[np.float64] = np.interp(
        np.arange(1, updates + 1), [0, *ends], [0, *variance]
    )
    return by_update


def _change_errors(log: Path, source: str) -> tuple[pd.Series, pd.Series]:
    """Return the standard errors of the change since the beginning, and of the sum of the changes
    at the measured updates, by update; empty if the log does not have the losses by batch."""
    batches = logs.batches(log, source)
    if batches is None:
        return pd.Series(dtype=float), pd.Series(dtype=float)
    before, after, tokens = batches
    since = after - before.loc[1]
    sums = (after - before).cumsum()  # missing where only the first update has a loss before it
    return _errors(since, tokens), _errors(sums, tokens)


def _errors(changes: pd.DataFrame, tokens: NDArray[np.float64]) -> pd.Series:
    return pd.Series([mean_error(row, tokens) for row in changes.to_numpy()], changes.index)


def _frame(columns: dict[str, pd.Series], reference: str, estimator: str) -> pd.DataFrame:
    """Return the columns by update, with zeros before the first."""
    frame = pd.DataFrame(columns, columns=COLUMNS, dtype=float)
    frame.loc[frame.index == 0, COLUMNS[1:]] = 0.0
    frame = frame.rename_axis("update").reset_index()
    frame.insert(0, "reference", reference)
    frame.insert(1, "estimator", estimator)
    return frame


def summary(frame: pd.DataFrame) -> pd.DataFrame:
    """Return what `completeness` comes to at the end of the run.

    Columns: reference, estimator, change, change_se, lca, lca_se, gap ((lca - change) / change),
    gap_se (its standard error; missing if one of the others is), worst (the largest |lca - change|
    on the way, relative to the whole change).
    """
    groups = frame.assign(apart=(frame["lca"] - frame["change"]).abs()).groupby(
        ["reference", "estimator"], sort=False
    )
    ends = groups[COLUMNS[1:]].nth(-1)
    ends.index = pd.MultiIndex.from_frame(frame.loc[ends.index, ["reference", "estimator"]])
    ends["gap"] = ends["lca"] / ends["change"] - 1
    ends["gap_se"] = ratio_error(*(ends[name] for name in ("lca", "change", "lca_se", "change_se")))
    ends["worst"] = groups["apart"].max() / ends["change"].abs()
    return ends.reset_index()


def probes(log: Path) -> pd.DataFrame:
    """Return what single updates changed on the fixed batches, block by block.

    Columns: set (of `lca.PROBES`), update, stack, layer, component, lca (nats per predicted token).
    """
    blocks = logs.blocks(log).set_index("name")[["stack", "layer", "component"]]
    frames = []
    for name in logs.probes(log):
        sums = logs.series(log, f"probe_{name}", "sum").dropna(how="all")
        long = sums.melt(var_name="name", value_name="lca", ignore_index=False).reset_index()
        frames.append(long.join(blocks, on="name").assign(set=name))
    columns = ["set", "update", "stack", "layer", "component", "lca"]
    return pd.concat(frames)[columns] if frames else pd.DataFrame(columns=columns)
