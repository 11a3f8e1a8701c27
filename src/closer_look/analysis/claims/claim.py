"""What a claim is: a sentence of a paper, and a function that reads it as inequalities."""

import inspect
import math
import warnings
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple, TypedDict, Unpack

import numpy as np

from ...vocabulary import OBJECTIVES
from ..arrays import Floats
from .evidence import Evidence, NotApplicable

SYMBOLS = """\
H[l] is the contribution of layer l of a component: -LCA summed over all updates, in nats per
predicted token. A are the components of attention (key, query, value, out), F those of the
feed-forward (w1, w2), Q key, query and value, which section 4.2 and Figure 2 call attention;
written H(Q), they are taken together. t90 is the share of training by which 90 % of a contribution
was reached; "early" is the first quarter of the updates. A curve is a contribution over time, in
forty stretches of the training. Layers are those of twelve, in translation six of the encoder and
six of the decoder; models of another depth are divided likewise. Differences are in units of the
component's mean |H[l]|: above 0 means more, at any magnitude. Thresholds are our reading of the
paper's words, unless it has the number."""
"""What the formulas are written in."""

PAPER, OTHERS = "the paper", "others"
"""Whose claims they are: of the paper reproduced, or of others about Transformers."""


class Part(NamedTuple):
    """One inequality of a claim: a value, given by its draws (see `evidence`), and a bound.

    With draws (draw, several), it is about the least of several values. Undefined values are NaN.
    """

    label: str
    draws: Floats
    relation: str
    threshold: float
    mirrored: tuple[float, float] | None = None
    """The limits of a value that noise pulls to one side, see `resampling.interval`."""
    interval: tuple[float, float, str] | None = None
    """Its ends, and what was resampled, where it does not follow from the draws."""
    reason: str = ""
    """Why it is undefined."""


class Details(TypedDict, total=False):
    """What a part need not have."""

    mirrored: tuple[float, float]
    interval: tuple[float, float, str]


def above(label: str, draws: Floats, threshold: float = 0, **more: Unpack[Details]) -> Part:
    """Require a value above the threshold."""
    return Part(label, draws, ">", threshold, **more)


def at_least(label: str, draws: Floats, threshold: float = 0, **more: Unpack[Details]) -> Part:
    """Require a value of at least the threshold."""
    return Part(label, draws, "≥", threshold, **more)


def at_most(label: str, draws: Floats, threshold: float, **more: Unpack[Details]) -> Part:
    """Require a value of at most the threshold."""
    return Part(label, draws, "≤", threshold, **more)


Test = Callable[..., Iterator[Part]]
"""A function from evidence, and perhaps an objective, to the inequalities of a claim."""


@dataclass(frozen=True)
class Claim:
    """A claim; it holds if all its parts do."""

    number: str
    section: str
    statement: str
    objectives: tuple[str, ...]
    """Whose main runs it is about; none: it is about all runs."""
    each: bool
    """Whether it is made of each objective by itself."""
    group: str
    """`PAPER` or `OTHERS`."""
    function: Test

    @property
    def formula(self) -> str:
        """The claim as a formula: the first paragraph of the function's docstring."""
        text = inspect.getdoc(self.function) or ""
        return " ".join(text.partition("\n\n")[0].split())

    def parts(self, evidence: Evidence) -> list[Part]:
        """Return the claim's inequalities; where the evidence ends, one says what is missing."""
        arguments = [(name,) for name in self.objectives] if self.each else [()]
        with np.errstate(all="ignore"), warnings.catch_warnings(action="ignore"):
            # what has no value is NaN, and is reported as such
            calls = (_until_missing(self.function(evidence, *more)) for more in arguments)
            return list(chain.from_iterable(calls))


CLAIMS: dict[str, Claim] = {}
"""All claims by their number."""


def in_order(numbers: Collection[str] | None = None) -> list[Claim]:
    """Return all claims, or those of `numbers`, by number: 24a before 24b."""
    chosen = (CLAIMS[number] for number in numbers or CLAIMS)
    return sorted(chosen, key=lambda claim: (int(claim.number.rstrip("ab")), claim.number))


def claim(
    number: int | str,
    section: str,
    statement: str,
    objectives: tuple[str, ...] = OBJECTIVES,
    each: bool = False,
    group: str = PAPER,
) -> Callable[[Test], Test]:
    """Register a function from evidence to parts as a claim; see `Claim` for the arguments.

    With `each`, the function is called once for every objective, which is its second argument.
    """

    def register(function: Test) -> Test:
        name = str(number)
        CLAIMS[name] = Claim(name, section, statement, objectives, each, group, function)
        return function

    return register


def _until_missing(parts: Iterator[Part]) -> Iterator[Part]:
    """Yield the parts; if one cannot be had, a last one that is undefined and says why."""
    try:
        yield from parts
    except NotApplicable as missing:
        yield Part("", np.array([math.nan]), "", math.nan, reason=str(missing))
