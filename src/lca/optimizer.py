"""Optimizers whose one pass over the parameters applies the update and allocates the loss change.

`Adam` and `SGD` differ in their moments and in what an update makes of them; all else is common.
"""

import math
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from . import LAGS, cpu_kernel
from .allocation import add_terms, empty
from .blocks import Partition, Slice

TILE = 2**16
"""Largest share of a tensor, in elements, that a thread of the CPU takes at a time."""


class Step(NamedTuple):
    """The coefficients of an update; see `Adam` and `SGD` for what they multiply."""

    size: float
    decay: float
    eps: float = 0.0


class Job(NamedTuple):
    """One tensor to be updated: parameter, gradient and moments, and how."""

    theta: Tensor
    gradient: Tensor
    m: Tensor
    v: Tensor | None
    """The second moment; SGD has none."""
    betas: tuple[float, float]
    """The decay rates of m and v."""
    step: Step
    last: Step
    """The step before; its `size` is 0 if there was none."""

    def flat(self) -> list[Tensor | None]:
        """Return flat views of the tensors."""
        tensors = self[:4]
        return [None if tensor is None else tensor.detach().view(-1) for tensor in tensors]

    def coefficients(self) -> tuple[float, ...]:
        """Return what the kernels multiply by, in their order."""
        beta1, beta2 = self.betas
        return (beta1, 1 - beta1, beta2, 1 - beta2, *self.step, *self.last)


