"""From the tables of the runs to a verdict for every claim and estimator."""

import operator
from collections.abc import Collection, Iterable, Sequence
from math import isnan, nan
from typing import NamedTuple

import numpy as np
import pandas as pd

from lca import ESTIMATORS

from ...vocabulary import FACETS
from ..arrays import Booleans
from ..resampling import interval, interval_of_mean
from ..scores import unlearned
from .claim import Claim, Part, in_order
from .evidence import Evidence, trials

COLUMNS = [
    *("claim", "group", "section", "statement", "formula", "estimator", "verdict"),
    *("inequalities", "hold", "decides"),
    *("part", "value", "relation", "threshold", "low", "high", "interval"),
    *("reason", "values", "runs", "unlearned"),
]

HOLDS, FAILS, UNDECIDED, NOT_APPLICABLE = "holds", "fails", "undecided", "not applicable"

RELATIONS = {">": operator.gt, "≥": operator.ge, "≤": operator.le}

RESAMPLES = 499
LEAST_SEEDS = 3
"""Of each objective, for intervals over seeds; with fewer they are over updates."""


class Inequality(NamedTuple):
    """A part of a claim, tested: its value and interval, NaN where there is none, and its bound."""

    label: str
    value: float
    low: float
    high: float
    unit: str
    """What was resampled for the interval."""
    relation: str
    threshold: float
    reason: str

    @property
    def verdict(self) -> str:
        """Whether it holds or fails in all of the interval; undecided if in some of it."""
        if isnan(self.value):
            return NOT_APPLICABLE
        if isnan(self.low) or isnan(self.high):
            return UNDECIDED
        holds = RELATIONS[self.relation]
        ends = {holds(end, self.threshold) for end in (self.low, self.high)}
        return UNDECIDED if len(ends) > 1 else HOLDS if ends == {True} else FAILS

    @property
    def slack(self) -> float:
        """How far it is from failing, as a multiple of the threshold if that is not 0."""
        sign = -1 if self.relation == "≤" else 1
        return sign * (self.value - self.threshold) / (abs(self.threshold) or 1)

    def __str__(self) -> str:
        """Return it in words, such as `mlm: 12 [11, 13] ≥ 10 holds`."""
        ends = f"[{self.low:.4g}, {self.high:.4g}]"
        bound = f"{self.relation} {self.threshold:g}"
        return f"{self.label}: {self.value:.4g} {ends} {bound} {self.verdict}"


def evaluate(
    totals: pd.DataFrame,
    curves: pd.DataFrame,
    head_curves: pd.DataFrame,
    main: Collection[tuple[str, str, str, str]],
    scores: pd.DataFrame | None = None,
    resamples: int = RESAMPLES,
    numbers: Collection[str] | None = None,
) -> pd.DataFrame:
    """Test every claim, or those of `numbers`, under every estimator; return a row for each.

    Its columns are `COLUMNS`.

    `totals` of all runs, with the standard error `se` of each sum; `curves` and `head_curves` of at
    least the runs that stand for their objectives, which `main` names by corpus, objective,
    languages and variant, with all seeds; `scores` of all runs, as of `score.COLUMNS`.

    An inequality holds or fails if it does so in all of its 95 % interval, and is undecided else;
    the end that decides whether it fails is that of Bonferroni among the claim's inequalities.
    The interval is over seeds (Student's, of the values by seed) where there are `LEAST_SEEDS`,
    else over blocks of updates (see `..resampling`), where claims need another it is said there;
    `interval` names what was resampled. A claim's `verdict` is "holds" if all its inequalities
    hold, "fails" if one fails, "not applicable" if one cannot be tested, with the `reason`, and
    else "undecided". `inequalities` counts them, `hold` those that hold, and `decides` names those
    that the verdict rests on. `part`, `value`, `relation`, `threshold`, `low` and `high` are those
    of the one of them that is furthest from holding, or nearest to failing. `values` has all.
    `runs` are those that the claim is about, `unlearned` those of them that are hardly better than
    the frequencies of words: there, a verdict says nothing of models that have learned.
    """
    variants = {variant for *_, variant in main}
    totals = totals[totals["variant"].isin(variants)]
    totals = totals.reindex(columns=list(dict.fromkeys([*totals.columns, "se"])))
    of_main = [table[_among(table, main)] for table in (curves, head_curves)]
    poor = set() if scores is None else set(_names(scores[unlearned(scores)]))
    rows = []
    for estimator in _in_order(totals["estimator"].unique()):
        ours, of_blocks, of_heads = (_of(estimator, table) for table in (totals, *of_main))
        enough = min(_seeds(of_blocks).values(), default=0) >= LEAST_SEEDS
        evidence = trials(of_blocks, of_heads, 0 if enough else resamples)
        whole = Evidence({}, ours[ours["head"] == 0], resamples)
        runs = ours[FACETS].drop_duplicates()
        main_runs = runs[_among(runs, main)]
        for claim in in_order(numbers):
            about = main_runs[main_runs["objective"].isin(claim.objectives)]
            names = _names(about if claim.objectives else runs)
            some = evidence[: _size(claim, evidence)] if claim.objectives else [whole]
            row = _test(claim, some) | {"estimator": estimator, "runs": " ".join(names)}
            rows.append(row | {"unlearned": " ".join(name for name in names if name in poor)})
    return pd.DataFrame(rows, columns=COLUMNS)


