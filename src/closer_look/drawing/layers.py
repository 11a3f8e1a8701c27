"""The axis and the colours of the layers: those of the encoder before those of the decoder."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure
from matplotlib.typing import ColorType

STACKS = ("encoder", "decoder")
COLOURS = plt.get_cmap("viridis")
MOST_DIGITS = 13
"""Digits that the labels of an axis have room for in a narrow panel."""


def places(frame: pd.DataFrame) -> pd.Index:
    """Return the (stack, layer) of the frame's rows, each once, in the order of the axis."""
    pairs = pd.MultiIndex.from_frame(frame[["stack", "layer"]]).unique()
    return pairs.sort_values(
        key=lambda level: level.map(_order) if level.name == "stack" else level
    )


def stack_middles(places: pd.Index) -> dict[str, float]:
    """Return the middle position of every stack; empty if there is only one."""
    positions = pd.Series(range(len(places)), places.get_level_values("stack"))
    middles = positions.groupby(level=0, sort=False).mean()
    return {str(stack): middle for stack, middle in middles.items()} if len(middles) > 1 else {}


def label(axis: Axis, places: pd.Index, most_digits: int = MOST_DIGITS) -> None:
    """Put a tick at every layer, and as many numbers as there is room for."""
    number(axis, list(places.get_level_values("layer")), most_digits=most_digits)


def number(axis: Axis, numbers: list[int], first: int = 0, most_digits: int = MOST_DIGITS) -> None:
    """Put ticks from position `first` on, and as many of their `numbers` as there is room for."""
    thinned = (_thin(numbers, step) for step in range(1, len(numbers) + 1))
    shown = next(labels for labels in thinned if len("".join(labels)) <= most_digits)
    axis.set_ticks(range(first, first + len(numbers)), shown)


def name_stacks(panel: Axes, places: pd.Index, vertical: bool = False) -> None:
    """Write the stacks' names beside the axis of the layers, if there are two."""
    for stack, middle in stack_middles(places).items():
        panel.annotate(
            stack,
            (0, middle) if vertical else (middle, 0),
            (-15, 0) if vertical else (0, -15),
            xycoords=("axes fraction", "data") if vertical else ("data", "axes fraction"),
            textcoords="offset points",
            ha="center",
            va="center" if vertical else "baseline",
            rotation=90 if vertical else 0,
            fontsize=6.5,
        )


def borders(places: pd.Index) -> list[float]:
    """Return the positions between one stack and the next."""
    stacks = places.get_level_values("stack")
    return [
        position - 0.5
        for position in range(1, len(stacks))
        if stacks[position] != stacks[position - 1]
    ]


def colours(places: pd.Index) -> dict[tuple[str, int], ColorType]:
    """Return a colour for each layer, from dark to light."""
    return dict(zip(places, COLOURS(np.linspace(0, 0.93, len(places))), strict=True))


def colour_bar(figure: Figure, places: pd.Index, **options: Any) -> None:
    """Draw a horizontal bar that explains `colours`; `options` are those of `figure.colorbar`."""
    number = len(places)
    shades = ListedColormap(list(colours(places).values()))
    norm = BoundaryNorm(np.arange(number + 1) - 0.5, number)
    bar = figure.colorbar(ScalarMappable(norm, shades), orientation="horizontal", **options)
    bar.outline.set_visible(False)
    bar.set_label("Layer", labelpad=12 if stack_middles(places) else 4)
    label(bar.ax.xaxis, places)
    name_stacks(bar.ax, places)
    bar.ax.tick_params(which="both", length=0)


def _order(stack: str) -> int:
    return STACKS.index(stack) if stack in STACKS else len(STACKS)


def _thin(numbers: list[int], step: int) -> list[str]:
    """Return the multiples of `step` as labels, and 1 where it is not next to another stack's."""
    is_one_stack = numbers.count(1) == 1
    return [
        str(number) if number % step == 0 or (number == 1 and is_one_stack) else ""
        for number in numbers
    ]
