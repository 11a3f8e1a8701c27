"""Claims 1 to 12: what each layer contributed in the whole training (section 4.1, Figure 1).

The first paragraph of each docstring is the formula, in the symbols of `claim.SYMBOLS`; the second
says what in it is our reading.
"""

from collections.abc import Iterator

import numpy as np
from scipy.special import entr
from scipy.stats import rankdata

from ...vocabulary import ATTENTION, FEED_FORWARD
from ..arrays import Floats
from .claim import Part, above, at_least, claim
from .evidence import Evidence
from .formulas import (
    bend,
    between,
    correlations,
    margin,
    over_each,
    r_squared,
    ratio,
    relative,
    require_layers,
    slope,
)

FIGURE_1 = "4.1, Figure 1"


@claim(
    1,
    FIGURE_1,
    "Feed-forward components contribute an order of magnitude more than attention.",
    each=True,
)
def feed_forward_dominates(e: Evidence, objective: str) -> Iterator[Part]:
    """median H[F] / median H[A] ≥ 10 in each objective.

    The medians are over layers and components, since the paper compares the scales of panels.
    """
    grids = (e.grid(objective, components) for components in (FEED_FORWARD, ATTENTION))
    yield at_least(objective, ratio(*(np.median(grid, axis=(1, 2)) for grid in grids)), 10)


@claim(
    2,
    FIGURE_1,
    "MLM attention is U-shaped: last layers first, then the first two, little in the middle.",
    objectives=("mlm",),
)
def masked_attention_is_u_shaped(e: Evidence) -> Iterator[Part]:
    """mean H[11, 12] > mean H[1, 2] > mean H[3..10], for each of A.

    The paper says "concave"; what it describes is a U.
    """
    for component in ATTENTION:
        h = e.profile("mlm", component)
        first, middle, last = between(h, 1, 2), between(h, 3, 10), between(h, 11, 12)
        yield above(f"{component}: last over first layers", margin(last, first, h))
        yield above(f"{component}: first over middle layers", margin(first, middle, h))


@claim(
    3,
    FIGURE_1,
    "CLM attention is a cup with a handle: high in layers 1 and 6–10, a drop in the last, and more "
    "even than in MLM.",
    objectives=("clm", "mlm"),
)
def causal_attention_is_cup_and_handle(e: Evidence) -> Iterator[Part]:
    """H[1] and mean H[6..10] > mean H[2..5]; H[12] < H[11]; entropy(CLM) > entropy(MLM); each of A.

    The entropy is of the layers' shares, negative H taken as 0, as a share of its largest value.
    """
    for component in ATTENTION:
        yield from _cup_and_handle(component, e.profile("clm", component))
    for component in ATTENTION:
        causal, masked = (_evenness(e.profile(name, component)) for name in ("clm", "mlm"))
        yield above(f"{component}: evenness over MLM's", causal - masked)


@claim(
    4,
    FIGURE_1,
    "MT encoder's key and query peak in layer 1, fall drastically in layer 2, then rise slightly.",
    objectives=("mt",),
)
def encoder_key_query_peak_first(e: Evidence) -> Iterator[Part]:
    """argmax H = 1; H[2] ≤ H[1] / 2; slope of H[2..6] ≥ 0; key and query of the encoder."""
    for component in ("key", "query"):
        h = e.profile("mt", component, "encoder")
        require_layers(h, 3)
        yield above(f"{component}: layer 1 over all others", over_each(h, 0))
        fall = relative(h[:, 0] / 2 - h[:, 1], h)
        yield at_least(f"{component}: half of layer 1 over layer 2", fall)
        yield at_least(f"{component}: slope after layer 1", relative(slope(h[:, 1:]), h))


@claim(
    5,
    FIGURE_1,
    "MT encoder's value and out are U-shaped, with prominent initial and final layers.",
    objectives=("mt",),
)
def encoder_value_out_are_u_shaped(e: Evidence) -> Iterator[Part]:
    """min(H[1], H[6]) > mean H[2..5]; value and out of the encoder."""
    for component in ("value", "out"):
        h = e.profile("mt", component, "encoder")
        require_layers(h, 3)
        over = relative(h[:, [0, -1]] - h[:, 1:-1].mean(axis=1, keepdims=True), h)
        yield above(f"{component}: ends over middle", over)


@claim(
    6,
    FIGURE_1,
    "MT decoder's key and query are a cup with a handle; value and out do not drop in the last "
    "layer.",
    objectives=("mt",),
)
def decoder_attention_is_cup_and_handle(e: Evidence) -> Iterator[Part]:
    """key, query: H[1] and mean H[4, 5] > mean H[2, 3], H[6] < H[5]; value, out: H[6] ≥ 0.7 max H.

    That value and out are "similar" otherwise is not tested. The six layers are those of claim 3,
    two for one.
    """
    for component in ("key", "query"):
        yield from _cup_and_handle(component, e.profile("mt", component, "decoder"))
    for component in ("value", "out"):
        h = e.profile("mt", component, "decoder")
        yield at_least(f"{component}: last over 0.7 max", relative(h[:, [-1]] - 0.7 * h, h))


