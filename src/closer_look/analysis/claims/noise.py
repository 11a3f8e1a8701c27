"""Claims 20 to 24: heads, what hurts, and what the data change (sections 4.3 to 4.5).

Formulas and readings are written as in `layers`. A block hurts where its LCA, summed over its
elements, is positive: under own-batch in any update; under the other estimators, whose single
updates are mostly noise, where its sum over a window of updates is significantly so (`hurting`).
"""

from collections import Counter
from collections.abc import Iterator
from math import factorial, prod

import numpy as np
import pandas as pd
from scipy.stats import norm

from ...vocabulary import ATTENTION, COMPONENTS, FACETS, MODEL
from .. import similarity
from ..arrays import Booleans, Floats, Integers, Labels
from ..hurting import COUNTED
from ..resampling import CONFIDENCE, interval_of_mean
from .claim import Part, above, at_least, at_most, claim
from .evidence import STRETCHES, Evidence, NotApplicable
from .formulas import between, ratio

OUTLIERS = {"mlm": (1, 9, 12), "clm": (3, 7), "mt": (5, 7)}
"""Layers whose heads differ, by the paper's Figure 3 (MT 5 is of the encoder, 7 of the decoder)."""

SIGNIFICANCE = 0.05
TAIL = (1 - CONFIDENCE) / 2


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
    Raises `NotApplicable` if they are not of the same heads.
    """
    heatmaps = [e.heads(objective, name) for name in ("key", "query", "value")]
    if len({heatmap.shape for heatmap in heatmaps}) > 1:
        raise NotApplicable(f"{objective}: heads are missing")
    spread = np.max([_spread(heatmap) for heatmap in heatmaps], axis=0)
    median = np.median(spread, axis=1)
    yield at_most(f"{objective}: median spread", median, 0.25, mirrored=(0, 1))
    for layer in OUTLIERS[objective]:
        outlier = between(spread, layer, layer).max(axis=1)
        label = f"{objective}: layer {layer} / median"
        yield at_least(label, ratio(outlier, median), 2, mirrored=(0, np.inf))


@claim(
    21,
    "4.4, Table 1",
    "CLM and MT are hurt at the beginning only, in at most 3 % of the time; MLM until far later.",
    each=True,
)
def hurting_ends_early(e: Evidence, objective: str) -> Iterator[Part]:
    """last time at which a block hurts, as a share of training, ≤ 0.03 in CLM and MT; MLM's ≥ 10
    times theirs.

    Blocks are those of Table 1: the embeddings, and the components of each layer. In the paper
    MLM's last update is 22 times theirs; that 10 is "much later" is our reading. What never hurts
    counts as hurting in the first fortieth, to be compared with. Raises `NotApplicable` if no sum
    of MLM's hurts significantly.
    """
    value, low, high = e.last_hurt(objective)
    if objective != "mlm":
        label = f"{objective}: share of training"
        yield at_most(label, np.array([value]), 0.03, interval=(low, high, "updates"))
        return
    if value == 0 and not e.model("mlm").single_updates:
        raise NotApplicable("mlm: no block hurts significantly")
    masked = np.maximum([value, low, high], 1 / STRETCHES)
    others = np.maximum([e.last_hurt(name) for name in ("clm", "mt")], 1 / STRETCHES).max(axis=0)
    value, low, high = masked / others[[0, 2, 1]]
    interval = (low, high, "updates")
    yield at_least("mlm / the others", np.array([value]), 10, interval=interval)


@claim(
    22,
    "4.4, Figure 4",
    "What hurts MLM late is almost exclusively attention in layers 2–5.",
    objectives=("mlm",),
)
def late_hurting_is_local(e: Evidence) -> Iterator[Part]:
    """how much A of layers 2..5 hurts after the first 10 % of updates / how much all blocks do ≥
    0.9.

    How much a block hurts is the sum of what Figure 4 draws, positive LCA: of the largest value of
    each window under own-batch, of significant sums over windows under the others. Blocks are those
    of Table 1. "Late" and 90 % are our reading. Raises `NotApplicable` if nothing hurts late.
    """
    whole = sum(e.late_hurt("mlm", name).sum(axis=1) for name in COUNTED)
    if whole[0] == 0:
        raise NotApplicable("mlm: no block hurts after the first 10 % of the updates")
    local = sum(between(e.late_hurt("mlm", name), 2, 5).sum(axis=1) for name in ATTENTION)
    share = np.where(whole > 0, local / whole, np.nan)
    yield at_least("share of layers 2-5 of attention", share, 0.9)


@claim(
    23,
    "4.4",
    "No layer and no component of any model hurts on the whole.",
    objectives=(),
)
def nothing_hurts_on_the_whole(e: Evidence) -> Iterator[Part]:
    """least H of any (layer, component) > 0 in every run, in units of the run's mean |H|.

    Noise alone puts some of many small values below 0. The interval is that of the least of them:
    it lies below 0 only where some H is so significantly, with Bonferroni's correction.
    """
    blocks = e.all_runs[e.all_runs["component"].isin(COMPONENTS)]
    for name, run in blocks.groupby(FACETS):
        h, error = -run["lca"].to_numpy(), run["se"].to_numpy()
        scale = np.abs(h).mean()
        low = (h - norm.isf(TAIL) * error).min(initial=np.inf, where=~np.isnan(error))
        high = (h + norm.isf(TAIL / len(h)) * error).min(initial=np.inf, where=~np.isnan(error))
        interval = (low / scale, high / scale, "updates")
        if np.isnan(error).any():
            interval = (np.nan, np.nan, "")
        yield above("/".join(map(str, name)), np.array([h.min() / scale]), interval=interval)


@claim(
    "24a",
    "4.5, Figures 5 and 6",
    "Runs differ by objective, not by data.",
    objectives=(),
)
def runs_cluster_by_objective(e: Evidence) -> Iterator[Part]:
    """separation by objective > 0, and > separation by data.

    The distance of two runs is 1 − r, r being the correlation over layers of their H, mean over the
    components. Separation is the mean distance between groups minus that within them. Data are the
    same if corpus and languages are; two directions of translation have the objective in common, so
    they are no pair of the same data. The first interval is that of the permutation test of the
    objectives, the second of the jackknife over runs. Seeds are averaged. Raises `NotApplicable` if
    the runs are too few for such a test, if no two have the same data, and if layers are missing.
    """
    runs, values, _ = _profiles(e.all_runs)
    distance = 1 - similarity.similarities(values)
    objective, data = runs["objective"].to_numpy(), similarity.data(runs).to_numpy()
    if _least_p(objective) > SIGNIFICANCE:
        raise NotApplicable(f"{len(runs)} runs are too few to reach p ≤ {SIGNIFICANCE}")
    apart, chance = similarity.permuted(distance, objective)
    if np.isnan(similarity.separation(distance, data)):
        raise NotApplicable("no two runs have the same data, so that nothing can differ less by it")
    low, high = apart - np.quantile(chance, [1 - TAIL, TAIL])
    yield above("by objective", np.array([apart]), interval=(low, high, "objectives"))

    def more(kept: Integers) -> float:
        square = distance[np.ix_(kept, kept)]
        by = (similarity.separation(square, labels[kept]) for labels in (objective, data))
        return next(by) - next(by)

    every = np.arange(len(runs))
    without = np.array([more(np.delete(every, run)) for run in every])
    pseudovalues = len(runs) * more(every) - (len(runs) - 1) * without
    interval = (*interval_of_mean(pseudovalues), "runs")
    yield above("by objective − by data", np.array([more(every)]), interval=interval)


@claim(
    "24b",
    "4.5, Figures 5 and 6",
    "The Estonian MLM differs most from its kin.",
    objectives=(),
)
def estonian_is_the_odd_one(e: Evidence) -> Iterator[Part]:
    """mean distance from the other MLMs: the Estonian's − the largest other > 0.

    Distances are those of claim 24a. Resamples add the standard error of every H. Raises
    `NotApplicable` without an Estonian MLM and two others, and if layers are missing.
    """
    runs, values, errors = _profiles(e.all_runs[e.all_runs["objective"] == "mlm"])
    estonian = (runs["languages"] == "et").to_numpy()
    if len(runs) < 3 or not estonian.any() or estonian.all():
        raise NotApplicable("no Estonian MLM among at least three MLMs")
    noise = np.random.default_rng(24).standard_normal((e.resamples, *values.shape))
    draws = [values, *(values + each * errors for each in noise)]
    excess = [_excess(1 - similarity.similarities(each), estonian) for each in draws]
    yield above("Estonian over the others", np.array(excess), mirrored=(-2, 2))


def _spread(heads: Floats) -> Floats:
    """Return the range of the heads (draw, layer, head) in each layer, over that of the heatmap."""
    whole = np.ptp(heads, axis=(1, 2))
    spread: Floats = np.ptp(heads, axis=2) / np.where(whole > 0, whole, 1)[:, None]
    return spread


def _profiles(totals: pd.DataFrame) -> tuple[pd.DataFrame, Floats, Floats]:
    """Return the runs, their H as (run, component, layer), and the standard errors of these."""
    if totals.empty:
        raise NotApplicable("no runs")
    profiles = similarity.profiles(totals)
    depths = profiles.columns.get_level_values("component").value_counts()
    if profiles.isna().any(axis=None) or depths.nunique() > 1:
        raise NotApplicable("layers of some components are missing")
    unknown = np.inf
    squares = totals["se"].fillna(unknown) ** 2
    variances = -similarity.profiles(totals.assign(lca=squares)).reindex(columns=profiles.columns)
    seeds = totals.groupby(MODEL)["seed"].nunique().reindex(profiles.index)
    errors = np.sqrt(similarity.grid(variances.div(seeds, axis="index")))
    return profiles.index.to_frame(index=False), similarity.grid(profiles), errors


def _least_p(labels: Labels) -> float:
    """Return the smallest p-value that a permutation test of these labels can reach.

    It is one over the number of ways to divide the runs into groups of the same sizes.
    """
    sizes = Counter(labels).values()
    alike = Counter(sizes).values()
    same = prod(map(factorial, sizes)) * prod(map(factorial, alike))
    return same / factorial(len(labels))


def _excess(distance: Floats, odd: Booleans) -> float:
    """Return the largest mean distance of an odd run from the others minus that of another."""
    means = distance.sum(axis=1) / (len(distance) - 1)
    return float(means[odd].max() - means[~odd].max())
