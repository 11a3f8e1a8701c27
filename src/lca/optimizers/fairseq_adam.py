"""fairseq's Adam, with LCA."""

import math
from typing import Any

from torch import Tensor

from .adam import Adam
from .base import Step


class FairseqAdam(Adam):
    """Adam with decoupled weight decay (Kingma & Ba 2015; Loshchilov & Hutter 2019), with LCA.

    Its updates are those of fairseq's Adam:
    theta_(t+1) = theta_t - decay * theta_t - size * m / (sqrt(v) + eps), where
    size = lr * sqrt(1 - beta2^t) / (1 - beta1^t) and decay = lr * weight_decay.
    Unlike in PyTorch, eps is added to sqrt(v) before the bias correction.
    """

    TORCH_ORDER = False

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
