"""How far the allocations are from the loss change that they are to explain, along the run.

The loss is measured on the fixed batches of the probe: `dropout` is on training text with dropout
on, averaged over masks, the loss that the gradients of training are of; `train` is the same without
dropout, and `held_out` is on text that is not trained on.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from . import logs

REFERENCES = {"dropout": "dropout", "train": "probe_train", "held_out": "probe_held_out"}
"""What the loss is measured on, and the facts of the log that hold it."""


def completeness(log: Path) -> pd.DataFrame:
    """Return, for every reference and estimator, the loss and the LCA summed up to each probe.

    Columns: reference, estimator, update (0: before training), loss (nats per predicted token
    after it), change (of the loss since update 0), lca (summed over all blocks and updates so far).
    For the estimator `probe`, which knows of single updates only, change and lca are sums over the
    probed updates. Empty if the run was not probed.
    """
    facts = logs.facts(log)
    summed = {name: _summed(log, name) for name in logs.estimators(log)}
    frames = []
    for reference, source in REFERENCES.items():
        before, after = facts[f"{source}/before"].dropna(), facts[f"{source}/after"].dropna()
        if after.empty:
            continue
        loss = pd.concat([pd.Series({0: before.loc[1]}), after])
        for estimator, lca in summed.items():
            found = {"loss": loss, "change": loss - loss[0], "lca": lca.reindex(after.index)}
            frames.append(_frame(found, reference, estimator))
        if source in {f"probe_{name}" for name in logs.probes(log)}:
            lca = logs.series(log, source, "sum").loc[after.index].sum(axis="columns").cumsum()
            found = {"loss": loss, "change": (after - before).cumsum(), "lca": lca}
            frames.append(_frame(found, reference, "probe"))
    return pd.concat(frames, ignore_index=True) if frames else _frame({}, "", "").iloc[:0]


def _summed(log: Path, estimator: str) -> pd.Series:
    """Return the LCA of all blocks summed up to each update, in double precision."""
    whole = sum(row.astype(np.float64) for row in logs.block_rows(log, estimator, "sum"))
    return pd.Series(whole.cumsum(), index=range(1, len(whole) + 1))


def _frame(columns: dict, reference: str, estimator: str) -> pd.DataFrame:
    """Return the columns by update, with zeros before the first."""
    frame = pd.DataFrame(columns, columns=["loss", "change", "lca"], dtype=float)
    frame = frame.fillna({"change": 0.0, "lca": 0.0}).rename_axis("update").reset_index()
    frame.insert(0, "reference", reference)
    frame.insert(1, "estimator", estimator)
    return frame


def summary(frame: pd.DataFrame) -> pd.DataFrame:
    """Return what `completeness` comes to at the end of the run.

    Columns: reference, estimator, change, lca, gap ((lca - change) / change), worst (the largest
    |lca - change| on the way, relative to the whole change).
    """
    groups = frame.assign(apart=(frame["lca"] - frame["change"]).abs()).groupby(
        ["reference", "estimator"], sort=False
    )
    found = groups[["change", "lca"]].last()
    found["gap"] = found["lca"] / found["change"] - 1
    found["worst"] = groups["apart"].max() / found["change"].abs()
    return found.reset_index()


def probes(log: Path) -> pd.DataFrame:
    """Return what single updates changed on the fixed batches, block by block.

    Columns: set (of `lca.PROBES`), update, stack, layer, component, lca (nats per predicted token).
    """
    blocks = logs.blocks(log).set_index("name")[["stack", "layer", "component"]]
    frames = []
    for name in logs.probes(log):
        found = logs.series(log, f"probe_{name}", "sum").dropna(how="all")
        long = found.melt(var_name="name", value_name="lca", ignore_index=False).reset_index()
        frames.append(long.join(blocks, on="name").assign(set=name))
    columns = ["set", "update", "stack", "layer", "component", "lca"]
    return pd.concat(frames)[columns] if frames else pd.DataFrame(columns=columns)
