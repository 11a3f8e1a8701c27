"""Claims 20 to 24: heads, what hurts, and what the data change (sections 4.3 to 4.5).

Formulas and readings are written as in `layers`. A block hurts in an update if its LCA, summed over
its elements, is positive.
"""

from collections import Counter
from collections.abc import Iterator
from math import factorial, prod

import numpy as np
import pandas as pd

from .. import similarity
from ..quantities import ATTENTION, COMPONENTS, FACETS
from .claim import Part, above, at_least, at_most, claim
from .evidence import Evidence, NotApplicable
from .formulas import between, ratio, span

OUTLIERS = {"mlm": (1, 9, 12), "clm": (3, 7), "mt": (5, 7)}
"""Layers whose heads differ, by the paper's Figure 3 (MT 5 is of the encoder, 7 of the decoder)."""

SIGNIFICANCE = 0.05


@claim(
    20,
    "4.3, Figure 3",
    "Heads of a layer differ little, except in some layers: MLM 1, 9, 12; CLM 3, 7; MT 5, 7.",
    each=True,
)
def heads_differ_in_few_layers(e: Evidence, objective: str) -> Iterator[Part]:
    """spread (largest − least head of a layer, in a heatmap scaled to 0..1): median over layers ≤
    0.25; in each layer named ≥ twice the median.

    The spread of a layer is that in whichever of the heatmaps of key, query and value has most.
    """
    heatmaps = e.grid(objective, ("key", "query", "value"), quantity="heads")
    spread = np.max([_spread(heatmap) for heatmap in heatmaps], axis=0)
    median = np.median(spread)
    yield at_most(f"{objective}: median spread", median, 0.25)
    for layer in OUTLIERS[objective]:
        outlier = between(spread, layer, layer).max()
        yield at_least(f"{objective}: layer {layer} / median", ratio(outlier, median), 2)


@claim(
    21,
    "4.4, Table 1",
    "CLM and MT are hurt at the beginning only, in at most 3 % of the time; MLM until far later.",
    each=True,
)
def hurting_ends_early(e: Evidence, objective: str) -> Iterator[Part]:
    """last update with a positive block / updates ≤ 0.03 in CLM and MT; MLM's ≥ 10 times theirs.

    Blocks are those of Table 1: the embeddings, and the components of each layer. In the paper
    MLM's last update is 22 times theirs; that 10 is "much later" is our reading.
    """
    last = _last_hurt(e, objective)
    if objective == "mlm":
        others = max(_last_hurt(e, other) for other in ("clm", "mt"))
        yield at_least("mlm / the others", ratio(last, others), 10)
    else:
        yield at_most(f"{objective}: share of training", last, 0.03)


@claim(
    22,
    "4.4, Figure 4",
    "What hurts MLM late is almost exclusively attention in layers 2–5.",
    objectives=("mlm",),
)
def late_hurting_is_local(e: Evidence) -> Iterator[Part]:
    """windows after the first 10 % in which A of layers 2..5 hurt / those of all blocks ≥ 0.9.

    Windows are counted for each block, as in Table 1. "Late" and 90 % are our reading.
    """
    windows = e.grid("mlm", quantity="late_positives")
    count = windows.sum() + e.embeddings("mlm", "late_positives").sum()
    if count == 0:
        raise NotApplicable("mlm: no block hurts after the first 10 % of the updates")
    attention = e.grid("mlm", ATTENTION, quantity="late_positives")
    local = attention[:, span(attention.shape[1], 2, 5)].sum()
    yield at_least("share of layers 2-5 of attention", local / count, 0.9)


@claim(
    23,
    "4.4",
    "No layer and no component of any model hurts on the whole.",
    objectives=(),
)
def nothing_hurts_on_the_whole(e: Evidence) -> Iterator[Part]:
    """share of the (layer, component) with H > 0 = 1 in every run."""
    blocks = e.all_runs[e.all_runs["component"].isin(COMPONENTS)]
    for name, lca in blocks.groupby(FACETS)["lca"]:
        yield at_least("/".join(map(str, name)), (lca < 0).mean(), 1)


@claim(
    24,
    "4.5, Figures 5 and 6",
    "Runs differ by objective, not by data; the Estonian MLM differs most from its kin.",
    objectives=(),
)
def runs_cluster_by_objective(e: Evidence) -> Iterator[Part]:
    """separation by objective: p ≤ 0.05 (permutation test), and more than by data; distance from
    the other MLMs: largest for Estonian.

    The distance of two runs is 1 − r of claim 16. Separation is the mean distance between groups
    minus that within them. Data are the same if the corpus and the languages are, in any order.
    Seeds are averaged.
    """
    if e.all_runs.empty:
        raise NotApplicable("no runs")
    profiles = similarity.profiles(e.all_runs)
    depths = profiles.columns.get_level_values("component").value_counts()
    if profiles.isna().any(axis=None) or depths.nunique() > 1:
        raise NotApplicable("layers of some components are missing")
    runs = profiles.index.to_frame(index=False)
    values = profiles.to_numpy().reshape(len(runs), len(depths), -1)
    distance = 1 - similarity.similarities(values)
    objective, data = runs["objective"].to_numpy(), similarity.data(runs).to_numpy()
    if _least_p(objective) > SIGNIFICANCE:
        raise NotApplicable(f"{len(runs)} runs are too few to reach p ≤ {SIGNIFICANCE}")
    yield at_most("permutation test, p", similarity.p_value(distance, objective), SIGNIFICANCE)
    by_objective, by_data = (similarity.separation(distance, of) for of in (objective, data))
    yield above("separation by objective − by data", by_objective - by_data)
    yield above("distance of MLM et − largest other", _estonian_excess(distance, runs))


def _spread(heads: np.ndarray) -> np.ndarray:
    """Return the range of the heads in each layer, as a share of that of the heatmap."""
    return np.ptp(heads, axis=1) / (np.ptp(heads) or 1)


def _last_hurt(e: Evidence, objective: str) -> float:
    """Return the last update with a positive block of a model, as a share of training."""
    layers = e.grid(objective, quantity="last_positive")
    return max(layers.max(), e.embeddings(objective, "last_positive").max())


def _least_p(labels: np.ndarray) -> float:
    """Return the smallest p-value that a permutation test of these labels can reach.

    It is one over the number of ways to divide the runs into groups of the same sizes.
    """
    sizes = Counter(labels).values()
    alike = Counter(sizes).values()
    same = prod(map(factorial, sizes)) * prod(map(factorial, alike))
    return same / factorial(len(labels))


def _estonian_excess(distance: np.ndarray, runs: pd.DataFrame) -> float:
    """Return the mean distance of the Estonian MLM from the other MLMs minus the largest other."""
    masked = np.flatnonzero(runs["objective"] == "mlm")
    estonian = (runs["languages"][masked] == "et").to_numpy()
    if len(masked) < 3 or not estonian.any() or estonian.all():
        raise NotApplicable("no Estonian MLM among at least three MLMs")
    means = distance[np.ix_(masked, masked)].sum(axis=1) / (len(masked) - 1)
    return means[estonian].max() - means[~estonian].max()
