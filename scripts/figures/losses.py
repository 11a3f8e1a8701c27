"""The loss over the updates: of the training batches, and of the probe's fixed texts."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from closer_look.analysis.frames import read
from closer_look.drawing.style import COLOURS, names, objectives, save, shades
from closer_look.drawing.trajectories import smooth
from closer_look.jobs.job import job
from closer_look.vocabulary import MODEL, OBJECTIVE_NAMES, UNIT

STYLES = {
    "batches": ("training batches", {"linewidth": 0.9}),
    "train": ("training text, dropout off", {"linestyle": (0, (1, 1.2)), "linewidth": 1}),
    "held_out": ("held-out text", {"linestyle": (0, (4, 2)), "linewidth": 1.4}),
}
"""What the loss is of, and how its line is drawn."""


def draw(
    losses: pd.DataFrame, completeness: pd.DataFrame, smoothing: int = 1000, scale: str = "linear"
) -> Figure:
    """Draw a panel for each objective, in it a shade for each run; of several seeds the mean.

    The arguments are as of `closer_look.analysis.losses` and `lca.analysis.completeness`, with the
    columns of `vocabulary.FACETS`. The loss of the training batches is averaged over the last
    `smoothing` updates. The axis of the updates has the `scale` "linear" or "log".
    """
    shown = objectives(losses)
    figure, axes = plt.subplots(1, len(shown), figsize=(4 * len(shown) + 0.6, 4), squeeze=False)
    for panel, objective in zip(axes[0], shown, strict=True):
        rows, probed = (frame[frame["objective"] == objective] for frame in (losses, completeness))
        runs = rows[MODEL].drop_duplicates()
        tints = shades(COLOURS[objective], len(runs))
        for name, shade, run in zip(names(runs), tints, runs.itertuples(index=False), strict=True):
            of_run, of_probe = (
                frame[(frame[MODEL] == list(run)).all(axis=1)] for frame in (rows, probed)
            )
            _draw(panel, of_run, of_probe, smoothing, shade)
            panel.plot([], [], color=shade, label=name)
        panel.set(title=OBJECTIVE_NAMES[objective], xlabel="Update", xscale=scale)
        panel.legend(loc="upper right", ncols=1 + (len(runs) > 6))
    axes[0, 0].set_ylabel(f"Loss ({UNIT})")
    handles = [Line2D([], [], color="0.2", label=name, **style) for name, style in STYLES.values()]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    figure.suptitle(f"Loss; of the training batches the moving average over {smoothing:,} updates")
    return figure


def _draw(
    panel: Axes, losses: pd.DataFrame, probed: pd.DataFrame, smoothing: int, shade: tuple
) -> None:
    """Draw the losses of one run."""
    batches = smooth(losses.groupby("update")[["loss"]].mean(), smoothing)["loss"]
    by_reference = probed.groupby(["reference", "update"])["loss"].mean()
    lines = {"batches": batches} | {
        name: by_reference[name] for name in STYLES if name in by_reference.index
    }
    for name, line in lines.items():
        panel.plot(line.index, line, color=shade, **STYLES[name][1])


if __name__ == "__main__":
    with job(snakemake):
        given, params = snakemake.input, snakemake.params
        losses = read(given.losses, columns=[*MODEL, "seed", "update", "loss"])
        probed = read(given.completeness, columns=[*MODEL, "seed", "reference", "update", "loss"])
        save(draw(losses, probed, params.smoothing, params.scale), *snakemake.output)
