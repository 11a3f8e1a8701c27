"""How alike runs are in what their layers contribute, and what makes them so (paper, 4.5)."""

import numpy as np
import pandas as pd
from scipy.stats import permutation_test

from ..vocabulary import COMPONENTS, MODEL
from .arrays import Floats, Labels

PERMUTATIONS = 9999


def profiles(totals: pd.DataFrame) -> pd.DataFrame:
    """Return the contributions, -LCA, of one estimator: a row for each run, its seeds averaged.

    `totals` as of `lca.analysis.totals`. Columns are component and place, which numbers the layers
    through, the encoder's before the decoder's. Only runs of the commonest depth can be compared;
    the others are left out.
    """
    blocks = totals[(totals["head"] == 0) & totals["component"].isin(COMPONENTS)]
    blocks = blocks.sort_values(["stack", "layer"], ascending=[False, True])  # encoder, decoder
    place = blocks.groupby([*MODEL, "seed", "component"]).cumcount() + 1
    depth = place.groupby([blocks[facet] for facet in MODEL]).max()
    contributions = -blocks.assign(place=place).pivot_table("lca", MODEL, ["component", "place"])
    return contributions[depth == depth.mode()[0]].dropna(axis="columns", how="all")


def grid(profiles: pd.DataFrame) -> Floats:
    """Return profiles, all of whose components have as many layers, as (run, component, layer)."""
    components = profiles.columns.get_level_values("component").nunique()
    return profiles.to_numpy().reshape(len(profiles), components, -1)


def similarities(profiles: Floats) -> Floats:
    """Return the similarity of every two profiles (run, component, layer), shape (run, run).

    It is Pearson's correlation over the layers, averaged over the components: each component
    counts alike, whatever its magnitude. NaN where a component is the same in every layer.
    """
    centred = profiles - profiles.mean(axis=-1, keepdims=True)
    with np.errstate(invalid="ignore"):
        unit = centred / np.linalg.norm(centred, axis=-1, keepdims=True)
    r: Floats = np.einsum("acl,bcl->ab", unit, unit) / profiles.shape[1]
    return r


def correlations(totals: pd.DataFrame) -> tuple[pd.DataFrame, Floats]:
    """Return the runs, a row for each, and the similarity of every two of their profiles.

    It is 0 where a component is the same in every layer.
    """
    of_runs = profiles(totals)
    return of_runs.index.to_frame(index=False), np.nan_to_num(similarities(grid(of_runs)))


def data(runs: pd.DataFrame) -> pd.Series:
    """Return what the runs were trained on: the corpus and the languages.

    The two directions of a translation are not the same: they share the objective as well, and
    would say nothing of the data.
    """
    return runs["corpus"] + "/" + runs["languages"]


def pairs(similarity: Floats, **labels: Labels) -> pd.DataFrame:
    """Return a row for every two runs: their `similarity`, and whether they share each label."""
    one, other = np.triu_indices(len(similarity), 1)
    shared = {name: values[one] == values[other] for name, values in labels.items()}
    return pd.DataFrame({"similarity": similarity[one, other], **shared})


def separation(distance: Floats, labels: Labels) -> float:
    """Return the mean distance of runs with different labels minus that of runs with the same.

    NaN if there are no pairs of either kind.
    """
    pairs = np.triu_indices(len(labels), 1)
    same = (labels[:, None] == labels)[pairs]
    if same.all() or not same.any():
        return np.nan
    return float(distance[pairs][~same].mean() - distance[pairs][same].mean())


def p_value(distance: Floats, labels: Labels) -> float:
    """Return how often labels dealt out at random separate the runs as well as `labels` do.

    By a permutation test: of all orders, or of `PERMUTATIONS` if there are more. NaN as above.
    """
    if np.isnan(separation(distance, labels)):
        return np.nan
    _, probability, _ = _permuted(distance, labels)
    return probability


def permuted(distance: Floats, labels: Labels) -> tuple[float, Floats]:
    """Return the separation by labels, and those by labels that were dealt out at random."""
    measured, _, by_chance = _permuted(distance, labels)
    return measured, by_chance


def _permuted(distance: Floats, labels: Labels) -> tuple[float, float, Floats]:
    """Return the separation, its p-value, and the separations by chance."""
    codes = pd.factorize(labels)[0]
    test = permutation_test(
        (codes,),
        lambda dealt: separation(distance, dealt),
        permutation_type="pairings",
        alternative="greater",
        n_resamples=PERMUTATIONS,
        rng=np.random.default_rng(1),
    )
    return test.statistic, test.pvalue, test.null_distribution
