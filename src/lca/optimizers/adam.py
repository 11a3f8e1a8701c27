"""PyTorch's Adam and AdamW, with LCA."""

import math
from typing import Any

from torch import Tensor
from torch.optim.optimizer import ParamsT

from .base import LcaOptimizer, Step, at_least_zero


class Adam(LcaOptimizer):
    """Adam (Kingma & Ba 2015) as `torch.optim.Adam` computes it, with LCA.

    Its updates are theta_(t+1) = theta_t - size * m / (sqrt(v) / root + eps), where
    size = lr / (1 - beta1^t), root = sqrt(1 - beta2^t), and the moments are of g + weight_decay *
    theta_t: an L2 penalty. The terms of LCA are of g itself.
    """

    MOMENTS = ("exp_avg", "exp_avg_sq")
    TORCH_ORDER = True
    FIXED = LcaOptimizer.FIXED | {"decoupled_weight_decay": False}

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        at_least_zero(lr=lr, eps=eps, weight_decay=weight_decay)
        if not all(0 <= beta < 1 for beta in betas):
            raise ValueError(f"betas are {betas}, but must be at least 0 and less than 1")
        super().__init__(params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay)

    @staticmethod
    def _betas(group: dict[str, Any]) -> tuple[float, float]:
        betas: tuple[float, float] = group["betas"]
        return betas

    @staticmethod
    def _step(group: dict[str, Any], count: int) -> Step:
        beta1, beta2 = group["betas"]
        size = float(group["lr"]) / (1 - beta1**count)
        root = math.sqrt(1 - beta2**count)
        return Step(size, eps=group["eps"], root=root, penalty=group["weight_decay"])

    @staticmethod
    def _update(
        theta: Tensor,
        gradient: Tensor,
        m: Tensor,
        v: Tensor | None,
        betas: tuple[float, float],
        step: Step,
    ) -> None:
        """In PyTorch's order of operations."""
        assert v is not None  # it is among `MOMENTS`
        if step.decay:
            theta.mul_(1 - step.decay)
        if step.penalty:
            gradient = gradient.add(theta, alpha=step.penalty)
        m.lerp_(gradient, 1 - betas[0])
        v.mul_(betas[1]).addcmul_(gradient, gradient, value=1 - betas[1])
        theta.addcdiv_(m, (v.sqrt() / step.root).add_(step.eps), value=-step.size)

    @staticmethod
    def _displacement(theta: Tensor, m: Tensor, v: Tensor | None, step: Step) -> Tensor:
        """From theta_t = (theta_(t+1) + size * m / (sqrt(v) / root + eps)) / (1 - decay)."""
        assert v is not None  # it is among `MOMENTS`
        moved = (m / (v.sqrt() / step.root).add_(step.eps)).mul_(-step.size)
        return moved.sub_(theta, alpha=step.decay).div_(1 - step.decay)


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019) as `torch.optim.AdamW` has it.

    Its updates are Adam's without the penalty, of (1 - decay) * theta_t, where decay = lr *
    weight_decay. The decay is part of the displacement that is allocated.
    """

    FIXED = LcaOptimizer.FIXED | {"decoupled_weight_decay": True}

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay)

    @staticmethod
    def _step(group: dict[str, Any], count: int) -> Step:
        decay = float(group["lr"]) * group["weight_decay"]
        return Adam._step(group, count)._replace(decay=decay, penalty=0.0)
