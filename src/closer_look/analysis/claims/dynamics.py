"""Claims 13 to 19: when and how smoothly the layers learned (section 4.2, Figure 2).

Formulas and readings are written as in `layers`. The section speaks of two groups, the feed-forward
parameters, and key, query and value for attention; the figure draws a curve of each for every
layer. "Embeddings" there have a scale of their own.
"""

from collections.abc import Iterator

import numpy as np

from ...vocabulary import COMPONENTS, FEED_FORWARD, OBJECTIVES
from ..arrays import Floats
from .claim import Part, above, at_most, claim
from .evidence import EARLY, Evidence, NotApplicable
from .formulas import (
    between,
    margin,
    rank_correlation,
    ratio,
    relative,
    require_layers,
    span,
)

FIGURE_2 = "4.2, Figure 2"

QUERIES = ("key", "query", "value")
GROUPS = {"attention": QUERIES, "feed-forward": FEED_FORWARD}
"""The rows of Figure 2."""


@claim(
    13,
    FIGURE_2,
    "The largest values come early: a fast initial phase, then a much slower one.",
    each=True,
)
def largest_values_come_early(e: Evidence, objective: str) -> Iterator[Part]:
    """mean contribution of an update, early / later > 1, all blocks together, in each objective.

    Early is the first quarter, which holds the warm-up: in its first updates nothing can be learned
    fast. How much slower "much slower" is the paper does not say. Raises `NotApplicable` where
    nothing was gained on the whole.
    """
    yield above(f"{objective}: early / later", _early_rate(e, objective), 1)


@claim(14, FIGURE_2, "Earlier layers converge first.", each=True)
def earlier_layers_converge_first(e: Evidence, objective: str) -> Iterator[Part]:
    """Spearman(layer, t90) > 0 in each objective, MT: in each module.

    A layer's t90 is the median over its components. Raises `NotApplicable` for fewer than three
    layers that have one.
    """
    for stack in e.stacks(objective):
        t90 = np.nanmedian(e.t90(objective, COMPONENTS, stack), axis=1)
        require_layers(t90[:, ~np.isnan(t90[0])], 3)
        yield above(f"{objective} {stack}", rank_correlation(t90), mirrored=(-1, 1))


