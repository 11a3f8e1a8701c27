"""What the optimizers with LCA have in common."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple, cast, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim.optimizer import ParamsT

from .. import LAGS
from ..allocation import add_terms, empty
from ..blocks import Partition, Slice, partition
from ..placement import trainable, unwrapped

if TYPE_CHECKING:
    from .cuda_kernel import Runs

Floats = NDArray[np.float32]

TILE = 2**16
"""Largest share of a tensor, in elements, that a thread of the CPU takes at a time."""


class Step(NamedTuple):
    """The coefficients of an update; see the optimizers for what they multiply."""

    size: float
    decay: float = 0.0
    eps: float = 0.0
    root: float = 1.0
    penalty: float = 0.0


STAY = Step(0.0, eps=1.0)
"""The update that was none; moments of zero are divided by eps."""


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

    def flat(self) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """Return flat views of the tensors."""
        theta, gradient, m = (tensor.detach().view(-1) for tensor in self[:3])
        return theta, gradient, m, None if self.v is None else self.v.detach().view(-1)

    def coefficients(self) -> tuple[float, ...]:
        """Return what the kernels multiply by, in their order."""
        (beta1, beta2), now, last = self.betas, self.step, self.last
        return (
            *(beta1, 1 - beta1, beta2, 1 - beta2),
            *(now.size, now.decay, 1 - now.decay, now.eps, now.root, now.penalty),
            *(last.size, last.decay, 1 - last.decay, last.eps, last.root),
        )


class Place(NamedTuple):
    """Where the optimizer has a parameter of the partition."""

    tensor: int
    """The number of the optimizer's tensor."""
    start: int
    """The first element there; not 0 only where one tensor is a copy of all parameters."""


