"""The verdicts on the paper's claims, arranged for reading: claims by estimators."""

from collections import Counter
from dataclasses import dataclass

import pandas as pd

from .. import ESTIMATORS

VERDICTS = ("holds", "fails", "not applicable")


@dataclass(frozen=True)
class Claim:
    """A claim with, for each estimator, the rows of its verdicts: usually one, possibly none."""

    name: str
    statement: str
    runs: str
    rows: dict[str, list[dict]]

    def verdict(self, estimator: str) -> str:
        """Return one of VERDICTS: a claim that fails anywhere fails."""
        found = {row["verdict"] for row in self.rows[estimator]}
        return next((name for name in ("fails", "holds") if name in found), "not applicable")

    @property
    def disputed(self) -> bool:
        """Whether it holds by one estimator and fails by another."""
        return {"holds", "fails"} <= {self.verdict(estimator) for estimator in self.rows}


def estimators(claims: pd.DataFrame) -> list[str]:
    """Return the estimators of the claims, in the order of `lca.ESTIMATORS`."""
    order = {name: position for position, name in enumerate(ESTIMATORS)}
    return sorted(claims["estimator"].unique(), key=lambda name: order.get(name, len(order)))


def arrange(claims: pd.DataFrame) -> list[Claim]:
    """Return the claims in their order.

    `claims` has a row per claim and estimator: claim, statement, estimator, verdict (one of
    VERDICTS), value, threshold, low and high (an interval of the value), runs.
    """
    return [
        Claim(
            name=str(name),
            statement=rows["statement"].iloc[0],
            runs=rows["runs"].iloc[0],
            rows={
                estimator: rows[rows["estimator"] == estimator].to_dict("records")
                for estimator in estimators(claims)
            },
        )
        for name, rows in claims.groupby("claim", sort=False)
    ]


def count(claims: list[Claim], estimator: str) -> dict[str, int]:
    """Return how many claims hold, fail and are not applicable, by an estimator."""
    found = Counter(claim.verdict(estimator) for claim in claims)
    return {verdict: found[verdict] for verdict in VERDICTS}


def survivors(claims: list[Claim], estimator: str, other: str) -> int:
    """Return how many of the claims that hold by an estimator hold by the other too."""
    return sum({claim.verdict(estimator), claim.verdict(other)} == {"holds"} for claim in claims)
