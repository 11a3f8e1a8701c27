"""Loss Change Allocation (LCA): which parameters lowered the loss, at every update.

The library knows nothing of Snakemake, and only `fairseq_plugin` knows of fairseq. From the ground
up: `blocks` (which parameter belongs to which block), `allocation` (the sums), `optimizer` (Adam
that allocates while it updates), `recorder` (the log), `analysis` and `plotting` (frames in,
frames and figures out).
"""

ESTIMATORS = ("own_batch", "next_batch")
"""Whose gradient is multiplied with an update's displacement; see `lca.allocation`."""

STATISTICS = ("sum", "positive", "count")
"""Of a block's terms: their sum, the sum of the positive ones, the number of positive ones."""
