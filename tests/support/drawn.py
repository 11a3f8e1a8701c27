"""Tables of synthetic runs as figures take them, and what is read off a figure."""

import pandas as pd

import synthetic
from lca.analysis.curves import curves as read_curves
from lca.analysis.curves import head_curves
from lca.analysis.totals import totals as read_totals

SIZE = dict(layers=4, heads=2, width=16, vocabulary=50)
UPDATES = 1500  # 750 windows of 2
MLM, CLM, MT, WMT = 0, 4, 8, 14  # of `synthetic.RUNS`


def logged(folder, number, updates=UPDATES, **size):
    """Return totals and curves of a synthetic run."""
    facets = synthetic.facets(number)
    path = folder / f"{number}.parquet"
    synthetic.write_log(path, facets["objective"], updates, number, **SIZE | size)
    totals = read_totals(path, head_curves(path)).assign(**facets)
    return totals, read_curves(path).assign(**facets)


def main_runs(frame):
    keys = [tuple(synthetic.facets(number).values()) for number in (MLM, CLM, MT)]
    rows = frame[["corpus", "objective", "languages", "variant", "seed"]].apply(tuple, axis=1)
    return frame[rows.isin(keys)]


def of(frame, estimator="own_batch"):
    """Return the rows of one estimator, as figures take them."""
    return frame[frame["estimator"] == estimator]


def titled(figure, title):
    """Return the panels with a title, from top to bottom."""
    return [panel for panel in figure.axes if panel.get_title() == title]


def texts(panel):
    return [text.get_text() for text in panel.texts]


def contributions(totals, objective, component, estimator="own_batch", head=0):
    """Return -LCA over the layers, the encoder's first."""
    rows = totals.query(
        f"objective == '{objective}' and component == '{component}'"
        f" and estimator == '{estimator}' and head == {head}"
    )
    rows = rows.sort_values(["stack", "layer"], ascending=[False, True])
    return (-rows["lca"]).to_numpy()


def of_seeds(frame, column):
    """Return a frame as of three seeds, the values of which are 1, 2 and 6 times as large."""
    return pd.concat([frame.assign(seed=n, **{column: frame[column] * n}) for n in (1, 2, 6)])
