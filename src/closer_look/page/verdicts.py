"""The verdicts on the claims, arranged for reading: claims by estimators."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

import pandas as pd

from ..analysis.claims.claim import PAPER
from ..analysis.claims.markdown import BY, MARKS
from ..analysis.claims.verdicts import FAILS, HOLDS, NOT_APPLICABLE, UNDECIDED
from ..trees import Tree

VERDICTS = (HOLDS, UNDECIDED, FAILS, NOT_APPLICABLE)


@dataclass(frozen=True)
class Claim:
    """A claim, and its row of the table of verdicts under each estimator.

    Names and texts are those of the table's columns; `unlearned` are runs that it rests on and that
    have hardly learned.
    """

    number: str
    group: str
    section: str
    statement: str
    formula: str
    runs: str
    unlearned: list[str]
    rows: dict[str, Tree]

    def verdict(self, estimator: str) -> str:
        """Return one of VERDICTS."""
        return str(self.rows[estimator]["verdict"])

    @property
    def disputed(self) -> bool:
        """Whether it holds by one estimator and fails by another."""
        return {HOLDS, FAILS} <= set(map(self.verdict, self.rows))


def arrange(table: pd.DataFrame) -> list[Claim]:
    """Return the claims in their order; `table` as of `closer_look.analysis.claims.evaluate`."""
    shared = ["group", "section", "statement", "formula", "runs"]
    table = table.assign(unlearned=table["unlearned"].fillna("").astype(str))
    return [
        Claim(
            number=str(number),
            **rows.iloc[0][shared],
            unlearned=rows.iloc[0]["unlearned"].split(),
            rows={row["estimator"]: row for row in cast(list[Tree], rows.to_dict("records"))},
        )
        for number, rows in table.groupby("claim", sort=False)
    ]


def of_paper(claims: Iterable[Claim]) -> list[Claim]:
    """Return the claims of the paper, without those of others."""
    return [claim for claim in claims if claim.group == PAPER]


def count(claims: Iterable[Claim], estimator: str) -> dict[str, int]:
    """Return how many claims hold, are undecided, fail and cannot be tested, by an estimator."""
    counts = Counter(claim.verdict(estimator) for claim in claims)
    return {verdict: counts[verdict] for verdict in VERDICTS}


def survivors(claims: Iterable[Claim], estimator: str, other: str) -> int:
    """Return how many of the claims that hold by an estimator hold by the other too."""
    return sum({claim.verdict(estimator), claim.verdict(other)} == {HOLDS} for claim in claims)


def tally(row: Tree) -> str:
    """Return how many of a claim's inequalities hold, and which decide, in words."""
    several = int(row["inequalities"])
    held = f"{int(row['hold'])} of {several} inequalities hold"
    return f"{held}; {BY[row['verdict']]}: {row['decides']}" if several > 1 else ""


def mark(verdict: str) -> str:
    """Return the sign of a verdict."""
    return MARKS[verdict]