class LcaOptimizer(torch.optim.Optimizer):
    """What is common to the optimizers with LCA.

    After `attach(model)` every `step()` leaves `allocations` (each `(cells, 4)`, see `allocation`),
    made while the update is applied: `own_batch`, of this update's displacement, and `next_batch`,
    of that of the update before (zero at the first). `next_batch` needs no copy of the parameters:
    until this update overwrites them, the moments, theta and the last step's coefficients, which
    are kept in the state, determine what the last update did.

    Parameters and gradients are float32: the model's own, or a mixed-precision master copy.
    """

    MOMENTS: tuple[str, ...]
    """The names in the state of m and, if there is one, v."""

    TORCH_ORDER = False
    """Whether the moments and the decay are computed in the order of PyTorch's own Adam."""

    FIXED: dict[str, Any] = {"amsgrad": False, "maximize": False, "differentiable": False}
    """Settings of PyTorch's optimizers with the only values by which the updates are ours."""

    def __init__(self, params: ParamsT, **defaults: Any) -> None:
        self._detach()
        super().__init__(params, defaults | self.FIXED)

    def _detach(self) -> None:
        """Be as before the first `attach`."""
        self.partition: Partition | None = None
        self.given_blocks: Partition | None = None
        """The blocks that it was attached to, if they were not read from the model."""
        self.allocations: dict[str, Tensor] = {}
        self.last_lr = 0.0
        """The learning rate of the last step."""
        self.clip_coefficient: float | Tensor = 1.0
        """What clipping multiplied the gradient by: undone in the allocations of the next step."""
        self.is_recorded = False
        """Whether there is a `Recording` of it."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore a copy, which has to be attached to a model of its own."""
        if "partition" not in self.__dict__:  # or PyTorch is loading a state
            self._detach()
        super().__setstate__(state)

    @staticmethod
    def _betas(group: dict[str, Any]) -> tuple[float, float]:
        """Return the decay rates of m and v."""
        raise NotImplementedError

    @staticmethod
    def _step(group: dict[str, Any], count: int) -> Step:
        """Return the coefficients of update number `count` (from 1)."""
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

    def attach(self, model: nn.Module, blocks: Partition | None = None) -> None:
        """Allocate to the blocks of `model` from now on: `blocks`, or what `partition` reads.

        The optimizer holds the model's own trainable parameters, in any groups and order, or a
        float32 copy of them: tensor by tensor, or one flat tensor, in the model's order. Raises
        `ValueError` if neither is so, or if they are not plain contiguous float32 tensors.
        """
        _refuse_sharded(model)
        given, blocks = blocks, blocks or partition(model)
        parameters = trainable(model)
        found = tuple((name, p.numel()) for name, p in parameters.items())
        if found != tuple(zip(blocks.names, blocks.sizes, strict=True)):
            raise ValueError("the blocks are not of the trainable parameters of this model")
        held = self._tensors()
        known = {id(p): name for name, p in unwrapped(model).named_parameters()}
        for number, tensor in enumerate(held):
            _refuse_kind(known.get(id(tensor), f"the optimizer's tensor {number}"), tensor)
        if len({tensor.device for tensor in held}) > 1:
            raise ValueError("LCA needs all parameters on one device")
        self._places = _places(parameters, held, set(known))
        self.partition, self.given_blocks = blocks, given
        self._slices: list[list[tuple[int, Slice]]] = [[] for _ in held]
        for piece in blocks.slices:
            index, start = self._places[piece.parameter]
            self._slices[index].append((start + piece.start, piece))
        self._names = [known.get(id(tensor), "the copy") for tensor in held]
        self._shares = _share_out(self._slices, torch.get_num_threads())
        self._arrays: dict[int, tuple[tuple[int, ...], Floats, Floats, Floats | None]] = {}
        self._runs: list[Runs] | None = None

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients, and how they were clipped."""
        super().zero_grad(set_to_none)
        self.clip_coefficient = 1.0

    def _attached(self) -> Partition:
        return cast(Partition, self.partition)  # there from `attach` on

    def _tensors(self) -> list[Tensor]:
        return [p for group in self.param_groups for p in group["params"]]

    def values(self) -> list[Tensor]:
        """Return the parameters, flat, in the order of the partition."""
        return self._in_order(lambda parameter: parameter.detach())

    def gradients(self) -> list[Tensor]:
        """Return the gradients likewise."""
        return self._in_order(lambda p: torch.zeros_like(p) if p.grad is None else p.grad)

    def _in_order(self, what: Callable[[Tensor], Tensor]) -> list[Tensor]:
        flat = [what(tensor).reshape(-1) for tensor in self._tensors()]
        sizes = self._attached().sizes
        return [
            flat[index][start : start + size]
            for (index, start), size in zip(self._places, sizes, strict=True)
        ]

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Apply one update and allocate it.

        Raises `RuntimeError` before `attach`, without any gradient, for gradients that are sparse,
        not float32, or of parameters that were frozen when the model was attached, and for
        parameters that were laid out anew since.
        """
        if self.partition is None:
            raise RuntimeError("call attach(model) before the first step")
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        params = [(p, group) for group in self.param_groups for p in group["params"]]
        self._refuse_gradients([p.grad for p, _ in params])
        all_jobs = {index: self._job(*param) for index, param in enumerate(params)}
        jobs = {index: job for index, job in all_jobs.items() if job is not None}
        run = self._runner(params[0][0].device.type)
        self.allocations = dict(zip(LAGS, run(jobs), strict=True))
        for allocation in self.allocations.values():
            allocation[:, :2] /= self.clip_coefficient
        self.last_lr = float(self.param_groups[0]["lr"])
        return loss

    def _refuse_gradients(self, gradients: list[Tensor | None]) -> None:
        """Raise `RuntimeError` for gradients of which no allocation could be true."""
        if all(gradient is None for gradient in gradients):
            raise RuntimeError("no parameter has a gradient: call backward() before step()")
        held = zip(self._names, self._tensors(), gradients, self._slices, strict=True)
        for name, tensor, gradient, slices in held:
            if not tensor.is_contiguous():
                raise RuntimeError(f"{name}: is not contiguous any more, as at attach(model)")
            if gradient is not None and gradient.layout != torch.strided:
                raise RuntimeError(f"{name}: LCA does not support sparse gradients")
            if gradient is not None and gradient.dtype != torch.float32:
                raise RuntimeError(f"{name}: LCA needs float32 gradients, not {gradient.dtype}")
            if gradient is not None and not slices:
                raise RuntimeError(f"{name}: has a gradient, but was frozen at attach(model)")

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a state of this optimizer, or of PyTorch's of the same name.

        Raises `ValueError` if that one made other updates.
        """
        kind = type(self).__name__
        for group in state_dict["param_groups"]:
            if missing := self.defaults.keys() - self.FIXED.keys() - group.keys():
                raise ValueError(f"this is no state of {kind}: it has no {min(missing)}")
            self._refuse_settings(group)
        super().load_state_dict(state_dict)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of parameters, before `attach`. Raises `ValueError` for other updates."""
        self._refuse_settings(param_group)
        super().add_param_group(param_group)
        self.partition = None

    def _refuse_settings(self, group: dict[str, Any]) -> None:
        for setting, value in self.FIXED.items():
            if group.get(setting, value) != value:
                setting = f"{setting}={group[setting]}"
                raise ValueError(f"{type(self).__name__} with LCA does not support {setting}")

    def _job(self, parameter: Tensor, group: dict[str, Any]) -> Job | None:
        """Return the update of one tensor, None without a gradient: it stays."""
        if parameter.grad is None:
            self.state.get(parameter, {}).pop("last", None)
            return None
        state = self.state[parameter]
        for name in self.MOMENTS:
            if state.get(name) is None:
                state[name] = torch.zeros_like(parameter)
        count = int(state.get("step", 0)) + 1
        step = self._step(group, count)
        last = Step(*state["last"]) if state.get("last") else STAY
        if state.get("last_step", state.get("step")) != state.get("step"):
            last = STAY  # another optimizer made updates since
        state["step"], state["last"], state["last_step"] = count, tuple(step), count
        gradient = parameter.grad.contiguous()
        m, *v = (state[name] for name in self.MOMENTS)
        return Job(parameter, gradient, m, v[0] if v else None, self._betas(group), step, last)

    def _runner(self, device: str) -> Callable[[dict[int, Job]], list[Tensor]]:
        """Return what runs the pass on a kind of device: compiled, if its compiler is there."""
        kernels = {"cpu": (self._run_on_cpu, "numba"), "cuda": (self._run_on_cuda, "triton")}
        run, compiler = kernels.get(device, (self._run_anywhere, None))
        if compiler and find_spec(compiler) is None:
            warnings.warn(f"without {compiler}, LCA takes several times as long", stacklevel=4)
            return self._run_anywhere
        return run

    def _run_on_cpu(self, jobs: dict[int, Job]) -> list[Tensor]:
        """Run the compiled pass, each thread on its own share of the elements."""
        from . import cpu_kernel  # its compiler is optional

        arrays = {index: self._arrays_of(index, job) for index, job in jobs.items()}
        order = True if self.TORCH_ORDER else None
        blocks = self._attached()

        def run_share(share: dict[int, NDArray[np.int64]]) -> list[Tensor]:
            allocations = [empty(blocks) for _ in LAGS]
            own, following = (allocation.numpy() for allocation in allocations)
            for index, pieces in share.items():
                if index in jobs:
                    views, coefficients = arrays[index]
                    cpu_kernel.update_and_allocate(
                        *views, pieces, coefficients, own, following, order
                    )
            return allocations

        if len(self._shares) == 1:
            return run_share(self._shares[0])
        with ThreadPoolExecutor(len(self._shares)) as pool:
            by_share = list(pool.map(run_share, self._shares))
        return [sum(allocations) for allocations in zip(*by_share, strict=True)]

    def _arrays_of(
        self, index: int, job: Job
    ) -> tuple[tuple[Floats, Floats, Floats, Floats | None], Floats]:
        """Return theta, g, m, v as flat arrays, and the coefficients in float32.

        Arrays of all but the gradient are kept for as long as they are where the tensors are: of
        many small tensors, making them would take longer than the update itself.
        """
        kept = (job.theta, job.m) if job.v is None else (job.theta, job.m, job.v)
        places = tuple(tensor.data_ptr() for tensor in kept)
        known = self._arrays.get(index)
        if known is None or known[0] != places:
            flat_theta, _, flat_m, flat_v = job.flat()
            v = None if flat_v is None else flat_v.numpy()
            known = self._arrays[index] = places, flat_theta.numpy(), flat_m.numpy(), v
        _, theta, m, v = known
        coefficients = np.array(job.coefficients(), np.float32)
        return (theta, job.gradient.detach().view(-1).numpy(), m, v), coefficients

    def _run_on_cuda(self, jobs: dict[int, Job]) -> list[Tensor]:
        """Run the kernel, for all tensors at once."""
        from . import cuda_kernel  # its compiler comes with CUDA builds of PyTorch only

        device = next(iter(jobs.values())).theta.device
        if self._runs is None:
            slices = [
                (index, start, piece)
                for index, pieces in enumerate(self._slices)
                for start, piece in pieces
            ]
            self._runs = cuda_kernel.runs(slices, device)
        own, following = (empty(self._attached(), device) for _ in LAGS)
        some = next(iter(jobs.values())).coefficients()
        found = [jobs.get(index) for index in range(len(self._slices))]
        tensors = [None if job is None else job.flat() for job in found]
        coefficients = [some if job is None else job.coefficients() for job in found]
        cuda_kernel.update_and_allocate(tensors, coefficients, self._runs, own, following)
        return [own, following]

    def _run_anywhere(self, jobs: dict[int, Job]) -> list[Tensor]:
        """Run the same pass as PyTorch operations, slice by slice, on any device."""
        device = next(iter(jobs.values())).theta.device
        own, following = (empty(self._attached(), device) for _ in LAGS)
        for index, job in jobs.items():
            *flat, all_v = job.flat()
            for start, piece in self._slices[index]:
                span = slice(start, start + piece.numel)
                theta, gradient, m = (tensor[span] for tensor in flat)
                v = None if all_v is None else all_v[span]
                add_terms(following, piece, gradient * self._displacement(theta, m, v, job.last))
                before = theta.clone()
                self._update(theta, gradient, m, v, job.betas, job.step)
                add_terms(own, piece, gradient * (theta - before))
        return [own, following]