@claim(
    15,
    FIGURE_2,
    "In MLM the embeddings and layers 1 and 10–12 contribute most early on and oscillate longest; "
    "the middle layers do hardly anything.",
    objectives=("mlm",),
)
def masked_outer_layers_are_active(e: Evidence) -> Iterator[Part]:
    """embeddings: mean contribution of an update, early / later > 1; H(Q) and H(F): outer layers
    (1, 10..12) against the middle ones (3..9): mean early H > ; oscillation, outer / middle > 1;
    mean |H|, middle / outer ≤ 0.1.

    Embeddings have a scale of their own in the figure, so they are compared with themselves.
    Oscillation is the mean over layers of the standard deviation of a curve in the second half of
    training: both "longer" and "larger". Raises `NotApplicable` where embeddings gained nothing.
    """
    yield above("embeddings: early / later", _early_rate(e, "mlm", "embeddings"), 1)
    for name, components in GROUPS.items():
        early = e.early("mlm", components)
        yield above(f"{name}: early, outer over middle", margin(*_outer_and_middle(early), early))
        curves = e.course("mlm", components)
        swings = curves[..., curves.shape[-1] // 2 :].std(axis=-1)
        outer, middle = (layers.mean(axis=1) for layers in _outer_and_middle(swings))
        label = f"{name}: oscillation, outer / middle"
        yield above(label, ratio(outer, middle), 1, mirrored=(0, np.inf))
        sizes = np.abs(e.summed("mlm", components))
        outer, middle = (layers.mean(axis=1) for layers in _outer_and_middle(sizes))
        label = f"{name}: contribution, middle / outer"
        yield at_most(label, ratio(middle, outer), 0.1, mirrored=(0, np.inf))


@claim(16, FIGURE_2, "CLM and MT are similar to each other rather than to MLM.")
def causal_and_translation_are_alike(e: Evidence) -> Iterator[Part]:
    """r(CLM, MT) > r(CLM, MLM) and r(MT, MLM).

    r is the correlation over time of a layer's curves in two models (MT: the encoder's layers, then
    the decoder's), mean over layers and over Q and F: "similarities in shape across almost all
    layers and blocks". Raises `NotApplicable` for models of different depths.
    """
    curves = {
        objective: np.concatenate([e.course(objective, group) for group in GROUPS.values()], axis=1)
        for objective in OBJECTIVES
    }
    if len({each.shape[1] for each in curves.values()}) > 1:
        raise NotApplicable("the models are of different depths")
    alike = _likeness(curves["clm"], curves["mt"])
    for other in ("clm", "mt"):
        label = f"r(CLM, MT) − r({other.upper()}, MLM)"
        yield above(label, alike - _likeness(curves[other], curves["mlm"]), mirrored=(-2, 2))


@claim(
    17,
    FIGURE_2,
    "MT converges more smoothly than CLM, especially in layers 7–10.",
    objectives=("clm", "mt"),
)
def translation_is_smoother(e: Evidence) -> Iterator[Part]:
    """median roughness of layers 7..10, CLM / MT > 1.

    Roughness is the total variation of a curve over its range (1: it only falls); the median is
    over layers and over Q and F.
    """
    causal, translation = (
        np.median([_roughness(e.course(name, group)) for group in GROUPS.values()], axis=(0, 2))
        for name in ("clm", "mt")
    )
    yield above("CLM / MT", ratio(causal, translation), 1, mirrored=(0, np.inf))


@claim(
    18,
    FIGURE_2,
    "In CLM most comes from layers 7–9 in attention and 7–12 in feed-forward.",
    objectives=("clm",),
)
def causal_middle_layers_lead(e: Evidence) -> Iterator[Part]:
    """mean H(Q)[7..9] > mean of the others; mean H(F)[7..12] > mean of the others."""
    for (name, components), last in zip(GROUPS.items(), (9, 12), strict=True):
        h = e.summed("clm", components)
        chosen = span(h.shape[1], 7, last)
        label = f"{name}: layers 7-{last} over others"
        yield above(label, margin(h[:, chosen], h[:, ~chosen], h))


@claim(
    19,
    FIGURE_2,
    "In CLM and MT feed-forward converges much later than attention and contributes more, "
    "particularly in layers 10–12.",
    objectives=("clm", "mt"),
    each=True,
)
def feed_forward_is_later_and_more(e: Evidence, objective: str) -> Iterator[Part]:
    """later: t90(F) / t90(Q), median over layers > 1, and mean over layers 10..12 > mean over the
    others; more: mean H(F) − H(Q) > 0, and mean over layers 10..12 > mean over the others.

    In MT the layers 10 to 12 are the decoder's last three. How much later "much later" is the paper
    does not say.
    """
    delay = e.t90_of_sum(objective, FEED_FORWARD) / e.t90_of_sum(objective, QUERIES)
    last = span(delay.shape[1], 10, 12)
    yield above(f"{objective}: later", np.nanmedian(delay, axis=1), 1)
    beyond = np.nanmean(delay[:, last], axis=1) - np.nanmean(delay[:, ~last], axis=1)
    yield above(f"{objective}: later, layers 10-12 over others", beyond)
    more = e.summed(objective, FEED_FORWARD) - e.summed(objective, QUERIES)
    yield above(f"{objective}: more", relative(more.mean(axis=1), more))
    label = f"{objective}: more, layers 10-12 over others"
    yield above(label, margin(more[:, last], more[:, ~last], more))


def _early_rate(e: Evidence, objective: str, component: str | None = None) -> Floats:
    """Return the mean contribution of an early update over that of a later one, (draw,).

    Raises `NotApplicable` if they do not add up to a gain.
    """
    early, whole = e.early_and_all(objective, component).T
    if whole[0] <= 0:
        of = component or "the contributions"
        raise NotApplicable(f"{objective}: {of} do not add up to a gain")
    return ratio(early / EARLY, (whole - early) / (1 - EARLY))


def _outer_and_middle(layers: Floats) -> tuple[Floats, Floats]:
    """Return the values (draw, layer) of layers 1 and 10 to 12, and of layers 3 to 9."""
    outer = [between(layers, 1, 1), between(layers, 10, 12)]
    return np.concatenate(outer, axis=1), between(layers, 3, 9)


def _likeness(a: Floats, b: Floats) -> Floats:
    """Return the mean over layers of the correlation of two models' curves."""
    units = []
    for curves in (a, b):
        centred = curves - curves.mean(axis=-1, keepdims=True)
        units.append(centred / np.linalg.norm(centred, axis=-1, keepdims=True))
    likeness: Floats = (units[0] * units[1]).sum(axis=-1).mean(axis=1)
    return likeness


def _roughness(curves: Floats) -> Floats:
    """Return the roughness of layers 7 to 10, (draw, layer)."""
    roughness = np.abs(np.diff(curves)).sum(axis=-1) / np.ptp(curves, axis=-1)
    return between(roughness, 7, 10)
