"""The arrays of the analysis, by what they hold."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.integer]
Booleans = NDArray[np.bool_]
Labels = NDArray[np.object_]
"""Text, as a column of a frame holds it."""
