"""PyTorch's SGD, with LCA."""

from typing import Any

from torch import Tensor
from torch.optim.optimizer import ParamsT

from .base import Job, LcaOptimizer, Step, at_least_zero


class SGD(LcaOptimizer):
    """Stochastic gradient descent with momentum (Polyak 1964), with LCA.

    Its updates are those of `torch.optim.SGD`, which fairseq uses: m <- momentum * m + g + penalty
    * theta_t, and theta_(t+1) = theta_t - lr * m, where penalty is the weight decay. So m alone,
    which PyTorch calls the momentum buffer, says what the last update did.
    """

    MOMENTS = ("momentum_buffer",)
    FIXED = LcaOptimizer.FIXED | {"dampening": 0.0, "nesterov": False}

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-3,
        momentum: float = 0.0,
        *,
        weight_decay: float = 0.0,
    ) -> None:
        at_least_zero(lr=lr, momentum=momentum, weight_decay=weight_decay)
        super().__init__(params, lr=lr, momentum=momentum, weight_decay=weight_decay)

    @staticmethod
    def _betas(group: dict[str, Any]) -> tuple[float, float]:
        return group["momentum"], 0.0

    def _job(self, parameter: Tensor, group: dict[str, Any]) -> Job | None:
        """As all do. Raises `RuntimeError` if momentum begins or ends: while there is none, PyTorch
        leaves its buffer as it is, which here says what the last update did."""
        has_momentum = group["momentum"] > 0
        if self.state.get(parameter, {}).get("has_momentum", has_momentum) != has_momentum:
            raise RuntimeError("SGD with LCA does not support momentum that comes or goes")
        if job := super()._job(parameter, group):
            self.state[parameter]["has_momentum"] = has_momentum
        return job

    @staticmethod
    def _step(group: dict[str, Any], count: int) -> Step:
        return Step(float(group["lr"]), penalty=group["weight_decay"])

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
        if step.penalty:
            gradient = gradient.add(theta, alpha=step.penalty)
        m.mul_(betas[0]).add_(gradient)
        theta.add_(m, alpha=-step.size)

    @staticmethod
    def _displacement(theta: Tensor, m: Tensor, v: Tensor | None, step: Step) -> Tensor:
        return m * -step.size
