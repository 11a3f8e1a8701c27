"""The four pictures that explain a run: bars, curves, heads, and whether it adds up.

Each takes what `lca.read` returned, the name of an estimator (None: the best that was recorded),
and returns a matplotlib `Figure`, which its `savefig` writes. No backend is chosen, no setting of
matplotlib changed.
"""

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.typing import ColorType

from .analysis.uncertainty import INTERVAL
from .reading import Log

UNIT = "change of the loss"


def bars(log: Log, estimator: str | None = None) -> Figure:
    """Draw the change of the loss by layer and component, summed over the run, with intervals."""
    totals = _of(log, log.totals, estimator).query("head == 0")
    totals = totals.assign(place=_places(totals))
    components = list(dict.fromkeys(totals["component"]))
    number = totals.groupby("place", sort=False).cumcount()
    starts = (totals.groupby("place", sort=False).size() + 1).cumsum().shift(fill_value=0)
    totals = totals.assign(position=number + totals["place"].map(starts))
    figure = Figure(figsize=(2 + 0.12 * totals["position"].max(), 4), layout="constrained")
    panel = figure.subplots()
    for index, component in enumerate(components):
        here = totals[totals["component"] == component]
        panel.bar(
            *(here["position"], here["lca"]),
            yerr=INTERVAL * here["se"],
            color=_colour(index),
            ecolor="0.3",
            error_kw={"linewidth": 0.8},
            label=component,
        )
    middles = totals.groupby("place", sort=False)["position"].mean()
    panel.set_xticks(middles, middles.index, rotation=45, ha="right")
    _finish(panel, ylabel=UNIT)
    return figure


def curves(log: Log, estimator: str | None = None) -> Figure:
    """Draw how much each component, in all layers, had changed the loss by each update."""
    curves = _of(log, log.curves, estimator)
    by_component = curves.pivot_table("sum", "update", "component", aggfunc="sum", sort=False)
    widths = np.diff(by_component.index, prepend=0)
    figure = Figure(figsize=(7, 4), layout="constrained")
    panel = figure.subplots()
    for number, (component, means) in enumerate(by_component.items()):
        so_far = (means * widths).cumsum()
        panel.plot(by_component.index, so_far, color=_colour(number), label=component)
    _finish(panel, xlabel="update", ylabel=f"{UNIT}, summed so far")
    return figure


def heads(log: Log, estimator: str | None = None) -> Figure:
    """Draw the change of the loss by each attention head, in a panel per component."""
    totals = _of(log, log.totals, estimator).query("head > 0")
    components = list(dict.fromkeys(totals["component"]))
    figure = Figure(figsize=(1 + 2.2 * max(1, len(components)), 3.5), layout="constrained")
    panels = figure.subplots(1, max(1, len(components)), squeeze=False)[0]
    most = totals["lca"].abs().max()
    for panel, component in zip(panels, components, strict=False):
        here = totals[totals["component"] == component]
        table = here.assign(place=_places(here)).pivot_table("lca", "place", "head", sort=False)
        image = panel.imshow(table, cmap="RdBu_r", vmin=-most, vmax=most, aspect="auto")
        panel.set_title(component, fontsize=9)
        panel.set_xticks(range(table.shape[1]), table.columns)
        panel.set_yticks(range(table.shape[0]), table.index)
        panel.set_xlabel("head")
        figure.colorbar(image, ax=panels[-1], label=UNIT) if panel is panels[-1] else None
    if not components:
        panels[0].text(0.5, 0.5, "no attention heads", ha="center", va="center")
    return figure


def completeness(log: Log) -> Figure:
    """Draw, against the loss's change, what each estimator's allocations had summed up to.

    Of several references the first, which is the best (see `lca.analysis.completeness`).
    """
    figure = Figure(figsize=(7, 4), layout="constrained")
    panel = figure.subplots()
    frame = log.completeness
    if frame.empty:
        panel.text(0.5, 0.5, "no sample of batches: the loss was not measured", ha="center")
        return figure
    frame = frame[frame["reference"] == frame["reference"].iloc[0]]
    for number, (estimator, rows) in enumerate(frame.groupby("estimator", sort=False)):
        if number == 0:
            _band(panel, rows, "change", "black", "loss, measured")
        _band(panel, rows, "lca", _colour(number), f"LCA, {estimator}")
    _finish(panel, xlabel="update", ylabel=f"{UNIT} so far")
    return figure


def _band(panel: Axes, rows: pd.DataFrame, column: str, colour: ColorType, label: str) -> None:
    values, error = rows[column], INTERVAL * rows[f"{column}_se"]
    panel.plot(rows["update"], values, color=colour, label=label)
    panel.fill_between(
        rows["update"], values - error, values + error, color=colour, alpha=0.2, linewidth=0
    )


def _of(log: Log, frame: pd.DataFrame, estimator: str | None) -> pd.DataFrame:
    """Return the rows of an estimator. Raises `ValueError` if the log does not have it."""
    estimator = estimator or log.best
    if estimator not in set(frame["estimator"]):
        known = ", ".join(dict.fromkeys(frame["estimator"]))
        raise ValueError(f"{log.path}: has no estimator {estimator!r}, only {known}")
    return frame[frame["estimator"] == estimator]


def _places(frame: pd.DataFrame) -> pd.Series:
    """Return the stack and layer of each row as a label."""
    layers = frame["layer"].astype(str).where(frame["layer"] > 0, "outside")
    return frame["stack"] + " " + layers


def _colour(number: int) -> ColorType:
    """Return one of twenty colours, the ten strong ones first."""
    return mpl.color_sequences["tab20"][(2 * number + number // 10) % 20]


def _finish(panel: Axes, **labels: str) -> None:
    panel.axhline(0, color="0.6", linewidth=0.8)
    panel.set(**labels)
    panel.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
