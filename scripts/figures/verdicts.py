"""What becomes of the claims in every variant, by every estimator."""

from collections.abc import Mapping, Sequence
from functools import partial
from textwrap import shorten

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from closer_look.analysis.claims import evaluate
from closer_look.analysis.claims.claim import CLAIMS
from closer_look.analysis.claims.markdown import MARKS
from closer_look.analysis.claims.verdicts import FAILS, HOLDS, NOT_APPLICABLE, UNDECIDED
from closer_look.analysis.frames import read
from closer_look.drawing.style import ESTIMATORS, save
from closer_look.jobs.job import job

COLOURS = {HOLDS: "#7fcdb4", UNDECIDED: "#eeeeee", FAILS: "#f0a878", NOT_APPLICABLE: "#ffffff"}

LONGEST = 62
"""Characters of a statement that are shown."""


def by_variant(main: Mapping[str, Sequence[str]], **tables: pd.DataFrame) -> pd.DataFrame:
    """Test in every variant the claims that are about the main runs.

    `main` has the runs of each variant, as CORPUS/OBJECTIVE/LANGUAGES/VARIANT. The result is that
    of `claims.evaluate`, with `variant` as its first column; `tables` are its tables.
    """
    numbers = [number for number, claim in CLAIMS.items() if claim.objectives]
    frames = []
    for variant, names in main.items():
        runs = [tuple(name.split("/")) for name in names]
        frames.append(evaluate(**tables, main=runs, numbers=numbers).assign(variant=variant))
    frame = pd.concat(frames, ignore_index=True)
    return frame[["variant", *frame.columns.drop("variant")]]


def draw(verdicts: pd.DataFrame) -> Figure:
    """Draw a panel for each estimator: a row for each claim, a column for each variant.

    `verdicts` as of `by_variant`.
    """
    estimators, variants = verdicts["estimator"].unique(), list(verdicts["variant"].unique())
    statements = verdicts.drop_duplicates("claim").set_index("claim")["statement"]
    shown = statements.map(partial(shorten, width=LONGEST, placeholder=" …"))
    labels = shown + "  " + shown.index
    figure, axes = plt.subplots(
        *(1, len(estimators)),
        figsize=(4.2 + len(estimators) * max(1.1, 0.34 * len(variants)), 0.18 * len(labels) + 1.5),
        sharey=True,
        squeeze=False,
    )
    for panel, estimator in zip(axes[0], estimators, strict=True):
        of_panel = verdicts[verdicts["estimator"] == estimator]
        cells = of_panel.pivot(index="claim", columns="variant", values="verdict")
        _draw(panel, cells.loc[statements.index, variants])
        panel.set_title(ESTIMATORS[estimator])
    axes[0, 0].set_yticks(range(len(labels)), labels, fontsize=6)
    figure.suptitle("Which of the claims about single models hold, by variant")
    figure.get_layout_engine().set(w_pad=0.15)  # inches; small letters are wider when printed
    signs = ",   ".join(f"{MARKS[verdict]} {verdict}" for verdict in COLOURS)
    figure.supxlabel(signs, fontsize=7)
    return figure


def _draw(panel: Axes, verdicts: pd.DataFrame) -> None:
    """Draw the cells, in each the sign of its verdict."""
    codes = verdicts.map(list(COLOURS).index).to_numpy()
    colours = ListedColormap(list(COLOURS.values()))
    panel.imshow(codes, cmap=colours, vmin=0, vmax=len(COLOURS) - 1, aspect="auto")
    for row, of_row in enumerate(verdicts.to_numpy()):
        for column, verdict in enumerate(of_row):
            panel.text(column, row, MARKS[verdict], ha="center", va="center", fontsize=7)
    panel.set_xticks(range(verdicts.shape[1]), verdicts.columns, rotation=90)
    panel.tick_params(length=0)
    panel.grid(False)
    panel.spines[:].set_visible(False)


if __name__ == "__main__":
    with job(snakemake):
        tables = {name: read(snakemake.input[name]) for name in ("totals", "curves", "head_curves")}
        verdicts = by_variant(snakemake.params.main, **tables)
        verdicts.to_csv(snakemake.output.csv, index=False)
        save(draw(verdicts), snakemake.output.pdf, snakemake.output.png)
