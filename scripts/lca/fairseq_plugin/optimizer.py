"""Registers `lca.optimizer.Adam` as fairseq's `--optimizer lca_adam`."""

from dataclasses import dataclass, field

from fairseq.optim import FairseqOptimizer, register_optimizer
from fairseq.optim.adam import FairseqAdam, FairseqAdamConfig
from omegaconf import MISSING

from lca.optimizer import Adam


@dataclass
class LcaAdamConfig(FairseqAdamConfig):
    """fairseq's options of Adam, and what is recorded where."""

    lca_log: str = field(default=MISSING, metadata={"help": "folder of the LCA log"})
    lca_cross_batch: bool = field(
        default=False,
        metadata={"help": "cross-validate batches of several --update-freq, for the trapezoid"},
    )
    lca_probe_every: int = field(
        default=0,
        metadata={"help": "integrate each so manieth update on fixed batches (0: none)"},
    )
    lca_probe_tokens: int = field(
        default=8192, metadata={"help": "tokens of the fixed batches, at least"}
    )
    lca_probe_loss_tokens: int = field(
        default=65536, metadata={"help": "tokens to measure the loss with dropout on, at least"}
    )


@register_optimizer("lca_adam", dataclass=LcaAdamConfig)
class LcaAdam(FairseqAdam):
    """fairseq's Adam that allocates the loss change of every update."""

    supports_flat_params = True

    def __init__(self, cfg: LcaAdamConfig, params) -> None:
        FairseqOptimizer.__init__(self, cfg)
        self._optimizer = Adam(params, **self.optimizer_config)
