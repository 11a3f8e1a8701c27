"""fairseq's side of LCA: `fairseq-train --user-dir THIS_FOLDER --optimizer lca_adam --lca-log DIR`.

The only part of the library that imports fairseq. Any task and model will do, and `lca_sgd` as
well; every update of the run is recorded in DIR (see `lca.recorder`).
"""

import os
from types import SimpleNamespace

import numpy as np

# fairseq's checkpoints hold its settings as Python objects, which torch.load refuses by default;
# they are this run's own.
os.environ.setdefault("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")

# NumPy 2 has it no longer; fairseq asks for it where a sample is a sentence.
if not hasattr(np, "compat"):
    vars(np)["compat"] = SimpleNamespace(long=int)

from . import hooks, optimizer  # noqa: E402, F401

hooks.install()
