"""Claims 13 to 19: when and how smoothly the layers learned (section 4.2, Figure 2).

Formulas and readings are written as in `layers`.
"""

from collections.abc import Iterator

import numpy as np
from scipy.stats import spearmanr

from ..quantities import ATTENTION, COMPONENTS, FEED_FORWARD
from ..similarity import similarities
from .claim import OBJECTIVES, Part, above, at_least, at_most, claim
from .evidence import Evidence, NotApplicable
from .formulas import between, margin, ratio, require_layers, span

FIGURE_2 = "4.2, Figure 2"


@claim(
    13,
    FIGURE_2,
    "Most is learned early: a fast initial phase, then a much slower one.",
    each=True,
)
def half_is_learned_early(e: Evidence, objective: str) -> Iterator[Part]:
    """early contribution / total contribution ≥ 0.5, all blocks together, in each objective."""
    total = e.whole(objective)
    if total <= 0:
        raise NotApplicable(f"{objective}: the contributions do not add up to a gain")
    yield at_least(objective, e.whole(objective, "early") / total, 0.5)


@claim(14, FIGURE_2, "Earlier layers converge first.", each=True)
def earlier_layers_converge_first(e: Evidence, objective: str) -> Iterator[Part]:
    """Spearman(layer, t90) > 0 in each objective, MT: in each module.

    A layer's t90 is the median over its components.
    """
    for stack in e.stacks(objective):
        t90 = np.nanmedian(e.grid(objective, COMPONENTS, stack, "t90"), axis=0)
        reached = ~np.isnan(t90)
        require_layers(t90[reached], 3)
        order = spearmanr(np.flatnonzero(reached), t90[reached]).statistic
        yield above(f"{objective} {stack}", order)


@claim(
    15,
    FIGURE_2,
    "In MLM the embeddings and layers 1 and 10–12 contribute most early on and oscillate longest; "
    "the middle layers do hardly anything.",
    objectives=("mlm",),
)
def masked_outer_layers_are_active(e: Evidence) -> Iterator[Part]:
    """outer layers (embeddings, 1, 10..12) against the middle (3..9): least early H > largest; mean
    oscillation, outer / middle > 1; mean |H|, middle / outer ≤ 0.1.

    A layer's H is the sum over its components. Oscillation is the standard deviation over the
    windows in the second half of training: both "longer" and "larger".
    """
    outer, middle = _outer_and_middle(e, "early")
    both = np.append(outer, middle)
    yield above("early: outer over middle", margin(outer.min(), middle.max(), both))
    outer, middle = _outer_and_middle(e, "oscillation")
    yield above("oscillation: outer / middle", ratio(outer.mean(), middle.mean()), 1)
    outer, middle = _outer_and_middle(e, "contribution")
    sizes = np.abs(middle).mean(), np.abs(outer).mean()
    yield at_most("contribution: middle / outer", ratio(*sizes), 0.1)


@claim(16, "4.2, Figures 1 and 2", "CLM and MT are similar to each other rather than to MLM.")
def causal_and_translation_are_alike(e: Evidence) -> Iterator[Part]:
    """r(CLM, MT) > r(CLM, MLM) and r(MT, MLM).

    r is the correlation over layers (MT: the encoder's, then the decoder's), mean over the
    components, so that each counts alike.
    """
    grids = [e.grid(objective) for objective in OBJECTIVES]
    if len({grid.shape for grid in grids}) > 1:
        raise NotApplicable("the models are of different depths")
    require_layers(grids[0][0], 3)
    r = similarities(np.stack(grids))
    yield above("r(CLM, MT) − r(CLM, MLM)", r[1, 2] - r[0, 1])
    yield above("r(CLM, MT) − r(MT, MLM)", r[1, 2] - r[0, 2])


@claim(
    17,
    FIGURE_2,
    "MT converges more smoothly than CLM, especially in layers 7–10.",
    objectives=("clm", "mt"),
)
def translation_is_smoother(e: Evidence) -> Iterator[Part]:
    """median roughness of layers 7..10, CLM / MT > 1.

    Roughness is the total variation of a curve over its range, after a moving average over 1/125
    of the training as in the figure.
    """
    causal, translation = (
        np.median(_layers(e.grid(objective, quantity="roughness"), 7, 10))
        for objective in ("clm", "mt")
    )
    yield above("CLM / MT", ratio(causal, translation), 1)


@claim(
    18,
    FIGURE_2,
    "In CLM most comes from layers 7–9 in attention and 7–12 in feed-forward.",
    objectives=("clm",),
)
def causal_middle_layers_lead(e: Evidence) -> Iterator[Part]:
    """least H[7..9] of A > largest other; least H[7..12] of F > largest other.

    A layer's H is the sum over the components of A or F; the paper's figure leaves `out` out.
    """
    for name, components, last in (("attention", ATTENTION, 9), ("feed-forward", FEED_FORWARD, 12)):
        h = e.grid("clm", components).sum(axis=0)
        chosen = span(len(h), 7, last)
        label = f"{name}: layers 7-{last} over others"
        yield above(label, margin(h[chosen].min(), h[~chosen].max(), h))


@claim(
    19,
    FIGURE_2,
    "In CLM and MT feed-forward converges much later than attention, most so in layers 10–12.",
    objectives=("clm", "mt"),
    each=True,
)
def feed_forward_converges_later(e: Evidence, objective: str) -> Iterator[Part]:
    """t90[F] / t90[A]: median over layers > 1; median over layers 10..12 > that over the others.

    A layer's t90 is the median over the components. In MT the layers 10 to 12 are the decoder's
    last three.
    """
    late, soon = (
        np.nanmedian(e.grid(objective, components, quantity="t90"), axis=0)
        for components in (FEED_FORWARD, ATTENTION)
    )
    delay = late / soon
    last = span(len(delay), 10, 12)
    yield above(f"{objective}: F / A", np.nanmedian(delay), 1)
    more = np.nanmedian(delay[last]) - np.nanmedian(delay[~last])
    yield above(f"{objective}: layers 10-12 over others", more)


def _layers(grid: np.ndarray, first: int, last: int) -> np.ndarray:
    """Return the columns of a grid (component, layer) that are these layers of twelve."""
    return grid[:, span(grid.shape[1], first, last)]


def _outer_and_middle(e: Evidence, quantity: str) -> tuple[np.ndarray, np.ndarray]:
    """Return a quantity of the MLM's embeddings and layers 1 and 10 to 12, and of layers 3 to 9."""
    layers = e.grid("mlm", quantity=quantity).sum(axis=0)
    embeddings = e.embeddings("mlm", quantity).sum()
    outer = [embeddings, *between(layers, 1, 1), *between(layers, 10, 12)]
    return np.array(outer), between(layers, 3, 9)
