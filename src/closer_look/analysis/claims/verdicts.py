"""From the tables of the runs to a verdict for every claim and estimator."""

from collections.abc import Collection, Iterable
from math import nan

import numpy as np
import pandas as pd
from scipy.stats import bootstrap

from lca import ESTIMATORS

from ..quantities import BLOCK, FACETS, quantities
from .claim import CLAIMS, Claim, Part
from .evidence import Evidence, by_seed, by_update

COLUMNS = [
    *("claim", "section", "statement", "formula", "estimator", "verdict"),
    *("part", "value", "relation", "threshold", "low", "high", "interval"),
    *("reason", "values", "runs"),
]

HOLDS, FAILS, NOT_APPLICABLE = "holds", "fails", "not applicable"

RESAMPLES = 499
CONFIDENCE = 0.95
LEAST_SEEDS = 3
"""Of each objective, for intervals over seeds; with fewer they are over updates."""


def evaluate(
    totals: pd.DataFrame,
    milestones: pd.DataFrame,
    curves: pd.DataFrame,
    main: Collection[tuple[str, str, str, str]],
    resamples: int = RESAMPLES,
) -> pd.DataFrame:
    """Test every claim under every estimator; return a row for each, with `COLUMNS`.

    `totals` of all runs; `milestones` and `curves` of at least the runs that stand for their
    objectives, which `main` names by corpus, objective, languages and variant, with all seeds.

    `verdict` is "holds" if all inequalities of the claim hold, "fails" if one does not, and else
    "not applicable", with the `reason`. `part`, `value`, `relation` and `threshold` are those of
    the inequality that decides: the one that is nearest to failing, or furthest from holding.
    `values` has all of them. `low` and `high` are the 95 % bootstrap interval of `value`, where one
    can be had (no `resamples`, no intervals), and `interval` says what was resampled: "seeds", or
    "updates" (see `evidence.by_update`). `runs` are those that the claim is about.
    """
    variants = {variant for *_, variant in main}
    totals = totals[totals["variant"].isin(variants)]
    tables = [table[_among(table, main)] for table in (totals, milestones, curves)]
    rows = []
    for estimator in _in_order(totals["estimator"].unique()):
        ours, *of_main = (_of(estimator, table) for table in (totals, *tables))
        evidences = [_evidence(ours, *of_main), by_update(of_main[-1])]
        runs = ours[FACETS].drop_duplicates()
        runs["main"] = _among(runs, main)
        for _, claim in sorted(CLAIMS.items()):
            row = _test(claim, *evidences, resamples)
            rows.append(row | {"estimator": estimator, "runs": _names(claim, runs)})
    return pd.DataFrame(rows, columns=COLUMNS)


def _evidence(totals, main_totals, milestones, curves) -> Evidence:
    """Return the evidence by seed, from the tables of one estimator."""
    keys = [*FACETS, *BLOCK]
    heads = main_totals[main_totals["head"] > 0].set_index([*keys, "head"])["lca"]
    main = quantities(main_totals, milestones, curves).droplevel("estimator")
    return by_seed(main, -heads, totals)


def _test(claim: Claim, seeds: Evidence, updates: Evidence, resamples: int) -> dict:
    """Return a row of the result, but for the estimator and the runs."""
    parts = claim.parts(seeds)
    verdict, part = _decide(parts)
    row = part._asdict() | {"part": part.label, "verdict": verdict}
    row |= {"claim": claim.number, "low": nan, "high": nan, "interval": ""}
    row |= {name: getattr(claim, name) for name in ("section", "statement", "formula")}
    row["values"] = "; ".join(f"{p.label}: {p.value:.4g}" for p in parts if p.holds is not None)
    if verdict == NOT_APPLICABLE:
        return row | {"reason": part.reason or f"{part.label}: undefined; all values are equal"}
    for evidence, unit, least in ((seeds, "seeds", LEAST_SEEDS), (updates, "updates", 2)):
        if resamples and min(_sizes(claim, evidence), default=0) >= least:
            low, high = _interval(claim, part.label, evidence, resamples)
            if not np.isnan([low, high]).any():
                return row | {"low": low, "high": high, "interval": unit}
    return row


def _decide(parts: list[Part]) -> tuple[str, Part]:
    """Return the verdict and the part that it rests on."""
    failing = [part for part in parts if part.holds is False]
    undefined = [part for part in parts if part.holds is None]
    if failing:
        return FAILS, min(failing, key=lambda part: part.slack)
    if undefined or not parts:
        return NOT_APPLICABLE, (undefined or [Part("", nan, "", nan, "no runs")])[0]
    return HOLDS, min(parts, key=lambda part: part.slack)


def _sizes(claim: Claim, evidence: Evidence) -> list[int]:
    """Return the sizes of the groups that a resample of the claim's runs is drawn from."""
    return [
        len(group) for name in claim.objectives for group in evidence.strata.get(name, [range(0)])
    ]


def _interval(claim: Claim, label: str, evidence: Evidence, resamples: int) -> tuple[float, float]:
    """Return the bootstrap interval of a part of the claim; NaN where it cannot be had."""
    objectives, groups = zip(
        *((name, group) for name in claim.objectives for group in evidence.strata[name]),
        strict=True,
    )

    def statistic(*picked: np.ndarray) -> float:
        parts = claim.parts(evidence.resampled(zip(objectives, picked, strict=True)))
        return next((part.value for part in parts if part.label == label), nan)

    if np.isnan(statistic(*groups)):
        return nan, nan
    with np.errstate(invalid="ignore"):  # in a resample the value may be infinite or undefined
        found = bootstrap(
            groups,
            statistic,
            vectorized=False,
            n_resamples=resamples,
            confidence_level=CONFIDENCE,
            method="percentile",
            rng=np.random.default_rng(1),
        )
    return tuple(map(float, found.confidence_interval))


def _among(table: pd.DataFrame, main: Iterable[tuple]) -> pd.Series:
    """Return which rows are of the main runs."""
    return pd.MultiIndex.from_frame(table[FACETS[:-1]]).isin(list(main))


def _of(estimator: str, table: pd.DataFrame) -> pd.DataFrame:
    return table[table["estimator"] == estimator]


def _in_order(estimators: Iterable[str]) -> list[str]:
    """Return the estimators in the order of `lca.ESTIMATORS`, others after them."""
    return sorted(estimators, key=lambda name: [*ESTIMATORS, name].index(name))


def _names(claim: Claim, runs: pd.DataFrame) -> str:
    """Return the names of those of the runs that the claim was tested on."""
    if claim.objectives:
        runs = runs[runs["main"] & runs["objective"].isin(claim.objectives)]
    return " ".join(sorted("/".join(map(str, run)) for run in runs[FACETS].itertuples(index=False)))
