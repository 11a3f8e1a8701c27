"""Loss Change Allocation (LCA): which parameters lowered the loss, at every update.

The library knows nothing of Snakemake, and only `fairseq_plugin` knows of fairseq. From the ground
up: `blocks` (which parameter belongs to which block), `allocation` (the sums), `optimizers` (Adam
and SGD that allocate while they update), `integral` and `trapezoid` (the change of a loss along
a step and along the path), `recorder` (the log), `analysis` (from the log to frames), `plot` (from
frames to pictures). What a training needs is here by name: `lca.AdamW` and so on.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import plot
    from .allocation import per_block
    from .blocks import partition
    from .optimizers import SGD, Adam, AdamW
    from .placement import Rule
    from .reading import read
    from .recording import Recording, record

__all__ = [
    "ESTIMATORS",
    "LAGS",
    "PROBES",
    "SGD",
    "STATISTICS",
    "Adam",
    "AdamW",
    "Recording",
    "Rule",
    "partition",
    "per_block",
    "plot",
    "read",
    "record",
]

_NAMES = {
    "Adam": "optimizers",
    "AdamW": "optimizers",
    "SGD": "optimizers",
    "Recording": "recording",
    "Rule": "placement",
    "partition": "blocks",
    "per_block": "allocation",
    "read": "reading",
    "record": "recording",
}
"""What the package offers by name, and the module that is loaded for it."""


if not TYPE_CHECKING:  # which knows the names from above

    def __getattr__(name: str) -> Any:
        """Load what is asked for: readers of logs need no PyTorch, and trainings no pandas."""
        if name == "plot":
            return import_module(".plot", __name__)
        if name not in _NAMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f".{_NAMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__


LAGS = {"own_batch": 0, "next_batch": 1}
"""What is recorded at every update: displacements times a gradient so many updates later."""

ESTIMATORS = ("own_batch", "next_batch", "trapezoid", "probe")
"""What is analysed; see `lca.allocation`. Of the trapezoid there is a value for every stride of
some updates, of `probe` for scheduled updates only; see `lca.trapezoid` and `lca.integral`."""

PROBES = ("train", "held_out")
"""The fixed batches that the probe integrates over."""

STATISTICS = ("sum", "positive", "helping", "hurting")
"""Of a block's terms: their sum, the sum of the positive ones, and how many are negative (they
lowered the loss) and positive."""
