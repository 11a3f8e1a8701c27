"""Registers `lca.optimizer.Adam` as fairseq's `--optimizer lca_adam`."""

from dataclasses import dataclass, field

from fairseq.optim import FairseqOptimizer, register_optimizer
from fairseq.optim.adam import FairseqAdam, FairseqAdamConfig
from omegaconf import MISSING

from lca.optimizer import Adam


@dataclass
class LcaAdamConfig(FairseqAdamConfig):
    """fairseq's options of Adam, and the folder of the log."""

    lca_log: str = field(default=MISSING, metadata={"help": "folder of the LCA log"})
    lca_second_batch: bool = field(
        default=False,
        metadata={"help": "keep the last displacements, for LCA by the midpoint estimator"},
    )


@register_optimizer("lca_adam", dataclass=LcaAdamConfig)
class LcaAdam(FairseqAdam):
    """fairseq's Adam that allocates the loss change of every update."""

    supports_flat_params = True

    def __init__(self, cfg: LcaAdamConfig, params) -> None:
        FairseqOptimizer.__init__(self, cfg)
        keep = cfg.lca_second_batch
        self._optimizer = Adam(params, second_batch=keep, **self.optimizer_config)
