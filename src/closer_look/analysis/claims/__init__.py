"""The paper's claims, and some of others, put to the test under every estimator."""

from . import dynamics, layers, noise, others  # noqa: F401 (registers the claims, in order)
from .claim import CLAIMS as CLAIMS
from .verdicts import COLUMNS as COLUMNS
from .verdicts import evaluate as evaluate
