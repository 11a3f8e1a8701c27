"""What a log says, as tidy frames: `lca.read(log)`."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from .analysis import completeness, curves, logs, totals


@dataclass(frozen=True)
class Log:
    """The frames of a log. Changes are in the loss's unit, such as nats per token; negative where
    the loss was lowered. Each frame has every estimator recorded, by its name in `estimator`."""

    path: Path
    blocks: pd.DataFrame
    """A row per block: name, stack, layer (0: outside of them), component, heads, elements."""
    facts: pd.DataFrame
    """A row per update: learning_rate, gradient_norm before clipping (where it was clipped), and
    what else was told (see `lca.recorder`)."""
    totals: pd.DataFrame
    """A row per block (head 0) and head: lca, summed over all updates, and se, its standard error
    (see `lca.analysis.uncertainty`)."""
    curves: pd.DataFrame
    """A row per block and window of updates: sum, the mean LCA of an update (see
    `lca.analysis.curves`)."""
    head_curves: pd.DataFrame
    """The same of each head."""
    completeness: pd.DataFrame
    """A row per estimator and measured update: change of the loss so far, lca so far, and their
    standard errors; empty without a sample of batches."""

    @property
    def adds_up(self) -> pd.DataFrame:
        """Whether the allocations add up to the loss's change, up to the last update at which it
        was measured: a row per estimator, with gap, (lca - change) / change, and its standard
        error gap_se."""
        found = completeness.summary(self.completeness)
        last = self.completeness.groupby(["reference", "estimator"], sort=False)["update"].last()
        found.insert(2, "update", last.to_numpy())
        return found

    @property
    def best(self) -> str:
        """The estimator to believe: the trapezoid, if there was a sample, or next_batch."""
        recorded = logs.estimators(self.path)
        return "trapezoid" if "trapezoid" in recorded else "next_batch"


def read(log: str | Path) -> Log:
    """Return the frames of a consolidated log. Raises `LogError` if it is none."""
    log = Path(log)
    logs.count_updates(log)
    of_heads = curves.head_curves(log)
    return Log(
        log,
        logs.blocks(log),
        logs.facts(log),
        totals.totals(log, of_heads),
        curves.curves(log),
        of_heads,
        completeness.completeness(log),
    )
