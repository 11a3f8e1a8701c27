"""Loss Change Allocation (LCA): which parameters lowered the loss, at every update.

The library knows nothing of Snakemake, and only `fairseq_plugin` knows of fairseq. From the ground
up: `blocks` (which parameter belongs to which block), `allocation` (the sums), `optimizer` (Adam
that allocates while it updates), `recorder` (the log), `analysis` and `plotting` (frames in,
frames and figures out).
"""

LAGS = {"own_batch": 0, "next_batch": 1, "second_batch": 2}
"""What is recorded: displacements times the gradient of the batch so many updates later."""

ESTIMATORS = ("own_batch", "next_batch", "midpoint")
"""What is analysed; see `lca.allocation`. The midpoint follows from lags 1 and 2."""

STATISTICS = ("sum", "positive", "count")
"""Of a block's terms: their sum, the sum of the positive ones, the number of positive ones."""
