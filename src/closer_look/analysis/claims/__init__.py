"""The paper's claims, put to the test on the tables of the runs, under every estimator."""

from . import dynamics, layers, noise  # noqa: F401 (registers the claims)
from .claim import CLAIMS as CLAIMS
from .verdicts import COLUMNS as COLUMNS
from .verdicts import evaluate as evaluate
