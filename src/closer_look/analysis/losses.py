"""The training loss over the updates, in the windows of the curves."""

from pathlib import Path

import pandas as pd

from lca.analysis import logs
from lca.analysis.windows import Windows


def losses(log: Path) -> pd.DataFrame:
    """Return the loss of the training batches as recorded, in nats per predicted token.

    Columns: update (the last of a window), loss, low, high (mean, smallest and largest in the
    window), learning_rate and gradient_norm (means).
    """
    facts = logs.facts(log)
    windows = Windows(len(facts))
    loss = facts["loss"].to_numpy()
    return pd.DataFrame(
        {
            "update": windows.last,
            "loss": windows.mean(loss),
            "low": windows.low(loss),
            "high": windows.high(loss),
            "learning_rate": windows.mean(facts["learning_rate"].to_numpy()),
            "gradient_norm": windows.mean(facts["gradient_norm"].to_numpy()),
        }
    )
