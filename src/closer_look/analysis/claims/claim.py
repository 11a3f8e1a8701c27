"""What a claim is: a sentence of the paper, and a function that reads it as inequalities."""

import inspect
import math
import operator
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

import numpy as np

from .evidence import Evidence, NotApplicable

SYMBOLS = """\
H[l] is the contribution of layer l of a component: -LCA summed over all updates, in nats per
predicted token. A are the components of attention (key, query, value, out), F those of the
feed-forward (w1, w2). t90 is the update by which 90 % of a contribution was reached; "early" are
the first 10 % of the updates. Layers are those of twelve, in translation six of the encoder and six
of the decoder; models of another depth are divided likewise. Differences are in units of the
component's mean |H[l]|: above 0 means more, at any magnitude. Thresholds are our reading of the
paper's words, unless it has the number."""
"""What the formulas are written in."""

OBJECTIVES = ("mlm", "clm", "mt")
"""Masked and causal language model, translation."""

RELATIONS = {">": operator.gt, "≥": operator.ge, "≤": operator.le}


class Part(NamedTuple):
    """One inequality of a claim: `value`, which is NaN where it is undefined, and a bound."""

    label: str
    value: float
    relation: str
    threshold: float
    reason: str = ""
    """Why it is undefined."""

    @property
    def holds(self) -> bool | None:
        """Whether the inequality holds; None where it is undefined."""
        if math.isnan(self.value):
            return None
        return RELATIONS[self.relation](self.value, self.threshold)

    @property
    def slack(self) -> float:
        """How far it is from failing, as a multiple of the threshold if that is not 0."""
        sign = -1 if self.relation == "≤" else 1
        return sign * (self.value - self.threshold) / (abs(self.threshold) or 1)


def above(label: str, value: float, threshold: float = 0) -> Part:
    """Require a value above the threshold."""
    return Part(label, float(value), ">", threshold)


def at_least(label: str, value: float, threshold: float = 0) -> Part:
    """Require a value of at least the threshold."""
    return Part(label, float(value), "≥", threshold)


def at_most(label: str, value: float, threshold: float) -> Part:
    """Require a value of at most the threshold."""
    return Part(label, float(value), "≤", threshold)


@dataclass(frozen=True)
class Claim:
    """A claim of the paper; it holds if all its parts do."""

    number: int
    section: str
    statement: str
    objectives: tuple[str, ...]
    """Whose main runs it is about; none: it is about all runs."""
    each: bool
    """Whether it is made of each objective by itself."""
    function: Callable[..., Iterator[Part]]

    @property
    def formula(self) -> str:
        """The claim as a formula: the first paragraph of the function's docstring."""
        return " ".join(inspect.getdoc(self.function).split("\n\n")[0].split())

    def parts(self, evidence: Evidence) -> list[Part]:
        """Return the claim's inequalities; where the evidence ends, one says what is missing."""
        arguments = [(name,) for name in self.objectives] if self.each else [()]
        with np.errstate(all="ignore"), warnings.catch_warnings(action="ignore"):
            # what has no value is NaN, and is reported as such
            calls = (_until_missing(self.function(evidence, *more)) for more in arguments)
            return list(chain.from_iterable(calls))


CLAIMS: dict[int, Claim] = {}
"""All claims by their number."""


def claim(
    number: int,
    section: str,
    statement: str,
    objectives: tuple[str, ...] = OBJECTIVES,
    each: bool = False,
):
    """Register a function from evidence to parts as a claim; see `Claim` for the arguments.

    With `each`, the function is called once for every objective, which is its second argument.
    """

    def register(function):
        CLAIMS[number] = Claim(number, section, statement, objectives, each, function)
        return function

    return register


def _until_missing(parts: Iterator[Part]) -> Iterator[Part]:
    """Yield the parts; if one cannot be had, a last one that is undefined and says why."""
    try:
        yield from parts
    except NotApplicable as missing:
        yield Part("", math.nan, "", math.nan, str(missing))