def at_least_zero(**settings: float) -> None:
    """Raise `ValueError` for a setting below zero, or that is not a number."""
    for name, value in settings.items():
        if not float(value) >= 0:
            raise ValueError(f"{name} is {value}, but must be at least 0")


def _refuse_sharded(model: nn.Module) -> None:
    """Raise `ValueError` for a model of which each worker has a part."""
    if any(type(module).__name__ == "FullyShardedDataParallel" for module in model.modules()):
        raise ValueError("LCA needs whole parameters on every worker, not the shards of FSDP")


def _refuse_kind(name: str, tensor: Tensor) -> None:
    """Raise `ValueError` for a tensor that the kernels cannot update."""
    if type(tensor.detach()) is not Tensor:
        kind = type(tensor.detach()).__name__
        raise ValueError(f"{name}: LCA needs whole plain tensors, not a {kind}, as of FSDP")
    if tensor.dtype != torch.float32:
        is_half = tensor.dtype in (torch.float16, torch.bfloat16)
        remedy = "for mixed precision, use torch.autocast" if is_half else "use model.float()"
        raise ValueError(
            f"{name}: LCA needs float32 parameters or a float32 master copy of them, not "
            f"{tensor.dtype}; {remedy}"
        )
    if not tensor.is_contiguous():
        raise ValueError(f"{name}: LCA needs contiguous parameters")