class LcaOptimizer(torch.optim.Optimizer):
    """What is common to the optimizers with LCA.

    After `attach(partition)` every `step()` leaves `allocations` (each `(cells, 4)`, see
    `allocation`), made while the update is applied: `own_batch`, of this update's displacement, and
    `next_batch`, of that of the update before (zero at the first). `next_batch` needs no copy of
    the parameters: until this update overwrites them, the moments, theta and the last learning
    rate, which is kept in the state, determine what the last update did.

    Parameters and gradients are float32: the model's own, or a mixed-precision master copy.
    """

    MOMENTS: tuple[str, ...]
    """The names in the state of m and, if there is one, v."""

    def __init__(self, params: Iterable[Tensor], **defaults) -> None:
        super().__init__(params, defaults)
        self.partition: Partition | None = None
        self.allocations: dict[str, Tensor] = {}
        self.last_lr = 0.0
        """The learning rate of the last step."""
        self.clip_coefficient = 1.0
        """What clipping multiplied the gradient by: undone in the allocations."""

    @staticmethod
    def _betas(group: dict) -> tuple[float, float]:
        """Return the decay rates of m and v."""
        raise NotImplementedError

    @staticmethod
    def _step(group: dict, lr: float, count: int) -> Step:
        """Return the coefficients of update number `count` (from 1) at learning rate `lr`."""
        raise NotImplementedError

    @staticmethod
    def _update(
        theta: Tensor,
        gradient: Tensor,
        m: Tensor,
        v: Tensor | None,
        betas: tuple[float, float],
        step: Step,
    ) -> None:
        """Update moments and parameters in place."""
        raise NotImplementedError

    @staticmethod
    def _displacement(theta: Tensor, m: Tensor, v: Tensor | None, step: Step) -> Tensor:
        """Return theta_(t+1) - theta_t of the update that left theta_(t+1) and the moments."""
        raise NotImplementedError

    def attach(self, partition: Partition) -> None:
        """Allocate to the blocks of `partition` from now on.

        The optimizer holds the partition's parameters one by one, or a single flat tensor of all
        of them in the same order. Raises `ValueError` if neither is so, or if they are not
        contiguous float32.
        """
        params = [p for group in self.param_groups for p in group["params"]]
        if any(p.dtype != torch.float32 for p in params):
            raise ValueError("LCA needs float32 parameters or a float32 master copy of them")
        if not all(p.is_contiguous() for p in params):
            raise ValueError("LCA needs contiguous parameters")
        sizes = tuple(p.numel() for p in params)
        if sizes == partition.sizes:
            places = [(index, 0) for index in range(len(sizes))]
        elif sizes == (partition.numel,):
            places = [(0, sum(partition.sizes[:index])) for index in range(len(partition.sizes))]
        else:
            raise ValueError("the optimizer's parameters are not those of the partition")
        self.partition = partition
        self._slices: list[list[tuple[int, Slice]]] = [[] for _ in params]
        for piece in partition.slices:
            index, offset = places[piece.parameter]
            self._slices[index].append((offset + piece.start, piece))
        self._shares = _share_out(self._slices, torch.get_num_threads())
        self._arrays: dict[int, tuple] = {}
        self._runs: dict[int, list] = {}

    def values(self) -> list[Tensor]:
        """Return the parameters, flat, in the order of the partition."""
        return self._in_order(lambda parameter: parameter.detach())

    def gradients(self) -> list[Tensor]:
        """Return the gradients likewise."""
        return self._in_order(lambda p: torch.zeros_like(p) if p.grad is None else p.grad)

    def _in_order(self, what: Callable[[Tensor], Tensor]) -> list[Tensor]:
        params = [p for group in self.param_groups for p in group["params"]]
        if len(params) == 1:
            return list(what(params[0]).view(-1).split(self.partition.sizes))
        return [what(p).reshape(-1) for p in params]

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Apply one update and allocate it. Raises `RuntimeError` before `attach`."""
        if self.partition is None:
            raise RuntimeError("call attach(partition) before the first step")
        loss = closure() if closure is not None else None
        params = [(p, group) for group in self.param_groups for p in group["params"]]
        jobs = {index: self._job(*param) for index, param in enumerate(params)}
        jobs = {index: job for index, job in jobs.items() if job is not None}
        by_device = {"cpu": self._run_on_cpu, "cuda": self._run_on_cuda}
        run = by_device.get(params[0][0].device.type, self._run_anywhere)
        self.allocations = dict(zip(LAGS, run(jobs), strict=True))
        for allocation in self.allocations.values():
            allocation[:, :2] /= self.clip_coefficient
        self.last_lr = self.param_groups[0]["lr"]
        return loss

    def _job(self, parameter: Tensor, group: dict) -> Job | None:
        """Return the update of one tensor, None without a gradient: as in fairseq, it stays."""
        state = self.state[parameter]
        if not state:
            state["step"] = 0
            state["last_lr"] = 0.0
            state |= {name: torch.zeros_like(parameter) for name in self.MOMENTS}
        last = self._step(group, state["last_lr"], max(state["step"], 1))
        if parameter.grad is None:
            state["last_lr"] = 0.0
            return None
        state["step"] += 1
        state["last_lr"] = group["lr"]
        gradient = parameter.grad.contiguous()
        m, *v = (state[name] for name in self.MOMENTS)
        step = self._step(group, group["lr"], state["step"])
        return Job(parameter, gradient, m, v[0] if v else None, self._betas(group), step, last)

    def _run_on_cpu(self, jobs: dict[int, Job]) -> list[Tensor]:
        """Run the compiled pass, each thread on its own share of the elements."""
        arrays = {index: self._arrays_of(index, job) for index, job in jobs.items()}

        def run_share(share: dict[int, np.ndarray]) -> list[Tensor]:
            allocations = [empty(self.partition) for _ in LAGS]
            own, following = (allocation.numpy() for allocation in allocations)
            for index, pieces in share.items():
                if index in jobs:
                    *views, coefficients = arrays[index]
                    cpu_kernel.update_and_allocate(*views, pieces, coefficients, own, following)
            return allocations

        if len(self._shares) == 1:
            return run_share(self._shares[0])
        with ThreadPoolExecutor(len(self._shares)) as pool:
            by_share = list(pool.map(run_share, self._shares))
        return [sum(allocations) for allocations in zip(*by_share, strict=True)]

    def _arrays_of(self, index: int, job: Job) -> tuple:
        """Return theta, g, m, v as flat arrays, and the coefficients in float32.

        Arrays of all but the gradient are kept for as long as they are where the tensors are: of
        many small tensors, making them would take longer than the update itself.
        """
        kept = (job.theta, job.m) if job.v is None else (job.theta, job.m, job.v)
        places = tuple(tensor.data_ptr() for tensor in kept)
        known = self._arrays.get(index)
        if known is None or known[0] != places:
            theta, _, m, v = (None if t is None else t.numpy() for t in job.flat())
            known = self._arrays[index] = places, theta, m, v
        _, theta, m, v = known
        coefficients = np.array(job.coefficients(), np.float32)
        return theta, job.gradient.detach().view(-1).numpy(), m, v, coefficients

    def _run_on_cuda(self, jobs: dict[int, Job]) -> list[Tensor]:
        """Run the kernel, tensor by tensor; mixed precision has but one."""
        from . import cuda_kernel  # its compiler comes with CUDA builds of PyTorch only

        device = next(iter(jobs.values())).theta.device
        allocations = [empty(self.partition, device) for _ in LAGS]
        for index, job in jobs.items():
            if index not in self._runs:
                self._runs[index] = cuda_kernel.runs(self._slices[index], device)
            cuda_kernel.update_and_allocate(
                *job.flat(), self._runs[index], job.coefficients(), *allocations
            )
        return allocations

    def _run_anywhere(self, jobs: dict[int, Job]) -> list[Tensor]:
        """Run the same pass as PyTorch operations, slice by slice, on any device."""
        device = next(iter(jobs.values())).theta.device
        own, following = (empty(self.partition, device) for _ in LAGS)
        for index, job in jobs.items():
            flat = job.flat()
            for start, piece in self._slices[index]:
                span = slice(start, start + piece.numel)
                theta, gradient, m, v = (t if t is None else t[span] for t in flat)
                add_terms(following, piece, gradient * self._displacement(theta, m, v, job.last))
                before = theta.clone()
                self._update(theta, gradient, m, v, job.betas, job.step)
                add_terms(own, piece, gradient * (theta - before))
        return [own, following]


class Adam(LcaOptimizer):
    """Adam with decoupled weight decay (Kingma & Ba 2015; Loshchilov & Hutter 2019), with LCA.

    Its updates are those of fairseq's Adam:
    theta_(t+1) = theta_t - decay * theta_t - size * m / (sqrt(v) + eps), where
    size = lr * sqrt(1 - beta2^t) / (1 - beta1^t) and decay = lr * weight_decay.
    As in fairseq, eps is added to sqrt(v) before the bias correction.
    """

    MOMENTS = ("exp_avg", "exp_avg_sq")

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay)

    @staticmethod
    def _betas(group: dict) -> tuple[float, float]:
        return group["betas"]

    @staticmethod
    def _step(group: dict, lr: float, count: int) -> Step:
        beta1, beta2 = group["betas"]
        size = lr * math.sqrt(1 - beta2**count) / (1 - beta1**count)
        return Step(size, lr * group["weight_decay"], group["eps"])

    @staticmethod
    def _update(theta, gradient, m, v, betas, step) -> None:
        """In fairseq's order of operations."""
        m.mul_(betas[0]).add_(gradient, alpha=1 - betas[0])
        v.mul_(betas[1]).addcmul_(gradient, gradient, value=1 - betas[1])
        if step.decay:
            theta.add_(theta, alpha=-step.decay)
        theta.addcdiv_(m, v.sqrt().add_(step.eps), value=-step.size)

    @staticmethod
    def _displacement(theta, m, v, step) -> Tensor:
        """From theta_t = (theta_(t+1) + size * m / (sqrt(v) + eps)) / (1 - decay)."""
        moved = (m / v.sqrt().add_(step.eps)).mul_(-step.size)
        return moved.sub_(theta, alpha=step.decay).div_(1 - step.decay)