def _test(claim: Claim, evidence: list[Evidence]) -> dict[str, object]:
    """Return a row of the result, but for the estimator and the runs."""
    first, *others = ([*claim.parts(one)] for one in evidence)
    by_label = [{part.label: part for part in parts} for parts in others]
    inequalities = [
        _combine(part, [more.get(part.label) for more in by_label], len(first)) for part in first
    ]
    verdict, deciding = _decide(inequalities)
    shown = min(deciding, key=lambda each: each.slack)
    tested = [each for each in inequalities if each.verdict != NOT_APPLICABLE]
    row = {name: getattr(claim, name) for name in ("group", "section", "statement", "formula")}
    row |= {"claim": claim.number, "verdict": verdict, "inequalities": len(tested)}
    row |= {"hold": sum(each.verdict == HOLDS for each in inequalities)}
    row |= {"decides": "; ".join(each.label for each in deciding)}
    row |= {"part": shown.label, "interval": shown.unit} | shown._asdict()
    row["values"] = "; ".join(map(str, tested))
    row["reason"] = ""
    if verdict == NOT_APPLICABLE:
        row["reason"] = shown.reason or f"{shown.label}: undefined; all values are equal"
    elif isnan(shown.low):
        row["reason"] = f"{shown.label}: too few updates or errors that are not known: no interval"
    return row


def _combine(first: Part, others: Sequence[Part | None] = (), several: int = 1) -> Inequality:
    """Return what a part of one seed and those of the same name of the others come to.

    A claim of `several` parts fails if one does, and of many, one may seem to by chance: therefore
    the end of the interval that decides whether it fails is that of Bonferroni.
    """
    bound = first.relation, first.threshold
    reasons = (part.reason if part else "not all seeds have it" for part in (first, *others))
    if reason := next(filter(None, reasons), ""):
        return Inequality(first.label, nan, nan, nan, "", *bound, reason)
    parts = [first, *filter(None, others)]
    draws = np.array([part.draws for part in parts], np.float64)
    mean = draws.mean(axis=0)
    unit, among = "updates", (several, 1) if first.relation == "≤" else (1, several)
    if len(parts) >= LEAST_SEEDS:
        low, high = interval_of_mean(draws[:, 0], among)
        unit = "seeds"
    elif first.interval:
        ends = np.array([part.interval[:2] for part in parts if part.interval])
        (low, high), unit = ends.mean(axis=0).tolist(), first.interval[2]
    else:
        low, high = interval(mean, first.mirrored, among)
    if isnan(low) or isnan(high):
        low, high, unit = nan, nan, ""
    return Inequality(first.label, float(np.min(mean[0])), low, high, unit, *bound, "")


def _decide(inequalities: list[Inequality]) -> tuple[str, list[Inequality]]:
    """Return the verdict and the inequalities that it rests on."""
    if not inequalities:
        return NOT_APPLICABLE, [Inequality("", nan, nan, nan, "", "", nan, "no runs")]
    for verdict in (FAILS, NOT_APPLICABLE, UNDECIDED):
        if deciding := [each for each in inequalities if each.verdict == verdict]:
            return verdict, deciding
    return HOLDS, [min(inequalities, key=lambda each: each.slack)]


def _size(claim: Claim, evidence: list[Evidence]) -> int:
    """Return how many seeds there are of all objectives that the claim is about; at least one."""
    has_all = [set(claim.objectives) <= set(one.models) for one in evidence]
    return max(1, sum(has_all))


def _seeds(curves: pd.DataFrame) -> dict[str, int]:
    """Return the number of runs of each objective."""
    sizes = curves[FACETS].drop_duplicates().groupby("objective").size()
    return {str(objective): size for objective, size in sizes.items()}


def _among(table: pd.DataFrame, main: Iterable[tuple[str, ...]]) -> Booleans:
    """Return which rows are of the main runs."""
    return pd.MultiIndex.from_frame(table[FACETS[:-1]]).isin(list(main))


def _of(estimator: str, table: pd.DataFrame) -> pd.DataFrame:
    return table[table["estimator"] == estimator]


def _in_order(estimators: Iterable[str]) -> list[str]:
    """Return the estimators in the order of `lca.ESTIMATORS`, others after them."""
    return sorted(estimators, key=lambda name: [*ESTIMATORS, name].index(name))


def _names(runs: pd.DataFrame) -> list[str]:
    """Return the names of runs, such as europarl/mt/de-en/base/1, sorted."""
    return sorted("/".join(map(str, run)) for run in runs[FACETS].itertuples(index=False))