@claim(
    7,
    FIGURE_1,
    "In MT key and query behave alike, and so do value and out.",
    objectives=("mt",),
)
def translation_attention_comes_in_pairs(e: Evidence) -> Iterator[Part]:
    """r(key, query) and r(value, out) > every other correlation among A, over all layers."""
    h = e.grid("mt", ATTENTION)
    require_layers(h, 3)
    r = correlations(h)
    across = r[:, :2, 2:].reshape(len(r), -1)
    yield above("key and query over other pairs", r[:, [0], 1] - across)
    yield above("value and out over other pairs", r[:, [2], 3] - across)


@claim(
    8,
    FIGURE_1,
    "Feed-forward contributions are highest in the last layer (MT: of each module).",
    each=True,
)
def feed_forward_peaks_last(e: Evidence, objective: str) -> Iterator[Part]:
    """argmax H = 12, of w1 and w2 in each objective (MT: 6, in the encoder and the decoder)."""
    for stack in e.stacks(objective):
        for component in FEED_FORWARD:
            label = f"{objective} {stack} {component}: last layer over all others"
            yield above(label, over_each(e.profile(objective, component, stack), -1))


@claim(
    9,
    FIGURE_1,
    "MLM feed-forward is strong in the first layer and rises steeply towards the last ones.",
    objectives=("mlm",),
)
def masked_feed_forward_rises_steeply(e: Evidence) -> Iterator[Part]:
    """H[1] > median H[2..8]; slope of H[9..12] > slope of H[2..9] and 0; w1 and w2.

    "Steep" is read as steeper than in the layers before.
    """
    for component in FEED_FORWARD:
        h = e.profile("mlm", component)
        first = relative(h[:, 0] - np.median(between(h, 2, 8), axis=1), h)
        yield above(f"{component}: first over middle layers", first)
        before, end = between(h, 2, 9), between(h, 9, 12)
        require_layers(end, 2)
        steeper = slope(end)[:, None] - np.stack([slope(before), np.zeros(len(h))], axis=1)
        yield above(f"{component}: final slope", relative(steeper, h))


@claim(
    10,
    FIGURE_1,
    "Unlike the other models, MLM shows the same trend in all components.",
)
def masked_components_share_a_trend(e: Evidence) -> Iterator[Part]:
    """least Spearman correlation between two components over layers: MLM > CLM and MLM > MT."""
    masked = _least_correlation(e.grid("mlm"))
    for objective in ("clm", "mt"):
        other = _least_correlation(e.grid(objective))
        yield above(f"MLM over {objective}", masked - other, mirrored=(-2, 2))


@claim(
    11,
    FIGURE_1,
    "CLM feed-forward rises over all layers, with sharper jumps in layers 4–7.",
    objectives=("clm",),
)
def causal_feed_forward_rises(e: Evidence) -> Iterator[Part]:
    """H[l] > H[l-1] in every layer; mean increment in layers 4..7 > mean of all; w1 and w2."""
    for component in FEED_FORWARD:
        h = e.profile("clm", component)
        require_layers(h, 2)
        increments = np.diff(h, prepend=h[:, :1])
        jumps = between(increments, 4, 7)
        yield above(f"{component}: least increment", relative(increments[:, 1:], h))
        yield above(f"{component}: jumps in layers 4-7", margin(jumps, increments[:, 1:], h))


@claim(
    12,
    FIGURE_1,
    "MT encoder's feed-forward increases linearly; the decoder's rises ever more steeply.",
    objectives=("mt",),
)
def encoder_linear_decoder_convex(e: Evidence) -> Iterator[Part]:
    """encoder: slope > 0, R² of a line ≥ 0.9; decoder: quadratic coefficient > 0; w1 and w2.

    "Moderate contributions initially and high increase towards the last layer" is read as convex.
    """
    for component in FEED_FORWARD:
        h = e.profile("mt", component, "encoder")
        require_layers(h, 4)
        yield above(f"encoder {component}: slope", relative(slope(h), h))
        yield at_least(f"encoder {component}: R²", r_squared(h), 0.9, mirrored=(0, 1))
        h = e.profile("mt", component, "decoder")
        require_layers(h, 4)
        yield above(f"decoder {component}: convexity", relative(bend(h), h))


def _cup_and_handle(component: str, h: Floats) -> Iterator[Part]:
    """Require a peak in the first layer, a dip, a plateau, and a drop at the end."""
    cup, handle = between(h, 2, 5), between(h, 6, 10)
    yield above(f"{component}: layer 1 over 2-5", margin(h[:, :1], cup, h))
    yield above(f"{component}: layers 6-10 over 2-5", margin(handle, cup, h))
    require_layers(h, 2)
    yield above(f"{component}: drop in the last layer", relative(h[:, -2] - h[:, -1], h))


def _evenness(h: Floats) -> Floats:
    """Return the entropy of the layers' shares, from 0 (all in one) to 1 (all equal)."""
    require_layers(h, 2)
    gains = h.clip(min=0)
    shares = gains / gains.sum(axis=1, keepdims=True)
    evenness: Floats = entr(shares).sum(axis=1) / np.log(h.shape[1])
    return evenness


def _least_correlation(grid: Floats) -> Floats:
    """Return the least Spearman correlation between two components over layers."""
    require_layers(grid, 3)
    least: Floats = correlations(rankdata(grid, axis=2)).min(axis=(1, 2))
    return least