class SGD(LcaOptimizer):
    """Stochastic gradient descent with momentum (Polyak 1964), with LCA.

    Its updates are those of PyTorch's SGD, which fairseq uses: m <- momentum * m + g + decay *
    theta_t, and theta_(t+1) = theta_t - lr * m, where decay is the weight decay. So m alone, which
    PyTorch calls the momentum buffer, says what the last update did.
    """

    MOMENTS = ("momentum_buffer",)

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 1e-3,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, lr=lr, momentum=momentum, weight_decay=weight_decay)

    @staticmethod
    def _betas(group: dict) -> tuple[float, float]:
        return group["momentum"], 0.0

    @staticmethod
    def _step(group: dict, lr: float, count: int) -> Step:
        return Step(lr, group["weight_decay"])

    @staticmethod
    def _update(theta, gradient, m, v, betas, step) -> None:
        """In PyTorch's order of operations."""
        if step.decay:
            gradient = gradient.add(theta, alpha=step.decay)
        m.mul_(betas[0]).add_(gradient)
        theta.add_(m, alpha=-step.size)

    @staticmethod
    def _displacement(theta, m, v, step) -> Tensor:
        return m * -step.size


def _share_out(slices: list[list[tuple[int, Slice]]], threads: int) -> list[dict[int, np.ndarray]]:
    """Deal the slices out to threads, as rows (start, cell, outer, heads, inner) by parameter."""
    tiles = [
        (index, (offset - piece.start + tile.start, tile.cell, tile.outer, tile.heads, tile.inner))
        for index, pieces in enumerate(slices)
        for offset, piece in pieces
        for tile in piece.tiles(TILE)
    ]
    total = sum(piece.numel for pieces in slices for _, piece in pieces)
    shares: list[dict[int, list]] = [{} for _ in range(threads)]
    seen = 0
    for index, row in tiles:
        shares[seen * threads // total].setdefault(index, []).append(row)
        seen += row[2] * row[3] * row[4]
    return [
        {index: np.array(rows, np.int64) for index, rows in share.items()}
        for share in shares
        if share
    ]