def _places(trainable: Mapping[str, Tensor], held: list[Tensor], known: set[int]) -> list[Place]:
    """Return where the optimizer has each of the model's trainable parameters."""
    index_of = {id(tensor): index for index, tensor in enumerate(held)}
    if len(index_of) < len(held):
        raise ValueError("the optimizer holds a parameter twice")
    if known.isdisjoint(index_of):
        return _places_in_copy(list(trainable.values()), held)
    for name, parameter in trainable.items():
        if id(parameter) not in index_of:
            raise ValueError(f"{name}: the optimizer does not hold this parameter of the model")
    if not known.issuperset(index_of):
        raise ValueError("the optimizer holds parameters that the model does not have")
    return [Place(index_of[id(parameter)], 0) for parameter in trainable.values()]


def _places_in_copy(parameters: Sequence[Tensor], held: list[Tensor]) -> list[Place]:
    """Return the places in a copy, which is known by its values."""
    sizes = [p.numel() for p in parameters]
    starts = [sum(sizes[:number]) for number in range(len(sizes))]
    if [tensor.numel() for tensor in held] == [sum(sizes)]:
        places = [Place(0, start) for start in starts]
    else:
        places = [Place(number, 0) for number in range(len(sizes))]
        if [tensor.numel() for tensor in held] != sizes:
            raise ValueError("the optimizer's parameters are not those of the model")
    for (index, start), parameter in zip(places, parameters, strict=True):
        copy = held[index].detach().view(-1)[start : start + parameter.numel()]
        if not torch.equal(copy.to(parameter), parameter.detach().reshape(-1)):
            raise ValueError(
                "the optimizer's parameters are neither the model's nor a copy of them"
            )
    return places


def _share_out(
    slices: list[list[tuple[int, Slice]]], threads: int
) -> list[dict[int, NDArray[np.int64]]]:
    """Deal the slices out to threads, as rows (start, cell, outer, heads, inner) by parameter."""
    tiles = [
        (index, (offset - piece.start + tile.start, tile.cell, tile.outer, tile.heads, tile.inner))
        for index, pieces in enumerate(slices)
        for offset, piece in pieces
        for tile in piece.tiles(TILE)
        if tile.numel
    ]
    total = sum(piece.numel for pieces in slices for _, piece in pieces)
    shares: list[dict[int, list[tuple[int, ...]]]] = [{} for _ in range(threads)]
    seen = 0
    for index, row in tiles:
        shares[seen * threads // total].setdefault(index, []).append(row)
        seen += row[2] * row[3] * row[4]
    return [
        {index: np.array(rows, np.int64) for index, rows in share.items()}
        for share in shares
        if share
    ]
