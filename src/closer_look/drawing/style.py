"""Names, colours and files that all figures share."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.typing import ColorType
from numpy.typing import ArrayLike

from ..vocabulary import OBJECTIVES

plt.style.use(Path(__file__).with_name("lca.mplstyle"))

COLOURS = {"mlm": "#0072b2", "clm": "#d55e00", "mt": "#009e73"}
"""Of the objectives: told apart with any colour vision (Okabe & Ito) and in greys."""

ESTIMATORS = {
    "own_batch": "own-batch",
    "next_batch": "next-batch",
    "trapezoid": "trapezoid",
    "probe": "probe",
}

ESTIMATOR_COLOURS = {
    "own_batch": "#cc79a7",
    "next_batch": "#56b4e9",
    "trapezoid": "#e69f00",
    "probe": "#8c8c8c",
}


def lighter(colour: str, share: float = 0.5) -> tuple[float, float, float]:
    """Return the colour mixed with `share` of white."""
    red, green, blue = (1 - (1 - part) * (1 - share) for part in to_rgb(colour))
    return red, green, blue


def darker(colour: str, share: float = 0.5) -> tuple[float, float, float]:
    """Return the colour mixed with `share` of black."""
    red, green, blue = (part * (1 - share) for part in to_rgb(colour))
    return red, green, blue


def shades(colour: str, number: int) -> list[tuple[float, float, float]]:
    """Return shades of a colour, from dark to light."""
    if number == 1:
        return [to_rgb(colour)]
    shares = np.linspace(-0.5, 0.6, number)
    return [lighter(colour, share) if share > 0 else darker(colour, -share) for share in shares]


def objectives(frame: pd.DataFrame) -> list[str]:
    """Return the objectives in the frame, in our order."""
    return [objective for objective in OBJECTIVES if objective in set(frame["objective"])]


def names(runs: pd.DataFrame) -> list[str]:
    """Return short names of runs (a row for each): their languages, and what else tells them apart.

    That is the corpus and the variant, where there is more than one.
    """
    parts = [runs["languages"].str.replace("-", "→")]
    parts += [runs[facet] for facet in ("corpus", "variant") if runs[facet].nunique() > 1]
    return [", ".join(row) for row in zip(*parts, strict=True)]


def draw_band(
    panel: Axes, positions: ArrayLike, low: pd.Series, high: pd.Series, colour: ColorType
) -> None:
    """Draw a band from `low` to `high`, such as extremes of several seeds, if it has a width."""
    if (low < high).any():
        panel.fill_between(positions, low, high, color=colour, alpha=0.2, linewidth=0)


def signed(value: float, style: str) -> str:
    """Return a number in a format such as ".2f", with a typographic minus sign; zero has none."""
    text = f"{value:{style}}"
    return (text if float(text) else text.lstrip("+-")).replace("-", "−")


def say_empty(panel: Axes, reason: str = "no data") -> None:
    """Write into an empty panel why it is empty."""
    panel.text(
        *(0.5, 0.5, reason),
        ha="center",
        va="center",
        color="0.45",
        fontsize=7,
        transform=panel.transAxes,
    )
    panel.grid(False)
    panel.tick_params(which="both", length=0, labelbottom=False, labelleft=False)


def save(figure: Figure, *paths: str | Path) -> None:
    """Write the figure to files, each in the format of its name, without a date in them."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # it is laid out, and need not be for every file anew
    for path in paths:
        metadata = {"CreationDate": None} if str(path).endswith(".pdf") else None
        figure.savefig(path, metadata=metadata)
    plt.close(figure)
