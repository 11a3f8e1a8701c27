"""The verdicts as a page of Markdown: a row per claim, a column per estimator."""

import math

import pandas as pd

from .claim import SYMBOLS
from .verdicts import CONFIDENCE, FAILS, HOLDS, NOT_APPLICABLE

MARKS = {HOLDS: "✓", FAILS: "✗", NOT_APPLICABLE: "–"}

LEGEND = f"""\
✓ holds, ✗ fails, – cannot be tested (why is said below). A claim holds if all its inequalities do;
the number is the value of the one that is nearest to failing or furthest from holding, in brackets
its {CONFIDENCE:.0%} bootstrap interval, in parentheses its threshold if that is not 0. All values
and the runs are in `claims.csv`."""


def write(verdicts: pd.DataFrame) -> str:
    """Return the page; `verdicts` as of `claims.evaluate`."""
    estimators = list(verdicts["estimator"].unique())
    claims = verdicts.drop_duplicates("claim").set_index("claim")
    cells = verdicts.assign(cell=verdicts.apply(_cell, axis="columns"))
    table = claims[["statement", "section"]].join(
        cells.pivot(index="claim", columns="estimator", values="cell")[estimators]
    )
    table = table.rename(columns={"statement": "the paper's claim"}).rename_axis("#")
    return (
        "\n\n".join(
            [
                "; ".join(_summary(name, verdicts) for name in estimators) + ".",
                table.to_markdown(),
                LEGEND,
                "## Formulas",
                SYMBOLS,
                "\n".join(f"{number}. {formula}" for number, formula in claims["formula"].items()),
                *_reasons(verdicts),
            ]
        )
        + "\n"
    )


def _summary(estimator: str, verdicts: pd.DataFrame) -> str:
    """Return a phrase such as `own_batch: 17 of 24 hold, 2 cannot be tested`."""
    counts = verdicts.loc[verdicts["estimator"] == estimator, "verdict"].value_counts()
    untested = counts.get(NOT_APPLICABLE, 0)
    phrase = f"{estimator}: {counts.get(HOLDS, 0)} of {counts.sum()} hold"
    return f"{phrase}, {untested} cannot be tested" if untested else phrase


def _cell(row: pd.Series) -> str:
    """Return a cell such as `✓ 12.0 [9.10, 15.0] (≥ 10)`."""
    if row["verdict"] == NOT_APPLICABLE:
        return MARKS[NOT_APPLICABLE]
    interval = f" [{_number(row['low'])}, {_number(row['high'])}]" if row["interval"] else ""
    threshold = f" ({row['relation']} {row['threshold']:g})" if row["threshold"] else ""
    return f"{MARKS[row['verdict']]} {_number(row['value'])}{interval}{threshold}"


def _number(value: float) -> str:
    """Return three significant digits, without an exponent and with a true minus sign."""
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    digits = max(0, 2 - math.floor(math.log10(abs(value)))) if value else 0
    return f"{value:.{digits}f}".replace("-", "−")


def _reasons(verdicts: pd.DataFrame) -> list[str]:
    """Return a section that says why claims cannot be tested; empty if all can."""
    untested = verdicts[verdicts["verdict"] == NOT_APPLICABLE]
    if untested.empty:
        return []
    by_reason = untested.groupby(["claim", "reason"])["estimator"].agg(", ".join)
    lines = [f"- {claim} ({names}): {reason}" for (claim, reason), names in by_reason.items()]
    return ["## Not tested", "\n".join(lines)]
