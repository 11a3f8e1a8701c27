"""The verdicts as a page of Markdown: a row per claim, a column per estimator."""

import math
from collections.abc import Callable, Iterator

import pandas as pd

from ..resampling import CONFIDENCE
from .claim import OTHERS, PAPER, SYMBOLS
from .verdicts import FAILS, HOLDS, NOT_APPLICABLE, UNDECIDED

MARKS = {HOLDS: "✓", FAILS: "✗", UNDECIDED: "?", NOT_APPLICABLE: "–"}
WORDS = {HOLDS: "hold", FAILS: "fail", UNDECIDED: "undecided", NOT_APPLICABLE: "not tested"}
"""Of several."""

DOUBTFUL = "⚠"
"""Beside verdicts that rest on a model that has hardly learned."""

LEGEND = f"""\
✓ holds, ✗ fails, ? undecided, – cannot be tested (why is said below). An inequality holds or fails
if it does so in all of its {CONFIDENCE:.0%} interval, and is undecided if that contains the
threshold. A claim holds if all its inequalities do, fails if one fails, and is undecided else;
where it has many, the end of the interval that decides whether one fails is Bonferroni's. The
number is the value of the inequality that decides (of several, the one that is furthest from
holding, or nearest to failing), with its interval in brackets and its threshold in parentheses,
then how many of the inequalities hold. All of them, and the runs, are in `claims.csv`."""

TITLES = {PAPER: "the paper's claim", OTHERS: "what others say"}


def write(verdicts: pd.DataFrame) -> str:
    """Return the page; `verdicts` as of `claims.evaluate`."""
    names = verdicts["estimator"].unique()
    sections = [
        "; ".join(_summary(name, verdicts) for name in names) + ".",
        *_warning(verdicts),
        *(_table(rows, _cell) for rows in _groups(verdicts)),
        LEGEND,
        "## What decides",
        "\n".join(_deciding(verdicts)),
        "## Formulas",
        SYMBOLS,
        "\n".join(_formulas(verdicts)),
        *_reasons(verdicts),
    ]
    return "\n\n".join(sections) + "\n"


def overview(verdicts: pd.DataFrame) -> str:
    """Return tables of nothing but marks, for a page that gives an answer at a glance."""
    tables = [_table(rows, _mark) for rows in _groups(verdicts)]
    marks = ", ".join(f"{mark} {verdict}" for verdict, mark in MARKS.items())
    return "\n\n".join([*tables, *_warning(verdicts), marks]) + "\n"


def _groups(verdicts: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """Return the verdicts on the paper's claims, then those on the claims of others."""
    return (rows for _, rows in verdicts.groupby("group", sort=False))


def _table(rows: pd.DataFrame, cell: Callable[[pd.Series], str]) -> str:
    """Return the table of a group of claims; `cell` makes a row into a text."""
    estimators = list(rows["estimator"].unique())
    cells = rows.assign(cell=rows.apply(cell, axis="columns"))
    claims = rows.drop_duplicates("claim").set_index("claim")
    table = claims[["statement", "section"]].join(
        cells.pivot(index="claim", columns="estimator", values="cell")[estimators]
    )
    title = TITLES[rows["group"].iloc[0]]
    table = table.rename(columns={"statement": title}).rename_axis("#")
    return table.to_markdown(disable_numparse=True)


def _summary(estimator: str, verdicts: pd.DataFrame) -> str:
    """Return a phrase such as `own_batch: of the paper's 25 claims, 9 hold, 7 fail, ...`."""
    ours = verdicts[(verdicts["estimator"] == estimator) & (verdicts["group"] == PAPER)]
    counts = ours["verdict"].value_counts()
    parts = [f"{counts[name]} {word}" for name, word in WORDS.items() if counts.get(name)]
    return f"{estimator}: of the paper's {len(ours)} claims, {', '.join(parts)}"


def _warning(verdicts: pd.DataFrame) -> list[str]:
    """Return a paragraph that names models that have hardly learned; empty if there are none."""
    runs = sorted(set(" ".join(verdicts["unlearned"].fillna("")).split()))
    if not runs:
        return []
    return [
        f"{DOUBTFUL} Hardly better than the frequencies of words are {', '.join(runs)}. A verdict "
        f"that rests on them is marked {DOUBTFUL}: it says nothing of models that have learned."
    ]


def _mark(row: pd.Series) -> str:
    """Return a mark such as `✓` or `✗ ⚠`."""
    doubtful = isinstance(row["unlearned"], str) and row["unlearned"]
    return MARKS[row["verdict"]] + (f" {DOUBTFUL}" if doubtful else "")


def _cell(row: pd.Series) -> str:
    """Return a cell such as `✓ 12.0 [9.10, 15.0] (≥ 10), 3 of 3`."""
    if row["verdict"] == NOT_APPLICABLE:
        return _mark(row)
    interval = f"[{_number(row['low'])}, {_number(row['high'])}]" if row["interval"] else "[?]"
    bound = f"({row['relation']} {row['threshold']:g})"
    held = f"{row['hold']} of {row['inequalities']}"
    return f"{_mark(row)} {_number(row['value'])} {interval} {bound}, {held}"


def _number(value: float) -> str:
    """Return three significant digits, without an exponent and with a true minus sign."""
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    digits = max(0, 2 - math.floor(math.log10(abs(value)))) if value else 0
    return f"{value:.{digits}f}".replace("-", "−")


def _deciding(verdicts: pd.DataFrame) -> list[str]:
    """Return lines such as `- 4, own_batch: 3 of 6 inequalities hold; fails by: key: ...`."""
    tested = verdicts[verdicts["verdict"] != NOT_APPLICABLE]
    return [
        f"- {row['claim']}, {row['estimator']}: {row['hold']} of {row['inequalities']} "
        f"{'inequality holds' if row['inequalities'] == 1 else 'inequalities hold'}; "
        f"{BY[row['verdict']]}: {_first(row['decides'].split('; '))}"
        for _, row in tested.iterrows()
        if row["inequalities"] > 1
    ]


def _first(labels: list[str], most: int = 3) -> str:
    """Return the first of the labels, and how many there are more."""
    more = f"; and {len(labels) - most} more" if len(labels) > most else ""
    return "; ".join(labels[:most]) + more


BY = {HOLDS: "nearest to failing", FAILS: "fails by", UNDECIDED: "undecided"}


def _formulas(verdicts: pd.DataFrame) -> list[str]:
    """Return the formula of each claim."""
    claims = verdicts.drop_duplicates("claim")
    return [f"- {row.claim}: {row.formula}" for row in claims.itertuples()]


def _reasons(verdicts: pd.DataFrame) -> list[str]:
    """Return a section that says why claims cannot be tested; empty if all can."""
    untested = verdicts[verdicts["reason"].fillna("") != ""]
    if untested.empty:
        return []
    by_reason = untested.groupby(["claim", "reason"], sort=False)["estimator"].agg(", ".join)
    rows = by_reason.reset_index().to_numpy()
    lines = [f"- {claim} ({names}): {reason}" for claim, reason, names in rows]
    return ["## Not tested", "\n".join(lines)]
