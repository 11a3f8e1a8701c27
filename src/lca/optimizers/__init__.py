"""Optimizers whose one pass over the parameters applies the update and allocates the loss change.

`Adam`, `AdamW` and `SGD` make PyTorch's updates, `FairseqAdam` fairseq's. They differ in their
moments and in what an update makes of them; all else is common (`base`). The rule is written three
times: as PyTorch operations with each optimizer, and for all of them in `cpu_kernel` and
`cuda_kernel`.
"""

from .adam import Adam, AdamW
from .base import LcaOptimizer
from .fairseq_adam import FairseqAdam
from .sgd import SGD

__all__ = ["SGD", "Adam", "AdamW", "FairseqAdam", "LcaOptimizer"]
