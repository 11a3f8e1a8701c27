"""The verdicts on the paper's claims, arranged for reading: claims by estimators."""

from collections import Counter
from dataclasses import dataclass

import pandas as pd

from ..analysis.claims.verdicts import FAILS, HOLDS, NOT_APPLICABLE

VERDICTS = (HOLDS, FAILS, NOT_APPLICABLE)


@dataclass(frozen=True)
class Claim:
    """A claim, and its row of the table of verdicts under each estimator.

    Names and texts are those of the table's columns.
    """

    number: int
    section: str
    statement: str
    formula: str
    runs: str
    rows: dict[str, dict]

    def verdict(self, estimator: str) -> str:
        """Return one of VERDICTS."""
        return self.rows[estimator]["verdict"]

    @property
    def disputed(self) -> bool:
        """Whether it holds by one estimator and fails by another."""
        return {HOLDS, FAILS} <= set(map(self.verdict, self.rows))


def arrange(table: pd.DataFrame) -> list[Claim]:
    """Return the claims in their order; `table` as of `closer_look.analysis.claims.evaluate`."""
    shared = ["section", "statement", "formula", "runs"]
    return [
        Claim(
            number=number,
            **rows.iloc[0][shared],
            rows={row["estimator"]: row for row in rows.to_dict("records")},
        )
        for number, rows in table.groupby("claim")
    ]


def count(claims: list[Claim], estimator: str) -> dict[str, int]:
    """Return how many claims hold, fail and are not applicable, by an estimator."""
    found = Counter(claim.verdict(estimator) for claim in claims)
    return {verdict: found[verdict] for verdict in VERDICTS}


def survivors(claims: list[Claim], estimator: str, other: str) -> int:
    """Return how many of the claims that hold by an estimator hold by the other too."""
    return sum({claim.verdict(estimator), claim.verdict(other)} == {HOLDS} for claim in claims)
