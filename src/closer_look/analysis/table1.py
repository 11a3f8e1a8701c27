"""Table 1: how often, until when and by how much an update raised the loss (paper, section 4.4)."""

from typing import cast

import pandas as pd

from ..vocabulary import ATTENTION, FEED_FORWARD

COLUMNS = {objective: objective.upper() for objective in ("clm", "mlm", "mt")}
"""In the order of the paper's table."""

COMPONENTS = {"embeddings": "emb."}
COMPONENTS |= {name: name for name in ATTENTION} | {name: name.upper() for name in FEED_FORWARD}
ROWS = COMPONENTS | {
    "last_positive": "last update with one",
    "largest": "largest",
    "largest_in": "largest is in",
    "window": "updates of a window",
}


def table1(milestones: pd.DataFrame, paper: pd.DataFrame) -> pd.DataFrame:
    """Return our numbers beside the paper's: two columns for each objective.

    The first rows count the pairs of layer and update whose block of a component had a positive
    LCA. `milestones` as of `closer_look.analysis.milestones`, of one estimator and of one run for
    each objective, or, for estimators whose single updates are mostly noise, as of
    `closer_look.analysis.hurting`, of windows; `paper` has the rows of the table as columns, and an
    index of objectives. What is missing in either stays empty.
    """
    rows = ROWS if "window" in milestones else {k: v for k, v in ROWS.items() if k != "window"}
    blocks = milestones[milestones["component"].isin(COMPONENTS)]
    ours = {objective: _summary(rows) for objective, rows in blocks.groupby("objective")}
    columns: dict[str, pd.Series] = {"": pd.Series(rows)}
    for objective, name in COLUMNS.items():
        columns[name] = ours.get(objective, pd.Series(dtype=object)).reindex(list(rows))
        of_paper = cast(pd.Series, paper.loc[objective])  # a row, as no objective is there twice
        columns[f"{name}, paper"] = of_paper.astype(object).reindex(list(rows))
    return pd.DataFrame(columns)


def _summary(blocks: pd.DataFrame) -> pd.Series:
    """Return the numbers of one run."""
    counts = blocks.groupby("component")["positive_updates"].sum().astype(object)
    counts["last_positive"] = blocks["last_positive"].max()
    if blocks["largest"].notna().any():
        worst = blocks.iloc[blocks["largest"].argmax()]
        counts["largest"] = worst["largest"]
        counts["largest_in"] = COMPONENTS[worst["component"]]
    if "window" in blocks:
        counts["window"] = blocks["window"].iloc[0]
    return counts
