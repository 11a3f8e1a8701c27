"""fairseq's Adam, with LCA."""

import math
from typing import Any

from torch import Tensor
from torch.optim.optimizer import ParamsT

from .base import LcaOptimizer, Step, at_least_zero


class FairseqAdam(LcaOptimizer):
    """Adam with decoupled weight decay (Kingma & Ba 2015; Loshchilov & Hutter 2019), with LCA.

    Its updates are those of fairseq's Adam:
    theta_(t+1) = theta_t - decay * theta_t - size * m / (sqrt(v) + eps), where
    size = lr * sqrt(1 - beta2^t) / (1 - beta1^t) and decay = lr * weight_decay.
    Unlike in PyTorch, eps is added to sqrt(v) before the bias correction.
    """

    MOMENTS = ("exp_avg", "exp_avg_sq")

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        at_least_zero(lr=lr, eps=eps, weight_decay=weight_decay)
        super().__init__(params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay)

    @staticmethod
    def _betas(group: dict[str, Any]) -> tuple[float, float]:
        betas: tuple[float, float] = group["betas"]
        return betas

    @staticmethod
    def _step(group: dict[str, Any], count: int) -> Step:
        beta1, beta2 = group["betas"]
        size = group["lr"] * math.sqrt(1 - beta2**count) / (1 - beta1**count)
        return Step(size, decay=group["lr"] * group["weight_decay"], eps=group["eps"])

    @staticmethod
    def _update(
        theta: Tensor,
        gradient: Tensor,
        m: Tensor,
        v: Tensor | None,
        betas: tuple[float, float],
        step: Step,
    ) -> None:
        """In fairseq's order of operations."""
        assert v is not None  # it is among `MOMENTS`
        m.mul_(betas[0]).add_(gradient, alpha=1 - betas[0])
        v.mul_(betas[1]).addcmul_(gradient, gradient, value=1 - betas[1])
        if step.decay:
            theta.add_(theta, alpha=-step.decay)
        theta.addcdiv_(m, v.sqrt().add_(step.eps), value=-step.size)

    @staticmethod
    def _displacement(theta: Tensor, m: Tensor, v: Tensor | None, step: Step) -> Tensor:
        """From theta_t = (theta_(t+1) + size * m / (sqrt(v) + eps)) / (1 - decay)."""
        assert v is not None  # it is among `MOMENTS`
        moved = (m / v.sqrt().add_(step.eps)).mul_(-step.size)
        return moved.sub_(theta, alpha=step.decay).div_(1 - step.decay)
