"""Claims 25 and 26: what others say of Transformers and these logs can test, too.

Formulas and readings are written as in `layers`. Both sources are about causal language models.
"""

from collections.abc import Iterator

import numpy as np

from ...vocabulary import ATTENTION, FEED_FORWARD
from .claim import OTHERS, Part, above, at_least, claim
from .evidence import Evidence, NotApplicable
from .formulas import margin

SETTLED_BY = 0.2
"""The share of training within which layers of larger models stabilise."""


@claim(
    25,
    "Diehl Martinez et al. 2024, arXiv 2410.11451",
    "Nearly all layers settle within the first 20 % of training: in larger models, while in small "
    "ones they take longer.",
    objectives=("clm",),
    group=OTHERS,
)
def layers_settle_early(e: Evidence) -> Iterator[Part]:
    """share of layers with t90 ≤ 0.2 is ≥ 0.9, of H(A) and of H(F).

    A model of the size at hand is asked on which side it is: that it fails is what is said of small
    ones. The source compares activations with the final ones; that a layer has settled when 90 % of
    its contribution is reached, and that nearly all are 90 %, is our reading.
    """
    for name, components in (("attention", ATTENTION), ("feed-forward", FEED_FORWARD)):
        settled = e.t90_of_sum("clm", components) <= SETTLED_BY
        yield at_least(f"{name}: share of layers", settled.mean(axis=1), 0.9)


@claim(
    26,
    "Ikeda et al. 2025, arXiv 2508.17734",
    "Feed-forward of the middle layers matters most.",
    objectives=("clm",),
    group=OTHERS,
)
def middle_feed_forward_matters_most(e: Evidence) -> Iterator[Part]:
    """mean H(F) of the layers whose middle is in the middle 70 % of the depth > that of the others.

    Of twelve layers, 3 to 10. In the source, models whose feed-forward parameters were all put into
    the middle 70 % of the layers did better than others; that this shows in contributions is our
    reading. Raises `NotApplicable` for so few layers that all are in the middle.
    """
    h = e.summed("clm", FEED_FORWARD)
    depth = (np.arange(h.shape[1]) + 0.5) / h.shape[1]
    middle = np.abs(depth - 0.5) <= 0.35
    if middle.all():
        raise NotApplicable(f"{len(depth)} layers are too few to tell the middle from the others")
    yield above("middle over others", margin(h[:, middle], h[:, ~middle], h))
