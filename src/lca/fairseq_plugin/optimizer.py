"""Registers optimizers of `lca.optimizers` as fairseq's `lca_adam` and `lca_sgd`."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from fairseq.dataclass import FairseqDataclass
from fairseq.optim import FairseqOptimizer, register_optimizer
from fairseq.optim.adam import FairseqAdam, FairseqAdamConfig
from omegaconf import II, MISSING
from torch import Tensor

from lca import optimizers

NAMES = ("lca_adam", "lca_sgd")


@dataclass
class LcaConfig(FairseqDataclass):
    """What is recorded where."""

    lca_log: str = field(default=MISSING, metadata={"help": "folder of the LCA log"})
    lca_trapezoid_every: int = field(
        default=0,
        metadata={"help": "follow the path in strides of at most so many updates (0: do not)"},
    )
    lca_trapezoid_tokens: int = field(
        default=8192, metadata={"help": "tokens of the fixed text on which it is followed"}
    )
    lca_probe_every: int = field(
        default=0,
        metadata={"help": "run the probe every so many updates (0: never)"},
    )
    lca_probe_tokens: int = field(
        default=8192, metadata={"help": "tokens of the fixed batches, at least"}
    )
    lca_probe_loss_tokens: int = field(
        default=65536, metadata={"help": "tokens to measure the loss with dropout on, at least"}
    )


@dataclass
class LcaAdamConfig(LcaConfig, FairseqAdamConfig):
    """And fairseq's options of Adam."""


@dataclass
class LcaSGDConfig(LcaConfig):
    """And fairseq's options of SGD, which it knows only in an older form."""

    momentum: float = field(default=0.0, metadata={"help": "momentum factor"})
    weight_decay: float = field(default=0.0, metadata={"help": "weight decay"})
    lr: list[float] = II("optimization.lr")


@register_optimizer("lca_adam", dataclass=LcaAdamConfig)
class LcaAdam(FairseqAdam):
    """fairseq's Adam that allocates the loss change of every update."""

    supports_flat_params = True

    def __init__(self, cfg: LcaAdamConfig, params: Iterable[Tensor]) -> None:
        FairseqOptimizer.__init__(self, cfg)
        self._optimizer = optimizers.FairseqAdam(params, **self.optimizer_config)


@register_optimizer("lca_sgd", dataclass=LcaSGDConfig)
class LcaSGD(FairseqOptimizer):
    """fairseq's SGD that allocates the loss change of every update."""

    supports_flat_params = True

    def __init__(self, cfg: LcaSGDConfig, params: Iterable[Tensor]) -> None:
        super().__init__(cfg)
        self._optimizer = optimizers.SGD(params, **self.optimizer_config)

    @property
    def optimizer_config(self) -> dict[str, Any]:
        """What the command line says, also of an optimizer that is restored."""
        return {
            "lr": self.cfg.lr[0],
            "momentum": self.cfg.momentum,
            "weight_decay": self.cfg.weight_decay,
        }
