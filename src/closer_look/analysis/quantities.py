"""What each block of a run did, in a few numbers: how much it contributed, when, how smoothly."""

import numpy as np
import pandas as pd

ATTENTION = ("key", "query", "value", "out")
FEED_FORWARD = ("w1", "w2")
COMPONENTS = ATTENTION + FEED_FORWARD
"""The components that the paper plots."""

FACETS = ["corpus", "objective", "languages", "variant", "seed"]
BLOCK = ["stack", "layer", "component"]

EARLY = 0.1
"""The first share of the updates, called early; the others are called late."""

SMOOTHING = 1 / 125
"""Width of the moving average as a share of training: 1,000 of 125,000 updates (section 4.2)."""


def quantities(
    totals: pd.DataFrame, milestones: pd.DataFrame, curves: pd.DataFrame
) -> pd.DataFrame:
    """Return what is known of every block of every run and estimator in `totals`.

    Its index are the facets, estimator, stack, layer and component, its columns

    - contribution: -LCA over all updates (nats per predicted token),
    - t90: the update by which 90 % of it was reached,
    - last_positive: the last update with a positive sum, as a share of training,
    - early: contribution within the first 10 % of the updates,
    - oscillation: standard deviation of the curve over the second half of training,
    - roughness: total variation of the smoothed curve over its range (1: monotone),
    - late_positives: windows after the first 10 % in which some update had a positive sum.

    Missing rows of `milestones` or `curves` leave NaN.
    """
    keys = [*FACETS, "estimator", *BLOCK]
    found = totals[totals["head"] == 0].set_index(keys)["lca"].mul(-1).to_frame("contribution")
    when = milestones.set_index(keys).reindex(found.index)
    by_curve = curves.groupby([*FACETS, "estimator"]).apply(_of_one_run).reindex(found.index)
    found = found.assign(t90=when["t90"], last_positive=when["last_positive"])
    found = found.join(by_curve.reindex(columns=_OF_CURVES)).astype(float)
    found["last_positive"] /= found.pop("updates")
    return found


def per_window(curves: pd.DataFrame) -> pd.DataFrame:
    """Return the contributions of one run over time: a row per window, a column per block.

    Rows are named after the last update of their window, columns (stack, layer, component).
    """
    means = curves.pivot(index="update", columns=BLOCK, values="sum")
    return -means.mul(np.diff(means.index, prepend=0), axis="index")


_OF_CURVES = ["updates", "early", "oscillation", "roughness", "late_positives"]


def _of_one_run(curves: pd.DataFrame) -> pd.DataFrame:
    """Return what follows from the curves of one run and estimator, a row per block."""
    sums = per_window(curves)
    updates = sums.index.to_numpy()
    total, widths = updates[-1], np.diff(updates, prepend=0)
    early = (EARLY * total - (updates - widths)).clip(0, widths) / widths
    means = sums.div(widths, axis="index")
    smooth = means.rolling(max(1, round(len(means) * SMOOTHING))).mean().dropna()
    late = curves[curves["update"] > EARLY * total]
    highest = late.pivot(index="update", columns=BLOCK, values="high")
    found = {
        "updates": total,
        "early": sums.mul(early, axis="index").sum(),
        "oscillation": means[updates > total / 2].std(ddof=0),
        "roughness": smooth.diff().abs().sum() / (smooth.max() - smooth.min()),
        "late_positives": (highest > 0).sum().where(highest.notna().any()),
    }
    return pd.DataFrame(found, columns=_OF_CURVES)
