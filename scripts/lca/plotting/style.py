"""Names, colours and files that all figures share."""

from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

matplotlib.use("Agg")
plt.style.use(Path(__file__).with_name("lca.mplstyle"))

OBJECTIVES = {
    "mlm": "Masked LM",
    "clm": "Causal LM",
    "mt": "Translation",
}
COLOURS = {"mlm": "#0072b2", "clm": "#d55e00", "mt": "#009e73"}
"""Of the objectives: told apart with any colour vision (Okabe & Ito) and in greys."""

COMPONENTS = {
    "key": "Key",
    "query": "Query",
    "value": "Value",
    "out": "Out",
    "w1": "W1",
    "w2": "W2",
}
"""The components that the paper plots, in its order."""

ESTIMATORS = {"own_batch": "own-batch", "next_batch": "next-batch", "trapezoid": "trapezoid"}


def lighter(colour: str, share: float = 0.5) -> tuple[float, float, float]:
    """Return the colour mixed with `share` of white."""
    return tuple(1 - (1 - part) * (1 - share) for part in to_rgb(colour))


def save(figure: Figure, *paths: str | Path) -> None:
    """Write the figure to files, each in the format of its name, without a date in them."""
    for path in paths:
        metadata = {"CreationDate": None} if str(path).endswith(".pdf") else None
        figure.savefig(path, metadata=metadata)
    plt.close(figure)
